//! What is asked for: the scenarios, their options and their defaults.

use crate::process::Process;
use crate::wire::STAMP;
use clap::{Args, ValueEnum};
use mqtt_codec::{Qos, Version};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// Each of N publishers to a subscriber of its own
    Pairs,
    /// One publisher to N subscribers
    FanOut,
    /// N publishers to one subscriber
    FanIn,
    /// N clients with ten filters each: 80% exact, 15% with one `+`, 5% with `#`; about 12 hits a message
    Mixed,
    /// Pairs at a fixed rate, whatever comes back; latency counts from the moment a message was due
    Latency,
    /// Pairs without any pacing but that of the sockets
    Flood,
    /// N connections with one subscription each, and nothing else: memory
    Idle,
    /// N clients connect, subscribe and disconnect
    Connect,
    /// N retained messages, replayed to a new subscriber
    Retained,
    /// N messages queued for a client that is away, which then comes back
    Offline,
    /// A subscriber that takes nothing, beside one that does
    Stalled,
    /// Pairs at QoS 1 or 2 in which the subscribers' sessions are to stay: with a broker that stores them, what its disk takes
    Durable,
}

impl Scenario {
    /// As it is written on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// The load; what is not given depends on the scenario.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Quality of service of publications and subscriptions
    #[arg(short, long, default_value = "0", value_parser = qos)]
    qos: Qos,
    /// Bytes of payload; 16 of them are the stamp
    #[arg(short, long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(STAMP as i64..=16 << 20))]
    size: Option<u32>,
    /// MQTT version
    #[arg(long, value_name = "VERSION", default_value = "3.1.1", value_parser = version)]
    mqtt: Version,
    /// How many pairs, subscribers, publishers or connections
    #[arg(short = 'n', long, value_name = "N")]
    clients: Option<NonZeroUsize>,
    /// Messages published, all publishers together
    #[arg(short, long, value_name = "N")]
    messages: Option<NonZeroU32>,
    /// Messages of one publisher under way at once
    #[arg(short, long, value_name = "N")]
    window: Option<NonZeroU32>,
    /// Messages per second (latency)
    #[arg(short, long, default_value = "20000")]
    rate: NonZeroU32,
    /// Seconds without any progress after which what is missing is lost
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    patience: f64,
    /// Lost messages are reported, and no failure
    #[arg(long)]
    allow_loss: bool,
}

/// A scenario with everything decided.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) scenario: Scenario,
    pub(crate) version: Version,
    pub(crate) qos: Qos,
    /// Bytes of payload.
    pub(crate) size: usize,
    pub(crate) clients: usize,
    /// Published, all together.
    pub(crate) messages: u32,
    pub(crate) window: u32,
    /// Messages per second.
    pub(crate) rate: u32,
    pub(crate) patience: Duration,
    pub(crate) allow_loss: bool,
}

impl Load {
    /// The options with the defaults of the scenario.
    pub(crate) fn new(scenario: Scenario, options: &Options) -> Result<Self, String> {
        let (clients, messages, window, size) = match scenario {
            Scenario::Pairs | Scenario::Flood => (50, 500_000, 100, 64),
            Scenario::FanOut => (1000, 1000, 50, 64),
            Scenario::FanIn => (1000, 500_000, 10, 64),
            Scenario::Mixed => (1000, 40_000, 20, 64),
            Scenario::Latency => (50, 100_000, 1000, 64),
            Scenario::Idle => (5000, 0, 64, 64),
            Scenario::Connect => (5000, 0, 50, 64),
            Scenario::Retained | Scenario::Offline => (1, 10_000, 100, 64),
            Scenario::Stalled => (1, 200_000, 100, 1024),
            Scenario::Durable => (100, 300_000, 20, 64),
        };
        let patience = Duration::try_from_secs_f64(options.patience).map_err(|error| format!("patience: {error}"))?;
        Ok(Self {
            scenario,
            version: options.mqtt,
            // nothing of QoS 0 is kept for anybody
            qos: if matches!(scenario, Scenario::Offline | Scenario::Durable) {
                options.qos.max(Qos::AtLeastOnce)
            } else {
                options.qos
            },
            size: options.size.map_or(size, |size| size as usize),
            clients: options.clients.map_or(clients, NonZeroUsize::get),
            messages: options.messages.map_or(messages, NonZeroU32::get),
            window: options.window.map_or(window, NonZeroU32::get),
            rate: options.rate.get(),
            patience,
            allow_loss: options.allow_loss,
        })
    }
}

/// Who is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The process behind it, if it can be watched.
    pub(crate) process: Option<Process>,
    /// Behind it is `bench forward`, which speaks no MQTT.
    pub(crate) floor: bool,
}

/// The number people know a version by.
pub(crate) fn version_name(version: Version) -> &'static str {
    mqtt_examples::words::version(version)
}

fn qos(text: &str) -> Result<Qos, String> {
    text.parse().ok().and_then(Qos::new).ok_or_else(|| "0, 1 or 2".into())
}

fn version(text: &str) -> Result<Version, String> {
    match text {
        "3.1.1" | "311" | "4" => Ok(Version::V311),
        "5.0" | "5" => Ok(Version::V5),
        _ => Err("3.1.1 or 5.0".into()),
    }
}
