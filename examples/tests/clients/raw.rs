//! A client made of bytes: for what no client library would send, and for clients that do not read.
use super::wire::packet_len;
use super::{PATIENCE, Version};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A socket, and what was read from it and is no whole packet yet.
pub struct Raw {
    stream: TcpStream,
    kept: Vec<u8>,
    version: Version,
}

impl Raw {
    /// A socket on which nothing was sent.
    pub fn open(broker: SocketAddr, version: Version) -> Self {
        let stream = TcpStream::connect(broker).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, kept: Vec::new(), version }
    }

    /// Says CONNECT and reads the CONNACK. `keep`: go on with the session, and keep it.
    pub fn connect(broker: SocketAddr, version: Version, id: &str, keep: bool) -> Self {
        let mut raw = Self::open(broker, version);
        raw.send(&packet::connect(version, id, keep));
        let connack = raw.receive().expect("the broker closes instead of CONNACK");
        assert_eq!((connack[0], connack[3]), (0x20, 0), "CONNACK {connack:02x?}");
        raw
    }

    /// Subscribes, and waits until it is granted.
    pub fn subscribe(&mut self, filter: &str, qos: u8) {
        self.send(&packet::subscribe(self.version, filter, qos));
        let suback = self.receive().unwrap();
        assert_eq!((suback[0], suback.last()), (0x90, Some(&qos)), "SUBACK {suback:02x?}");
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// As [`send`](Self::send), for bytes that may break the connection before they are all sent.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next packet; `None` when the broker has closed.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(len) = packet_len(&self.kept) {
                return Some(self.kept.drain(..len).collect());
            }
            let mut bytes = [0; 16 << 10];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(read) => self.kept.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing comes: {error}"),
            }
        }
    }

    /// The next packet, which must be of this type.
    pub fn expect(&mut self, packet_type: u8) -> Vec<u8> {
        let packet = self.receive().unwrap_or_else(|| panic!("closed instead of a packet of type {packet_type}"));
        assert_eq!(packet[0] >> 4, packet_type, "{packet:02x?}");
        packet
    }
}

/// Packets as bytes.
pub mod packet {
    use super::Version;

    pub fn whole(first: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![first];
        let mut len = body.len();
        loop {
            let byte = (len & 0x7f) as u8;
            len >>= 7;
            packet.push(if len > 0 { byte | 0x80 } else { byte });
            if len == 0 {
                break;
            }
        }
        packet.extend_from_slice(body);
        packet
    }

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
    }

    pub fn connect(version: Version, id: &str, keep: bool) -> Vec<u8> {
        let mut body = text(if version == Version::V31 { "MQIsdp" } else { "MQTT" });
        body.push(version.level());
        body.push(if keep { 0 } else { 2 });
        body.extend_from_slice(&[0, 60]);
        match (version, keep) {
            // Session Expiry Interval 600 s: what 3.1.1 does by itself
            (Version::V5, true) => body.extend_from_slice(&[5, 0x11, 0, 0, 2, 88]),
            (Version::V5, false) => body.push(0),
            _ => {}
        }
        body.extend(text(id));
        whole(0x10, &body)
    }

    pub fn subscribe(version: Version, filter: &str, qos: u8) -> Vec<u8> {
        let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
        whole(0x82, &[&[0, 1], properties, &text(filter), &[qos]].concat())
    }

    /// `id` 0: QoS 0.
    pub fn publish(version: Version, topic: &str, id: u16, qos: u8, dup: bool, payload: &[u8]) -> Vec<u8> {
        let mut body = text(topic);
        if qos > 0 {
            body.extend_from_slice(&id.to_be_bytes());
        }
        if version == Version::V5 {
            body.push(0);
        }
        body.extend_from_slice(payload);
        whole(0x30 | qos << 1 | u8::from(dup) << 3, &body)
    }

    pub fn ack(first: u8, id: u16) -> Vec<u8> {
        whole(first, &id.to_be_bytes())
    }
}
