//! `mqtt-protocol-core`, with its automatic answers.
use crate::{Carried, PAYLOAD, Pair, TOPIC, Version};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::Event;
use mqtt_protocol_core::mqtt::packet::{self, GenericPacketTrait, Packet, Qos, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode};
use mqtt_protocol_core::mqtt::{self, Connection, role};
use std::hint::black_box;

pub struct ProtocolCore {
    version: Version,
    client: Connection<role::Client>,
    server: Connection<role::Server>,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
}

/// What an end wants sent.
fn sent(event: &Event) -> Option<&Packet> {
    match event {
        Event::RequestSendPacket { packet, .. } => Some(packet),
        Event::NotifyError(error) => panic!("{error:?}"),
        Event::RequestClose => panic!("closed"),
        _ => None,
    }
}

fn write(packet: &Packet, out: &mut Vec<u8>) {
    for buffer in packet.to_buffers() {
        out.extend_from_slice(&buffer);
    }
}

impl ProtocolCore {
    fn say(&mut self, packet: Packet) {
        for event in self.client.send(packet) {
            if let Some(packet) = sent(&event) {
                write(packet, &mut self.from_client);
            }
        }
    }

    /// The server hears what the client has said.
    fn to_server(&mut self, carried: &mut Carried) {
        carried.wire_bytes += self.from_client.len() as u64;
        let mut cursor = Cursor::new(self.from_client.as_slice());
        while (cursor.position() as usize) < self.from_client.len() {
            for event in self.server.recv(&mut cursor) {
                if let Some(packet) = sent(&event) {
                    write(packet, &mut self.from_server);
                }
                let Event::NotifyPacketReceived(packet) = event else { continue };
                let (topic, payload) = match &packet {
                    Packet::V3_1_1Publish(publish) => (publish.topic_name(), publish.payload()),
                    Packet::V5_0Publish(publish) => (publish.topic_name(), publish.payload()),
                    _ => continue,
                };
                carried.messages += 1;
                carried.message_bytes += (topic.len() + payload.len()) as u64;
                black_box(payload.as_slice());
            }
        }
        self.from_client.clear();
    }

    /// The client hears what the server has said.
    fn to_client(&mut self, carried: &mut Carried) {
        carried.wire_bytes += self.from_server.len() as u64;
        let mut cursor = Cursor::new(self.from_server.as_slice());
        while (cursor.position() as usize) < self.from_server.len() {
            for event in self.client.recv(&mut cursor) {
                if let Some(packet) = sent(&event) {
                    write(packet, &mut self.from_client);
                }
                carried.completed += u64::from(matches!(event, Event::NotifyPacketIdReleased(_)));
            }
        }
        self.from_server.clear();
    }
}

impl Pair for ProtocolCore {
    const NAME: &'static str = "mqtt-protocol-core";

    fn new(version: Version) -> Self {
        let its = if version == Version::V5 { mqtt::Version::V5_0 } else { mqtt::Version::V3_1_1 };
        let (mut client, mut server) = (Connection::new(its), Connection::new(its));
        client.set_auto_pub_response(true);
        server.set_auto_pub_response(true);
        let mut pair = Self { version, client, server, from_client: Vec::new(), from_server: Vec::new() };
        let connect = match version {
            Version::V311 => v3_1_1::Connect::builder().client_id("bench").unwrap().build().unwrap().into(),
            Version::V5 => v5_0::Connect::builder().client_id("bench").unwrap().build().unwrap().into(),
        };
        pair.say(connect);
        pair.to_server(&mut Carried::default());
        let connack: Packet = match version {
            Version::V311 => v3_1_1::Connack::builder()
                .session_present(false)
                .return_code(ConnectReturnCode::Accepted)
                .build()
                .unwrap()
                .into(),
            Version::V5 => v5_0::Connack::builder()
                .session_present(false)
                .reason_code(ConnectReasonCode::Success)
                .build()
                .unwrap()
                .into(),
        };
        for event in pair.server.send(connack) {
            if let Some(packet) = sent(&event) {
                write(packet, &mut pair.from_server);
            }
        }
        pair.to_client(&mut Carried::default());
        pair
    }

    fn publish(&mut self, qos: u8) {
        let id = (qos > 0).then(|| self.client.acquire_packet_id().unwrap());
        let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][usize::from(qos)];
        let publish: packet::Packet = match self.version {
            Version::V311 => {
                let mut publish = v3_1_1::Publish::builder().topic_name(TOPIC).unwrap().qos(qos).payload(&PAYLOAD[..]);
                if let Some(id) = id {
                    publish = publish.packet_id(id);
                }
                publish.build().unwrap().into()
            }
            Version::V5 => {
                let mut publish = v5_0::Publish::builder().topic_name(TOPIC).unwrap().qos(qos).payload(&PAYLOAD[..]);
                if let Some(id) = id {
                    publish = publish.packet_id(id);
                }
                publish.build().unwrap().into()
            }
        };
        self.say(publish);
    }

    fn carry(&mut self) -> Carried {
        let mut carried = Carried::default();
        while !self.from_client.is_empty() || !self.from_server.is_empty() {
            self.to_server(&mut carried);
            self.to_client(&mut carried);
        }
        carried
    }
}
