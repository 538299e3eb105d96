//! The packets (section 3): which there are, who may send which, and how each begins. One file holds each packet's own fields.
use crate::error::Fault;
use crate::profile::{Leniency, Strict};
use crate::read::{Cursor, Parsed};
use crate::rules::{self, Rule};
use crate::write::{Count, Sink, VBI_MAX, Writer, vbi_len};
use crate::{DecodeError, EncodeError, Level3, Profile, Properties, Role, Version};
use bytes::BufMut;

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod display;
pub(crate) mod filters;
pub(crate) mod kind;
mod publish;
mod suback;
mod subscribe;
mod unsubscribe;

pub use ack::{Ack, AckKind};
pub use auth::Auth;
pub use connack::Connack;
pub(crate) use connect::version_of;
pub use connect::{Connect, Will};
pub use disconnect::Disconnect;
pub use publish::Publish;
pub use suback::{ReasonCodes, Suback, Unsuback};
pub use subscribe::{RetainHandling, Subscribe, SubscribeOptions, Subscription, Subscriptions};
pub use unsubscribe::{Filters, Unsubscribe};

/// Any packet of any version. Borrows from the bytes it was decoded from, or from what the caller built it of.
///
/// `Display` is one readable line for a log; it shows topics and client identifiers, and never a payload or a password.
///
/// # Examples
///
/// ```
/// use mqtt_codec::{Packet, Role, Version};
///
/// let frame = [0x32, 0x09, 0, 4, b'a', b'/', b'b', b'c', 0, 7, b'!'];
/// let packet = Packet::decode(&frame, Version::V311, Role::Client)?;
/// let Packet::Publish(publish) = packet else { panic!() };
/// assert_eq!(publish.topic.unwrap().as_bytes(), b"a/bc");
/// assert_eq!(publish.packet_id.unwrap().get(), 7);
/// assert_eq!(publish.payload, b"!");
///
/// let mut out = Vec::new();
/// packet.encode(Version::V311, &mut out)?;
/// assert_eq!(out, frame);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    Connack(Connack<'a>),
    Publish(Publish<'a>),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack(Ack<'a>),
    Subscribe(Subscribe<'a>),
    Suback(Suback<'a>),
    Unsubscribe(Unsubscribe<'a>),
    Unsuback(Unsuback<'a>),
    Pingreq,
    Pingresp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// How many bytes the property sections of a packet take, without their lengths.
#[derive(Clone, Copy)]
struct Sections {
    own: usize,
    /// Of the will inside a CONNECT.
    will: usize,
}

impl Sections {
    const fn own(own: usize) -> Self {
        Self { own, will: 0 }
    }
}

/// The lengths of a packet that can be sent.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    sections: Sections,
    /// The Remaining Length.
    body: usize,
}

impl Plan {
    /// Bytes on the wire, fixed header included.
    #[inline]
    pub(crate) const fn total(self) -> usize {
        1 + vbi_len(self.body) + self.body
    }

    /// The plan of a PUBLISH that has `len` more bytes of payload.
    pub(crate) fn with_payload(self, len: usize) -> Result<Self, EncodeError> {
        let body = self.body.saturating_add(len);
        if body > VBI_MAX { Err(EncodeError::PacketTooLarge) } else { Ok(Self { body, ..self }) }
    }
}

impl<'a> Packet<'a> {
    /// Decodes one whole packet that `from` sent. `version` is that of the connection; a CONNECT brings its own.
    ///
    /// Takes time in proportion to the packet's length without its payload, and no memory.
    ///
    /// # Errors
    ///
    /// Whatever `from` may not send. Filters are the exception: their grammar is judged when they are iterated.
    #[inline]
    pub fn decode(frame: &'a [u8], version: Version, from: Role) -> Result<Self, DecodeError> {
        decode(frame, version, from, Strict)
    }

    /// The same by another profile than [`Profile::STRICT`].
    ///
    /// Takes time in proportion to the packet's length, without its payload.
    ///
    /// # Errors
    ///
    /// Whatever `from` may not send, or `profile` does not take.
    pub fn decode_with(frame: &'a [u8], version: Version, from: Role, profile: &Profile) -> Result<Self, DecodeError> {
        let packet = decode(frame, version, from, profile)?;
        match profile.judge(&packet, frame) {
            Ok(()) => Ok(packet),
            Err(fault) => Err(refused(fault, frame, version, profile)),
        }
    }

    /// The properties of the packet (not those of a will); `None` for PINGREQ and PINGRESP, which have none.
    pub fn properties(&self) -> Option<Properties<'a>> {
        match self {
            Self::Connect(packet) => Some(packet.properties),
            Self::Connack(packet) => Some(packet.properties),
            Self::Publish(packet) => Some(packet.properties),
            Self::Ack(packet) => Some(packet.properties),
            Self::Subscribe(packet) => Some(packet.properties),
            Self::Suback(packet) => Some(packet.properties),
            Self::Unsubscribe(packet) => Some(packet.properties),
            Self::Unsuback(packet) => Some(packet.properties),
            Self::Disconnect(packet) => Some(packet.properties),
            Self::Auth(packet) => Some(packet.properties),
            Self::Pingreq | Self::Pingresp => None,
        }
    }

    /// Bytes on the wire, fixed header included.
    ///
    /// # Errors
    ///
    /// Those of [`encode`](Self::encode).
    pub fn encoded_len(&self, version: Version) -> Result<usize, EncodeError> {
        self.plan(version).map(Plan::total)
    }

    /// Appends the packet to `out`. On an error nothing was written.
    ///
    /// # Errors
    ///
    /// What `version` does not have, a field that is too long, or fields that contradict each other.
    #[inline]
    pub fn encode(&self, version: Version, out: &mut impl BufMut) -> Result<(), EncodeError> {
        // which packet it is matters at every step: for the usual ones it is asked once
        match self {
            Self::Publish(packet) => encode(packet, version, out),
            Self::Ack(packet) => encode(packet, version, out),
            Self::Connect(packet) => encode(packet, version, out),
            _ => encode(self, version, out),
        }
    }

    /// The packet without its User Properties, or without these and its Reason String, if it would exceed `limit` bytes with them (acks, CONNACK, DISCONNECT, AUTH, SUBACK, UNSUBACK; a PUBLISH is never trimmed). `None` if it does not fit even so, or cannot be encoded.
    pub fn fit(&self, version: Version, limit: u32) -> Option<Packet<'a>> {
        // v5 [MQTT-3.2.2-19], v5 [MQTT-3.4.2-2], v5 [MQTT-3.5.2-2], v5 [MQTT-3.6.2-2], v5 [MQTT-3.7.2-2], v5 [MQTT-3.9.2-1], v5 [MQTT-3.11.2-1],
        // v5 [MQTT-3.14.2-3], v5 [MQTT-3.15.2-2]: no Reason String, and
        // v5 [MQTT-3.2.2-20], v5 [MQTT-3.4.2-3], v5 [MQTT-3.5.2-3], v5 [MQTT-3.6.2-3], v5 [MQTT-3.7.2-3], v5 [MQTT-3.9.2-2], v5 [MQTT-3.11.2-2],
        // v5 [MQTT-3.14.2-4], v5 [MQTT-3.15.2-3]: no User Property that the receiver has no room for.
        let fits = |packet: &Packet<'a>| {
            packet.encoded_len(version).is_ok_and(|len| u32::try_from(len).is_ok_and(|len| len <= limit))
        };
        if fits(self) {
            return Some(*self);
        }
        [Properties::without_user_properties, Properties::without_diagnostics]
            .into_iter()
            .map(|trim| self.trimmed(trim))
            .find(fits)
    }

    fn trimmed(mut self, trim: fn(Properties<'a>) -> Properties<'a>) -> Self {
        let properties = match &mut self {
            Self::Connack(packet) => &mut packet.properties,
            Self::Ack(packet) => &mut packet.properties,
            Self::Suback(packet) => &mut packet.properties,
            Self::Unsuback(packet) => &mut packet.properties,
            Self::Disconnect(packet) => &mut packet.properties,
            Self::Auth(packet) => &mut packet.properties,
            Self::Connect(_)
            | Self::Publish(_)
            | Self::Subscribe(_)
            | Self::Unsubscribe(_)
            | Self::Pingreq
            | Self::Pingresp => return self,
        };
        *properties = trim(*properties);
        self
    }

    /// The lengths that go in front, once the packet is found to be one that can be sent.
    #[inline]
    pub(crate) fn plan(&self, version: Version) -> Result<Plan, EncodeError> {
        plan(self, version)
    }

    /// Writes a packet as planned.
    #[inline]
    pub(crate) fn write(&self, version: Version, plan: Plan, out: &mut impl BufMut) {
        write(self, version, plan, out);
    }
}

/// What is encoded: any packet, or one of a kind that is known.
trait Body {
    /// The lengths of its property sections, if it can be sent.
    fn sections(&self, version: Version) -> Result<Sections, EncodeError>;
    fn first_byte(&self) -> u8;
    /// Writes all that stands behind the fixed header.
    fn write_body(&self, version: Version, sections: Sections, out: &mut impl Sink);

    /// Writes all of it.
    #[inline(always)]
    fn write_whole(&self, version: Version, plan: Plan, out: &mut impl Sink) {
        out.header(self.first_byte(), plan.body);
        self.write_body(version, plan.sections, out);
    }
}

#[inline(always)]
fn plan(packet: &impl Body, version: Version) -> Result<Plan, EncodeError> {
    let sections = packet.sections(version)?;
    let mut count = Count(0);
    packet.write_body(version, sections, &mut count);
    let body = count.0;
    if body > VBI_MAX { Err(EncodeError::PacketTooLarge) } else { Ok(Plan { sections, body }) }
}

#[inline(always)]
fn write(packet: &impl Body, version: Version, plan: Plan, out: &mut impl BufMut) {
    packet.write_whole(version, plan, &mut Writer(out));
}

/// A function of its own for each kind of packet.
#[inline(never)]
fn encode(packet: &impl Body, version: Version, out: &mut impl BufMut) -> Result<(), EncodeError> {
    let plan = plan(packet, version)?;
    if out.remaining_mut() < plan.total() {
        return Err(EncodeError::NoRoom);
    }
    write(packet, version, plan, out);
    Ok(())
}

impl Body for Packet<'_> {
    #[inline]
    fn sections(&self, version: Version) -> Result<Sections, EncodeError> {
        match self {
            Self::Connect(packet) => packet.plan(),
            Self::Connack(packet) => packet.plan(version),
            Self::Publish(packet) => packet.plan(version),
            Self::Ack(packet) => packet.plan(version),
            Self::Subscribe(packet) => packet.plan(version),
            Self::Suback(packet) => packet.plan(version),
            Self::Unsubscribe(packet) => packet.plan(version),
            Self::Unsuback(packet) => packet.plan(version),
            Self::Pingreq | Self::Pingresp => Ok(Sections::own(0)),
            Self::Disconnect(packet) => packet.plan(version),
            Self::Auth(packet) => packet.plan(version),
        }
    }

    /// v5 [MQTT-2.1.3-1], v4 [MQTT-2.2.2-1]: the flags of each type are fixed, but for PUBLISH.
    #[inline]
    fn first_byte(&self) -> u8 {
        match self {
            Self::Connect(_) => 0x10,
            Self::Connack(_) => 0x20,
            Self::Publish(packet) => 0x30 | packet.flags(),
            Self::Ack(packet) => packet.kind.first_byte(),
            Self::Subscribe(_) => 0x82,
            Self::Suback(_) => 0x90,
            Self::Unsubscribe(_) => 0xA2,
            Self::Unsuback(_) => 0xB0,
            Self::Pingreq => 0xC0,
            Self::Pingresp => 0xD0,
            Self::Disconnect(_) => 0xE0,
            Self::Auth(_) => 0xF0,
        }
    }

    #[inline]
    fn write_body(&self, version: Version, sections: Sections, out: &mut impl Sink) {
        match self {
            Self::Connect(packet) => packet.write(sections, out),
            Self::Connack(packet) => packet.write(version, sections, out),
            Self::Publish(packet) => packet.write(version, sections, out),
            Self::Ack(packet) => packet.write(version, sections, out),
            Self::Subscribe(packet) => packet.write(version, sections, out),
            Self::Suback(packet) => packet.write(version, sections, out),
            Self::Unsubscribe(packet) => packet.write(version, sections, out),
            Self::Unsuback(packet) => packet.write(version, sections, out),
            Self::Pingreq | Self::Pingresp => {}
            Self::Disconnect(packet) => packet.write(version, sections, out),
            Self::Auth(packet) => packet.write(sections, out),
        }
    }
}

