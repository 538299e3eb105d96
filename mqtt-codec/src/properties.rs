//! The properties of one packet: validated once, read lazily.
use crate::packet::kind::{AUTH, Kinds};
use crate::property::{check_list, step, validate};
use crate::read::{Cursor, Parsed};
use crate::write::{Count, Sink};
use crate::{EncodeError, Property, PropertyId, Role, TopicName, Utf8, Version, rules};
use core::fmt;

/// The properties of one packet: a validated section of the wire, or a slice the caller built. Equality is by element.
///
/// # Examples
///
/// ```
/// use mqtt_codec::{Properties, Property, Utf8};
///
/// let list = [Property::ReceiveMaximum(20), Property::UserProperty(Utf8::new("site").unwrap(), Utf8::new("north").unwrap())];
/// let properties = Properties::from_slice(&list);
/// assert_eq!(properties.receive_maximum(), Some(20));
/// assert_eq!(properties.user_properties().count(), 1);
/// assert_eq!(properties.topic_alias_maximum(), None);
/// ```
#[derive(Clone, Copy)]
pub struct Properties<'a> {
    repr: Repr<'a>,
}

#[derive(Clone, Copy)]
enum Repr<'a> {
    /// A section of the wire without its length, and the packet it was validated for.
    Wire(&'a [u8], Home, Omitted),
    List(&'a [Property<'a>], Omitted),
}

/// The packet for which a section was validated.
#[derive(Clone, Copy)]
enum Home {
    Packet(Kinds),
    /// Its owner vouches for it.
    Trusted,
}

/// What is passed over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Omitted {
    Nothing,
    UserProperties,
    /// Reason String and User Properties.
    Diagnostics,
}

impl Omitted {
    const fn has(self, id: PropertyId) -> bool {
        match self {
            Self::Nothing => false,
            Self::UserProperties => matches!(id, PropertyId::UserProperty),
            Self::Diagnostics => matches!(id, PropertyId::UserProperty | PropertyId::ReasonString),
        }
    }
}

impl<'a> Properties<'a> {
    /// None.
    pub const EMPTY: Properties<'static> = Properties { repr: Repr::Wire(&[], Home::Trusted, Omitted::Nothing) };

