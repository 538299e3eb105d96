//! The configuration file: its keys, their defaults, and errors that name key, value and line.

mod hook;
mod limits;
mod listeners;

use crate::Failure;
use crate::logging::LogFormat;
use crate::trace::{Subject, Traces};
pub(crate) use hook::{Hook, HookEvent};
use limits::{Flaps, Limits, Offer};
use listeners::Listen;
pub(crate) use listeners::{Address, Listener};
use mqtt_broker_core::{Config, Durability};
use mqtt_topic::{TopicFilter, TopicFilterBuf};
use serde::Deserialize;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// What the program was asked to do.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where to listen.
    pub(crate) listeners: Vec<Listener>,
    /// Who may connect.
    pub(crate) password_file: Option<PathBuf>,
    /// Who may do what; without one, everybody who is let in may do everything.
    pub(crate) acl_file: Option<PathBuf>,
    /// What is written about clients without a password; listeners may say otherwise.
    pub(crate) allow_anonymous: Option<bool>,
    /// Where the program is looked after.
    pub(crate) admin: Option<Admin>,
    /// The program that is asked who may do what.
    pub(crate) hook: Option<Hook>,
    /// The folder for what is to survive a restart.
    pub(crate) data: Option<PathBuf>,
    /// How it is to.
    durability: Option<HowDurable>,
    /// What is logged.
    pub(crate) log_level: tracing::Level,
    /// For whom it is written.
    pub(crate) log_format: LogFormat,
    /// Clients that are followed in the log.
    pub(crate) trace_clients: Vec<String>,
    /// Topics that are.
    pub(crate) trace_topics: Vec<TraceTopic>,
    /// Everything the broker itself decides by.
    pub(crate) core: Config,
}

/// The listener for `/metrics` and `/healthz`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, try_from = "AdminTable")]
pub(crate) struct Admin {
    /// Where.
    pub(crate) address: SocketAddr,
    /// What who asks must show.
    pub(crate) token: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdminTable {
    address: String,
    token: Option<String>,
}

impl TryFrom<AdminTable> for Admin {
    type Error = String;
    fn try_from(AdminTable { address, token }: AdminTable) -> Result<Self, String> {
        let Ok(address) = address.parse::<SocketAddr>() else {
            return Err(format!("`{address}` is no IP address with a port, such as 127.0.0.1:9883"));
        };
        if token.as_deref() == Some("") {
            return Err("`token` is empty".into());
        }
        if token.is_none() && !address.ip().to_canonical().is_loopback() {
            return Err(format!("`{address}` is no loopback address: it needs a `token`"));
        }
        Ok(Self { address, token })
    }
}

impl Default for Settings {
    fn default() -> Self {
        File::default().settings()
    }
}

impl Settings {
    /// Reads a configuration file.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
        let mut settings =
            Self::parse(&text).map_err(|error| Failure::Usage(format!("{}, {error}", path.display())))?;
        if let Some(folder) = path.parent() {
            settings.relative_to(folder);
        }
        Ok(settings)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| describe(text, &error))?;
        Ok(file.settings())
    }

    /// Paths are relative to the folder of the file that names them.
    fn relative_to(&mut self, folder: &Path) {
        let ca_file = self.hook.as_mut().and_then(|hook| hook.ca_file.as_mut());
        let files = [self.password_file.as_mut(), self.acl_file.as_mut(), self.data.as_mut(), ca_file];
        for file in files.into_iter().flatten() {
            *file = folder.join(&*file);
        }
        for Listener { password_file, acl_file, tls, .. } in &mut self.listeners {
            for file in [password_file, acl_file].into_iter().flatten() {
                *file = folder.join(&*file);
            }
            if let Some(tls) = tls {
                tls.relative_to(folder);
            }
        }
    }

    /// With a folder for it everything is durable that is not said to be less; without one nothing can be.
    pub(crate) fn settle_durability(&mut self) -> Result<(), Failure> {
        let asked = self.durability.map(Durability::from);
        self.core.durability = match self.data {
            Some(_) => asked.unwrap_or(Durability::Synced),
            None => asked.unwrap_or_default(),
        };
        let of_listeners = self.core.listeners.values().filter_map(|listener| listener.durability);
        let nowhere = self.data.is_none() && of_listeners.chain(asked).any(|asked| asked != Durability::None);
        if nowhere {
            return Err(Failure::Usage(
                "`durability` needs a folder: `data` in the configuration, or --data DIR".into(),
            ));
        }
        Ok(())
    }

    /// Who may connect by `listener`: its own word, or else what is said for all.
    pub(crate) fn password_file_of<'a>(&'a self, listener: &'a Listener) -> Option<&'a Path> {
        listener.password_file.as_deref().or(self.password_file.as_deref())
    }

    /// Who may do what that came in by `listener`.
    pub(crate) fn acl_file_of<'a>(&'a self, listener: &'a Listener) -> Option<&'a Path> {
        listener.acl_file.as_deref().or(self.acl_file.as_deref())
    }

    /// Who and what is followed in the log from the start.
    pub(crate) fn traces(&self) -> Result<Traces, Failure> {
        let clients = self.trace_clients.iter().cloned().map(Subject::Client);
        let topics = self.trace_topics.iter().map(|TraceTopic(filter)| Subject::Topic(filter.clone()));
        let mut traces = Traces::default();
        for subject in clients.chain(topics) {
            if !traces.add(subject.clone(), None) {
                return Err(Failure::Usage(format!("{subject} cannot be followed: too many others are")));
            }
        }
        Ok(traces)
    }

    /// Whether the hook says who comes in by `listener`: then passwords and anonymous clients are its affair.
    pub(crate) fn hook_admits(&self, listener: &Listener) -> bool {
        listener.asks_hook() && self.hook.as_ref().is_some_and(|hook| hook.events.contains(&HookEvent::Connect))
    }

    /// Says what is different for the clients of each listener, where something is; the listeners have their numbers by then.
    pub(crate) fn tell_core_of_listeners(&mut self) {
        let own = self.listeners.iter().map(|listener| listener.own(&self.core));
        self.core.listeners = (0..).zip(own).filter_map(|(number, own)| Some((number, own?))).collect();
    }

    /// The largest packet that clients of `listener` may send, bytes; by number.
    pub(crate) fn packet_sizes(&self) -> Vec<usize> {
        let own = |number| self.core.listeners.get(&number)?.server.as_ref();
        let numbers = (0..).take(self.listeners.len());
        numbers.map(|number| own(number).unwrap_or(&self.core.server).maximum_packet_size as usize).collect()
    }

    /// Whether `listener` lets clients in that name no user: as written, else only where nobody but this machine can
    /// connect and there is nothing to check.
    pub(crate) fn lets_anybody_in(&self, listener: &Listener) -> bool {
        let unwritten = self.password_file_of(listener).is_none() && listener.address.is_local();
        listener.allow_anonymous.or(self.allow_anonymous).unwrap_or(unwritten)
    }
}

