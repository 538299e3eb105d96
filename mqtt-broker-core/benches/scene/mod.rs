//! A broker and its host in memory, for benches: every byte goes in by `handle_input` and out by `poll_transmit`.
use mqtt_broker_core::codec::{
    Ack, AckKind, Connect, OutBuf, Packet, PacketId, Properties, Publish, Qos, ReasonCode, Subscribe, SubscribeOptions,
    Subscription, Subscriptions, TopicFilter, TopicName, Utf8, Version,
};
use mqtt_broker_core::session::Epoch;
use mqtt_broker_core::store::StoreOp;
use mqtt_broker_core::topic::HashSeed;
use mqtt_broker_core::{AllowAll, Broker, Config, ConnectionId, Durability, Instant, Peer};

const NOW: Instant = Instant::from_millis(1);

pub struct Bench {
    broker: Broker<AllowAll>,
    outs: Vec<OutBuf>,
    /// Where what is to be stored goes: a store that is done at once.
    batch: Vec<StoreOp>,
    keeps: bool,
    pub sent: usize,
}

pub fn encode(packet: Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(Version::V311, &mut bytes).unwrap();
    bytes
}

pub fn publish(topic: &str, qos: Qos) -> Vec<u8> {
    encode(Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(TopicName::new(topic).unwrap()),
        packet_id: if qos == Qos::AtMostOnce { None } else { PacketId::new(1) },
        properties: Properties::EMPTY,
        payload: &[7; 64],
    }))
}

pub fn ack(kind: AckKind) -> Vec<u8> {
    let packet_id = PacketId::new(1).unwrap();
    encode(Packet::Ack(Ack { kind, packet_id, reason: ReasonCode::SUCCESS, properties: Properties::EMPTY }))
}

impl Bench {
    pub fn new() -> Self {
        Self::durable(Durability::None)
    }

    /// All sessions are as durable as that, and stay when they are asked to.
    pub fn durable(durability: Durability) -> Self {
        let mut config = Config::default();
        config.max_handshakes = 10_000;
        config.durability = durability;
        Self {
            broker: Broker::new(config, AllowAll, HashSeed::new(1, 2)).unwrap(),
            outs: Vec::new(),
            batch: Vec::new(),
            keeps: durability != Durability::None,
            sent: 0,
        }
    }

    pub fn client(&mut self, id: &str, filters: &[String], qos: Qos) -> ConnectionId {
        self.join(id, filters, qos, true)
    }

    pub fn join(&mut self, id: &str, filters: &[String], qos: Qos, clean_start: bool) -> ConnectionId {
        let name = self.broker.handle_open(NOW, Peer::default()).unwrap();
        self.outs.resize_with(self.outs.len().max(name.index() + 1), OutBuf::default);
        let connect = Connect {
            version: Version::V311,
            clean_start,
            keep_alive: 0,
            properties: Properties::EMPTY,
            client_id: Utf8::new(id).unwrap(),
            will: None,
            user_name: None,
            password: None,
        };
        self.input(name, &encode(Packet::Connect(connect)));
        for filter in filters {
            let options = SubscribeOptions { qos, ..Default::default() };
            let list = [Subscription { filter: TopicFilter::new(filter).unwrap(), options }];
            let subscribe = Subscribe {
                packet_id: PacketId::new(1).unwrap(),
                properties: Properties::EMPTY,
                subscriptions: Subscriptions::from_slice(&list),
            };
            self.input(name, &encode(Packet::Subscribe(subscribe)));
        }
        name
    }

    /// Input, and everything it leads to out again; the packet identifier of a delivery stays with the broker.
    pub fn input(&mut self, name: ConnectionId, bytes: &[u8]) {
        self.broker.handle_input(NOW, name, bytes);
        if self.keeps {
            self.keep();
        }
        while let Some(ready) = self.broker.poll_ready() {
            let Some(out) = self.outs.get_mut(ready.id.index()) else { continue };
            loop {
                self.broker.poll_transmit(NOW, ready.id, out);
                if out.is_empty() {
                    break;
                }
                self.sent += out.len();
                out.advance(out.len());
            }
            if self.keeps {
                self.keep();
            }
        }
    }

    fn keep(&mut self) {
        if let Some(ticket) = self.broker.poll_store(Epoch::default(), &mut self.batch) {
            self.batch.clear();
            self.broker.stored(NOW, ticket);
        }
    }
}

/// The clients of the mixed scene: 1,000 with ten filters each.
pub fn mixed_filters(n: usize) -> Vec<String> {
    (0..10)
        .map(|m| match m {
            8 => format!("site/+/dev/{}/temp", n % 97),
            9 => format!("site/{}/#", n % 89),
            _ => format!("site/{}/dev/{}/temp", n % 89, (n * 8 + m) % 997),
        })
        .collect()
}
