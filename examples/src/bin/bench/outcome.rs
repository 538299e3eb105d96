//! What came of a run, for people and for programs.

use crate::ledger::Checks;
use crate::load::{Load, Target, version_name};
use crate::process::{Memory, Process};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// One number, with what it is. Less is better, but for rates.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
}

/// The result of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) load: Description,
    pub(crate) checks: Checks,
    pub(crate) figures: Vec<Figure>,
}

/// The load as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) scenario: String,
    pub(crate) version: String,
    pub(crate) qos: u8,
    pub(crate) size: usize,
    pub(crate) clients: usize,
    pub(crate) messages: u32,
    /// Messages per second asked for; 0 where nothing is.
    pub(crate) rate: u32,
}

impl Description {
    /// Of this load.
    pub(crate) fn of(load: &Load) -> Self {
        Self {
            scenario: load.scenario.name(),
            version: version_name(load.version).to_owned(),
            qos: load.qos as u8,
            size: load.size,
            clients: load.clients,
            messages: load.messages,
            rate: if load.scenario == crate::load::Scenario::Latency { load.rate } else { 0 },
        }
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let Self { scenario, version, qos, size, clients, messages, rate } = self;
        let mut line = format!("{scenario}: MQTT {version}, QoS {qos}, {size} bytes, {clients} clients");
        if *messages > 0 {
            line.push_str(&format!(", {messages} messages"));
        }
        if *rate > 0 {
            line.push_str(&format!(", {rate} a second"));
        }
        line
    }
}

impl Outcome {
    /// An outcome without figures.
    pub(crate) fn new(load: &Load, checks: Checks) -> Self {
        Self { load: Description::of(load), checks, figures: Vec::new() }
    }

    /// Adds a figure.
    pub(crate) fn push(&mut self, name: &str, value: f64) {
        self.figures.push(Figure { name: name.to_owned(), value });
    }

    /// Adds the cost of each of `count` things.
    pub(crate) fn push_cost(&mut self, cost: &Cost, count: u64, of: &str) {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count.max(1) as f64;
        if let Some(broker) = cost.broker {
            self.push(&format!("broker CPU us per {of}"), each(broker));
        }
        self.push(&format!("bench CPU us per {of}"), each(cost.own));
    }

    /// Adds the percentiles of times in nanoseconds.
    pub(crate) fn push_latency(&mut self, latency: &Histogram<u64>) {
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
            self.push(&format!("latency {name} us"), latency.value_at_quantile(quantile) as f64 / 1e3);
        }
    }

    /// The table for people.
    pub(crate) fn print(&self) {
        println!("{}", self.load.line());
        for Figure { name, value } in &self.figures {
            println!("  {name:<32} {:>14}", number(*value));
        }
        println!("  {}", self.checks_line());
    }

    /// What was checked, in words.
    pub(crate) fn checks_line(&self) -> String {
        let Checks { expected, delivered, lost, duplicates, misordered, unexpected, unacknowledged, refused, closed } =
            &self.checks;
        let mut line = format!(
            "{delivered} of {expected} delivered, {lost} lost, {duplicates} duplicates, {misordered} misordered"
        );
        let rare = [(unexpected, "unexpected"), (unacknowledged, "unacknowledged"), (refused, "refused")];
        for (count, what) in rare.into_iter().chain([(closed, "connections closed")]) {
            if *count > 0 {
                line.push_str(&format!(", {count} {what}"));
            }
        }
        line
    }
}

/// A number with three significant digits or all before the point.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A histogram for times in nanoseconds, up to a minute.
pub(crate) fn times() -> Result<Histogram<u64>, String> {
    Histogram::new_with_bounds(100, 60_000_000_000, 3).map_err(|error| error.to_string())
}

/// CPU time spent meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) broker: Option<Duration>,
    pub(crate) own: Duration,
    /// Time on the clock.
    pub(crate) elapsed: Duration,
}

/// A measurement that runs.
pub(crate) struct Meter {
    broker: Option<Process>,
    began: Instant,
    broker_cpu: Duration,
    own_cpu: Duration,
    /// Of the broker, when the measurement began.
    pub(crate) memory: Memory,
}

impl Meter {
    /// Begins.
    pub(crate) fn start(target: &Target) -> Result<Self, String> {
        let broker = target.process;
        Ok(Self {
            broker,
            memory: broker.map_or(Ok(Memory::default()), Process::memory)?,
            broker_cpu: broker.map_or(Ok(Duration::ZERO), Process::cpu)?,
            own_cpu: Process::own().cpu().unwrap_or_default(),
            began: Instant::now(),
        })
    }

    /// The cost up to now. A broker that is gone has cost what cannot be told: an error.
    pub(crate) fn cost(&self) -> Result<Cost, String> {
        let elapsed = self.began.elapsed();
        let broker = self.broker.map(Process::cpu).transpose()?;
        Ok(Cost {
            broker: broker.map(|cpu| cpu.saturating_sub(self.broker_cpu)),
            own: Process::own().cpu().unwrap_or_default().saturating_sub(self.own_cpu),
            elapsed,
        })
    }

    /// Growth of the broker's memory up to now, in bytes: resident and proportional.
    pub(crate) fn growth(&self) -> Result<Option<(f64, f64)>, String> {
        let Some(broker) = self.broker else { return Ok(None) };
        let now = broker.memory()?;
        let grown = |now: u64, before: u64| now as f64 - before as f64;
        let Memory { resident, proportional } = self.memory;
        Ok(Some((grown(now.resident, resident), grown(now.proportional, proportional))))
    }
}
