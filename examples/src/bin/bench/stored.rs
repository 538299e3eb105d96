//! Messages that wait in the broker: retained ones for a new subscriber, queued ones for a client that is away.

use crate::clients::{self, Client, TICK};
use crate::ledger::{Checks, Ledger};
use crate::load::{Load, Target};
use crate::net::Net;
use crate::outcome::{Meter, Outcome};
use crate::progress::Progress;
use crate::wire::{self, Incoming, PUBACK, PUBCOMP, PUBREC, PUBREL, Stamp, Template};
use mqtt_codec::Qos;
use std::time::{Duration, Instant};

/// Subscribers, one after the other, to whom retained messages are replayed.
const REPLAYS: usize = 3;
/// How long to look for what should not come any more.
const AFTERMATH: Duration = Duration::from_millis(50);

/// Retained messages: stored, replayed, taken away again.
pub(crate) fn retained(load: &Load, target: &Target) -> Result<Outcome, String> {
    let mut net = Net::new(load.size + 1024)?;
    let publisher = Client::new("p".into(), Vec::new());
    let (conns, granted) = clients::join(&mut net, load, target, &[publisher], |_| {})?;
    let topic = |number: u32| format!("bench/retained/{}/{}", number / 1000, number % 1000);
    let mut sender = Sender { net: &mut net, conn: conns[0], load, window: load.window.min(granted.receive_maximum) };

    let meter = Meter::start(target)?;
    let mut checks = sender
        .publish("storing", |number| Template::new(load.version, &topic(number), Qos::AtLeastOnce, true, load.size))?;
    let growth = meter.growth()?;

    let replay = Meter::start(target)?;
    let mut times = Vec::new();
    for number in 0..REPLAYS {
        let client = Client::new(format!("s{number}"), Vec::new());
        let (conns, _) = clients::join(&mut net, load, target, &[client], |_| {})?;
        let subscribe = wire::subscribe(load.version, &["bench/retained/#".to_owned()], load.qos)?;
        net.out(conns[0]).extend(subscribe);
        // each is a stream of its own: order is promised within a topic only
        let streams = (0..load.messages).collect();
        let (time, came) = receive(&mut net, conns[0], load, streams, vec![1; load.messages as usize])?;
        times.push(time);
        checks.add(&came);
        clients::part(&mut net, &conns, target)?;
    }
    let cost = replay.cost()?;
    times.sort();

    checks.closed = net.closed() as u64;
    let delivered = checks.delivered;
    let mut outcome = Outcome::new(load, checks);
    outcome.push("replay ms", times[times.len() / 2].as_secs_f64() * 1e3);
    outcome.push_cost(&cost, delivered, "replayed message");
    if let Some((resident, _)) = growth {
        outcome.push("RSS bytes per retained message", resident / f64::from(load.messages));
    }
    let mut sender = Sender { net: &mut net, conn: conns[0], load, window: load.window.min(granted.receive_maximum) };
    sender.publish("clearing", |number| Template::clearing(load.version, &topic(number)))?;
    clients::part(&mut net, &conns, target)?;
    Ok(outcome)
}

/// A client with a session goes, messages come, it comes back.
pub(crate) fn offline(load: &Load, target: &Target) -> Result<Outcome, String> {
    let mut net = Net::new(load.size + 1024)?;
    let qos = load.qos;
    let topic = "bench/offline".to_owned();
    let away = Client::new("away".into(), Vec::new());

    // comes, subscribes, goes
    let conn = net.connect(target.address)?;
    net.out(conn).extend(wire::connect(load.version, &away.id(), false)?);
    let subscribe = wire::subscribe(load.version, std::slice::from_ref(&topic), qos)?;
    settle(&mut net, conn, load, 1)?;
    net.out(conn).extend(subscribe);
    settle(&mut net, conn, load, 1)?;
    clients::part(&mut net, &[conn], target)?;

    let publisher = Client::new("p".into(), Vec::new());
    let (conns, granted) = clients::join(&mut net, load, target, &[publisher], |_| {})?;
    let meter = Meter::start(target)?;
    let mut sender = Sender { net: &mut net, conn: conns[0], load, window: load.window.min(granted.receive_maximum) };
    let mut checks = sender.publish("queueing", |_| Template::new(load.version, &topic, qos, false, load.size))?;
    let growth = meter.growth()?;
    let queued = meter.cost()?;

    let drain = Meter::start(target)?;
    let back = net.connect(target.address)?;
    net.out(back).extend(wire::connect(load.version, &away.id(), false)?);
    let (time, came) = receive(&mut net, back, load, vec![0], vec![load.messages])?;
    let cost = drain.cost()?;
    checks.add(&came);
    clients::part(&mut net, &[back], target)?;

    // comes once more, and leaves nothing
    let last = net.connect(target.address)?;
    net.out(last).extend(wire::connect(load.version, &away.id(), true)?);
    settle(&mut net, last, load, 1)?;
    checks.closed = net.closed() as u64;
    clients::part(&mut net, &[last, conns[0]], target)?;

    let delivered = checks.delivered;
    let mut outcome = Outcome::new(load, checks);
    outcome.push("drain ms", time.as_secs_f64() * 1e3);
    outcome.push_cost(&cost, delivered, "drained message");
    outcome.push("queueing ms", queued.elapsed.as_secs_f64() * 1e3);
    if let Some((resident, _)) = growth {
        outcome.push("RSS bytes per queued message", resident / f64::from(load.messages));
    }
    Ok(outcome)
}