    /// Properties the caller built; checked against the packet when it is encoded.
    pub const fn from_slice(list: &'a [Property<'a>]) -> Self {
        Self { repr: Repr::List(list, Omitted::Nothing) }
    }

    /// Trusts `bytes` to be a section this crate wrote or validated; what does not parse ends the iteration. For owners of stored sections.
    ///
    /// It is encoded as it is, into whatever packet it is put: the caller sees to it that every property is one of that packet's.
    pub const fn from_wire_unchecked(bytes: &'a [u8]) -> Self {
        Self { repr: Repr::Wire(bytes, Home::Trusted, Omitted::Nothing) }
    }

    /// In the order of the wire.
    pub fn iter(self) -> PropertiesIter<'a> {
        PropertiesIter { repr: self.repr }
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(self) -> bool {
        match self.repr {
            Repr::Wire(bytes, _, Omitted::Nothing) => bytes.is_empty(),
            Repr::List(list, Omitted::Nothing) => list.is_empty(),
            _ => self.iter().next().is_none(),
        }
    }

    /// The section as it lies on the wire (without its length), if it came from there and nothing of it is left out.
    pub fn wire(self) -> Option<&'a [u8]> {
        match self.repr {
            Repr::Wire(bytes, _, Omitted::Nothing) => Some(bytes),
            _ => None,
        }
    }

    /// Bytes of the section on the wire, without its length.
    pub fn encoded_len(self) -> usize {
        match self.repr {
            Repr::Wire(bytes, _, Omitted::Nothing) => bytes.len(),
            _ => {
                let mut count = Count(0);
                self.write_all(&mut count);
                count.0
            }
        }
    }

    /// The same without the Reason String and the User Properties: what a client that asked for no problem information may be sent in acknowledgements (v5 [MQTT-3.1.2-29]).
    ///
    /// Nothing is copied; they are passed over when the rest is read or encoded.
    pub fn without_diagnostics(self) -> Self {
        self.omitting(Omitted::Diagnostics)
    }

    /// The same without the User Properties.
    pub(crate) fn without_user_properties(self) -> Self {
        match self.repr {
            Repr::Wire(_, _, Omitted::Diagnostics) | Repr::List(_, Omitted::Diagnostics) => self,
            _ => self.omitting(Omitted::UserProperties),
        }
    }

    fn omitting(self, omitted: Omitted) -> Self {
        let repr = match self.repr {
            Repr::Wire(bytes, home, _) => Repr::Wire(bytes, home, omitted),
            Repr::List(list, _) => Repr::List(list, omitted),
        };
        Self { repr }
    }

    /// The Subscription Identifiers, in order; a message that several subscriptions match has several.
    pub fn subscription_identifiers(self) -> impl Iterator<Item = u32> + Clone + use<'a> {
        self.iter().filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        })
    }

    /// The User Properties (name, value), in order, repeated names and all.
    pub fn user_properties(self) -> impl Iterator<Item = (Utf8<'a>, Utf8<'a>)> + Clone + use<'a> {
        self.iter().filter_map(|property| match property {
            Property::UserProperty(name, value) => Some((name, value)),
            _ => None,
        })
    }

    /// The first property of `id`.
    #[inline]
    fn find(self, id: PropertyId) -> Option<Property<'a>> {
        // most packets have none: that is worth no call
        if self.is_empty() { None } else { self.search(id) }
    }

    fn search(self, id: PropertyId) -> Option<Property<'a>> {
        match self.repr {
            Repr::Wire(_, _, omitted) | Repr::List(_, omitted) if omitted.has(id) => None,
            Repr::Wire(mut bytes, _, _) => loop {
                let (found, mut whole) = step(&mut bytes).map(|(found, whole)| (found, Cursor::new(whole)))?;
                if found == id {
                    return Property::read(&mut whole);
                }
            },
            Repr::List(list, _) => list.iter().find(|property| property.id() == id).copied(),
        }
    }

    /// Reads a section with its length, and judges all of it.
    #[inline(always)]
    pub(crate) fn decode(cursor: &mut Cursor<'a>, packet: Kinds, from: Role) -> Parsed<Self> {
        let len = cursor.vbi()?;
        if len == 0 {
            return Ok(Self { repr: Repr::Wire(&[], Home::Packet(packet), Omitted::Nothing) });
        }
        // v5 [X5-PROP-4]: the section ends within the packet, each property within the section.
        let section = cursor.section(usize::try_from(len).unwrap_or(usize::MAX), &rules::PROPERTY_LENGTH)?;
        validate(section, packet, Some(from))?;
        Ok(Self { repr: Repr::Wire(section.rest(), Home::Packet(packet), Omitted::Nothing) })
    }

    /// The bytes of the section that goes into `packet` (without its length), once it is found that it may; none goes before 5.0.
    #[inline(always)]
    pub(crate) fn plan(&self, version: Version, packet: Kinds) -> Result<usize, EncodeError> {
        if version != Version::V5 {
            return Ok(0);
        }
        match &self.repr {
            Repr::Wire([], ..) if packet != AUTH => Ok(0),
            Repr::List([], _) if packet != AUTH => Ok(0),
            _ => self.plan_some(packet),
        }
    }

    #[inline(never)]
    fn plan_some(&self, packet: Kinds) -> Result<usize, EncodeError> {
        match self.repr {
            Repr::Wire(bytes, Home::Trusted, Omitted::Nothing) => return Ok(bytes.len()),
            Repr::List(list, omitted) => return check_list(list, packet, |id| omitted.has(id)),
            Repr::Wire(_, Home::Trusted, _) => {}
            Repr::Wire(_, Home::Packet(home), _) if home == packet => {}
            Repr::Wire(bytes, _, _) => validate(Cursor::new(bytes), packet, None).map_err(|_| EncodeError::Property)?,
        }
        Ok(self.encoded_len())
    }

    /// Writes the section, which is known to be `len` bytes, with its length.
    #[inline]
    pub(crate) fn write(self, len: usize, out: &mut impl Sink) {
        // v5 [MQTT-2.2.2-1]: no properties are a length of 0.
        out.vbi(len);
        if len > 0 {
            out.put_known(len, |out| self.write_all(out));
        }
    }

    #[inline]
    fn write_all(self, out: &mut impl Sink) {
        match self.repr {
            Repr::Wire(bytes, _, Omitted::Nothing) => out.put(bytes),
            Repr::Wire(mut bytes, _, omitted) => {
                while let Some((id, whole)) = step(&mut bytes) {
                    if !omitted.has(id) {
                        out.put(whole);
                    }
                }
            }
            Repr::List(list, omitted) => {
                for property in list {
                    if !omitted.has(property.id()) {
                        property.write(out);
                    }
                }
            }
        }
    }
}

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident: $variant:ident -> $value:ty;)*) => {
        /// One getter for each property that is there at most once; each is a walk over the properties in front of it.
        impl<'a> Properties<'a> {
            $(
                $(#[$doc])*
                #[inline]
                pub fn $name(self) -> Option<$value> {
                    match self.find(PropertyId::$variant)? {
                        Property::$variant(value) => Some(value),
                        _ => None,
                    }
                }
            )*
        }
    };
}

