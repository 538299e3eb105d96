//! Messages from publishers to subscribers, paced, stamped and accounted for.

use crate::clients::{self, Client, TICK};
use crate::ledger::{Checks, Ledger};
use crate::load::{Load, Scenario, Target};
use crate::net::Net;
use crate::outcome::{Cost, Meter, Outcome, times};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::wire::{self, Incoming, PUBACK, PUBCOMP, PUBREC, PUBREL, Stamp, Template};
use hdrhistogram::Histogram;
use mqtt_codec::{Qos, Version};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a flooding publisher keeps ready for its socket.
const FLOOD: usize = 64 << 10;
/// How long to look for what should not come any more.
const AFTERMATH: Duration = Duration::from_millis(50);
/// Sleeps of an open loop between looks at its sockets: the selector's own timeouts are whole milliseconds.
const NAP: Duration = Duration::from_micros(50);

/// Pairs, fan-out, fan-in, mixed, latency, flood.
pub(crate) fn run(load: &Load, target: &Target) -> Result<Outcome, String> {
    let plan = Plan::of(load);
    let mut net = Net::new(load.size + 1024)?;
    let mut traffic = Traffic::join(&mut net, load, target, &plan)?;
    let meter = Meter::start(target)?;
    let cost = traffic.run(&mut net, &meter, &mut |_| {})?;
    let checks = traffic.account(&net);
    clients::part(&mut net, &traffic.conns, target)?;
    let mut outcome = Outcome::new(load, checks);
    traffic.push_figures(&mut outcome, &cost);
    Ok(outcome)
}

/// A run in which messages pass.
pub(crate) struct Traffic<'p> {
    load: Load,
    plan: &'p Plan,
    pace: Pace,
    /// All connections: subscribers first.
    pub(crate) conns: Vec<usize>,
    publishers: Vec<Publisher>,
    templates: Vec<Template>,
    /// Messages sent, by stream.
    sent: Vec<u32>,
    flow: Flow,
    began: Instant,
}

/// What changes while packets come in.
struct Flow {
    ledger: Ledger,
    version: Version,
    /// Number of the first connection; subscribers come before publishers.
    first: usize,
    subscribers: usize,
    /// The publisher of each stream.
    publisher_of: Vec<u32>,
    credits: Vec<Credit>,
    /// Publishers that have room for more.
    ready: Vec<usize>,
    latency: Option<Histogram<u64>>,
    /// Deliveries that had to come and came.
    heard: u64,
    acknowledged: u64,
    refused: u64,
}

/// What one publisher has under way.
struct Credit {
    /// Deliveries that have not come yet.
    unheard: u64,
    /// Messages without their last acknowledgement.
    unacknowledged: u32,
    /// At or below this there is room for more deliveries.
    low: u64,
    /// The same for acknowledgements.
    low_unacknowledged: u32,
    listed: bool,
}

struct Publisher {
    conn: usize,
    streams: Vec<u32>,
    /// Which of them is next.
    turn: usize,
    left: u32,
    next_id: u16,
    /// Deliveries under way at once.
    high: u64,
    /// An open loop: messages that are due, and since when.
    due: VecDeque<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// New messages when old ones have come.
    Window,
    /// So many nanoseconds from one message to the next.
    Every(u64),
    /// As fast as the sockets take them.
    Flood,
}

impl<'p> Traffic<'p> {
    /// Lets all clients of the plan in.
    pub(crate) fn join(net: &mut Net, load: &Load, target: &Target, plan: &'p Plan) -> Result<Self, String> {
        let subscriber = |(number, filters): (usize, &Vec<String>)| Client {
            name: format!("s{number}"),
            filters: filters.clone(),
            channel: (number as u32, true),
        };
        let publisher =
            |number: usize| Client { name: format!("p{number}"), filters: Vec::new(), channel: (number as u32, false) };
        let clients: Vec<_> =
            plan.subscribers.iter().enumerate().map(subscriber).chain((0..plan.publishers).map(publisher)).collect();
        let (conns, granted) = clients::join(net, load, target, &clients, |_| {})?;
        let pace = match load.scenario {
            Scenario::Latency => Pace::Every(1_000_000_000 / u64::from(load.rate)),
            Scenario::Flood => Pace::Flood,
            _ => Pace::Window,
        };
        // a flood is held back by acknowledgements alone
        let unacknowledged = if pace == Pace::Window { load.window } else { 1000 }.min(granted.receive_maximum).max(1);
        let subscribers = plan.subscribers.len();
        let mut publishers: Vec<Publisher> = conns
            .iter()
            .skip(subscribers)
            .map(|&conn| Publisher {
                conn,
                streams: vec![],
                turn: 0,
                left: 0,
                next_id: 1,
                high: 0,
                due: VecDeque::new(),
            })
            .collect();
        for (stream, number) in plan.streams.iter().zip(0..) {
            let publisher = &mut publishers[stream.publisher];
            publisher.streams.push(number);
            publisher.high += stream.hearers.len() as u64 * u64::from(load.window);
        }
        let share = load.messages / publishers.len().max(1) as u32;
        let odd = load.messages as usize % publishers.len().max(1);
        for (number, publisher) in publishers.iter_mut().enumerate() {
            publisher.left = share + u32::from(number < odd);
            publisher.high = (publisher.high / publisher.streams.len().max(1) as u64).max(1);
        }
        let credit = |publisher: &Publisher| Credit {
            unheard: 0,
            unacknowledged: 0,
            low: publisher.high / 2,
            low_unacknowledged: unacknowledged / 2,
            listed: false,
        };
        let template =
            |stream: &crate::plan::Stream| Template::new(load.version, &stream.topic, load.qos, false, load.size);
        let flow = Flow {
            ledger: Ledger::new(&plan.heard()),
            version: load.version,
            first: conns.first().copied().unwrap_or(0),
            subscribers,
            publisher_of: plan.streams.iter().map(|stream| stream.publisher as u32).collect(),
            credits: publishers.iter().map(credit).collect(),
            ready: Vec::new(),
            latency: if matches!(pace, Pace::Every(_)) { Some(times()?) } else { None },
            heard: 0,
            acknowledged: 0,
            refused: 0,
        };
        Ok(Self {
            load: Load { window: unacknowledged, ..load.clone() },
            plan,
            pace,
            conns,
            publishers,
            templates: plan.streams.iter().map(template).collect::<Result<_, _>>()?,
            sent: vec![0; plan.streams.len()],
            flow,
            began: Instant::now(),
        })
    }

