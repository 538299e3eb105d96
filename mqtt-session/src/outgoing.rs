//! One copy of a message on its way to the peer: the only place where an outgoing PUBLISH is written (section 3.3).
//!
//! A copy is made of a message and of what belongs to this client alone. The alias is chosen here, out of the table of this
//! connection; neither the identifier, the alias, the DUP nor the subscription identifiers of the publisher are within reach, so none
//! of them can leak.
use crate::limits::Limits;
use crate::message::{Delivery, Publication, forwardable, forwardable_len};
use crate::{Instant, Message};
use alloc::vec::Vec;
use mqtt_codec::{OutBuf, PacketId, Properties, Qos, Version};

/// One copy.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    topic: &'a [u8],
    /// `Some` if, and only if, QoS is above 0.
    id: Option<PacketId>,
    dup: bool,
    qos: Qos,
    retain: bool,
    /// Seconds.
    expiry: Option<u32>,
    /// v5 [MQTT-3.3.2-8]: never 0.
    alias: Option<u16>,
    ids: &'a [u32],
    body: Body<'a>,
}

/// Where the parts that are forwarded come from.
#[derive(Clone, Copy)]
enum Body<'a> {
    Kept(&'a Message),
    Borrowed { properties: Properties<'a>, len: usize, payload: &'a [u8] },
}

/// What became of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Wrote,
    Full,
    /// It can never be sent on this connection.
    Never,
}

impl<'a> Outgoing<'a> {
    /// The copy of a kept message; `id` is there if, and only if, QoS is above 0.
    pub(crate) fn kept(delivery: &'a Delivery, now: Instant, id: Option<PacketId>, dup: bool) -> Self {
        let message = &delivery.message;
        let body = Body::Kept(message);
        let (qos, retain, ids) = (delivery.qos, delivery.retain, delivery.ids());
        let (topic, expiry) = (message.topic_bytes(), message.expiry_interval(now));
        Self { topic, id, dup, qos, retain, expiry, alias: None, ids, body }
    }

    /// The QoS 0 copy of a message that was never kept.
    pub(crate) fn borrowed(publication: &Publication<'a>, retain: bool, ids: &'a [u32]) -> Self {
        let properties = publication.properties;
        let body = Body::Borrowed { properties, len: forwardable_len(properties), payload: publication.payload };
        let expiry = properties.message_expiry_interval();
        // v5 [MQTT-4.3.1-1], v4 [MQTT-4.3.1-1]: QoS 0 and DUP 0.
        Self {
            topic: publication.topic.as_bytes(),
            id: None,
            dup: false,
            qos: Qos::AtMostOnce,
            retain,
            expiry,
            alias: None,
            ids,
            body,
        }
    }

    /// Bytes on the wire; `None` where no packet can hold it.
    pub(crate) fn size(&self, version: Version) -> Option<usize> {
        let remaining = self.remaining(version);
        (remaining <= VBI_MAX).then(|| 1 + vbi_len(remaining) + remaining)
    }

    /// Appends the copy of a message that was never kept to `frame`, as it is for everybody who takes it as it is.
    #[cold]
    pub(crate) fn encode(publication: &Publication<'_>, retain: bool, version: Version, frame: &mut Vec<u8>) {
        let copy = Outgoing::borrowed(publication, retain, &[]);
        if copy.size(version).is_some() {
            copy.write_head(version, |bytes| frame.extend_from_slice(bytes));
            frame.extend_from_slice(publication.payload);
        }
    }

    /// Writes it, or nothing; with a topic alias where one is to be had.
    #[inline]
    pub(crate) fn write(&self, limits: &mut Limits, out: &mut OutBuf) -> Written {
        if limits.gives_aliases() { self.write_aliased(limits, out) } else { self.write_as_it_is(limits, out) }
    }

    fn write_aliased(&self, limits: &mut Limits, out: &mut OutBuf) -> Written {
        let automatic = limits.automatic_aliases;
        let Some(choice) = limits.rare_mut().given.choose(self.topic, automatic) else {
            return self.write_as_it_is(limits, out);
        };
        let topic = if choice.told { &[] } else { self.topic };
        let aliased = Self { alias: Some(choice.alias), topic, ..*self };
        match aliased.write_as_it_is(limits, out) {
            // The alias may be what makes it too large.
            Written::Never => self.write_as_it_is(limits, out),
            Written::Full => Written::Full,
            Written::Wrote => {
                // Only now that the peer is told: what was dropped has set nothing.
                if !choice.told {
                    limits.rare_mut().given.tell(choice.alias, self.topic);
                }
                Written::Wrote
            }
        }
    }

