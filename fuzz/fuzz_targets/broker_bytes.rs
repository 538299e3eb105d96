//! A broker with several connections that send arbitrary bytes in arbitrary pieces, while time goes on, sockets are slow and decisions late.
//!
//! It does not panic, asks its host for nothing without end, keeps its counters within their limits, and goes on to serve the bystander,
//! who did nothing wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_broker_core::codec::{OutBuf, Packet, Reader, ReasonCode, Version};
use mqtt_broker_core::session::QueueLimits;
use mqtt_broker_core::topic::{HashSeed, TopicFilter, TopicName};
use mqtt_broker_core::{
    Broker, ClientInfo, Config, ConnectRequest, ConnectionId, Decision, Instant, Overflow, Peer, Policy, Publication,
    PublishRequest, Read, ReceiveRequest, SubscribeRequest, Ticket, UnsubscribeRequest,
};
use mqtt_fuzz::Script;

const LINKS: usize = 4;
/// A loop that goes on for longer does not end.
const FOREVER: usize = 100_000;
const SECOND: u64 = 1_000;
/// What only the bystander may call itself, and its listener.
const BYSTANDER: &str = "bystander";
const PRIVATE: u32 = 1;
/// CONNECT of MQTT 3.1.1, clean, without keep alive.
const CONNECT: &[u8] = b"\x10\x15\x00\x04MQTT\x04\x02\x00\x00\x00\x09bystander";
const SUBSCRIBE: &[u8] = b"\x82\x09\x00\x01\x00\x04calm\x01";
const PUBLISH: &[u8] = b"\x32\x0A\x00\x04calm\x00\x01hi";
const PINGREQ: &[u8] = b"\xC0\x00";

fuzz_target!(|data: &[u8]| {
    let mut script = Script(data);
    let mut world = World::new(&mut script);
    world.bystander_joins();
    while script.goes_on() {
        world.step(&mut script);
        world.check();
    }
    world.bystander_is_served();
    world.all_ends();
});

/// Puts off what its mask says, and keeps everybody from the bystander's name and topic.
struct Late {
    mask: u8,
    tickets: Vec<Ticket>,
}

impl Late {
    fn decide(&mut self, bit: u8, ticket: Ticket) -> Decision {
        if self.mask & bit == 0 {
            return Decision::Allow;
        }
        self.tickets.push(ticket);
        Decision::Defer(ticket)
    }
}

impl Policy for Late {
    fn connect(&mut self, request: &ConnectRequest<'_>) -> Decision {
        if request.client.peer.listener == PRIVATE {
            return Decision::Allow;
        }
        if request.client.client_id == BYSTANDER {
            return Decision::Deny(ReasonCode::NOT_AUTHORIZED);
        }
        self.decide(1, request.ticket)
    }

    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
        match request.publication.topic.as_bytes() {
            b"calm" => Decision::Allow,
            [b'd', ..] => self.decide(2, request.ticket),
            [b'n', ..] => Decision::Deny(ReasonCode::NOT_AUTHORIZED),
            _ => Decision::Allow,
        }
    }

    fn subscribe(&mut self, request: &SubscribeRequest<'_>) -> Decision {
        match request.filter.as_bytes() {
            [b'd', ..] => self.decide(4, request.ticket),
            [b'n', ..] => Decision::Deny(ReasonCode::NOT_AUTHORIZED),
            _ => Decision::Allow,
        }
    }

    fn unsubscribe(&mut self, request: &UnsubscribeRequest<'_>) -> Decision {
        match request.filter.as_bytes() {
            [b'd', ..] => self.decide(8, request.ticket),
            _ => Decision::Allow,
        }
    }

    fn receives_all(&mut self, _: &ClientInfo<'_>, filter: TopicFilter<'_>) -> bool {
        !filter.begins_with_wildcard()
    }

    fn receive(&mut self, request: &ReceiveRequest<'_>) -> bool {
        !request.publication.topic.as_bytes().starts_with(b"s")
    }
}

struct Link {
    id: ConnectionId,
    out: OutBuf,
    /// Bytes its socket takes before it is full.
    takes: usize,
    reading: bool,
    /// What reached the bystander; of the others it is thrown away.
    inbox: Vec<u8>,
}

struct World {
    broker: Broker<Late>,
    config: Config,
    now: Instant,
    /// The bystander, then the others.
    links: Vec<Option<Link>>,
}