/// One line: where, what is written there, and what is wrong with it.
fn describe(text: &str, error: &toml::de::Error) -> String {
    let message = error
        .message()
        .replace("unknown field", "unknown key")
        .replace("missing field", "missing key")
        .replace('\n', "; ");
    let Some(start) = error.span().map(|span| span.start.min(text.len())) else {
        return message;
    };
    let before = text.get(..start).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let line = text.lines().nth(number - 1).unwrap_or_default().trim();
    format!("line {number}: `{line}`: {message}")
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    #[serde(deserialize_with = "listeners::listeners")]
    listen: Vec<Listen>,
    password_file: Option<PathBuf>,
    acl_file: Option<PathBuf>,
    allow_anonymous: Option<bool>,
    admin: Option<Admin>,
    hook: Option<Hook>,
    data: Option<PathBuf>,
    durability: Option<HowDurable>,
    log_level: LogLevel,
    log_format: LogFormat,
    trace_clients: Vec<String>,
    trace_topics: Vec<TraceTopic>,
    sys_interval_s: Option<NonZeroU32>,
    flapping: Option<Flaps>,
    limits: Limits,
    offer: Offer,
}

impl Default for File {
    fn default() -> Self {
        Self {
            listen: vec![Listen(Listener::default())],
            password_file: None,
            acl_file: None,
            allow_anonymous: None,
            admin: None,
            hook: None,
            data: None,
            durability: None,
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
            trace_clients: Vec::new(),
            trace_topics: Vec::new(),
            sys_interval_s: None,
            flapping: None,
            limits: Limits::default(),
            offer: Offer::default(),
        }
    }
}

