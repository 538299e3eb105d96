//! One broker on trial: its listeners, a pair of good clients that it has to go on serving, and what it counts and takes meanwhile.

use crate::carriers::Authority;
use crate::program::{Client, PATIENCE, Program, connect, stream, string, subscribe};
use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

/// What the broker on trial may have resident at its peak: 16 MiB of queues, 4 of retained messages, 4 of what it holds beside them,
/// and 8 for itself and the buffers of its connections.
pub const BUDGET: usize = 32 << 20;

/// The limits that the budget rests on, and those that trials run into.
const LIMITS: &str = "
[limits]
max_connections = 300
max_handshakes = 200
connect_timeout_s = 2
max_packet_size = 262144
queue_bytes = 8388608
total_queue_bytes = 16777216
max_retained = 1000
max_retained_bytes = 4194304
max_held_bytes = 4194304
max_session_expiry_s = 2
session_expiry_v3_s = 2
";

/// The pair's words come this often, at the least.
const BEAT: Duration = Duration::from_millis(5);

/// A broker on trial.
pub struct Trial {
    program: Program,
    pub authority: Authority,
    pub tcp: SocketAddr,
    pub tls: SocketAddr,
    pub websocket: SocketAddr,
    pub secure_websocket: SocketAddr,
    pub proxied: SocketAddr,
    pub unix: PathBuf,
    admin: SocketAddr,
    stop: Sender<()>,
    pair: Option<JoinHandle<Served>>,
    /// What the broker said last: for whoever has to find out why it said no more.
    tail: Arc<Mutex<VecDeque<String>>>,
}

impl Drop for Trial {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ended = self.program.0.try_wait();
            eprintln!("the broker: {ended:?}, its last words: {:#?}", self.tail.lock().unwrap());
        }
    }
}

fn keep(tail: &Mutex<VecDeque<String>>, line: String) {
    let mut tail = tail.lock().unwrap();
    if tail.len() == 40 {
        tail.pop_front();
    }
    tail.push_back(line);
}

/// How the good pair fared.
struct Served {
    messages: u32,
    longest: Duration,
}