    /// Sends everything and waits until it has come, or nothing comes any more. `watch` is called every turn, with the time.
    /// The cost ends with the last thing that came.
    pub(crate) fn run(&mut self, net: &mut Net, meter: &Meter, watch: &mut dyn FnMut(Instant)) -> Result<Cost, String> {
        let total: u64 = u64::from(self.load.messages);
        let mut progress = Progress::new(&self.load.scenario.name(), total);
        self.began = Instant::now();
        let mut last = self.began;
        let mut seen = 0;
        for number in 0..self.publishers.len() {
            self.refill(net, number);
        }
        let cost = loop {
            let wait = self.wait(net);
            let flow = &mut self.flow;
            let began = self.began;
            net.turn(wait, |conn, bytes, out| flow.take(conn, bytes, out, began))?;
            let now = Instant::now();
            self.send(net, now);
            watch(now);
            let sent = total - self.publishers.iter().map(|publisher| u64::from(publisher.left)).sum::<u64>();
            progress.set(sent, now);
            let done = sent + self.flow.heard + self.flow.acknowledged;
            if done > seen {
                (seen, last) = (done, now);
            }
            let complete = sent == total && self.is_complete();
            // what a broker still does for messages it will lose belongs to the cost, the waiting does not
            if complete || now - last > self.load.patience || net.closed() > 0 && now - last > TICK * 10 {
                let spent = meter.cost()?;
                break Cost { elapsed: spent.elapsed.saturating_sub(now - last), ..spent };
            }
        };
        self.look_for_more(net)?;
        Ok(cost)
    }

