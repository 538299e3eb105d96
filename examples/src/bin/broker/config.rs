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
    /// v4 [MQTT-7.0.0-2]: what the standard says is all that a client needs to know.
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
mod tests;