impl Body for Publish<'_> {
    #[inline(always)]
    fn sections(&self, version: Version) -> Result<Sections, EncodeError> {
        self.plan(version)
    }

    #[inline(always)]
    fn first_byte(&self) -> u8 {
        0x30 | self.flags()
    }

    #[inline(always)]
    fn write_body(&self, version: Version, sections: Sections, out: &mut impl Sink) {
        self.write(version, sections, out);
    }

    /// The topic name comes first, and its length goes into the same write.
    #[inline(always)]
    fn write_whole(&self, version: Version, plan: Plan, out: &mut impl Sink) {
        out.header_and_len(self.first_byte(), plan.body, self.topic_bytes());
        self.write_behind_len(version, plan.sections, out);
    }
}

impl Body for Ack<'_> {
    #[inline(always)]
    fn sections(&self, version: Version) -> Result<Sections, EncodeError> {
        self.plan(version)
    }

    #[inline(always)]
    fn first_byte(&self) -> u8 {
        self.kind.first_byte()
    }

    #[inline(always)]
    fn write_body(&self, version: Version, sections: Sections, out: &mut impl Sink) {
        self.write(version, sections, out);
    }
}

impl Body for Connect<'_> {
    #[inline(always)]
    fn sections(&self, _: Version) -> Result<Sections, EncodeError> {
        self.plan()
    }

    #[inline(always)]
    fn first_byte(&self) -> u8 {
        0x10
    }

    #[inline(always)]
    fn write_body(&self, _: Version, sections: Sections, out: &mut impl Sink) {
        self.write(sections, out);
    }
}

