//! This crate.
use crate::{Carried, PAYLOAD, Pair, TOPIC, Version};
use mqtt_session::codec::{Connect, OutBuf, Properties, Qos, Reader, ReasonCode, Utf8};
use mqtt_session::topic::TopicName;
use mqtt_session::{
    Accept, Connection, Event, Instant, Publication, QueueLimits, ServerConfig, Session, Transmit, codec,
};
use std::hint::black_box;

const LIMITS: QueueLimits = QueueLimits { messages: 100_000, bytes: 100_000_000 };
const NOW: Instant = Instant::ZERO;

pub struct Ours {
    client: Connection,
    server: Connection,
    from_client: Reader,
    from_server: Reader,
    out: OutBuf,
}

impl Pair for Ours {
    const NAME: &'static str = "mqtt-session";

    fn new(version: Version) -> Self {
        let connect = Connect {
            version: if version == Version::V5 { codec::Version::V5 } else { codec::Version::V311 },
            clean_start: true,
            keep_alive: 0,
            properties: Properties::EMPTY,
            client_id: Utf8::new("bench").unwrap(),
            will: None,
            user_name: None,
            password: None,
        };
        let client = Connection::client(NOW, &connect, Session::new()).unwrap();
        let server = Connection::server(NOW, &ServerConfig::default());
        let (from_client, from_server) = (server.reader(), client.reader());
        let mut pair = Self { client, server, from_client, from_server, out: OutBuf::with_limit(1 << 20) };
        pair.carry();
        pair.server.accept(NOW, Session::new(), &ServerConfig::default(), &Accept::default());
        pair.carry();
        pair
    }

    fn publish(&mut self, qos: u8) {
        let mut publication = Publication::new(TopicName::new(TOPIC).unwrap(), &PAYLOAD);
        publication.qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][usize::from(qos)];
        self.client.publish(NOW, &publication, &LIMITS).unwrap();
    }

    fn carry(&mut self) -> Carried {
        let mut carried = Carried::default();
        loop {
            while self.client.poll_transmit(NOW, &mut self.out) == Transmit::Wrote {}
            let quiet = self.out.is_empty();
            while !self.out.is_empty() {
                let len = self.out.chunk().len();
                let mut input = self.server.read(NOW, &mut self.from_client, self.out.chunk());
                while let Some(event) = input.next().unwrap() {
                    match event {
                        Event::Publish(received, token) => {
                            let topic = received.topic.as_name();
                            carried.messages += 1;
                            carried.message_bytes += (topic.as_bytes().len() + received.payload.len()) as u64;
                            black_box(received.payload);
                            input.acknowledge(token, ReasonCode::SUCCESS);
                        }
                        Event::Released(token) => input.acknowledge(token, ReasonCode::SUCCESS),
                        _ => {}
                    }
                }
                drop(input);
                carried.wire_bytes += len as u64;
                self.out.advance(len);
            }
            while self.server.poll_transmit(NOW, &mut self.out) == Transmit::Wrote {}
            if quiet && self.out.is_empty() {
                return carried;
            }
            while !self.out.is_empty() {
                let len = self.out.chunk().len();
                let mut input = self.client.read(NOW, &mut self.from_server, self.out.chunk());
                while let Some(event) = input.next().unwrap() {
                    carried.completed += u64::from(matches!(event, Event::Completed { .. }));
                }
                drop(input);
                carried.wire_bytes += len as u64;
                self.out.advance(len);
            }
        }
    }
}