    fn write_as_it_is(&self, limits: &Limits, out: &mut OutBuf) -> Written {
        let version = limits.version;
        // v5 [MQTT-3.1.2-24]: the limit counts the fixed header and is inclusive.
        let Some(size) = self.size(version).filter(|&size| limits.fits(size)) else { return Written::Never };
        if !out.has_room(size) {
            return Written::Full;
        }
        self.write_head(version, |bytes| out.put_slice(bytes));
        match self.body {
            Body::Kept(message) => out.put_shared(message.block(), message.payload_range()),
            Body::Borrowed { payload, .. } => out.put_slice(payload),
        }
        Written::Wrote
    }

    /// All but the payload.
    #[inline]
    fn write_head(&self, version: Version, mut put: impl FnMut(&[u8])) {
        let mut head = Small::new();
        head.push(0x30 | (u8::from(self.dup) << 3) | ((self.qos as u8) << 1) | u8::from(self.retain));
        head.vbi(self.remaining(version));
        head.u16(u16::try_from(self.topic.len()).unwrap_or(u16::MAX));
        put(head.bytes());
        put(self.topic);
        let mut middle = Small::new();
        if let Some(id) = self.id {
            middle.u16(id.get());
        }
        if version == Version::V5 {
            middle.vbi(self.property_len());
            if let Some(seconds) = self.expiry {
                middle.push(0x02);
                seconds.to_be_bytes().into_iter().for_each(|byte| middle.push(byte));
            }
            if let Some(alias) = self.alias {
                middle.push(0x23);
                middle.u16(alias);
            }
            put(middle.bytes());
            // v5 [MQTT-3.3.4-3], v5 [MQTT-3.3.4-4], v5 [MQTT-3.3.4-5]: the identifiers of all matching subscriptions.
            for &id in self.ids {
                let mut piece = Small::new();
                piece.push(0x0B);
                piece.vbi(usize::try_from(id).unwrap_or(usize::MAX));
                put(piece.bytes());
            }
            match self.body {
                Body::Kept(message) => put(message.forwardable()),
                Body::Borrowed { properties, .. } => forwardable(properties, &mut put),
            }
        } else {
            put(middle.bytes());
        }
    }

    fn remaining(&self, version: Version) -> usize {
        let payload = match self.body {
            Body::Kept(message) => message.payload_range().len(),
            Body::Borrowed { payload, .. } => payload.len(),
        };
        let properties = match version {
            Version::V31 | Version::V311 => 0,
            Version::V5 => {
                let len = self.property_len();
                vbi_len(len).saturating_add(len)
            }
        };
        let id = if self.id.is_some() { 2 } else { 0 };
        (2 + id + self.topic.len()).saturating_add(properties).saturating_add(payload)
    }

    fn property_len(&self) -> usize {
        let expiry = if self.expiry.is_some() { 5 } else { 0 };
        let ids: usize = self.ids.iter().map(|&id| 1 + vbi_len(usize::try_from(id).unwrap_or(usize::MAX))).sum();
        let forwarded = match self.body {
            Body::Kept(message) => message.forwardable().len(),
            Body::Borrowed { len, .. } => len,
        };
        let alias = if self.alias.is_some() { 3 } else { 0 };
        expiry + alias + ids + forwarded
    }
}

/// The most a Variable Byte Integer can say.
const VBI_MAX: usize = 268_435_455;

fn vbi_len(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// A few bytes that are written together; the longest are an identifier, a property length, an expiry and an alias: 14.
struct Small {
    bytes: [u8; 14],
    len: usize,
}

impl Small {
    fn new() -> Self {
        Self { bytes: [0; 14], len: 0 }
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }

    fn u16(&mut self, value: u16) {
        let [high, low] = value.to_be_bytes();
        self.push(high);
        self.push(low);
    }

    fn vbi(&mut self, value: usize) {
        let mut rest = value.min(VBI_MAX);
        loop {
            let low = (rest & 0x7F) as u8;
            rest >>= 7;
            if rest == 0 {
                return self.push(low);
            }
            self.push(low | 0x80);
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