/// What a packet is decoded of.
struct Input<'a, L> {
    frame: &'a [u8],
    /// Behind the fixed header.
    body: Cursor<'a>,
    version: Version,
    from: Role,
    leniency: L,
}

/// PUBLISH and short acknowledgements are decoded right here, every other packet in a function of its own that hands it out from where it was made: packets are
/// large enough for their moves to be felt.
#[inline]
fn decode<'a>(
    frame: &'a [u8],
    version: Version,
    from: Role,
    leniency: impl Leniency,
) -> Result<Packet<'a>, DecodeError> {
    let (first, body) = match split_header(frame) {
        Ok(split) => split,
        Err(fault) => return Err(refused(fault, frame, version, leniency)),
    };
    if first >> 4 != 3 {
        if let Some(ack) = Ack::short(first, body.rest()) {
            return Ok(Packet::Ack(ack));
        }
        return decode_other(first, &Input { frame, body, version, from, leniency });
    }
    match Publish::decode(first & 0x0F, body, version, from, leniency) {
        Ok(publish) => Ok(Packet::Publish(publish)),
        Err(fault) => Err(refused(fault, frame, version, leniency)),
    }
}

/// The first byte, and what the fixed header is followed by.
#[inline(always)]
fn split_header(frame: &[u8]) -> Parsed<(u8, Cursor<'_>)> {
    let mut cursor = Cursor::new(frame);
    let first = cursor.u8()?;
    let body_len = usize::try_from(cursor.vbi()?).unwrap_or(usize::MAX);
    let body = cursor.section(body_len, &rules::LENGTH_SHORT)?;
    cursor.finish()?;
    Ok((first, body))
}

