//! Several brokers, started by us, round by round: medians, and ratios to the first.

use crate::append;
use crate::ledger::Checks;
use crate::load::{Load, Target};
use crate::outcome::{Description, Figure, Outcome, number};
use crate::process::Process;
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a broker may take until it listens.
const START: Duration = Duration::from_secs(20);

/// A broker to be started: its name and its command line.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    name: String,
    command: String,
}

impl Contender {
    /// From `name=command line`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or("name=command line, with {port} where the port goes")?;
        let own = command == FORWARD || command.starts_with(APPEND);
        let known = own || command.contains("{port}") || command.contains("{config:");
        if name.is_empty() || !known {
            return Err("name=command line, with {port} where the port goes".into());
        }
        Ok(Self { name: name.to_owned(), command: command.to_owned() })
    }
}

/// In place of a command line: this program as a forwarder.
const FORWARD: &str = "forward";
/// The same: what a disk takes, in the folder that follows.
const APPEND: &str = "append:";

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) load: Description,
    pub(crate) rounds: u32,
    pub(crate) brokers: Vec<Contestant>,
}

/// One broker's results.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) command: String,
    /// The figures of each round that ended.
    pub(crate) rounds: Vec<Vec<Figure>>,
    pub(crate) medians: Vec<Figure>,
    /// Medians over those of the first broker.
    pub(crate) ratios: Vec<Figure>,
    /// Of all rounds together.
    pub(crate) checks: Checks,
    /// Why rounds did not end.
    pub(crate) failures: Vec<String>,
}

/// Runs all contenders `rounds` times; who begins changes from round to round.
pub(crate) fn run(
    load: &Load,
    contenders: &[Contender],
    rounds: u32,
    measure: impl Fn(&Load, &Target) -> Result<Outcome, String>,
) -> Comparison {
    let contestant = |contender: &Contender| Contestant {
        name: contender.name.clone(),
        command: contender.command.clone(),
        rounds: Vec::new(),
        medians: Vec::new(),
        ratios: Vec::new(),
        checks: Checks::default(),
        failures: Vec::new(),
    };
    let mut brokers: Vec<_> = contenders.iter().map(contestant).collect();
    for round in 0..rounds as usize {
        for place in 0..contenders.len() {
            let number = (round + place) % contenders.len();
            let contender = &contenders[number];
            let outcome = match contender.command.strip_prefix(APPEND) {
                Some(folder) => append::run(load, Path::new(folder)),
                None => Running::start(contender).and_then(|running| measure(load, &running.target)),
            };
            match outcome {
                Ok(outcome) => {
                    brokers[number].checks.add(&outcome.checks);
                    brokers[number].rounds.push(outcome.figures);
                }
                Err(failure) => brokers[number].failures.push(failure),
            }
        }
    }
    for broker in &mut brokers {
        broker.medians = medians(&broker.rounds);
    }
    let first = brokers.first().map_or_else(Vec::new, |broker| broker.medians.clone());
    for broker in &mut brokers {
        broker.ratios = broker.medians.iter().filter_map(|figure| ratio(figure, &first)).collect();
    }
    Comparison { load: Description::of(load), rounds, brokers }
}

fn ratio(figure: &Figure, first: &[Figure]) -> Option<Figure> {
    let base = first.iter().find(|base| base.name == figure.name && base.value != 0.0)?;
    Some(Figure { name: figure.name.clone(), value: figure.value / base.value })
}

fn medians(rounds: &[Vec<Figure>]) -> Vec<Figure> {
    let Some(first) = rounds.first() else { return Vec::new() };
    let median = |figure: &Figure| {
        let same = |round: &Vec<Figure>| round.iter().find(|other| other.name == figure.name).map(|other| other.value);
        let mut values: Vec<f64> = rounds.iter().filter_map(same).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let value = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Figure { name: figure.name.clone(), value }
    };
    first.iter().map(median).collect()
}

impl Comparison {
    /// Whether every round of every broker ended, and well.
    pub(crate) fn good(&self, loss: bool) -> bool {
        self.brokers.iter().all(|broker| broker.failures.is_empty() && broker.checks.good(loss))
    }

    /// The table for people.
    pub(crate) fn print(&self) {
        println!("{}; medians of {} rounds, in parentheses over {}", self.load.line(), self.rounds, self.first_name());
        let names: Vec<&str> = self.rows();
        print!("  {:<32}", "");
        for broker in &self.brokers {
            print!(" {:>20}", broker.name);
        }
        println!();
        for name in names {
            print!("  {name:<32}");
            for broker in &self.brokers {
                print!(" {:>20}", broker.cell(name));
            }
            println!();
        }
        for broker in &self.brokers {
            if !broker.checks.good(false) {
                let outcome = Outcome { load: self.load.clone(), checks: broker.checks.clone(), figures: Vec::new() };
                println!("  {}: {}", broker.name, outcome.checks_line());
            }
            for failure in &broker.failures {
                println!("  {}: {failure}", broker.name);
            }
        }
    }