impl World {
    fn new(script: &mut Script<'_>) -> Self {
        let head = script.byte();
        let mut config = Config::default();
        config.server.maximum_packet_size = 4096;
        config.server.receive_maximum = 4;
        config.server.maximum_inflight = 3;
        config.max_sessions = 6;
        config.max_subscriptions = 10;
        config.queue = QueueLimits { messages: 8, bytes: 4096 };
        config.max_queued_bytes = 8192;
        config.max_retained = 8;
        config.max_retained_bytes = 4096;
        config.high_water = 1024;
        config.overflow = [Overflow::DropNewest, Overflow::DropOldest, Overflow::Disconnect][usize::from(head % 3)];
        config.queue_qos0_offline = head & 4 != 0;
        config.strict_v31_client_id = head & 8 != 0;
        let policy = Late { mask: head >> 4, tickets: Vec::new() };
        let broker = Broker::new(config.clone(), policy, HashSeed::new(1, 2)).unwrap();
        let mut links = Vec::new();
        links.resize_with(1 + LINKS, || None);
        Self { broker, config, now: Instant::from_millis(1_000_000), links }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let op = script.byte();
        let which = 1 + usize::from(op >> 4) % LINKS;
        match op & 0x0F {
            0..=6 => {
                self.open(which, 0);
                let bytes = script.bytes();
                self.send(which, bytes);
            }
            7 => self.cut(which),
            8 => self.advance(u64::from(script.byte())),
            9 => self.advance(u64::from(script.byte()) * 10 * SECOND),
            10 => self.take(which, 0),
            11 => self.take(which, usize::from(script.byte())),
            12 => self.take(which, usize::MAX),
            13 => self.decide(script.byte()),
            14 => self.publish(script.byte()),
            // byte by byte
            _ => {
                self.open(which, 0);
                for byte in script.bytes() {
                    self.send(which, &[*byte]);
                }
            }
        }
        self.turn();
    }

    // --- transports --------------------------------------------------------------------------------------------------

    fn open(&mut self, which: usize, listener: u32) {
        if self.links[which].is_none()
            && let Ok(id) = self.broker.handle_open(self.now, Peer::new(None, listener))
        {
            let (out, inbox) = (OutBuf::default(), Vec::new());
            self.links[which] = Some(Link { id, out, takes: usize::MAX, reading: true, inbox });
        }
    }

    fn send(&mut self, which: usize, bytes: &[u8]) {
        // a host that was told not to read may have read already
        if let Some(link) = &self.links[which] {
            self.broker.handle_input(self.now, link.id, bytes);
            self.turn();
        }
    }

    fn cut(&mut self, which: usize) {
        if let Some(link) = self.links[which].take() {
            self.broker.handle_closed(self.now, link.id);
        }
    }

    fn take(&mut self, which: usize, bytes: usize) {
        if let Some(link) = &mut self.links[which] {
            link.takes = bytes;
            self.flush(which);
        }
    }

    /// One turn of the host's loop, until nothing is left to do.
    fn turn(&mut self) {
        let mut turns = 0;
        while let Some(ready) = self.broker.poll_ready() {
            turns += 1;
            assert!(turns < FOREVER, "the broker keeps its host busy for nothing");
            let which = self.links.iter().position(|link| link.as_ref().is_some_and(|link| link.id == ready.id));
            let which = which.expect("only an open connection is ready");
            self.links[which].as_mut().unwrap().reading = ready.read == Read::Read;
            if ready.transmit {
                self.flush(which);
            }
            if ready.read == Read::Close {
                self.flush(which);
                self.cut(which);
            }
        }
        while self.broker.poll_event().is_some() {}
    }

    /// Sends what the socket takes.
    fn flush(&mut self, which: usize) {
        let Some(link) = &mut self.links[which] else { return };
        for round in 0.. {
            assert!(round < FOREVER, "the broker never stops writing");
            self.broker.poll_transmit(self.now, link.id, &mut link.out);
            if link.out.is_empty() || link.takes == 0 {
                return;
            }
            let len = link.out.chunk().len().min(link.takes);
            if which == 0 {
                link.inbox.extend_from_slice(&link.out.chunk()[..len]);
            }
            link.out.advance(len);
            if link.takes != usize::MAX {
                link.takes -= len;
            }
        }
    }

