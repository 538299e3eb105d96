//! A subscriber that takes nothing, beside one that takes everything: what the first costs the broker and the second.

use crate::clients::{self, Client};
use crate::load::{Load, Target};
use crate::net::Net;
use crate::outcome::{Meter, Outcome};
use crate::plan::Plan;
use crate::traffic::Traffic;
use std::time::{Duration, Instant};

/// How often the broker's memory is looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// The run.
pub(crate) fn run(load: &Load, target: &Target) -> Result<Outcome, String> {
    let plan = Plan::of(load);
    let mut net = Net::new(load.size + 1024)?;
    let topic = plan.streams.iter().map(|stream| stream.topic.clone()).collect();
    let (stalled, _) = clients::join(&mut net, load, target, &[Client::new("stalled".into(), topic)], |_| {})?;
    for &conn in &stalled {
        net.deafen(conn);
    }
    let mut traffic = Traffic::join(&mut net, load, target, &plan)?;
    let meter = Meter::start(target)?;
    let (mut peak, mut next) = (0_f64, Instant::now());
    let cost = traffic.run(&mut net, &meter, &mut |now| {
        if now >= next {
            next = now + PAUSE;
            // a broker that is gone is reported where it matters
            if let Ok(Some((resident, _))) = meter.growth() {
                peak = peak.max(resident);
            }
        }
    })?;
    let checks = traffic.account(&net);
    clients::part(&mut net, &traffic.conns, target)?;
    let mut outcome = Outcome::new(load, checks);
    if target.process.is_some() {
        outcome.push("peak RSS growth MiB", peak / f64::from(1 << 20));
    }
    traffic.push_figures(&mut outcome, &cost);
    Ok(outcome)
}
