//! A program under test, and a client that speaks bytes to it.
#![allow(unreachable_pub, reason = "a module of tests")]
#![allow(dead_code, reason = "each test takes what it needs")]

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// No answer within this time is no answer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running program. Ends with the test, however that ends.
pub struct Program(pub Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Program {
    pub fn start(path: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(path);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Starts a program that listens, and waits until it says at which address.
    pub fn serve(path: &str, arguments: &[&str]) -> (Self, SocketAddr) {
        let (program, place) = Self::serve_at(path, arguments);
        let address = place.split(' ').next().unwrap_or_default().parse().unwrap();
        (program, address)
    }

    /// Starts a program that listens, and waits until it says where, in its own words.
    pub fn serve_at(path: &str, arguments: &[&str]) -> (Self, String) {
        let mut program = Self::start(path, arguments);
        let place = program.place();
        (program, place)
    }

    /// Waits until a program says where it listens, in its own words.
    pub fn place(&mut self) -> String {
        let mut stdout = BufReader::new(self.0.stdout.take().unwrap());
        let line = within(move || {
            let mut line = String::new();
            stdout.read_line(&mut line).map(|_| line)
        });
        let line = line.unwrap();
        let place = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}: {}", said(self)));
        place.trim_end().to_owned()
    }

    /// Starts a program that listens at several addresses, and waits until it has said them all.
    pub fn serve_many<const N: usize>(path: &str, arguments: &[&str]) -> (Self, [SocketAddr; N]) {
        let mut program = Self::start(path, arguments);
        let mut stdout = BufReader::new(program.0.stdout.take().unwrap());
        let lines = within(move || {
            [(); N].map(|()| {
                let mut line = String::new();
                stdout.read_line(&mut line).map(|_| line).unwrap()
            })
        });
        let found = lines.map(|line| {
            let place = line.strip_prefix("listening on ").and_then(|rest| rest.split([' ', '\n']).next());
            place.and_then(|place| place.parse().ok()).unwrap_or_else(|| panic!("{line:?}: {}", said(&mut program)))
        });
        (program, found)
    }

    /// The exit code of a program that ends by itself, and what it said.
    pub fn outcome(mut self) -> (i32, String) {
        let said = said(&mut self);
        (self.0.wait().unwrap().code().expect("ended by a signal"), said)
    }

    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

/// Everything on standard error, until the program ends.
pub fn said(program: &mut Program) -> String {
    let mut stderr: ChildStderr = program.0.stderr.take().unwrap();
    within(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    })
    .unwrap()
}

pub fn within<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    thread::spawn(move || done.send(work()));
    result.recv_timeout(PATIENCE).expect("took too long")
}

/// A file of its own for each test.
pub fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

/// Sets the password of a user with `broker passwd`.
pub fn set_password(broker: &str, path: &Path, user: &str, password: &str) {
    let mut command = Command::new(broker);
    command.args(["passwd".as_ref(), path.as_os_str(), user.as_ref()]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut program = Program(command.spawn().unwrap());
    program.0.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
    assert_eq!(program.outcome(), (0, String::new()));
}

/// What a program says on standard error, line by line.
pub struct Log(BufReader<ChildStderr>);

impl Log {
    pub fn of(program: &mut Program) -> Self {
        Self(BufReader::new(program.0.stderr.take().unwrap()))
    }

    /// The next line with these words in it.
    pub fn wait_for(&mut self, words: &str) -> String {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the log ended without {words:?}: {said}");
            if line.contains(words) {
                return line;
            }
            said.push_str(&line);
        }
    }
}

/// A client that speaks bytes.
pub struct Client<S = TcpStream>(pub S);

impl Client {
    pub fn open(address: SocketAddr) -> Self {
        Self(stream(address))
    }
}

impl<S: Read + Write> Client<S> {
    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.write_all(bytes).unwrap();
        self
    }

    /// One whole packet (shorter than 128 bytes).
    pub fn packet(&mut self) -> Vec<u8> {
        let mut packet = vec![0; 2];
        self.0.read_exact(&mut packet).unwrap();
        let length = usize::from(packet[1]);
        assert!(length < 128);
        packet.resize(2 + length, 0);
        self.0.read_exact(&mut packet[2..]).unwrap();
        packet
    }

    /// Whether the other side has closed, with nothing more to say.
    pub fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(length) => length == 0,
            // not every TLS peer says goodbye
            Err(error) => [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof].contains(&error.kind()),
        }
    }
}

pub fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

/// A CONNECT with clean start and a keep alive of a minute.
pub fn connect(level: u8, client_id: &str, user: Option<(&str, &str)>) -> Vec<u8> {
    let flags = 0x02 | if user.is_some() { 0xC0 } else { 0 };
    let mut body = [string("MQTT"), vec![level, flags, 0, 60]].concat();
    if level == 5 {
        body.push(0);
    }
    body.extend(string(client_id));
    for text in user.iter().flat_map(|(name, password)| [name, password]) {
        body.extend(string(text));
    }
    [&[0x10, body.len() as u8], &body[..]].concat()
}

/// A SUBSCRIBE (identifier 1) to `filter` at QoS 0, as 3.1.1 has it.
pub fn subscribe(filter: &str) -> Vec<u8> {
    let body = [&[0, 1], &string(filter)[..], &[0]].concat();
    [&[0x82, body.len() as u8], &body[..]].concat()
}

/// A PUBLISH at QoS 0, as 3.1.1 has it.
pub fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let body = [&string(topic), payload].concat();
    let mut head = vec![0x30];
    let mut length = body.len();
    while length > 127 {
        head.push(length as u8 | 0x80);
        length >>= 7;
    }
    head.push(length as u8);
    [head, body].concat()
}

/// A socket that does not wait for ever.
pub fn stream(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}