/// Waits for so many packets (CONNACK, SUBACK) on one connection.
fn settle(net: &mut Net, conn: usize, load: &Load, packets: usize) -> Result<(), String> {
    let (mut count, began) = (0, Instant::now());
    while count < packets {
        net.turn(TICK, |number, bytes, _| {
            let mut rest = bytes;
            while let Some((packet, len)) = wire::next(rest, load.version)? {
                if packet == Incoming::Other(0x20) && number == conn {
                    clients::connack(rest.get(..len).unwrap_or_default(), load.version)?;
                }
                count += usize::from(number == conn);
                rest = rest.get(len..).unwrap_or_default();
            }
            Ok(bytes.len() - rest.len())
        })?;
        if began.elapsed() > load.patience || !net.is_open(conn) {
            return Err("the broker does not answer a CONNECT or SUBSCRIBE".into());
        }
    }
    Ok(())
}

/// One publisher that sends everything, so many at once, and waits for the acknowledgements.
struct Sender<'n> {
    net: &'n mut Net,
    conn: usize,
    load: &'n Load,
    window: u32,
}

impl Sender<'_> {
    /// Stream and sequence count so that what is retained is a stream for each message, and what is queued is one stream.
    fn publish(&mut self, what: &str, template: impl Fn(u32) -> Result<Template, String>) -> Result<Checks, String> {
        let total = self.load.messages;
        let mut progress = Progress::new(what, total.into());
        let (mut sent, mut acknowledged, mut refused, mut id) = (0, 0, 0, 0_u16);
        let mut last = Instant::now();
        let own_stream = self.load.scenario == crate::load::Scenario::Retained;
        while acknowledged < total {
            while sent < total && sent - acknowledged < self.window {
                id = id.checked_add(1).unwrap_or(1);
                let stamp = if own_stream { (sent, 0) } else { (0, sent) };
                let stamp = Stamp { stream: stamp.0, sequence: stamp.1, due: 0 };
                template(sent)?.append(self.net.out(self.conn), id, stamp);
                sent += 1;
            }
            let before = acknowledged;
            let (conn, version) = (self.conn, self.load.version);
            self.net.turn(TICK, |number, bytes, out| {
                let mut rest = bytes;
                while let Some((packet, len)) = wire::next(rest, version)? {
                    rest = rest.get(len..).unwrap_or_default();
                    match packet {
                        Incoming::Ack { first: PUBREC, id, refused: false } => out.extend(wire::ack(PUBREL, id)),
                        Incoming::Ack { refused: no, .. } if number == conn => {
                            acknowledged += 1;
                            refused += u64::from(no);
                        }
                        _ => {}
                    }
                }
                Ok(bytes.len() - rest.len())
            })?;
            let now = Instant::now();
            progress.set(acknowledged.into(), now);
            if acknowledged > before {
                last = now;
            }
            if now - last > self.load.patience || !self.net.is_open(self.conn) {
                break;
            }
        }
        Ok(Checks { unacknowledged: (total - acknowledged).into(), refused, ..Checks::default() })
    }
}

/// Waits for everything that was sent, and acknowledges it; tells how long it took.
fn receive(
    net: &mut Net,
    conn: usize,
    load: &Load,
    streams: Vec<u32>,
    sent: Vec<u32>,
) -> Result<(Duration, Checks), String> {
    let mut ledger = Ledger::new(&[streams]);
    let total: u64 = sent.iter().copied().map(u64::from).sum();
    let mut progress = Progress::new("receiving", total);
    let began = Instant::now();
    let (mut heard, mut last, mut until) = (0, began, None);
    loop {
        let before = heard;
        net.turn(TICK, |number, bytes, out| {
            let mut rest = bytes;
            while let Some((packet, len)) = wire::next(rest, load.version)? {
                if number == conn && packet == Incoming::Other(0x20) {
                    clients::connack(rest.get(..len).unwrap_or_default(), load.version)?;
                }
                rest = rest.get(len..).unwrap_or_default();
                match packet {
                    Incoming::Publish { qos, id, stamp } if number == conn => {
                        match qos {
                            0 => {}
                            1 => out.extend(wire::ack(PUBACK, id)),
                            _ => out.extend(wire::ack(PUBREC, id)),
                        }
                        heard += u64::from(ledger.delivered(0, stamp));
                    }
                    Incoming::Ack { first: PUBREL, id, .. } => out.extend(wire::ack(PUBCOMP, id)),
                    _ => {}
                }
            }
            Ok(bytes.len() - rest.len())
        })?;
        let now = Instant::now();
        progress.set(heard, now);
        if heard > before {
            last = now;
        }
        // complete: look a little longer for what should not come any more
        if heard >= total && until.is_none() {
            until = Some(now + AFTERMATH);
        }
        if until.is_some_and(|until| now >= until) || now - last > load.patience || !net.is_open(conn) {
            break;
        }
    }
    Ok((last - began, ledger.close(&sent)))
}
