//! Clients that are programs: what they are told on the command line, and what they say by lines.
use super::client::{Kind, Message, Options, Row, Seen, Version};
use super::process::{Line, Process, script};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// A client program that runs.
pub struct Agent {
    kind: Kind,
    process: Process,
    /// Ours prints packets on one stream and payloads on the other: what still lacks its other half.
    packets: VecDeque<Message>,
    payloads: VecDeque<String>,
}

impl Agent {
    pub fn subscribe(row: Row, broker: SocketAddr, options: &Options, filters: &[(&str, u8)]) -> Self {
        let mut command = match row.kind {
            Kind::Paho1 | Kind::Paho2 | Kind::Npm => {
                let mut command = scripted(row, "sub", broker, options);
                command
                    .args(filters.iter().flat_map(|(filter, qos)| ["--filter".to_string(), format!("{qos}:{filter}")]));
                command
            }
            _ => {
                let mut command = command_line(row, "sub", broker, options);
                command.args(filters.iter().flat_map(|(filter, _)| ["-t", filter]));
                // one QoS for all filters is what these programs offer
                command.args(["-q", &filters[0].1.to_string()]);
                if row.kind == Kind::Mosquitto {
                    command.args(["-F", "message\t%t\t%q\t%r\t%S\t%E\t%p"]);
                }
                command
            }
        };
        Self {
            kind: row.kind,
            process: Process::spawn(&mut command),
            packets: VecDeque::new(),
            payloads: VecDeque::new(),
        }
    }

    pub fn publish(row: Row, broker: SocketAddr, options: &Options, message: &Message) -> Result<(), u8> {
        let mut command = match row.kind {
            Kind::Paho1 | Kind::Paho2 | Kind::Npm => {
                let mut command = scripted(row, "pub", broker, options);
                command.args([
                    "--topic",
                    &message.topic,
                    "--payload",
                    &message.payload,
                    "--qos",
                    &message.qos.to_string(),
                ]);
                command.args(message.retain.then_some("--retain"));
                command
            }
            _ => {
                let mut command = command_line(row, "pub", broker, options);
                command.args(["-t", &message.topic, "-m", &message.payload, "-q", &message.qos.to_string()]);
                command.args(message.retain.then_some("-r"));
                command
            }
        };
        let mut process = Process::spawn(&mut command);
        match process.wait().code() {
            Some(0) => Ok(()),
            Some(code @ 2..) => Err(code as u8),
            other => panic!("{row:?} ends with {other:?}: {:#?}", process.printed()),
        }
    }

    /// What it reports next; `None` when it has ended and has nothing more to say.
    pub fn seen(&mut self, patience: Duration) -> Option<Seen> {
        loop {
            let Some(line) = self.process.line(patience) else {
                let code = self.process.wait().code();
                return code.filter(|code| *code > 1).map(|code| Seen::Refused(code as u8));
            };
            let seen = match (self.kind, line) {
                (Kind::Ours, Line::Err(text)) => self.packet(&text),
                (Kind::Ours, Line::Out(text)) => self.payload(text),
                (Kind::Mosquitto, Line::Out(text)) if text.starts_with("Subscribed (mid") => Some(Seen::Subscribed),
                (_, Line::Out(text)) if text == "subscribed" => Some(Seen::Subscribed),
                (_, Line::Out(text)) => message(&text).map(Seen::Message),
                (_, Line::Err(_)) => None,
            };
            if seen.is_some() {
                return seen;
            }
        }
    }

    /// A line such as `<- PUBLISH d0 q1 r0 m7 'home/kitchen/temp' (4 bytes)`.
    fn packet(&mut self, line: &str) -> Option<Seen> {
        let packet = line.strip_prefix("<- ")?;
        if packet.starts_with("SUBACK") {
            return Some(Seen::Subscribed);
        }
        let packet = packet.strip_prefix("PUBLISH ")?;
        let flag = |name: char| packet.split(' ').find_map(|word| word.strip_prefix(name)?.parse::<u8>().ok()).unwrap();
        let (from, to) = (packet.find('\'').unwrap() + 1, packet.rfind('\'').unwrap());
        let message = Message::new(&packet[from..to], "", flag('q'));
        self.packets.push_back(Message { retain: flag('r') == 1, ..message });
        self.pair()
    }

    fn payload(&mut self, line: String) -> Option<Seen> {
        self.payloads.push_back(line);
        self.pair()
    }

    fn pair(&mut self) -> Option<Seen> {
        if self.packets.is_empty() || self.payloads.is_empty() {
            return None;
        }
        Some(Seen::Message(Message { payload: self.payloads.pop_front()?, ..self.packets.pop_front()? }))
    }
}

/// `message`, topic, QoS, RETAIN, subscription identifiers, message expiry and payload, with tabs between.
fn message(line: &str) -> Option<Message> {
    let mut fields = line.strip_prefix("message\t")?.splitn(6, '\t');
    let (topic, qos, retain) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()? == "1");
    let (identifiers, expiry, payload) = (fields.next()?.into(), fields.next()?.parse().ok(), fields.next()?);
    Some(Message { retain, identifiers, expiry, ..Message::new(topic, payload, qos) })
}

