//! A broker with its host, in memory: every byte goes through `handle_input` and `poll_transmit`, time is an argument.
use mqtt_broker_core::codec::{
    Ack, AckKind, Connect, Disconnect, OutBuf, Packet, PacketId, Properties, Property, Publish, Qos, Reader,
    ReasonCode, Role, Subscribe, SubscribeOptions, Subscription, Subscriptions, TopicFilter, TopicName, Unsubscribe,
    Utf8, Version, Will,
};
use mqtt_broker_core::topic::HashSeed;
use mqtt_broker_core::{AllowAll, Broker, Config, ConnectionId, Event, Instant, OpenError, Peer, Policy, Read};

pub const SECOND: u64 = 1_000;
pub const HOUR: u64 = 3_600 * SECOND;

/// A client's transport and what came over it.
pub struct Link {
    pub id: ConnectionId,
    version: Version,
    out: OutBuf,
    /// What reached the client.
    inbox: Vec<u8>,
    /// Bytes its socket still takes; `None` for any number.
    pub takes: Option<usize>,
    pub reading: bool,
    /// Closed, by whichever side.
    pub closed: bool,
    /// All bytes that ever reached the client.
    pub total: usize,
}

pub struct World<P: Policy> {
    pub broker: Broker<P>,
    pub now: Instant,
    pub links: Vec<Link>,
    /// Called in each turn: where a host would store what the broker gives out. Whether there was anything.
    pub keep: fn(&mut Self) -> bool,
}

/// A client of the world: the index of its link.
pub type Name = usize;

impl World<AllowAll> {
    pub fn new() -> Self {
        Self::with(Config::default(), AllowAll)
    }
    pub fn configured(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        Self::with(config, AllowAll)
    }
}

impl<P: Policy> World<P> {
    pub fn with(config: Config, policy: P) -> Self {
        let broker = Broker::new(config, policy, HashSeed::new(1, 2)).unwrap();
        Self { broker, now: Instant::from_millis(1_000_000), links: Vec::new(), keep: |_| false }
    }

    // --- transports -----------------------------------------------------------------------------------------------

    pub fn open(&mut self, version: Version) -> Name {
        self.open_from(version, Peer::default()).unwrap()
    }

    pub fn open_from(&mut self, version: Version, peer: Peer) -> Result<Name, OpenError> {
        let id = self.broker.handle_open(self.now, peer)?;
        let link = Link {
            id,
            version,
            out: OutBuf::default(),
            inbox: Vec::new(),
            takes: None,
            reading: true,
            closed: false,
            total: 0,
        };
        self.links.push(link);
        Ok(self.links.len() - 1)
    }

    pub fn send_bytes(&mut self, name: Name, bytes: &[u8]) {
        assert!(!self.links[name].closed, "the connection is closed");
        self.broker.handle_input(self.now, self.links[name].id, bytes);
        self.turn();
    }