/// v5 [X5-ERR-2]: of several faults the first one found is reported.
#[cold]
#[inline(never)]
fn refused(fault: Fault, frame: &[u8], version: Version, leniency: impl Leniency) -> DecodeError {
    fault.in_frame(frame, version_of(frame, leniency).unwrap_or(version))
}

/// All but PUBLISH.
#[inline(never)]
fn decode_other<'a, L: Leniency>(first: u8, input: &Input<'a, L>) -> Result<Packet<'a>, DecodeError> {
    let (kind, flags) = (first >> 4, first & 0x0F);
    if !is_usual_header(kind, flags, input.version, input.from)
        && let Err(rule) = check_header(kind, flags, input.version, input.from, input.leniency)
    {
        let fault = Cursor::new(input.frame).fault(rule);
        return Err(refused(fault, input.frame, input.version, input.leniency));
    }
    match kind {
        1 => by(input, |i| Connect::decode(i.body, i.leniency).map(Packet::Connect)),
        2 => by(input, |i| Connack::decode(i.body, i.version, i.leniency).map(Packet::Connack)),
        4 => by(input, |i| Ack::decode(AckKind::Puback, i.body, i.version, i.from).map(Packet::Ack)),
        5 => by(input, |i| Ack::decode(AckKind::Pubrec, i.body, i.version, i.from).map(Packet::Ack)),
        6 => by(input, |i| Ack::decode(AckKind::Pubrel, i.body, i.version, i.from).map(Packet::Ack)),
        7 => by(input, |i| Ack::decode(AckKind::Pubcomp, i.body, i.version, i.from).map(Packet::Ack)),
        8 => by(input, |i| Subscribe::decode(i.body, i.version).map(Packet::Subscribe)),
        9 => by(input, |i| Suback::decode(i.body, i.version, i.leniency).map(Packet::Suback)),
        10 => by(input, |i| Unsubscribe::decode(i.body, i.version).map(Packet::Unsubscribe)),
        11 => by(input, |i| Unsuback::decode(i.body, i.version).map(Packet::Unsuback)),
        12 => by(input, |i| i.body.finish().map(|()| Packet::Pingreq)),
        13 => by(input, |i| i.body.finish().map(|()| Packet::Pingresp)),
        14 => by(input, |i| Disconnect::decode(i.body, i.version, i.from).map(Packet::Disconnect)),
        _ => by(input, |i| Auth::decode(i.body, i.from).map(Packet::Auth)),
    }
}