/// What `mosquitto_pub`, `mosquitto_sub` and ours understand alike.
fn command_line(row: Row, what: &str, broker: SocketAddr, options: &Options) -> Command {
    let mut command = match (row.kind, what) {
        (Kind::Ours, "pub") => Command::new(env!("CARGO_BIN_EXE_pub")),
        (Kind::Ours, _) => Command::new(env!("CARGO_BIN_EXE_sub")),
        (_, "pub") => Command::new("mosquitto_pub"),
        (_, _) => {
            // by itself it keeps "Subscribed" to itself until a message comes, unless on a terminal
            let mut command = Command::new("stdbuf");
            command.args(["-oL", "mosquitto_sub"]);
            command
        }
    };
    let version = match row.version {
        Version::V31 => "mqttv31",
        Version::V311 => "mqttv311",
        Version::V5 => "mqttv5",
    };
    command.args(["-h", &broker.ip().to_string(), "-p", &broker.port().to_string(), "-V", version, "-d"]);
    if !options.id.is_empty() {
        command.args(["-i", &options.id]);
    }
    command.args(options.keep.then_some("-c"));
    if let Some(authority) = &options.authority {
        command.arg("--cafile").arg(authority);
    }
    command.args(options.websocket.then_some("--ws"));
    if let Some((user, password)) = options.user {
        command.args(["-u", user, "-P", password]);
    }
    if let Some(will) = &options.will {
        will_arguments(&mut command, will);
    }
    for (packet, name, value) in &options.properties {
        command.args(["-D", packet, name, &value.to_string()]);
    }
    command
}

/// What `agent.py` and `agent.js` understand alike.
fn scripted(row: Row, what: &str, broker: SocketAddr, options: &Options) -> Command {
    let (interpreter, agent) = match row.kind {
        Kind::Npm => ("node".into(), "agent.js"),
        Kind::Paho1 => (std::env::var_os("MQTT_PAHO_1").unwrap(), "agent.py"),
        _ => (std::env::var_os("MQTT_PAHO_2").unwrap(), "agent.py"),
    };
    let mut command = Command::new(interpreter);
    command.arg(script(agent)).arg(what);
    command.args(["--host", &broker.ip().to_string(), "--port", &broker.port().to_string()]);
    command.args(["--version", &row.version.level().to_string(), "--id", &options.id]);
    command.args(options.keep.then_some("--keep"));
    if let Some(authority) = &options.authority {
        command.arg("--cafile").arg(authority);
    }
    command.args(options.websocket.then_some("--ws"));
    command.args(options.reconnect.then_some("--reconnect"));
    if let Some((user, password)) = options.user {
        command.args(["--user", user, "--password", password]);
    }
    if let Some(will) = &options.will {
        will_arguments(&mut command, will);
    }
    for (packet, name, value) in &options.properties {
        command.args(["--property", &format!("{packet} {name} {value}")]);
    }
    command.args(["--handling", &options.handling.to_string()]);
    command.args(options.as_published.then_some("--as-published"));
    command.args(options.again.then_some("--again"));
    if let Some(answer) = options.riddle {
        command.args(["--riddle", answer]);
    }
    command
}

fn will_arguments(command: &mut Command, will: &Message) {
    command.args(["--will-topic", &will.topic, "--will-payload", &will.payload, "--will-qos", &will.qos.to_string()]);
    command.args(will.retain.then_some("--will-retain"));
}

/// Why this paho-mqtt cannot be used, if it cannot.
pub fn paho_missing(variable: &str, version: &str) -> Option<String> {
    let Some(python) = std::env::var_os(variable) else {
        return Some(format!("{variable} names no python interpreter"));
    };
    let program = "import importlib.metadata as m; print(m.version('paho-mqtt'))";
    let output = Command::new(&python).args(["-c", program]).output();
    let found = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    match found {
        Ok(found) if found.starts_with(version) => None,
        found => Some(format!("{python:?} should have paho-mqtt {version}, has {found:?}")),
    }
}

/// Why `mqtt` from npm cannot be used, if it cannot.
pub fn npm_missing() -> Option<String> {
    let Some(directory) = std::env::var_os("MQTT_NPM") else {
        return Some("MQTT_NPM names no directory with node_modules".into());
    };
    let package = std::path::Path::new(&directory).join("node_modules/mqtt/package.json");
    let program = "console.log(require(process.argv[1]).version)";
    let output = Command::new("node").args(["-e", program]).arg(&package).output();
    let found = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    match found {
        Ok(found) if found.starts_with("5.") => None,
        found => Some(format!("{package:?} should be of mqtt 5.x, and node there to run it; found is {found:?}")),
    }
}

/// Why the mosquitto clients cannot be used, if they cannot.
pub fn mosquitto_missing() -> Option<String> {
    ["mosquitto_pub", "mosquitto_sub", "stdbuf"].into_iter().find_map(|name| {
        let error = Command::new(name).arg("--help").output().err()?;
        Some(format!("{name}: {error}"))
    })
}