    fn first_name(&self) -> &str {
        self.brokers.first().map_or("", |broker| &broker.name)
    }

    /// The names of all figures, each once.
    fn rows(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for figure in self.brokers.iter().flat_map(|broker| &broker.medians) {
            if !names.contains(&figure.name.as_str()) {
                names.push(&figure.name);
            }
        }
        names
    }
}

impl Contestant {
    fn cell(&self, name: &str) -> String {
        let value = |figures: &[Figure]| figures.iter().find(|figure| figure.name == name).map(|figure| figure.value);
        match (value(&self.medians), value(&self.ratios)) {
            (Some(median), Some(ratio)) => format!("{} ({})", number(median), number(ratio)),
            (Some(median), None) => number(median),
            (None, _) => "-".to_owned(),
        }
    }
}

/// A broker of ours that runs; ends when this is dropped, and nothing else does.
struct Running {
    child: Child,
    target: Target,
    /// Configurations and folders made for it.
    files: Vec<PathBuf>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for file in &self.files {
            let _ = fs::remove_file(file).or_else(|_| fs::remove_dir_all(file));
        }
    }
}

impl Running {
    fn start(contender: &Contender) -> Result<Self, String> {
        let port = free_port()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let floor = contender.command == FORWARD;
        let mut files = Vec::new();
        let mut command = if floor {
            let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
            command.args(["forward", "--listen", &address.to_string()]);
            command
        } else {
            command_line(&contender.command, port, &mut files)?
        };
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.map_err(|error| format!("{} does not start: {error}", contender.command))?;
        let pid = child.id();
        let mut running = Self { child, target: Target { address, process: None, floor }, files };
        running.await_listener(&contender.command)?;
        running.target.process = Some(Process::new(pid)?);
        Ok(running)
    }

    fn await_listener(&mut self, command: &str) -> Result<(), String> {
        let until = Instant::now() + START;
        while TcpStream::connect(self.target.address).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("`{command}` ended with {status} before it listened"));
            }
            if Instant::now() > until {
                return Err(format!("`{command}` does not listen on {}", self.target.address));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}

/// Words between blanks; `{port}` becomes the port, `{config:FILE}` a copy of FILE in which `{port}` does, `{data:DIR}` the name of a
/// folder in DIR that is not there yet.
fn command_line(text: &str, port: u16, files: &mut Vec<PathBuf>) -> Result<Command, String> {
    let port = port.to_string();
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let word = match word.split_once("{config:").and_then(|(head, rest)| Some((head, rest.split_once('}')?))) {
            Some((head, (path, tail))) => {
                let config = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
                let extension = path.rsplit_once('.').map_or("conf", |(_, extension)| extension);
                let copy = std::env::temp_dir().join(format!("bench-{}-{port}.{extension}", std::process::id()));
                fs::write(&copy, config.replace("{port}", &port)).map_err(|error| error.to_string())?;
                files.push(copy.clone());
                format!("{head}{}{tail}", copy.display())
            }
            None => match word.split_once("{data:").and_then(|(head, rest)| Some((head, rest.split_once('}')?))) {
                Some((head, (folder, tail))) => {
                    let new = Path::new(folder).join(format!("bench-{}-{port}", std::process::id()));
                    files.push(new.clone());
                    format!("{head}{}{tail}", new.display())
                }
                None => word.to_owned(),
            },
        };
        words.push(word.replace("{port}", &port));
    }
    let (program, arguments) = words.split_first().ok_or("an empty command line")?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_two() {
        let round = |value| vec![Figure { name: "x".into(), value }];
        assert_eq!(medians(&[round(9.0), round(1.0), round(2.0)])[0].value, 2.0);
        assert_eq!(medians(&[round(9.0), round(1.0)])[0].value, 5.0);
        assert!(medians(&[]).is_empty());
    }

    #[test]
    fn a_contender_needs_a_name_and_a_port() {
        for text in ["a", "=b {port}", "a=b"] {
            assert!(Contender::parse(text).is_err(), "{text}");
        }
        for text in ["a=b -p {port}", "floor=forward", "floor=append:/tmp", "a=b -c {config:x.conf}"] {
            assert!(Contender::parse(text).is_ok(), "{text}");
        }
    }
}
