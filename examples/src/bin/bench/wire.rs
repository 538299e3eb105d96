//! Packets as raw bytes: encoded once by the codec and patched in place, and a scan of what comes back that looks no further than it must.

use mqtt_codec::topic::{TopicFilter, TopicName};
use mqtt_codec::{
    Connect, Packet, PacketId, Properties, Property, Publish, Qos, RetainHandling, Subscribe, SubscribeOptions,
    Subscription, Subscriptions, Utf8, Version, frame_len,
};

/// Bytes of a stamp, which begins every payload.
pub(crate) const STAMP: usize = 16;
/// No packet comes close: the load is our own.
const FRAME_LIMIT: u32 = 268_435_460;

/// Seconds: longer than any run, so that nobody has to ping. Not 0, which some brokers refuse.
const KEEP_ALIVE: u16 = 3600;

/// DISCONNECT, the same in all versions.
pub(crate) const DISCONNECT: [u8; 2] = [0xE0, 0];

/// What a payload says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// One publisher's messages to one topic: the unit in which order is promised.
    pub(crate) stream: u32,
    /// Counts from 0 within the stream.
    pub(crate) sequence: u32,
    /// When it was to be sent, in nanoseconds since the run began.
    pub(crate) due: u64,
}

/// A PUBLISH that lacks its packet identifier and its stamp.
pub(crate) struct Template {
    bytes: Vec<u8>,
    /// Where the packet identifier stands, counted from the end; nowhere at QoS 0.
    id: Option<usize>,
    /// Where the stamp stands, counted from the end; nowhere in an empty payload.
    stamp: Option<usize>,
}

impl Template {
    /// A template for `size` bytes of payload, at least those of a stamp.
    pub(crate) fn new(version: Version, topic: &str, qos: Qos, retain: bool, size: usize) -> Result<Self, String> {
        Self::of(version, topic, qos, retain, &vec![b'.'; size.max(STAMP)])
    }

    /// A template, without a stamp, that takes a retained message away.
    pub(crate) fn clearing(version: Version, topic: &str) -> Result<Self, String> {
        Self::of(version, topic, Qos::AtLeastOnce, true, &[])
    }

    fn of(version: Version, topic: &str, qos: Qos, retain: bool, payload: &[u8]) -> Result<Self, String> {
        let topic = TopicName::new(topic).map_err(|error| format!("{topic}: {error}"))?;
        let packet_id = if qos == Qos::AtMostOnce { None } else { PacketId::new(1) };
        let publish = Publish {
            dup: false,
            qos,
            retain,
            topic: Some(topic),
            packet_id,
            properties: Properties::default(),
            payload,
        };
        let bytes = encode(&Packet::Publish(publish), version)?;
        let behind_id = payload.len() + usize::from(version == Version::V5);
        Ok(Self { bytes, id: packet_id.map(|_| behind_id + 2), stamp: (!payload.is_empty()).then_some(payload.len()) })
    }

    /// Appends the packet. `id` is not looked at when QoS is 0.
    pub(crate) fn append(&self, out: &mut Vec<u8>, id: u16, stamp: Stamp) {
        out.extend_from_slice(&self.bytes);
        let end = out.len();
        if let Some(at) = self.id {
            put(out, end - at, &id.to_be_bytes());
        }
        let Some(at) = self.stamp else { return };
        let mut bytes = [0; STAMP];
        let parts = stamp.stream.to_be_bytes().into_iter().chain(stamp.sequence.to_be_bytes());
        for (place, byte) in bytes.iter_mut().zip(parts.chain(stamp.due.to_be_bytes())) {
            *place = byte;
        }
        put(out, end - at, &bytes);
    }