/// A function of its own for each `decode`.
#[inline(never)]
fn by<'a, L: Leniency>(
    input: &Input<'a, L>,
    decode: impl Fn(&Input<'a, L>) -> Parsed<Packet<'a>>,
) -> Result<Packet<'a>, DecodeError> {
    match decode(input) {
        Ok(packet) => Ok(packet),
        Err(fault) => Err(refused(fault, input.frame, input.version, input.leniency)),
    }
}

/// Decodes a PUBLISH of which `head` is all but the payload.
pub(crate) fn decode_head<'a>(
    head: &'a [u8],
    version: Version,
    from: Role,
    profile: Option<&Profile>,
) -> Result<Publish<'a>, DecodeError> {
    let decoded = match profile {
        None => decode_head_by(head, version, from, Strict),
        Some(profile) => decode_head_by(head, version, from, profile)
            .and_then(|publish| profile.judge(&Packet::Publish(publish), head).map(|()| publish)),
    };
    decoded.map_err(|fault| fault.in_frame(head, version))
}

fn decode_head_by<'a>(head: &'a [u8], version: Version, from: Role, leniency: impl Leniency) -> Parsed<Publish<'a>> {
    let mut cursor = Cursor::new(head);
    let first = cursor.u8()?;
    cursor.vbi()?; // the length of the whole packet
    Publish::decode(first & 0x0F, cursor, version, from, leniency)
}

/// Whether there is nothing to be said about the first byte: most of [`check_header`] in a few steps.
#[inline(always)]
fn is_usual_header(kind: u8, flags: u8, version: Version, from: Role) -> bool {
    // one bit for each type: what either end sends before 5.0, and what came with it
    let (sent, since_v5): (u16, u16) = match from {
        Role::Client => (0b0101_0101_1111_0010, 0b1000_0000_0000_0000),
        Role::Server => (0b0010_1010_1111_0100, 0b1100_0000_0000_0000),
    };
    let sent = if version == Version::V5 { sent | since_v5 } else { sent };
    let with_flag_2 = 0b0000_0101_0100_0000_u16;
    sent >> kind & 1 != 0 && u16::from(flags) == (with_flag_2 >> kind & 1) << 1
}

/// Whether `from` may send this type of packet, with these flags; not asked for PUBLISH.
#[cold]
fn check_header(
    kind: u8,
    flags: u8,
    version: Version,
    from: Role,
    leniency: impl Leniency,
) -> Result<(), &'static Rule> {
    let v5 = version == Version::V5;
    // v5 [X5-ERR-4]: a client sends nothing that only a server may send, nor the other way round.
    match (kind, from) {
        // v5 [X5-ERR-3]; AUTH came with 5.0.
        (0, _) => return Err(&rules::TYPE),
        (15, _) if !v5 => return Err(&rules::TYPE),
        (2 | 9 | 11 | 13, Role::Client) | (1 | 8 | 10 | 12, Role::Server) => {
            return Err(&rules::DIRECTION);
        }
        (14, Role::Server) if !v5 => return Err(&rules::DISCONNECT_SERVER), // v4 [X311-DISC-1]
        _ => {}
    }
    // v5 [MQTT-2.1.3-1], v4 [MQTT-2.2.2-2]: wrong flags end the connection. v3 [X31-DUP-1]: a repetition may say so.
    match (kind, flags) {
        (6 | 8 | 10, 0b0010) => Ok(()),
        (6 | 8 | 10, 0b1010) if version == Version::V31 && leniency.level_3() != Level3::As311 => Ok(()),
        _ if leniency.ignores_flags_of(kind, version) => Ok(()),
        (6, _) => Err(&rules::PUBREL_FLAGS), // v5 [MQTT-3.6.1-1], v4 [MQTT-3.6.1-1]
        (8, _) => Err(&rules::SUBSCRIBE_FLAGS), // v5 [MQTT-3.8.1-1], v4 [MQTT-3.8.1-1]
        (10, _) => Err(&rules::UNSUBSCRIBE_FLAGS), // v5 [MQTT-3.10.1-1], v4 [MQTT-3.10.1-1]
        (_, 0) => Ok(()),
        (14, _) => Err(&rules::DISCONNECT_FLAGS), // v5 [MQTT-3.14.1-1], v4 [MQTT-3.14.1-1]
        (15, _) => Err(&rules::AUTH_FLAGS),       // v5 [MQTT-3.15.1-1]
        _ => Err(&rules::FLAGS),
    }
}