    pub fn send(&mut self, name: Name, packet: Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.links[name].version, &mut bytes).unwrap();
        self.send_bytes(name, &bytes);
    }

    /// The transport fails.
    pub fn cut(&mut self, name: Name) {
        let link = &mut self.links[name];
        assert!(!std::mem::replace(&mut link.closed, true), "already closed");
        self.broker.handle_closed(self.now, link.id);
        self.turn();
    }

    /// One turn of the host's loop, until nothing is left to do.
    pub fn turn(&mut self) {
        let mut turns = 0;
        loop {
            turns += 1;
            assert!(turns < 1_000_000, "the broker keeps the host busy for nothing");
            let kept = (self.keep)(self);
            let Some(ready) = self.broker.poll_ready() else {
                if kept {
                    continue;
                }
                return;
            };
            let name = self
                .links
                .iter()
                .position(|link| link.id == ready.id && !link.closed)
                .expect("ready means an open connection");
            self.links[name].reading = ready.read == Read::Read;
            if ready.transmit || ready.read == Read::Close {
                self.flush(name);
            }
            if ready.read == Read::Close {
                self.links[name].closed = true;
                self.broker.handle_closed(self.now, ready.id);
            }
        }
    }

    /// Sends what the socket of a client takes.
    pub fn flush(&mut self, name: Name) {
        loop {
            let link = &mut self.links[name];
            self.broker.poll_transmit(self.now, link.id, &mut link.out);
            if link.out.is_empty() {
                return;
            }
            while !link.out.is_empty() && link.takes != Some(0) {
                let chunk = link.out.chunk();
                let n = link.takes.map_or(chunk.len(), |takes| chunk.len().min(takes));
                link.inbox.extend_from_slice(&chunk[..n]);
                link.total += n;
                link.out.advance(n);
                link.takes = link.takes.map(|takes| takes - n);
            }
            if link.takes == Some(0) {
                // a short write: the host tells the broker what is left, and waits for the socket
                self.broker.poll_transmit(self.now, link.id, &mut link.out);
                return;
            }
        }
    }

    /// The socket of a client takes `n` more bytes.
    pub fn take(&mut self, name: Name, n: usize) {
        self.links[name].takes = Some(n);
        self.flush(name);
        self.turn();
    }

    /// Lets time pass, deadline by deadline.
    pub fn advance(&mut self, millis: u64) {
        let end = self.now.plus_millis(millis);
        let mut wakes = 0;
        while let Some(at) = self.broker.poll_timeout().filter(|at| *at <= end) {
            wakes += 1;
            assert!(wakes < 1_000_000, "time stands still");
            self.now = self.now.max(at);
            self.broker.handle_timeout(self.now);
            self.turn();
        }
        self.now = end;
        self.broker.handle_timeout(end);
        self.turn();
    }

    // --- what clients do ------------------------------------------------------------------------------------------

    pub fn join(&mut self, version: Version, id: &str) -> Name {
        self.join_with(version, id, |_| {})
    }

    /// Connects and expects to be let in.
    pub fn join_with<'a>(&mut self, version: Version, id: &'a str, change: impl FnOnce(&mut Connect<'a>)) -> Name {
        let name = self.try_join(version, id, change);
        let came = self.received(name);
        assert!(came.first().is_some_and(|line| line.starts_with("CONNACK 0x00")), "{id} was not let in: {came:?}");
        name
    }

    /// Connects; what comes back is left in the inbox.
    pub fn try_join<'a>(&mut self, version: Version, id: &'a str, change: impl FnOnce(&mut Connect<'a>)) -> Name {
        self.try_join_from(Peer::default(), version, id, change)
    }

    pub fn try_join_from<'a>(
        &mut self,
        peer: Peer,
        version: Version,
        id: &'a str,
        change: impl FnOnce(&mut Connect<'a>),
    ) -> Name {
        let name = self.open_from(version, peer).unwrap();
        let mut connect = connect(version, id);
        change(&mut connect);
        self.send(name, Packet::Connect(connect));
        name
    }

    pub fn subscribe(&mut self, name: Name, filter: &str, qos: Qos) -> Vec<String> {
        self.subscribe_with(name, filter, SubscribeOptions { qos, ..Default::default() }, &[])
    }

    pub fn subscribe_with(
        &mut self,
        name: Name,
        filter: &str,
        options: SubscribeOptions,
        properties: &[Property<'_>],
    ) -> Vec<String> {
        let list = [Subscription { filter: TopicFilter::new(filter).unwrap(), options }];
        self.send(
            name,
            Packet::Subscribe(Subscribe {
                packet_id: id(10),
                properties: Properties::from_slice(properties),
                subscriptions: Subscriptions::from_slice(&list),
            }),
        );
        self.received(name)
    }

    pub fn unsubscribe(&mut self, name: Name, filter: &str) -> Vec<String> {
        let list = [TopicFilter::new(filter).unwrap()];
        self.send(
            name,
            Packet::Unsubscribe(Unsubscribe {
                packet_id: id(11),
                properties: Properties::EMPTY,
                filters: mqtt_broker_core::codec::Filters::from_slice(&list),
            }),
        );
        self.received(name)
    }

    pub fn publish(&mut self, name: Name, topic: &str, payload: &str, qos: Qos) {
        self.publish_with(name, topic, payload, |publish| set_qos(publish, qos, 1));
    }

    pub fn retain(&mut self, name: Name, topic: &str, payload: &str) {
        self.publish_with(name, topic, payload, |publish| publish.retain = true);
    }

    pub fn publish_with<'a>(
        &mut self,
        name: Name,
        topic: &'a str,
        payload: &'a str,
        change: impl FnOnce(&mut Publish<'a>),
    ) {
        let mut publish = Publish {
            dup: false,
            qos: Qos::AtMostOnce,
            retain: false,
            topic: Some(TopicName::new(topic).unwrap()),
            packet_id: None,
            properties: Properties::EMPTY,
            payload: payload.as_bytes(),
        };
        change(&mut publish);
        self.send(name, Packet::Publish(publish));
    }

    pub fn ack(&mut self, name: Name, kind: AckKind, number: u16) {
        self.send(
            name,
            Packet::Ack(Ack {
                kind,
                packet_id: id(number),
                reason: ReasonCode::SUCCESS,
                properties: Properties::EMPTY,
            }),
        );
    }

    pub fn goodbye(&mut self, name: Name) {
        self.send(name, Packet::Disconnect(Disconnect { reason: ReasonCode::SUCCESS, properties: Properties::EMPTY }));
    }

    // --- what they see --------------------------------------------------------------------------------------------

    /// The packets that came since last asked, a line each.
    pub fn received(&mut self, name: Name) -> Vec<String> {
        let link = &mut self.links[name];
        let bytes = std::mem::take(&mut link.inbox);
        let mut reader = Reader::of_server(link.version, u32::MAX);
        let mut packets = reader.read(&bytes);
        let mut lines = Vec::new();
        while let Some(packet) = packets.next().expect("the broker sends well-formed packets") {
            lines.push(line(&packet));
        }
        drop(packets);
        link.inbox = bytes[bytes.len() - reader.buffered()..].to_vec();
        lines
    }

    pub fn received_bytes(&mut self, name: Name) -> Vec<u8> {
        std::mem::take(&mut self.links[name].inbox)
    }

    /// Only the application messages, as `topic payload`.
    pub fn messages(&mut self, name: Name) -> Vec<String> {
        let lines = self.received(name);
        lines
            .iter()
            .filter_map(|line| line.strip_prefix("PUBLISH "))
            .map(|line| line.split(" q").next().unwrap().to_string())
            .collect()
    }

    pub fn version(&self, name: Name) -> Version {
        self.links[name].version
    }

    pub fn is_closed(&self, name: Name) -> bool {
        self.links[name].closed
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.broker.poll_event()).collect()
    }
}

