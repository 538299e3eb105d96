//! Connections for their own sake: what an idle one holds, what a new one costs.

use crate::clients::{self, Client, TICK};
use crate::ledger::Checks;
use crate::load::{Load, Target};
use crate::net::Net;
use crate::outcome::{Meter, Outcome, times};
use std::time::{Duration, Instant};

/// How long a broker may put its memory in order.
const SETTLE: Duration = Duration::from_millis(300);
/// Connections that stand at once when clients come and go.
const BATCH: usize = 500;

fn clients(count: usize) -> Vec<Client> {
    (0..count).map(|number| Client::new(format!("i{number}"), vec![format!("bench/idle/{number}")])).collect()
}

/// Memory of idle connections.
pub(crate) fn idle(load: &Load, target: &Target) -> Result<Outcome, String> {
    let mut net = Net::new(1024)?;
    let meter = Meter::start(target)?;
    let (conns, _) = clients::join(&mut net, load, target, &clients(load.clients), |_| {})?;
    let until = Instant::now() + SETTLE;
    while Instant::now() < until {
        net.turn(TICK, |_, bytes, _| Ok(bytes.len()))?;
    }
    let mut outcome = Outcome::new(load, Checks { closed: net.closed() as u64, ..Checks::default() });
    if let Some((resident, proportional)) = meter.growth()? {
        outcome.push("RSS bytes per connection", resident / load.clients as f64);
        outcome.push("PSS bytes per connection", proportional / load.clients as f64);
        outcome.push("RSS MiB before", meter.memory.resident as f64 / f64::from(1 << 20));
    }
    let at_rest = Meter::start(target)?;
    let until = Instant::now() + SETTLE;
    while Instant::now() < until {
        net.turn(TICK, |_, bytes, _| Ok(bytes.len()))?;
    }
    let cost = at_rest.cost()?;
    if let Some(broker) = cost.broker {
        outcome.push("broker CPU ms per idle second", broker.as_secs_f64() * 1e3 / cost.elapsed.as_secs_f64());
    }
    clients::part(&mut net, &conns, target)?;
    Ok(outcome)
}

/// Clients that connect, subscribe and disconnect.
pub(crate) fn connect(load: &Load, target: &Target) -> Result<Outcome, String> {
    let all = clients(load.clients);
    let mut latency = times()?;
    let mut checks = Checks::default();
    let meter = Meter::start(target)?;
    for batch in all.chunks(BATCH) {
        let mut net = Net::new(1024)?;
        let (conns, _) = clients::join(&mut net, load, target, batch, |time| {
            latency.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        })?;
        checks.closed += net.closed() as u64;
        clients::part(&mut net, &conns, target)?;
    }
    let cost = meter.cost()?;
    let mut outcome = Outcome::new(load, checks);
    outcome.push("connects per second", load.clients as f64 / cost.elapsed.as_secs_f64());
    outcome.push_cost(&cost, load.clients as u64, "connect");
    outcome.push_latency(&latency);
    Ok(outcome)
}