    /// Nothing should come any more.
    fn look_for_more(&mut self, net: &mut Net) -> Result<(), String> {
        let until = Instant::now() + AFTERMATH;
        while Instant::now() < until {
            let (flow, began) = (&mut self.flow, self.began);
            net.turn(TICK, |conn, bytes, out| flow.take(conn, bytes, out, began))?;
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.flow.credits.iter().all(|credit| credit.unheard == 0 && credit.unacknowledged == 0)
    }

    /// How long the selector may sleep.
    fn wait(&self, net: &Net) -> Duration {
        let room = |publisher: &Publisher| publisher.left > 0 && net.unsent(publisher.conn) < FLOOD / 2;
        match self.pace {
            Pace::Window => TICK,
            Pace::Every(_) if self.publishers.iter().all(|publisher| publisher.left == 0) => TICK,
            Pace::Every(_) => Duration::ZERO,
            Pace::Flood if self.load.qos == Qos::AtMostOnce && self.publishers.iter().any(room) => Duration::ZERO,
            Pace::Flood => TICK,
        }
    }

    /// Sends what there is room or time for.
    fn send(&mut self, net: &mut Net, now: Instant) {
        if let Pace::Every(pause) = self.pace {
            self.send_due(net, now, pause);
        } else if self.pace == Pace::Flood {
            for number in 0..self.publishers.len() {
                self.refill(net, number);
            }
        }
        while let Some(number) = self.flow.ready.pop() {
            self.flow.credits[number].listed = false;
            self.refill(net, number);
        }
    }

    /// The open loop: every message whose time has come goes to its publisher's list; then a nap, if there is time for one.
    fn send_due(&mut self, net: &mut Net, now: Instant, pause: u64) {
        let left: u64 =
            self.publishers.iter().map(|publisher| u64::from(publisher.left) - publisher.due.len() as u64).sum();
        let first = u64::from(self.load.messages) - left;
        let elapsed = u64::try_from((now - self.began).as_nanos()).unwrap_or(u64::MAX);
        let end = u64::from(self.load.messages).min(elapsed / pause + 1);
        for message in first..end {
            let number = (message % self.publishers.len() as u64) as usize;
            self.publishers[number].due.push_back(message * pause);
            self.refill(net, number);
        }
        let next = Duration::from_nanos(end.max(first) * pause).saturating_sub(self.began.elapsed());
        if end < u64::from(self.load.messages) && !next.is_zero() && net.flush().is_ok() {
            std::thread::sleep(next.min(NAP));
        }
    }

    fn refill(&mut self, net: &mut Net, number: usize) {
        let Self { publishers, flow, plan, templates, sent, .. } = self;
        let publisher = &mut publishers[number];
        let credit = &mut flow.credits[number];
        let acknowledged = self.load.qos != Qos::AtMostOnce;
        let mut unsent = net.unsent(publisher.conn);
        let window = self.pace == Pace::Window;
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        while publisher.left > 0 {
            let due = match self.pace {
                Pace::Window => (credit.unheard < publisher.high).then_some(now),
                Pace::Flood => (unsent < FLOOD).then_some(now),
                Pace::Every(_) => publisher.due.front().copied(),
            };
            let (Some(due), true) = (due, !acknowledged || credit.unacknowledged < self.load.window) else { return };
            if !window {
                publisher.due.pop_front();
            }
            let stream = publisher.streams[publisher.turn] as usize;
            publisher.turn = (publisher.turn + 1) % publisher.streams.len();
            let stamp = Stamp { stream: stream as u32, sequence: sent[stream], due };
            templates[stream].append(net.out(publisher.conn), publisher.next_id, stamp);
            unsent += templates[stream].len();
            sent[stream] += 1;
            publisher.left -= 1;
            publisher.next_id = publisher.next_id.checked_add(1).unwrap_or(1);
            credit.unheard += plan.streams[stream].hearers.len() as u64;
            credit.unacknowledged += u32::from(acknowledged);
        }
    }

    /// The account, after the run.
    pub(crate) fn account(&self, net: &Net) -> Checks {
        Checks {
            unacknowledged: self.flow.credits.iter().map(|credit| u64::from(credit.unacknowledged)).sum(),
            refused: self.flow.refused,
            closed: net.closed() as u64,
            ..self.flow.ledger.close(&self.sent)
        }
    }

    /// The figures of the run.
    pub(crate) fn push_figures(&self, outcome: &mut Outcome, cost: &Cost) {
        outcome.push("deliveries per second", self.flow.heard as f64 / cost.elapsed.as_secs_f64());
        outcome.push_cost(cost, self.flow.heard, "delivery");
        if let Some(latency) = &self.flow.latency {
            outcome.push_latency(latency);
        }
    }
}

impl Flow {
    /// Takes what one connection got, and answers.
    fn take(&mut self, conn: usize, bytes: &[u8], out: &mut Vec<u8>, began: Instant) -> Result<usize, String> {
        let number = conn - self.first;
        let now = match self.latency {
            Some(_) => u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX),
            None => 0,
        };
        let mut rest = bytes;
        while let Some((packet, len)) = wire::next(rest, self.version)? {
            rest = rest.get(len..).unwrap_or_default();
            match packet {
                Incoming::Publish { qos, id, stamp } => {
                    match qos {
                        0 => {}
                        1 => out.extend_from_slice(&wire::ack(PUBACK, id)),
                        _ => out.extend_from_slice(&wire::ack(PUBREC, id)),
                    }
                    self.publish(number, stamp, now);
                }
                Incoming::Ack { first: PUBREL, id, .. } => out.extend_from_slice(&wire::ack(PUBCOMP, id)),
                Incoming::Ack { first: PUBREC, id, refused: false } => out.extend_from_slice(&wire::ack(PUBREL, id)),
                Incoming::Ack { refused, .. } => self.acknowledged(number, refused),
                Incoming::Other(first) => self.refused += u64::from(first >> 4 == 14), // DISCONNECT: it says why it closes
            }
        }
        Ok(bytes.len() - rest.len())
    }

    #[inline]
    fn publish(&mut self, subscriber: usize, stamp: Stamp, now: u64) {
        if subscriber >= self.subscribers || !self.ledger.delivered(subscriber, stamp) {
            return;
        }
        self.heard += 1;
        if let Some(latency) = &mut self.latency {
            latency.saturating_record(now.saturating_sub(stamp.due));
        }
        let Some(&publisher) = self.publisher_of.get(stamp.stream as usize) else { return };
        let credit = &mut self.credits[publisher as usize];
        credit.unheard = credit.unheard.saturating_sub(1);
        if credit.unheard <= credit.low && !credit.listed {
            credit.listed = true;
            self.ready.push(publisher as usize);
        }
    }

    fn acknowledged(&mut self, number: usize, refused: bool) {
        let Some(publisher) = number.checked_sub(self.subscribers) else { return };
        self.acknowledged += 1;
        self.refused += u64::from(refused);
        let credit = &mut self.credits[publisher];
        credit.unacknowledged = credit.unacknowledged.saturating_sub(1);
        if credit.unacknowledged <= credit.low_unacknowledged && !credit.listed {
            credit.listed = true;
            self.ready.push(publisher);
        }
    }
}