getters! {
    /// Whether the payload is UTF-8 text.
    payload_format_indicator: PayloadFormatIndicator -> bool;
    /// The Message Expiry Interval in seconds.
    message_expiry_interval: MessageExpiryInterval -> u32;
    /// The Content Type.
    content_type: ContentType -> Utf8<'a>;
    /// The Response Topic.
    response_topic: ResponseTopic -> TopicName<'a>;
    /// The Correlation Data.
    correlation_data: CorrelationData -> &'a [u8];
    /// The Session Expiry Interval in seconds; `u32::MAX` is never.
    session_expiry_interval: SessionExpiryInterval -> u32;
    /// The Assigned Client Identifier.
    assigned_client_identifier: AssignedClientIdentifier -> Utf8<'a>;
    /// The Server Keep Alive in seconds.
    server_keep_alive: ServerKeepAlive -> u16;
    /// The Authentication Method.
    authentication_method: AuthenticationMethod -> Utf8<'a>;
    /// The Authentication Data.
    authentication_data: AuthenticationData -> &'a [u8];
    /// Whether Reason Strings and User Properties are wanted in acknowledgements; absent means yes.
    request_problem_information: RequestProblemInformation -> bool;
    /// The Will Delay Interval in seconds.
    will_delay_interval: WillDelayInterval -> u32;
    /// Whether Response Information is wanted.
    request_response_information: RequestResponseInformation -> bool;
    /// The Response Information.
    response_information: ResponseInformation -> Utf8<'a>;
    /// The Server Reference.
    server_reference: ServerReference -> Utf8<'a>;
    /// The Reason String.
    reason_string: ReasonString -> Utf8<'a>;
    /// The Receive Maximum, never 0; absent means 65,535.
    receive_maximum: ReceiveMaximum -> u16;
    /// The Topic Alias Maximum; absent means 0.
    topic_alias_maximum: TopicAliasMaximum -> u16;
    /// The Topic Alias, never 0.
    topic_alias: TopicAlias -> u16;
    /// The Maximum QoS: 0 (`false`) or 1 (`true`); absent means 2.
    maximum_qos: MaximumQos -> bool;
    /// Whether retained messages are served; absent means yes.
    retain_available: RetainAvailable -> bool;
    /// The Maximum Packet Size in bytes, fixed header included, never 0; absent means no limit.
    maximum_packet_size: MaximumPacketSize -> u32;
    /// Whether filters may hold wildcards; absent means yes.
    wildcard_subscription_available: WildcardSubscriptionAvailable -> bool;
    /// Whether Subscription Identifiers are served; absent means yes.
    subscription_identifier_available: SubscriptionIdentifierAvailable -> bool;
    /// Whether shared subscriptions are served; absent means yes.
    shared_subscription_available: SharedSubscriptionAvailable -> bool;
}

/// Reads properties one by one.
#[derive(Clone)]
pub struct PropertiesIter<'a> {
    /// What is left.
    repr: Repr<'a>,
}

impl<'a> Iterator for PropertiesIter<'a> {
    type Item = Property<'a>;

    #[inline]
    fn next(&mut self) -> Option<Property<'a>> {
        if let Repr::Wire([], ..) = self.repr {
            return None;
        }
        self.read_next()
    }
}

impl<'a> PropertiesIter<'a> {
    fn read_next(&mut self) -> Option<Property<'a>> {
        loop {
            let (property, omitted) = match &mut self.repr {
                Repr::Wire(bytes, _, omitted) => {
                    let mut cursor = Cursor::new(bytes);
                    let Some(property) = Property::read(&mut cursor) else {
                        *bytes = &[]; // nothing behind what cannot be read has a meaning
                        return None;
                    };
                    *bytes = cursor.rest();
                    (property, *omitted)
                }
                Repr::List(list, omitted) => {
                    let (property, rest) = list.split_first()?;
                    *list = rest;
                    (*property, *omitted)
                }
            };
            if !omitted.has(property.id()) {
                return Some(property);
            }
        }
    }
}

impl core::iter::FusedIterator for PropertiesIter<'_> {}

impl fmt::Debug for PropertiesIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Properties { repr: self.repr }.fmt(f)
    }
}

impl<'a> IntoIterator for Properties<'a> {
    type Item = Property<'a>;
    type IntoIter = PropertiesIter<'a>;

    fn into_iter(self) -> PropertiesIter<'a> {
        self.iter()
    }
}

impl PartialEq for Properties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Properties<'_> {}

impl Default for Properties<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
