//! The broker under test: ours, started for one test and killed with it, or the one the environment names.
use super::Process;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// A broker that runs.
pub struct Broker {
    address: SocketAddr,
    /// Killed with this; locked away because tests share a broker between threads.
    _process: Option<Mutex<Process>>,
}

impl Broker {
    /// One that lets anybody in.
    pub fn start() -> Self {
        match std::env::var("MQTT_TEST_BROKER") {
            Ok(address) => Self::foreign(&address),
            Err(_) => Self::ours(&[]),
        }
    }

    /// One that lets in `alice` with password `secret`, and nobody else; `None` if the broker to be judged has no such twin.
    pub fn start_with_passwords() -> Option<Self> {
        if let Ok(address) = std::env::var("MQTT_TEST_BROKER_AUTH") {
            return Some(Self::foreign(&address));
        }
        if std::env::var("MQTT_TEST_BROKER").is_ok() {
            super::client::tell("passed over: passwords: MQTT_TEST_BROKER_AUTH names no broker");
            return None;
        }
        let file = PasswordFile::new();
        let broker = Self::ours(&["--password-file", file.0.to_str().unwrap()]);
        Some(broker)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn foreign(address: &str) -> Self {
        let address = address.to_socket_addrs().unwrap().next().unwrap();
        Self { address, _process: None }
    }

    fn ours(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
        let mut process = Process::spawn(command.args(["--listen", "127.0.0.1:0"]).args(arguments));
        let address = process
            .find("a line `listening on ADDRESS`", |line| line.strip_prefix("listening on ")?.trim().parse().ok());
        Self { address, _process: Some(Mutex::new(process)) }
    }
}

/// A password file as `broker passwd` writes it; removed when the broker has read it.
struct PasswordFile(PathBuf);

impl PasswordFile {
    fn new() -> Self {
        use std::io::Write;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("passwords-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let file = Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name));
        let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
        command.arg("passwd").arg(&file.0).arg("alice");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"secret\n").unwrap();
        assert!(child.wait().unwrap().success(), "`broker passwd` fails");
        file
    }
}

impl Drop for PasswordFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