impl File {
    fn settings(self) -> Settings {
        let mut core = Config::default();
        self.limits.apply(&mut core);
        self.offer.apply(&mut core);
        core.sys_interval = self.sys_interval_s.map(|seconds| Duration::from_secs(seconds.get().into()));
        core.flapping = self.flapping.map(Into::into);
        let mut settings = Settings {
            listeners: self.listen.into_iter().map(|Listen(listener)| listener).collect(),
            password_file: self.password_file,
            acl_file: self.acl_file,
            allow_anonymous: self.allow_anonymous,
            admin: self.admin,
            hook: self.hook,
            data: self.data,
            durability: self.durability,
            log_level: self.log_level.into(),
            log_format: self.log_format,
            trace_clients: self.trace_clients,
            trace_topics: self.trace_topics,
            core,
        };
        settings.tell_core_of_listeners();
        settings
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum HowDurable {
    None,
    Buffered,
    Synced,
}

impl From<HowDurable> for Durability {
    fn from(how: HowDurable) -> Self {
        match how {
            HowDurable::None => Self::None,
            HowDurable::Buffered => Self::Buffered,
            HowDurable::Synced => Self::Synced,
        }
    }
}

/// A topic filter to be followed.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct TraceTopic(TopicFilterBuf);

impl FromStr for TraceTopic {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let filter = TopicFilter::new(text).map_err(|error| format!("`{text}` is no topic filter: {error}"))?;
        Ok(Self(filter.into()))
    }
}

impl TryFrom<String> for TraceTopic {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documented file: explanations are `# text`, defaults are `#key = value`.
    const DOCUMENTED: &str = include_str!("../../../broker.toml");

    fn with_defaults_written_out() -> String {
        let uncommented = |line: &str| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest.to_owned(),
            _ => line.to_owned(),
        };
        DOCUMENTED.lines().map(uncommented).collect::<Vec<_>>().join("\n")
    }

