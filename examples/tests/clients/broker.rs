//! The broker under test: ours, started for one test and killed with it, or the one the environment names.
use super::Process;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// A broker that runs.
pub struct Broker {
    address: SocketAddr,
    /// Killed with this; locked away because tests share a broker between threads.
    process: Option<Mutex<Process>>,
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
        let file = TemporaryFile::with_passwords();
        let broker = Self::ours(&["--password-file", file.0.to_str().unwrap()]);
        Some(broker)
    }

    /// Debian's `mosquitto`, for clients to be judged against a broker that others wrote; `None`, with a line on standard error, if
    /// it is not installed and nobody requires it.
    pub fn mosquitto() -> Option<Self> {
        if let Err(error) = Command::new("mosquitto").arg("-h").output() {
            let required = std::env::var("MQTT_REQUIRE_CLIENTS").as_deref() == Ok("1");
            assert!(!required, "the broker mosquitto is required: {error}");
            super::client::tell(&format!("passed over: the broker mosquitto: {error}"));
            return None;
        }
        // It takes no port 0, and a port that is free now may be taken when it starts: then another.
        let broker = (0..10).find_map(|_| Self::try_mosquitto());
        Some(broker.expect("mosquitto finds no port"))
    }

    fn try_mosquitto() -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = TemporaryFile::new("mosquitto");
        let port = address.port();
        // beyond max_inflight_messages (20) it loses what is published at QoS 2, and beyond max_queued_messages what it delivers
        let lines = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest stdout\n\
             max_inflight_messages 1000\nmax_queued_messages 10000\n"
        );
        std::fs::write(&config.0, lines).unwrap();
        // by itself it keeps its lines to itself, unless on a terminal
        let mut process = Process::spawn(Command::new("stdbuf").args(["-oL", "mosquitto", "-c"]).arg(&config.0));
        process.look_for(|line| line.ends_with(" running").then_some(()))?;
        Some(Self { address, process: Some(Mutex::new(process)) })
    }

    /// Ours with one listener, as `more` has it beside its address; TLS stands for a certificate for 127.0.0.1, and `authority` for who signed it.
    pub fn over(more: &str) -> (Self, PathBuf) {
        let folder = TemporaryFile::new("tls").0.clone();
        std::fs::create_dir_all(&folder).unwrap();
        let issuer_key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, "the test's own authority");
        let issuer = rcgen::CertifiedIssuer::self_signed(params, issuer_key).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
        write("ca.pem", issuer.pem());
        write("server.pem", certificate.pem());
        write("server.key", key.serialize_pem());
        let more = more.replace("TLS", "tls = { certificate = \"server.pem\", key = \"server.key\" }");
        write("broker.toml", format!("listen = [{{ address = \"127.0.0.1:0\", {more} }}]\n"));
        let mut process =
            Process::spawn(Command::new(env!("CARGO_BIN_EXE_broker")).arg("--config").arg(folder.join("broker.toml")));
        let address = process.find("a line `listening on ADDRESS (..)`", |line| {
            line.strip_prefix("listening on ")?.split(' ').next()?.parse().ok()
        });
        (Self { address, process: Some(Mutex::new(process)) }, folder.join("ca.pem"))
    }

    /// The one on tokio.
    #[allow(dead_code, reason = "each test takes what it needs")]
    pub fn on_tokio() -> Self {
        Self::listening(Command::new(env!("CARGO_BIN_EXE_tokio-broker")).arg("127.0.0.1:0"))
    }

    /// One at this address.
    #[allow(dead_code, reason = "each test takes what it needs")]
    pub fn at(address: SocketAddr) -> Self {
        Self::listening(Command::new(env!("CARGO_BIN_EXE_broker")).args(["--listen", &address.to_string()]))
    }

    /// One that is joined to another, as `arguments` say; it says so on standard output.
    #[allow(dead_code, reason = "each test takes what it needs")]
    pub fn bridge(arguments: &[&str]) -> Self {
        Self::listening(Command::new(env!("CARGO_BIN_EXE_bridge")).args(arguments))
    }

    /// Waits for a line on standard output that begins so.
    #[allow(dead_code, reason = "each test takes what it needs")]
    pub fn wait_for(&self, beginning: &str) {
        let mut process = self.process.as_ref().unwrap().lock().unwrap();
        process.find(beginning, |line| line.starts_with(beginning).then_some(()));
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn foreign(address: &str) -> Self {
        let address = address.to_socket_addrs().unwrap().next().unwrap();
        Self { address, process: None }
    }

    fn ours(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
        Self::listening(command.args(["--listen", "127.0.0.1:0"]).args(arguments))
    }

    fn listening(command: &mut Command) -> Self {
        let mut process = Process::spawn(command);
        let address = process
            .find("a line `listening on ADDRESS`", |line| line.strip_prefix("listening on ")?.trim().parse().ok());
        Self { address, process: Some(Mutex::new(process)) }
    }
}

/// A file of its own for one broker; removed when the broker has read it.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(what: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{what}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    /// As `broker passwd` writes it.
    fn with_passwords() -> Self {
        use std::io::Write;
        let file = Self::new("passwords");
        let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
        command.arg("passwd").arg(&file.0).arg("alice");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"secret\n").unwrap();
        assert!(child.wait().unwrap().success(), "`broker passwd` fails");
        file
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