impl Trial {
    /// Starts a broker, of at most so many open files if that is said, and the pair.
    pub fn start(name: &str, files: Option<u32>) -> Self {
        let authority = Authority::new(&format!("bad-input-{name}"));
        authority.sign("server");
        let unix = std::env::temp_dir().join(format!("mqttkit-bad-{}-{name}.sock", std::process::id()));
        let tls = "tls = { certificate = \"server.pem\", key = \"server.key\" }";
        let doors = [
            "",
            &format!(", {tls}"),
            ", websocket = true",
            &format!(", websocket = true, {tls}"),
            ", proxy_protocol = true",
        ];
        let doors = doors.map(|more| format!("    {{ address = \"127.0.0.1:0\"{more} }},\n")).concat();
        let text = format!(
            "listen = [\n{doors}    {{ address = \"unix:{}\" }},\n]\nadmin = {{ address = \"127.0.0.1:0\" }}\n{LIMITS}",
            unix.display()
        );
        let config = authority.path("broker.toml");
        fs::write(&config, text).unwrap();
        let limit = files.map_or(String::new(), |files| format!("ulimit -n {files} && "));
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{limit}exec \"$0\" --config \"$1\""), env!("CARGO_BIN_EXE_broker")]).arg(&config);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = Program(command.spawn().unwrap());
        let mut said = BufReader::new(program.0.stdout.take().unwrap()).lines();
        let mut door = || -> SocketAddr {
            let line = said.next().unwrap_or_else(|| panic!("it does not start")).unwrap();
            line.strip_prefix("listening on ").unwrap().split(' ').next().unwrap().parse().unwrap()
        };
        let [tcp, tls, websocket, secure_websocket, proxied] = [(); 5].map(|()| door());
        let mut log = BufReader::new(program.0.stderr.take().unwrap()).lines();
        let at = |line: String| Some(line.split_once("administration at http://")?.1.parse().unwrap());
        let admin = log.find_map(|line| at(line.unwrap())).unwrap();
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let kept = tail.clone();
        spawn(move || log.map_while(Result::ok).for_each(|line| keep(&kept, line)));
        let (stop, stopped) = channel();
        let pair = Pair::join(tcp);
        let pair = Some(spawn(move || pair.talk(&stopped)));
        Self { program, authority, tcp, tls, websocket, secure_websocket, proxied, unix, admin, stop, pair, tail }
    }

    /// A counter or gauge of `/metrics`, by its whole name.
    pub fn counter(&self, name: &str) -> u64 {
        let text = self.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
    }

    fn metrics(&self) -> String {
        let mut stream = stream(self.admin);
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }

    /// Waits until a counter has this value, which it does not go beyond.
    pub fn wait_for(&self, name: &str, value: u64) {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self.counter(name);
            if found == value {
                return;
            }
            assert!(Instant::now() < end, "{name} is {found}, not {value}");
            std::thread::yield_now();
        }
    }

    /// Nobody is left but the pair, a newcomer is let in, the pair was served throughout, and the memory was within the budget;
    /// says how it went.
    pub fn end(mut self, what: &str) {
        self.wait_for("mqtt_connections", 2);
        let mut newcomer = Client::open(self.tcp);
        assert_eq!(newcomer.send(&connect(4, "newcomer", None)).packet(), [0x20, 2, 0, 0]);
        drop(newcomer);
        self.stop.send(()).unwrap();
        let served = self.pair.take().unwrap().join().expect("the good pair was not served");
        let peak = peak_bytes(self.program.0.id());
        let mib = peak.map_or("not known".to_owned(), |peak| format!("{:.1} MiB", peak as f64 / f64::from(1 << 20)));
        let Served { messages, longest } = served;
        let summary =
            format!("{what}; the pair: {messages} messages, the longest took {longest:?}; peak of memory {mib}");
        let _ = writeln!(std::io::stderr(), "{summary}");
        assert!(messages > 0);
        assert!(peak.is_none_or(|peak| peak < BUDGET), "more than {BUDGET} bytes: {summary}");
    }
}

/// The most memory that a process had resident, where the system says so.
fn peak_bytes(process: u32) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok()? << 10)
}

/// Two good clients: what one publishes at QoS 1, the other gets.
struct Pair {
    publisher: Client,
    subscriber: Client,
}

impl Pair {
    fn join(broker: SocketAddr) -> Self {
        let join = |id: &str| {
            let mut client = Client::open(broker);
            assert_eq!(client.send(&connect(4, id, None)).packet(), [0x20, 2, 0, 0]);
            client
        };
        let (publisher, mut subscriber) = (join("the good publisher"), join("the good subscriber"));
        subscriber.send(&subscribe("good/heartbeat"));
        assert_eq!(subscriber.packet(), [0x90, 3, 0, 1, 0]);
        Self { publisher, subscriber }
    }

    /// Message after message until told to stop. Each wait is bounded by [`PATIENCE`], and none is to be lost.
    fn talk(mut self, stop: &Receiver<()>) -> Served {
        let mut served = Served { messages: 0, longest: Duration::ZERO };
        while stop.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
            let begin = Instant::now();
            served.messages += 1;
            let (id, payload) = ((served.messages % 65_535 + 1) as u16, served.messages.to_be_bytes());
            let body = [&string("good/heartbeat")[..], &id.to_be_bytes(), &payload].concat();
            self.publisher.send(&[&[0x32, body.len() as u8], &body[..]].concat());
            assert_eq!(self.publisher.packet(), [&[0x40, 2], &id.to_be_bytes()[..]].concat());
            assert!(self.subscriber.packet().ends_with(&payload));
            served.longest = served.longest.max(begin.elapsed());
        }
        served
    }
}