    /// The lines `#   key = value` that document a table of `listen`.
    fn of_listeners() -> Vec<&'static str> {
        let keys = DOCUMENTED.lines().filter_map(|line| line.strip_prefix("#   "));
        keys.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = ")).collect()
    }

    #[test]
    fn every_key_of_a_listener_is_documented_and_understood() {
        let written = format!("[[listen]]\n{}", of_listeners().join("\n"));
        let settings = Settings::parse(&written).unwrap();
        let keys = format!("{:#?}", settings.listeners.first().unwrap());
        // one level down: the keys themselves
        let keys = keys.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
        for (key, value) in keys.filter(|(key, _)| !key.starts_with(' ')) {
            assert!(
                of_listeners().iter().any(|line| line.starts_with(&format!("{key} = "))),
                "{key} is not documented"
            );
            assert_ne!(value, "None,", "{key}");
        }
    }

    #[test]
    fn a_listener_is_told_to_the_core_by_its_number_with_what_it_leaves_out() {
        let text = "[[listen]]\naddress = \"127.0.0.1:1\"\n\n[[listen]]\naddress = \"127.0.0.1:2\"\nmax_packet_size = 64\n\
                    max_qos = 1\nclient_bytes_per_s = 5\nversions = [\"5.0\"]\n\n[limits]\nreceive_maximum = 7\nclient_messages_per_s = 9\n";
        let settings = Settings::parse(text).unwrap();
        assert_eq!(settings.packet_sizes(), [1 << 20, 64]);
        assert_eq!(settings.core.listeners.len(), 1, "the first is as all are");
        let second = settings.core.listeners.get(&1).unwrap();
        let server = second.server.as_ref().unwrap();
        assert_eq!((server.maximum_qos as u8, server.receive_maximum), (1, 7));
        let rates = second.client_rates.unwrap();
        assert_eq!((rates.messages.unwrap().per_second, rates.bytes.unwrap().per_second), (9, 5));
        assert_eq!(second.versions, Some(mqtt_broker_core::Versions { v31: false, v311: false, v5: true }));
    }

    #[test]
    fn a_wrong_key_or_value_is_named_with_its_line_at_every_kind_of_listener() {
        let tls = "tls = { certificate = \"c\", key = \"k\" }";
        let kinds = [
            ("127.0.0.1:1", String::new()),
            ("127.0.0.1:1", tls.to_owned()),
            ("127.0.0.1:1", "websocket = true".to_owned()),
            ("127.0.0.1:1", format!("websocket = true\n{tls}")),
            ("127.0.0.1:1", "proxy_protocol = true".to_owned()),
            ("unix:/run/mqtt.sock", String::new()),
        ];
        let rows = [
            ("max_packet_sise = 5", "unknown key `max_packet_sise`"),
            ("max_packet_size = 0", "invalid value: integer `0`"),
            ("max_connections = \"many\"", "invalid type: string \"many\""),
            ("versions = []", "no version: nobody could connect"),
            ("max_qos = 3", "`3` is no QoS"),
            ("client_bytes_per_s = -1", "invalid value: integer `-1`"),
        ];
        for (address, more) in &kinds {
            for (wrong, expected) in rows {
                let head = format!("[[listen]]\naddress = \"{address}\"\n{more}\n");
                let line = head.lines().count() + 1;
                let error = Settings::parse(&format!("{head}{wrong}\n")).unwrap_err();
                assert!(error.starts_with(&format!("line {line}: `{wrong}`: {expected}")), "{more} {wrong}: {error}");
            }
        }
        for (tls, expected) in [
            ("{ certificate = \"c\", key = \"k\", keys = 1 }", "unknown key `keys`"),
            ("{ certificate = \"c\", key = 1 }", "invalid type: integer `1`"),
            ("{ certificate = \"c\" }", "missing key `key`"),
        ] {
            let error = Settings::parse(&format!("[[listen]]\naddress = \"1.2.3.4:5\"\ntls = {tls}\n")).unwrap_err();
            assert!(error.starts_with("line 3: ") && error.contains(expected), "{error}");
        }
        let error = Settings::parse("[[listen]]\naddress = \"unix:/x\"\nproxy_protocol = true\n").unwrap_err();
        assert!(error.starts_with("line 1: ") && error.contains("not for unix sockets"), "{error}");
    }

    #[test]
    fn the_documented_file_is_a_valid_one_that_changes_nothing() {
        let settings = Settings::parse(DOCUMENTED).unwrap();
        assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::default()));
    }

    #[test]
    fn the_file_for_a_deployment_is_understood() {
        let settings = Settings::parse(include_str!("../../../deploy/broker.toml")).unwrap();
        assert!(
            settings.listeners.iter().all(|listener| listener.tls.is_some() && !settings.lets_anybody_in(listener))
        );
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let mut settings = Settings::parse(&with_defaults_written_out()).unwrap();
        // these have no default that could be written: the examples stand for them
        assert_eq!(settings.password_file.take(), Some(PathBuf::from("passwords")));
        assert_eq!(settings.acl_file.take(), Some(PathBuf::from("acl")));
        assert_eq!(settings.allow_anonymous.take(), Some(false));
        assert_eq!(settings.admin.take().map(|admin| admin.address.port()), Some(9883));
        assert_eq!(settings.hook.take().map(|hook| hook.timeout), Some(Duration::from_secs(2)));
        assert_eq!(settings.data.take(), Some(PathBuf::from("data")));
        assert_eq!(settings.durability.take(), Some(HowDurable::Synced));
        let core = &mut settings.core;
        assert_eq!(core.server.maximum_keep_alive.take(), Some(3600));
        assert_eq!((core.message_expiry.take(), core.max_message_expiry.take()), (Some(86_400), Some(604_800)));
        let rates = std::mem::take(&mut core.client_rates);
        let counts = [rates.messages, rates.bytes, core.address_rate.take(), core.admission_rate.take()];
        assert_eq!(counts.map(|rate| rate.unwrap().per_second), [1_000, 1_048_576, 20, 500]);
        assert_eq!(core.sys_interval.take(), Some(Duration::from_secs(10)));
        assert_eq!(core.flapping.take().map(|flapping| flapping.ban_for), Some(Duration::from_secs(300)));
        assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::default()));
    }

    #[test]
    fn a_folder_makes_everything_synced_that_is_not_said_to_be_less() {
        let rows = [
            ("", Some(Durability::None)),
            ("data = \"d\"", Some(Durability::Synced)),
            ("data = \"d\"\ndurability = \"buffered\"", Some(Durability::Buffered)),
            ("data = \"d\"\ndurability = \"none\"", Some(Durability::None)),
            ("durability = \"none\"", Some(Durability::None)),
            ("durability = \"synced\"", None),
            ("[[listen]]\naddress = \"127.0.0.1:1\"\ndurability = \"buffered\"", None),
        ];
        for (text, expected) in rows {
            let mut settings = Settings::parse(text).unwrap();
            let settled = settings.settle_durability().map(|()| settings.core.durability);
            assert_eq!(settled.ok(), expected, "{text}");
        }
    }

    #[test]
    fn every_key_is_documented() {
        let written: File = toml::from_str(&with_defaults_written_out()).unwrap();
        let keys = format!("{written:#?}");
        for key in keys.lines().filter_map(|line| line.trim().split_once(": ")).map(|(key, _)| key) {
            // keys of tables that are written on one line
            let tables = [
                "token",
                "connects",
                "within_s",
                "ban_s",
                "url",
                "events",
                "authorization",
                "ca_file",
                "timeout",
                "threads",
                "queue",
            ];
            let written = match key {
                "v31" | "v311" | "v5" => true, // within `versions`
                key if tables.contains(&key) => DOCUMENTED.contains(key),
                key if of_listeners().iter().any(|line| line.starts_with(&format!("{key} = "))) => true,
                key => DOCUMENTED.contains(&format!("#{key} = ")) || DOCUMENTED.contains(&format!("[{key}]")),
            };
            assert!(written, "{key} is not documented");
        }
    }

    #[test]
    fn an_error_names_the_key_the_value_and_the_line() {
        let rows = [
            ("max_conections = 5", "line 1: `max_conections = 5`: unknown key `max_conections`"),
            (
                "\n[limits]\nmax_connections = \"many\"",
                "line 3: `max_connections = \"many\"`: invalid type: string \"many\"",
            ),
            ("[limits]\nmax_connections = 0", "line 2: `max_connections = 0`: invalid value: integer `0`"),
            ("[limits]\nqueue_messages = -1", "line 2: `queue_messages = -1`: invalid value: integer `-1`"),
            ("[limits]\noverflow = \"explode\"", "line 2: `overflow = \"explode\"`: unknown variant `explode`"),
            ("[limits]\nmax_conections = 5", "line 2: `max_conections = 5`: unknown key `max_conections`"),
            ("\nlisten = [\"localhost\"]", "line 2: `listen = [\"localhost\"]`: `localhost` is no IP address"),
            ("[[listen]]\naddress = \"1.2.3.4\"", "line 2: `address = \"1.2.3.4\"`: `1.2.3.4` is no IP address"),
            ("[[listen]]\naddress = \"1.2.3.4:5\"\ntsl = true", "line 3: `tsl = true`: unknown key `tsl`"),
            ("[[listen]]\naddress = \"unix:\"", "line 2: `address = \"unix:\"`: `unix:` names no file"),
            ("admin = { address = \"here\" }", "line 1: `admin = { address = \"here\" }`: `here` is no IP address"),
            ("hook = { url = \"here\" }", "line 1: `hook = { url = \"here\" }`: `here` is no URL"),
            ("hook = { url = \"https://h/\" }", "line 1: `hook = { url = \"https://h/\" }`: with https, `ca_file`"),
            (
                "[hook]\nurl = \"http://h/\"\nevents = [\"conect\"]",
                "line 3: `events = [\"conect\"]`: unknown variant `conect`",
            ),
            ("[hook]\nurl = \"http://h/\"\ntimeout_s = 1", "line 3: `timeout_s = 1`: unknown key `timeout_s`"),
            ("[hook]\nurl = \"http://h/\"\nthreads = 0", "line 3: `threads = 0`: invalid value: integer `0`"),
            ("trace_topics = [\"a#\"]", "line 1: `trace_topics = [\"a#\"]`: `a#` is no topic filter"),
            ("log_format = \"xml\"", "line 1: `log_format = \"xml\"`: unknown variant `xml`"),
            ("listen = []", "line 1: `listen = []`: nowhere to listen"),
            ("[[listen]]\nallow_anonymous = true", "line 1: `[[listen]]`: missing key `address`"),
            ("[offer]\nmax_qos = 3", "line 2: `max_qos = 3`: `3` is no QoS"),
            ("[offer]\nversions = [\"4\"]", "line 2: `versions = [\"4\"]`: `4` is no version"),
            (
                "allow_anonymous = \"yes\"",
                "line 1: `allow_anonymous = \"yes\"`: invalid type: string \"yes\", expected a boolean",
            ),
            ("allow_anonymous = ", "line 1: `allow_anonymous =`: "),
        ];
        for (text, expected) in rows {
            let error = Settings::parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}\n  gave     {error}\n  expected {expected}");
        }
    }

    #[test]
    fn anybody_is_let_in_on_loopback_without_passwords_or_where_it_is_written_out() {
        let rows = [
            ("", "127.0.0.1:1", true),
            ("", "[::1]:1", true),
            ("", "[::ffff:127.0.0.1]:1", true),
            ("", "0.0.0.0:1", false),
            ("", "192.0.2.1:1", false),
            ("password_file = \"p\"", "127.0.0.1:1", false),
            ("allow_anonymous = true", "0.0.0.0:1", true),
            ("allow_anonymous = true\npassword_file = \"p\"", "0.0.0.0:1", true),
            ("allow_anonymous = false", "127.0.0.1:1", false),
        ];
        for (text, address, expected) in rows {
            let settings = Settings::parse(text).unwrap();
            let listener = Listener::new(address.parse().unwrap());
            assert_eq!(settings.lets_anybody_in(&listener), expected, "{text:?} {address}");
            let mut exception = listener;
            exception.allow_anonymous = Some(!expected);
            assert_eq!(settings.lets_anybody_in(&exception), !expected, "the listener's own word counts");
        }
    }
}