pub fn connect(version: Version, id: &str) -> Connect<'_> {
    Connect {
        version,
        clean_start: true,
        keep_alive: 0,
        properties: Properties::EMPTY,
        client_id: Utf8::new(id).unwrap(),
        will: None,
        user_name: None,
        password: None,
    }
}

pub fn will<'a>(topic: &'a str, payload: &'a str) -> Will<'a> {
    Will {
        topic: TopicName::new(topic).unwrap(),
        payload: payload.as_bytes(),
        qos: Qos::AtMostOnce,
        retain: false,
        properties: Properties::EMPTY,
    }
}

pub fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

pub fn set_qos(publish: &mut Publish<'_>, qos: Qos, number: u16) {
    publish.qos = qos;
    publish.packet_id = (qos != Qos::AtMostOnce).then(|| id(number));
}

/// One packet in one line: what a client would notice.
pub fn line(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Publish(publish) => {
            let mut line = format!(
                "PUBLISH {} {} q{}",
                publish.topic.map_or("-", |topic| topic.as_str()),
                String::from_utf8_lossy(publish.payload),
                publish.qos as u8,
            );
            if let Some(id) = publish.packet_id {
                line += &format!(" id{}", id.get());
            }
            if publish.retain {
                line += " retain";
            }
            if publish.dup {
                line += " dup";
            }
            line + &properties(publish.properties)
        }
        Packet::Ack(ack) if ack.reason == ReasonCode::SUCCESS => {
            format!("{:?} id{}", ack.kind, ack.packet_id.get()).to_uppercase().replace(" ID", " id")
        }
        Packet::Ack(ack) => format!(
            "{} {:?}",
            format!("{:?}", ack.kind).to_uppercase() + &format!(" id{}", ack.packet_id.get()),
            ack.reason
        ),
        Packet::Connack(connack) => {
            format!("CONNACK {:?}{}", connack.reason, if connack.session_present { " present" } else { "" })
        }
        Packet::Suback(suback) => format!("SUBACK {:?}", suback.codes),
        Packet::Unsuback(unsuback) => format!("UNSUBACK {:?}", unsuback.codes),
        Packet::Disconnect(disconnect) => format!("DISCONNECT {:?}", disconnect.reason),
        other => other.to_string(),
    }
}

fn properties(properties: Properties<'_>) -> String {
    properties
        .iter()
        .map(|property| match property {
            Property::UserProperty(name, value) => format!(" {}={}", name.as_str(), value.as_str()),
            Property::SubscriptionIdentifier(id) => format!(" sub{id}"),
            Property::MessageExpiryInterval(seconds) => format!(" expiry{seconds}"),
            other => format!(" {other:?}"),
        })
        .collect()
}

/// The properties a CONNACK came with, decoded from the bytes in the inbox.
pub fn connack_properties(version: Version, bytes: &[u8]) -> Vec<String> {
    let Ok(Packet::Connack(connack)) = Packet::decode(bytes, version, Role::Server) else {
        panic!("not a CONNACK: {bytes:02x?}")
    };
    connack.properties.iter().map(|property| format!("{property:?}")).collect()
}
