//! Packets as clients send them.
use crate::*;

/// The numbers from here on are probes.
pub(crate) const PROBES: u32 = 1 << 30;

/// A PUBLISH as a client sends it.
pub(crate) struct Outgoing<'a> {
    /// None where an alias stands for it.
    pub(crate) name: Option<&'a str>,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: Qos,
    pub(crate) id: u16,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    pub(crate) properties: &'a [Property<'a>],
}

impl Outgoing<'_> {
    pub(crate) fn encoded(&self, version: Version) -> Vec<u8> {
        let publish = Publish {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: self.name.map(|name| TopicName::new(name).unwrap()),
            packet_id: PacketId::new(self.id),
            properties: Properties::from_slice(self.properties),
            payload: self.payload,
        };
        let mut bytes = Vec::new();
        Packet::Publish(publish).encode(version, &mut bytes).expect("a PUBLISH of a client");
        bytes
    }
}

pub(crate) fn ack(kind: AckKind, id: u16) -> Packet<'static> {
    let packet_id = PacketId::new(id).expect("a server uses no 0");
    Packet::Ack(Ack { kind, packet_id, reason: ReasonCode::SUCCESS, properties: Properties::EMPTY })
}

/// A client may be silent for too long, and breaks no other rule.
pub(crate) fn is_fair(cause: Cause) -> bool {
    match cause {
        Cause::Protocol(error) => {
            matches!(error.kind, ProtocolErrorKind::KeepAlive | ProtocolErrorKind::ConnectTimeout)
        }
        _ => true,
    }
}

/// What a filter matches, shared or not.
pub(crate) fn plain(filter: &str) -> &str {
    filter.strip_prefix("$share/").and_then(|shared| shared.split_once('/')).map_or(filter, |(_, plain)| plain)
}

/// The number a payload begins with.
pub(crate) fn number(payload: &[u8]) -> Option<u32> {
    payload
        .first_chunk()
        .map(|bytes| u32::from_be_bytes(*bytes))
        .filter(|number| [0, PROBES >> 24].contains(&(number >> 24)))
}