    /// Bytes of the packet.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// CONNECT. A session that is not `clean` outlives the connection by an hour.
pub(crate) fn connect(version: Version, id: &str, clean: bool) -> Result<Vec<u8>, String> {
    let hour = [Property::SessionExpiryInterval(3600)];
    let kept = version == Version::V5 && !clean;
    let connect = Connect {
        version,
        clean_start: clean,
        keep_alive: KEEP_ALIVE,
        properties: if kept { Properties::from_slice(&hour) } else { Properties::default() },
        client_id: Utf8::new(id).ok_or("a client identifier that is no text")?,
        will: None,
        user_name: None,
        password: None,
    };
    encode(&Packet::Connect(connect), version)
}

/// SUBSCRIBE to all `filters` at one QoS, with packet identifier 1.
pub(crate) fn subscribe(version: Version, filters: &[String], qos: Qos) -> Result<Vec<u8>, String> {
    let options =
        SubscribeOptions { qos, no_local: false, retain_as_published: false, retain_handling: RetainHandling::Always };
    let mut list = Vec::with_capacity(filters.len());
    for filter in filters {
        let filter = TopicFilter::new(filter).map_err(|error| format!("{filter}: {error}"))?;
        list.push(Subscription { filter, options });
    }
    let subscribe = Subscribe {
        packet_id: PacketId::new(1).ok_or("no identifier")?,
        properties: Properties::default(),
        subscriptions: Subscriptions::from_slice(&list),
    };
    encode(&Packet::Subscribe(subscribe), version)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP that says success, by its first byte: the same in all versions.
pub(crate) fn ack(first: u8, id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [first, 2, high, low]
}

/// First bytes of the acknowledgements.
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x62;
pub(crate) const PUBCOMP: u8 = 0x70;

fn encode(packet: &Packet<'_>, version: Version) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// A packet from the broker, as far as a load generator cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Publish {
        /// 0, 1 or 2.
        qos: u8,
        /// 0 at QoS 0.
        id: u16,
        stamp: Stamp,
    },
    Ack {
        /// [`PUBACK`] or one of its kin.
        first: u8,
        id: u16,
        /// The reason code is an error.
        refused: bool,
    },
    /// Whatever else, by its first byte.
    Other(u8),
}

/// The first packet in `bytes` with its length; `None` when it is not all here.
#[inline]
pub(crate) fn next(bytes: &[u8], version: Version) -> Result<Option<(Incoming, usize)>, String> {
    // most packets are short: one byte of length, looked at here
    let (len, head) = match bytes {
        [_, short @ 0..0x80, ..] => (usize::from(*short) + 2, 2),
        _ => match frame_len(bytes, FRAME_LIMIT) {
            Ok(Some(len)) => (len, head_len(bytes)),
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        },
    };
    let Some(frame) = bytes.get(..len) else { return Ok(None) };
    let (Some(&first), Some(body)) = (frame.first(), frame.get(head..)) else { return Ok(None) };
    let incoming = match first {
        0x30..0x40 => publish(first, body, version).ok_or("a PUBLISH that is none, or is not of this run")?,
        PUBACK | PUBREC | PUBREL | PUBCOMP => {
            let Some((id, rest)) = be_u16(body) else { return Err("an acknowledgement without identifier".into()) };
            Incoming::Ack { first, id, refused: rest.first().is_some_and(|&reason| reason >= 0x80) }
        }
        _ => Incoming::Other(first),
    };
    Ok(Some((incoming, len)))
}

#[inline]
fn publish(first: u8, body: &[u8], version: Version) -> Option<Incoming> {
    let qos = first >> 1 & 3;
    let (topic, rest) = be_u16(body)?;
    let mut rest = rest.get(usize::from(topic)..)?;
    let mut id = 0;
    if qos > 0 {
        (id, rest) = be_u16(rest)?;
    }
    if version == Version::V5 {
        let properties = variable(rest)?;
        rest = rest.get(properties..)?;
    }
    let (stream, rest) = rest.split_first_chunk::<4>()?;
    let (sequence, rest) = rest.split_first_chunk::<4>()?;
    let (due, _) = rest.split_first_chunk::<8>()?;
    let stamp = Stamp {
        stream: u32::from_be_bytes(*stream),
        sequence: u32::from_be_bytes(*sequence),
        due: u64::from_be_bytes(*due),
    };
    Some(Incoming::Publish { qos, id, stamp })
}

#[inline]
fn be_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    bytes.split_first_chunk::<2>().map(|(number, rest)| (u16::from_be_bytes(*number), rest))
}

/// A property section with the length before it, in bytes.
fn variable(bytes: &[u8]) -> Option<usize> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * at);
        if byte < 0x80 {
            return Some(value + at + 1);
        }
    }
    None
}

/// Bytes of the fixed header of a packet whose length is complete.
fn head_len(bytes: &[u8]) -> usize {
    2 + bytes.iter().skip(1).take(3).take_while(|&&byte| byte >= 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_template_makes_is_found_again_in_any_split() {
        for version in [Version::V311, Version::V5] {
            for (qos, size) in [(Qos::AtMostOnce, 16), (Qos::AtLeastOnce, 100), (Qos::ExactlyOnce, 20_000)] {
                let template = Template::new(version, "a/b", qos, false, size).unwrap();
                let stamp = Stamp { stream: 7, sequence: 0x0102_0304, due: u64::MAX - 1 };
                let mut bytes = Vec::new();
                template.append(&mut bytes, 0x1234, stamp);
                assert_eq!(bytes.len(), template.len());
                for cut in [0, 1, 2, 5, bytes.len() - 1] {
                    assert_eq!(next(&bytes[..cut], version), Ok(None));
                }
                let id = if qos == Qos::AtMostOnce { 0 } else { 0x1234 };
                bytes.push(0xD0);
                let found = next(&bytes, version).unwrap().unwrap();
                assert_eq!(found, (Incoming::Publish { qos: qos as u8, id, stamp }, template.len()));
                // and the codec agrees
                let decoded = Packet::decode(&bytes[..template.len()], version, mqtt_codec::Role::Server).unwrap();
                let Packet::Publish(publish) = decoded else { panic!("{decoded:?}") };
                assert_eq!(publish.payload.len(), size);
                assert_eq!(publish.packet_id.map_or(0, PacketId::get), id);
            }
        }
    }

    #[test]
    fn a_refusal_is_told_from_a_consent() {
        let rows: [(&[u8], bool); 3] =
            [(&[0x40, 2, 0, 9], false), (&[0x40, 3, 0, 9, 0x10], false), (&[0x50, 3, 0, 9, 0x97], true)];
        for (bytes, refused) in rows {
            let expected = Incoming::Ack { first: bytes[0], id: 9, refused };
            assert_eq!(next(bytes, Version::V5), Ok(Some((expected, bytes.len()))));
        }
    }
}
