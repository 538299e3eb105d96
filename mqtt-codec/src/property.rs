//! One property of 5.0 (section 2.2.2): **one** table says which there are; decoding, encoding and reading all follow it.
use crate::packet::kind::*;
use crate::read::{Cursor, Parsed};
use crate::rules::{self, Rule};
use crate::write::{Count, Sink, VBI_MAX, len_bytes};
use crate::{EncodeError, Role, TopicName, Utf8};

/// One property.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Property<'a> {
    PayloadFormatIndicator(bool),
    MessageExpiryInterval(u32),
    ContentType(Utf8<'a>),
    ResponseTopic(TopicName<'a>),
    CorrelationData(&'a [u8]),
    SubscriptionIdentifier(u32),
    SessionExpiryInterval(u32),
    AssignedClientIdentifier(Utf8<'a>),
    ServerKeepAlive(u16),
    AuthenticationMethod(Utf8<'a>),
    AuthenticationData(&'a [u8]),
    RequestProblemInformation(bool),
    WillDelayInterval(u32),
    RequestResponseInformation(bool),
    ResponseInformation(Utf8<'a>),
    ServerReference(Utf8<'a>),
    ReasonString(Utf8<'a>),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(u16),
    MaximumQos(bool),
    RetainAvailable(bool),
    UserProperty(Utf8<'a>, Utf8<'a>),
    MaximumPacketSize(u32),
    WildcardSubscriptionAvailable(bool),
    SubscriptionIdentifierAvailable(bool),
    SharedSubscriptionAvailable(bool),
}

/// The identifiers of the properties (section 2.2.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum PropertyId {
    PayloadFormatIndicator = 0x01,
    MessageExpiryInterval = 0x02,
    ContentType = 0x03,
    ResponseTopic = 0x08,
    CorrelationData = 0x09,
    SubscriptionIdentifier = 0x0B,
    SessionExpiryInterval = 0x11,
    AssignedClientIdentifier = 0x12,
    ServerKeepAlive = 0x13,
    AuthenticationMethod = 0x15,
    AuthenticationData = 0x16,
    RequestProblemInformation = 0x17,
    WillDelayInterval = 0x18,
    RequestResponseInformation = 0x19,
    ResponseInformation = 0x1A,
    ServerReference = 0x1C,
    ReasonString = 0x1F,
    ReceiveMaximum = 0x21,
    TopicAliasMaximum = 0x22,
    TopicAlias = 0x23,
    MaximumQos = 0x24,
    RetainAvailable = 0x25,
    UserProperty = 0x26,
    MaximumPacketSize = 0x27,
    WildcardSubscriptionAvailable = 0x28,
    SubscriptionIdentifierAvailable = 0x29,
    SharedSubscriptionAvailable = 0x2A,
}

/// How the value of a property lies on the wire, and the rule it breaks when it is out of range.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// One byte, 0 or 1.
    Flag(&'static Rule),
    /// Two bytes; not 0 if there is a rule.
    U16(Option<&'static Rule>),
    /// Four bytes; not 0 if there is a rule.
    U32(Option<&'static Rule>),
    /// A Variable Byte Integer, not 0.
    Vbi(&'static Rule),
    Text,
    Topic,
    Binary,
    Pair,
}

/// A row of the table.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) id: PropertyId,
    pub(crate) form: Form,
    /// Where it may be.
    packets: Kinds,
    /// Where it may be more than once.
    pub(crate) repeats: Kinds,
    /// Who may not send it, and in which packets, although it is one of theirs.
    barred: Option<(Role, Kinds, &'static Rule)>,
}

#[cfg(feature = "arbitrary")]
impl Row {
    /// Whether `from` may send it in `packet`.
    pub(crate) fn is_for(&self, packet: Kinds, from: Role) -> bool {
        let barred = self.barred.is_some_and(|(role, packets, _)| role == from && packets & packet != 0);
        self.packets & packet != 0 && !barred
    }
}

const fn row(id: PropertyId, form: Form, packets: Kinds) -> Row {
    Row { id, form, packets, repeats: 0, barred: None }
}

const ACKS: Kinds = PUBACK | PUBREC | PUBREL | PUBCOMP | SUBACK | UNSUBACK;
const EVERY: Kinds = WILL | CONNECT | CONNACK | PUBLISH | ACKS | SUBSCRIBE | UNSUBSCRIBE | DISCONNECT | AUTH;

/// The properties (table 2-4).
#[rustfmt::skip]
pub(crate) const PROPERTIES: [Row; 27] = {
    use Form::{Binary, Flag, Pair, Text, Topic, U16, U32, Vbi};
    use PropertyId as P;
    [
        row(P::PayloadFormatIndicator, Flag(&rules::PAYLOAD_FORMAT), PUBLISH | WILL),
        row(P::MessageExpiryInterval, U32(None), PUBLISH | WILL),
        row(P::ContentType, Text, PUBLISH | WILL), // v5 [MQTT-3.3.2-19]: a UTF-8 string
        row(P::ResponseTopic, Topic, PUBLISH | WILL), // v5 [MQTT-3.3.2-13], v5 [MQTT-3.3.2-14]: a UTF-8 string without wildcards
        row(P::CorrelationData, Binary, PUBLISH | WILL),
        // v5 [X5-PUB-7]: not 0. v5 [X5-SUB-3]: once in SUBSCRIBE. v5 [MQTT-3.3.4-6]: not in what a client publishes.
        Row {
            repeats: PUBLISH,
            barred: Some((Role::Client, PUBLISH, &rules::SUBSCRIPTION_ID_CLIENT)),
            ..row(P::SubscriptionIdentifier, Vbi(&rules::SUBSCRIPTION_ID), PUBLISH | SUBSCRIBE)
        },
        // v5 [MQTT-3.14.2-2]: not in a server's DISCONNECT.
        Row {
            barred: Some((Role::Server, DISCONNECT, &rules::SESSION_EXPIRY_SERVER)),
            ..row(P::SessionExpiryInterval, U32(None), CONNECT | CONNACK | DISCONNECT)
        },
        row(P::AssignedClientIdentifier, Text, CONNACK),
        row(P::ServerKeepAlive, U16(None), CONNACK),
        row(P::AuthenticationMethod, Text, CONNECT | CONNACK | AUTH),
        row(P::AuthenticationData, Binary, CONNECT | CONNACK | AUTH),
        row(P::RequestProblemInformation, Flag(&rules::REQUEST_PROBLEM), CONNECT), // v5 [X5-CON-6]
        row(P::WillDelayInterval, U32(None), WILL),
        row(P::RequestResponseInformation, Flag(&rules::REQUEST_RESPONSE), CONNECT), // v5 [X5-CON-5]
        row(P::ResponseInformation, Text, CONNACK),
        Row {
            barred: Some((Role::Client, DISCONNECT, &rules::SERVER_REFERENCE_CLIENT)),
            ..row(P::ServerReference, Text, CONNACK | DISCONNECT)
        },
        row(P::ReasonString, Text, CONNACK | ACKS | DISCONNECT | AUTH),
        row(P::ReceiveMaximum, U16(Some(&rules::RECEIVE_MAXIMUM)), CONNECT | CONNACK), // v5 [X5-CON-2]
        row(P::TopicAliasMaximum, U16(None), CONNECT | CONNACK),
        row(P::TopicAlias, U16(Some(&rules::TOPIC_ALIAS)), PUBLISH), // v5 [MQTT-3.3.2-8]
        row(P::MaximumQos, Flag(&rules::MAXIMUM_QOS), CONNACK), // v5 [X5-CACK-2]
        row(P::RetainAvailable, Flag(&rules::AVAILABLE), CONNACK), // v5 [X5-CACK-3], as are the other three
        Row { repeats: EVERY, ..row(P::UserProperty, Pair, EVERY) },
        row(P::MaximumPacketSize, U32(Some(&rules::MAXIMUM_PACKET_SIZE)), CONNECT | CONNACK), // v5 [X5-CON-3]
        row(P::WildcardSubscriptionAvailable, Flag(&rules::AVAILABLE), CONNACK),
        row(P::SubscriptionIdentifierAvailable, Flag(&rules::AVAILABLE), CONNACK),
        row(P::SharedSubscriptionAvailable, Flag(&rules::AVAILABLE), CONNACK),
    ]
};

/// The rows by identifier; all identifiers are below 64.
const BY_ID: [Option<Row>; 64] = by_id();

#[expect(clippy::indexing_slicing, reason = "runs at compile time, where it cannot panic unseen")]
const fn by_id() -> [Option<Row>; 64] {
    let mut rows = [None; 64];
    let mut i = 0;
    while i < PROPERTIES.len() {
        rows[PROPERTIES[i].id as usize] = Some(PROPERTIES[i]);
        i += 1;
    }
    rows
}

/// The forms by identifier, for the hot path; that of an unknown one is never asked for.
static FORMS: [Form; 64] = forms();

#[expect(clippy::indexing_slicing, reason = "runs at compile time, where it cannot panic unseen")]
const fn forms() -> [Form; 64] {
    let mut forms = [Form::Binary; 64];
    let mut i = 0;
    while i < PROPERTIES.len() {
        forms[PROPERTIES[i].id as usize] = PROPERTIES[i].form;
        i += 1;
    }
    forms
}

#[inline]
fn row_of(id: u8) -> Option<&'static Row> {
    static ROWS: [Option<Row>; 64] = BY_ID;
    ROWS.get(usize::from(id))?.as_ref()
}

/// Sets of properties, a bit for each identifier, by packet.
struct Sets {
    /// Where they may be.
    packets: [u64; 16],
    /// Where they may be more than once.
    repeats: [u64; 16],
    /// Those of the packet that a client may not send, and a server.
    barred: [[u64; 16]; 2],
}

static SETS: Sets = sets();

#[expect(clippy::indexing_slicing, reason = "runs at compile time, where it cannot panic unseen")]
const fn sets() -> Sets {
    let mut sets = Sets { packets: [0; 16], repeats: [0; 16], barred: [[0; 16]; 2] };
    let mut i = 0;
    while i < PROPERTIES.len() {
        let row = PROPERTIES[i];
        let mut packet = 0;
        while packet < 16 {
            sets.packets[packet] |= ((row.packets >> packet & 1) as u64) << (row.id as u8);
            sets.repeats[packet] |= ((row.repeats >> packet & 1) as u64) << (row.id as u8);
            if let Some((role, packets, _)) = row.barred {
                sets.barred[role as usize][packet] |= ((packets >> packet & 1) as u64) << (row.id as u8);
            }
            packet += 1;
        }
        i += 1;
    }
    sets
}

const fn bit(id: PropertyId) -> u64 {
    1 << (id as u8)
}

/// Keeps account of what is there already.
struct Seen {
    /// What may come.
    open: u64,
    /// What may come again.
    repeats: u64,
    seen: u64,
}

impl Seen {
    /// `from`: its end is not known when a packet is encoded; then what only one end may send is not judged.
    #[inline]
    fn new(packet: Kinds, from: Option<Role>) -> Self {
        let of = |sets: &[u64; 16]| sets.get(packet.trailing_zeros() as usize).copied().unwrap_or_default();
        let [client, server] = &SETS.barred;
        let barred = match from {
            Some(Role::Client) => of(client),
            Some(Role::Server) => of(server),
            None => 0,
        };
        Self { open: of(&SETS.packets) & !barred, repeats: of(&SETS.repeats), seen: 0 }
    }

    /// Notes one property; `false` if it breaks a rule by being there.
    #[inline]
    fn note(&mut self, id: u8) -> bool {
        let bit = 1_u64.checked_shl(id.into()).unwrap_or_default();
        let fits = self.open & bit != 0;
        self.seen |= bit;
        self.open &= !bit | self.repeats;
        fits
    }

    /// The rule that the property breaks by being there.
    #[cold]
    fn broken(id: u8, packet: Kinds, from: Option<Role>) -> &'static Rule {
        match row_of(id) {
            Some(Row { barred: Some((role, packets, rule)), .. }) if packets & packet != 0 && from == Some(*role) => {
                rule
            }
            // v5 [X5-PROP-2]: only some may be repeated. v5 [X5-PROP-3]: the order is free.
            Some(row) if row.packets & packet != 0 => &rules::PROPERTY_TWICE,
            // v5 [X5-PROP-1]: a property of another packet cannot be read, any more than an unknown one.
            _ => &rules::PROPERTY_PACKET,
        }
    }

    /// The rule broken by what is not there.
    #[inline]
    fn finish(&self, packet: Kinds) -> Result<(), &'static Rule> {
        let has = |id: PropertyId| self.seen & bit(id) != 0;
        if !has(PropertyId::AuthenticationMethod) {
            // v5 [X5-CON-7]: data belong to a method.
            if has(PropertyId::AuthenticationData) {
                return Err(&rules::AUTH_DATA);
            }
            // v5 [X5-AUTH-2]: AUTH says which method it is about.
            if packet == AUTH {
                return Err(&rules::AUTH_METHOD);
            }
        }
        Ok(())
    }
}

/// Judges a whole section of `packet`, in one pass.
pub(crate) fn validate(section: Cursor<'_>, packet: Kinds, from: Option<Role>) -> Parsed<()> {
    let mut rest = section; // a copy can live in registers
    let mut seen = Seen::new(packet, from);
    while !rest.is_empty() {
        let at = rest;
        // All identifiers take one byte; a longer one is unknown.
        let id = rest.u8()?;
        let (true, Some(form)) = (seen.note(id), FORMS.get(usize::from(id))) else {
            return Err(at.fault(Seen::broken(id, packet, from)));
        };
        judge_value(&mut rest, *form).map_err(|fault| fault.or_missing(&rules::PROPERTY_LENGTH))?;
    }
    seen.finish(packet).map_err(|rule| rest.fault(rule))
}

/// Judges one value, and steps over it.
#[inline(always)]
fn judge_value(section: &mut Cursor<'_>, form: Form) -> Parsed<()> {
    let at = *section;
    let broken = match form {
        Form::Flag(rule) => (section.u8()? > 1).then_some(rule),
        Form::U16(rule) => {
            if section.u16()? == 0 {
                rule
            } else {
                None
            }
        }
        Form::U32(rule) => {
            if section.u32()? == 0 {
                rule
            } else {
                None
            }
        }
        Form::Vbi(rule) => (section.vbi()? == 0).then_some(rule),
        Form::Text => section.text().map(|_| None)?,
        Form::Topic => section.topic(&rules::RESPONSE_TOPIC, &rules::RESPONSE_TOPIC, &rules::UTF8).map(|_| None)?,
        Form::Binary => section.binary().map(|_| None)?,
        // v5 [MQTT-1.5.7-1]: both halves are strings.
        Form::Pair => section.text().and_then(|_| section.text()).map(|_| None)?,
    };
    match broken {
        Some(rule) => Err(at.fault(rule)),
        None => Ok(()),
    }
}

/// A value on its way to the wire.
pub(crate) enum Value<'a> {
    Flag(bool),
    U16(u16),
    U32(u32),
    Vbi(u32),
    Bytes(&'a [u8]),
    Pair(&'a [u8], &'a [u8]),
}

impl PropertyId {
    /// The property of this identifier; `None` if there is none.
    pub fn new(id: u8) -> Option<Self> {
        row_of(id).map(|row| row.id)
    }
}

impl<'a> Property<'a> {
    /// Which one it is.
    #[inline]
    #[rustfmt::skip]
    pub const fn id(&self) -> PropertyId {
        use PropertyId as P;
        match self {
            Self::PayloadFormatIndicator(..) => P::PayloadFormatIndicator,
            Self::MessageExpiryInterval(..) => P::MessageExpiryInterval,
            Self::ContentType(..) => P::ContentType,
            Self::ResponseTopic(..) => P::ResponseTopic,
            Self::CorrelationData(..) => P::CorrelationData,
            Self::SubscriptionIdentifier(..) => P::SubscriptionIdentifier,
            Self::SessionExpiryInterval(..) => P::SessionExpiryInterval,
            Self::AssignedClientIdentifier(..) => P::AssignedClientIdentifier,
            Self::ServerKeepAlive(..) => P::ServerKeepAlive,
            Self::AuthenticationMethod(..) => P::AuthenticationMethod,
            Self::AuthenticationData(..) => P::AuthenticationData,
            Self::RequestProblemInformation(..) => P::RequestProblemInformation,
            Self::WillDelayInterval(..) => P::WillDelayInterval,
            Self::RequestResponseInformation(..) => P::RequestResponseInformation,
            Self::ResponseInformation(..) => P::ResponseInformation,
            Self::ServerReference(..) => P::ServerReference,
            Self::ReasonString(..) => P::ReasonString,
            Self::ReceiveMaximum(..) => P::ReceiveMaximum,
            Self::TopicAliasMaximum(..) => P::TopicAliasMaximum,
            Self::TopicAlias(..) => P::TopicAlias,
            Self::MaximumQos(..) => P::MaximumQos,
            Self::RetainAvailable(..) => P::RetainAvailable,
            Self::UserProperty(..) => P::UserProperty,
            Self::MaximumPacketSize(..) => P::MaximumPacketSize,
            Self::WildcardSubscriptionAvailable(..) => P::WildcardSubscriptionAvailable,
            Self::SubscriptionIdentifierAvailable(..) => P::SubscriptionIdentifierAvailable,
            Self::SharedSubscriptionAvailable(..) => P::SharedSubscriptionAvailable,
        }
    }

    #[inline]
    pub(crate) const fn value(&self) -> Value<'a> {
        match *self {
            Self::PayloadFormatIndicator(v)
            | Self::RequestProblemInformation(v)
            | Self::RequestResponseInformation(v)
            | Self::MaximumQos(v)
            | Self::RetainAvailable(v)
            | Self::WildcardSubscriptionAvailable(v)
            | Self::SubscriptionIdentifierAvailable(v)
            | Self::SharedSubscriptionAvailable(v) => Value::Flag(v),
            Self::ServerKeepAlive(v) | Self::ReceiveMaximum(v) | Self::TopicAliasMaximum(v) | Self::TopicAlias(v) => {
                Value::U16(v)
            }
            Self::MessageExpiryInterval(v)
            | Self::SessionExpiryInterval(v)
            | Self::WillDelayInterval(v)
            | Self::MaximumPacketSize(v) => Value::U32(v),
            Self::SubscriptionIdentifier(v) => Value::Vbi(v),
            Self::ContentType(v)
            | Self::AssignedClientIdentifier(v)
            | Self::AuthenticationMethod(v)
            | Self::ResponseInformation(v)
            | Self::ServerReference(v)
            | Self::ReasonString(v) => Value::Bytes(v.as_bytes()),
            Self::ResponseTopic(v) => Value::Bytes(v.as_bytes()),
            Self::CorrelationData(v) | Self::AuthenticationData(v) => Value::Bytes(v),
            Self::UserProperty(name, value) => Value::Pair(name.as_bytes(), value.as_bytes()),
        }
    }

    /// Reads one property; `None` at what is not one.
    #[rustfmt::skip]
    pub(crate) fn read(section: &mut Cursor<'a>) -> Option<Self> {
        use PropertyId as P;
        let row = row_of(section.u8().ok()?)?;
        Some(match row.id {
            P::PayloadFormatIndicator => Self::PayloadFormatIndicator(flag(section)?),
            P::MessageExpiryInterval => Self::MessageExpiryInterval(section.u32().ok()?),
            P::ContentType => Self::ContentType(section.text().ok()?),
            P::ResponseTopic => Self::ResponseTopic(TopicName::from_bytes(section.binary().ok()?).ok()?),
            P::CorrelationData => Self::CorrelationData(section.binary().ok()?),
            P::SubscriptionIdentifier => Self::SubscriptionIdentifier(section.vbi().ok()?),
            P::SessionExpiryInterval => Self::SessionExpiryInterval(section.u32().ok()?),
            P::AssignedClientIdentifier => Self::AssignedClientIdentifier(section.text().ok()?),
            P::ServerKeepAlive => Self::ServerKeepAlive(section.u16().ok()?),
            P::AuthenticationMethod => Self::AuthenticationMethod(section.text().ok()?),
            P::AuthenticationData => Self::AuthenticationData(section.binary().ok()?),
            P::RequestProblemInformation => Self::RequestProblemInformation(flag(section)?),
            P::WillDelayInterval => Self::WillDelayInterval(section.u32().ok()?),
            P::RequestResponseInformation => Self::RequestResponseInformation(flag(section)?),
            P::ResponseInformation => Self::ResponseInformation(section.text().ok()?),
            P::ServerReference => Self::ServerReference(section.text().ok()?),
            P::ReasonString => Self::ReasonString(section.text().ok()?),
            P::ReceiveMaximum => Self::ReceiveMaximum(section.u16().ok()?),
            P::TopicAliasMaximum => Self::TopicAliasMaximum(section.u16().ok()?),
            P::TopicAlias => Self::TopicAlias(section.u16().ok()?),
            P::MaximumQos => Self::MaximumQos(flag(section)?),
            P::RetainAvailable => Self::RetainAvailable(flag(section)?),
            P::UserProperty => Self::UserProperty(section.text().ok()?, section.text().ok()?),
            P::MaximumPacketSize => Self::MaximumPacketSize(section.u32().ok()?),
            P::WildcardSubscriptionAvailable => Self::WildcardSubscriptionAvailable(flag(section)?),
            P::SubscriptionIdentifierAvailable => Self::SubscriptionIdentifierAvailable(flag(section)?),
            P::SharedSubscriptionAvailable => Self::SharedSubscriptionAvailable(flag(section)?),
        })
    }

    /// Writes it.
    #[inline]
    pub(crate) fn write(&self, out: &mut impl Sink) {
        self.value().write(self.id(), out);
    }
}

impl Value<'_> {
    #[inline]
    fn write(&self, id: PropertyId, out: &mut impl Sink) {
        let id = id as u8;
        match *self {
            Value::Flag(value) => out.put(&[id, u8::from(value)]),
            Value::U16(value) => {
                let [a, b] = value.to_be_bytes();
                out.put(&[id, a, b]);
            }
            Value::U32(value) => {
                let [a, b, c, d] = value.to_be_bytes();
                out.put(&[id, a, b, c, d]);
            }
            Value::Vbi(value) => {
                out.u8(id);
                out.vbi(usize::try_from(value).unwrap_or(usize::MAX));
            }
            Value::Bytes(bytes) => {
                let [a, b] = len_bytes(bytes);
                out.put(&[id, a, b]);
                out.put(bytes);
            }
            Value::Pair(name, value) => {
                let [a, b] = len_bytes(name);
                out.put(&[id, a, b]);
                out.put(name);
                out.binary(value);
            }
        }
    }
}

fn flag(section: &mut Cursor<'_>) -> Option<bool> {
    match section.u8().ok()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// Steps over one property by its form alone: its identifier and all its bytes.
#[inline]
pub(crate) fn step<'a>(section: &mut &'a [u8]) -> Option<(PropertyId, &'a [u8])> {
    let start = *section;
    let mut cursor = Cursor::new(start);
    let row = row_of(cursor.u8().ok()?)?;
    match row.form {
        Form::Flag(_) => cursor.take(1).map(drop),
        Form::U16(_) => cursor.take(2).map(drop),
        Form::U32(_) => cursor.take(4).map(drop),
        Form::Vbi(_) => cursor.vbi().map(drop),
        Form::Text | Form::Topic | Form::Binary => cursor.binary().map(drop),
        Form::Pair => cursor.binary().and_then(|_| cursor.binary()).map(drop),
    }
    .ok()?;
    *section = cursor.rest();
    let (whole, _) = start.split_at_checked(start.len() - section.len())?;
    Some((row.id, whole))
}

/// Judges what a caller has put together for `packet`; the bytes that those make which are not `omitted`.
pub(crate) fn check_list(
    list: &[Property<'_>],
    packet: Kinds,
    omitted: impl Fn(PropertyId) -> bool,
) -> Result<usize, EncodeError> {
    let mut seen = Seen::new(packet, None);
    let mut count = Count(0);
    for property in list {
        let (id, value) = (property.id(), property.value());
        let row = row_of(id as u8).ok_or(EncodeError::Property)?;
        if !seen.note(id as u8) {
            return Err(EncodeError::Property);
        }
        match value {
            Value::U16(0) if matches!(row.form, Form::U16(Some(_))) => return Err(EncodeError::Property),
            Value::U32(0) if matches!(row.form, Form::U32(Some(_))) => return Err(EncodeError::Property),
            // v5 [X5-PUB-7]
            Value::Vbi(value) if value == 0 || usize::try_from(value).is_ok_and(|value| value > VBI_MAX) => {
                return Err(EncodeError::Property);
            }
            Value::Bytes(bytes) if bytes.len() > usize::from(u16::MAX) => return Err(EncodeError::StringTooLong),
            _ => {}
        }
        if !omitted(id) {
            value.write(id, &mut count);
        }
    }
    seen.finish(packet).map_err(|_| EncodeError::Property)?;
    Ok(count.0)
}