    // --- the host ----------------------------------------------------------------------------------------------------

    /// Lets time pass, deadline by deadline.
    fn advance(&mut self, millis: u64) {
        let end = self.now.plus_millis(millis);
        let mut wakes = 0;
        while let Some(at) = self.broker.poll_timeout().filter(|at| *at <= end) {
            wakes += 1;
            assert!(wakes < FOREVER, "time stands still");
            self.now = self.now.max(at);
            self.broker.handle_timeout(self.now);
            self.turn();
        }
        self.now = end;
        self.broker.handle_timeout(end);
        self.turn();
    }

    /// Decides one of the requests that were put off, stale ones among them.
    fn decide(&mut self, how: u8) {
        let tickets = &mut self.broker.policy_mut().tickets;
        if tickets.is_empty() {
            return;
        }
        let ticket = tickets.remove(usize::from(how >> 2) % tickets.len());
        let decision = match how & 3 {
            0 => Decision::Deny(ReasonCode::NOT_AUTHORIZED),
            1 => Decision::Defer(ticket),
            _ => Decision::Allow,
        };
        self.broker.resume(self.now, ticket, decision);
    }

    /// The program publishes for itself.
    fn publish(&mut self, how: u8) {
        let topic = TopicName::new(["a", "d", "a/b", "$SYS/x"][usize::from(how) % 4]).unwrap();
        let payload = vec![b'x'; usize::from(how >> 3) * 20];
        let mut publication = Publication::new(topic, &payload);
        publication.retain = how & 4 != 0;
        let _ = self.broker.publish(self.now, &publication);
    }

    // --- what must hold ----------------------------------------------------------------------------------------------

    fn check(&self) {
        let (stats, config) = (self.broker.stats(), &self.config);
        assert_eq!(stats.connections, self.links.iter().flatten().count());
        assert!(stats.sessions <= config.max_sessions, "{stats:?}");
        assert!(stats.subscriptions <= stats.sessions * config.max_subscriptions, "{stats:?}");
        assert!(
            stats.retained <= config.max_retained && stats.retained_bytes <= config.max_retained_bytes,
            "{stats:?}"
        );
        // a replay puts one message at a time in front of its place, beyond the limit of the queue
        let replays = stats.subscriptions * config.max_retained_bytes;
        assert!(stats.queued_bytes <= config.max_queued_bytes + replays, "{stats:?}");
        assert_eq!(stats.events_lost, 0);
    }

    fn bystander_joins(&mut self) {
        self.open(0, PRIVATE);
        self.send(0, CONNECT);
        self.send(0, SUBSCRIBE);
        assert_eq!(self.kinds(), ["Connack", "Suback"]);
    }

    fn bystander_is_served(&mut self) {
        self.kinds();
        self.send(0, PUBLISH);
        self.send(0, PINGREQ);
        // it may have to wait for a socket that has stalled, and not for longer
        self.advance(SECOND);
        let came = self.kinds();
        let (puback, pingresp) = (came.iter().any(|kind| kind == "Ack"), came.iter().any(|kind| kind == "Pingresp"));
        assert!(puback && pingresp, "the bystander got {came:?} of {:?}", self.broker.stats());
    }

    /// Which packets came to the bystander.
    fn kinds(&mut self) -> Vec<String> {
        let link = self.links[0].as_mut().expect("the bystander is never sent away");
        let inbox = std::mem::take(&mut link.inbox);
        let mut reader = Reader::of_server(Version::V311, u32::MAX);
        let mut packets = reader.read(&inbox);
        let mut kinds = Vec::new();
        while let Some(packet) = packets.next().expect("the broker breaks no rule") {
            assert!(Packet::encoded_len(&packet, Version::V311).is_ok());
            kinds.push(format!("{packet:?}").split(['(', ' ']).next().unwrap_or_default().to_owned());
        }
        kinds
    }

    /// Everybody goes; what is left is within the limits, and time has an end.
    fn all_ends(&mut self) {
        self.broker.shutdown(self.now);
        self.turn();
        for which in 0..self.links.len() {
            self.cut(which);
        }
        self.turn();
        self.check();
        assert_eq!(self.broker.connections(), 0);
        self.advance(u64::from(u32::MAX) * SECOND);
        self.check();
    }
}
