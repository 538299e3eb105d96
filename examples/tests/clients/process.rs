//! A child process: its output by lines, every wait bounded, killed on drop.
use super::PATIENCE;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A running program.
pub struct Process {
    child: Child,
    name: String,
    lines: Receiver<Line>,
    /// What it has printed up to now, for the message of a failing test.
    printed: Vec<String>,
}

/// One line that a program printed.
pub enum Line {
    /// To standard output.
    Out(String),
    /// To standard error.
    Err(String),
}

impl Process {
    pub fn spawn(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let (sender, lines) = channel();
        forward(child.stdout.take().unwrap(), sender.clone(), Line::Out);
        forward(child.stderr.take().unwrap(), sender, Line::Err);
        Self { child, name, lines, printed: Vec::new() }
    }

    /// The next line, of either stream; `None` when both have ended.
    pub fn line(&mut self, patience: Duration) -> Option<Line> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        match self.lines.recv_timeout(patience) {
            Ok(line) => {
                let (Line::Out(text) | Line::Err(text)) = &line;
                self.printed.push(text.clone());
                Some(line)
            }
            Err(Disconnected) => None,
            Err(Timeout) => {
                panic!("{} prints nothing more for {patience:?}; it has printed: {:#?}", self.name, self.printed)
            }
        }
    }

    /// Waits for the first line on standard output that `pick` takes something from.
    pub fn find<T>(&mut self, what: &str, pick: impl FnMut(&str) -> Option<T>) -> T {
        let found = self.look_for(pick);
        found.unwrap_or_else(|| panic!("{} has ended without {what}; it has printed: {:#?}", self.name, self.printed))
    }

    /// The same; `None` if it ends before.
    pub fn look_for<T>(&mut self, mut pick: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Line::Out(text) = self.line(end.saturating_duration_since(Instant::now()))?
                && let Some(found) = pick(&text)
            {
                return Some(found);
            }
        }
    }

    /// Waits until it ends by itself; what it printed meanwhile is kept.
    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        while self.line(end.saturating_duration_since(Instant::now())).is_some() {}
        // Both streams are closed: the program is ending.
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None if Instant::now() > end => {
                    panic!("{} does not end; it has printed: {:#?}", self.name, self.printed)
                }
                None => thread::yield_now(),
            }
        }
    }

    /// Everything it has printed that was read up to now.
    pub fn printed(&self) -> &[String] {
        &self.printed
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(stream: impl Read + Send + 'static, lines: Sender<Line>, of: fn(String) -> Line) {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_string();
            if lines.send(of(text)).is_err() {
                return;
            }
            line.clear();
        }
    });
}

/// The path of one of the programs beside this file.
pub fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}
