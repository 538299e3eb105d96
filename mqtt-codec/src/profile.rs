//! What can be judged otherwise than by default: where the standards leave a choice, what old peers need, and limits.
use crate::error::Fault;
use crate::packet::{filters, kind};
use crate::read::spend;
use crate::rules::{self, Rule};
use crate::{FilterError, Packet, Properties, Property, Version};
use mqtt_topic::FilterErrorKind;

/// How packets are read: switches and limits that differ from those of [`Packet::decode`].
///
/// The default is [`STRICT`](Self::STRICT): everything a receiver must refuse is refused, nothing that is legal is, and there is no
/// limit beside the packet's size. A `refuse_..` switch refuses more, the others take what a peer should not have sent. A reader
/// without a profile pays nothing for this; with one it makes a second pass over the strings and lists of a packet, not over payloads.
///
/// # Examples
///
/// ```
/// use mqtt_codec::{Packet, Profile, Reader, ReasonCode, Role, Version};
///
/// let mut profile = Profile::STRICT;
/// profile.refuse_control_characters = true;
/// profile.max_user_properties = 16;
///
/// let bell = [0x30, 0x04, 0, 2, b'a', 0x07];
/// assert!(Packet::decode(&bell, Version::V311, Role::Client).is_ok());
/// let error = Packet::decode_with(&bell, Version::V311, Role::Client, &profile).unwrap_err();
/// assert_eq!((error.offset, error.reason), (5, ReasonCode::MALFORMED_PACKET));
///
/// let reader = Reader::of_client(64 * 1024, 1 << 20).with_profile(profile);
/// # let _ = reader;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// A control character (U+0001 to U+001F, U+007F to U+009F) in any string is malformed. The standards leave it to the receiver:
    /// v5 section 1.5.4, v4 section 1.5.3.
    pub refuse_control_characters: bool,
    /// A Unicode non-character (U+FDD0 to U+FDEF, and the last two of each plane) in any string is malformed; left to the receiver too.
    pub refuse_non_characters: bool,
    /// A SUBSCRIBE or UNSUBSCRIBE is malformed as a whole if one of its filters is. Off, the filters are judged as they are iterated,
    /// and the host chooses: close, or refuse that one filter.
    pub refuse_bad_filters: bool,
    /// How 3.1 is read.
    pub level_3: Level3,
    /// Before 5.0, flags that must be 0 (or 0010) are ignored, as old clients set them: those of the fixed header, but for CONNECT's;
    /// DUP at QoS 0; the reserved flag of CONNECT, and the QoS and RETAIN of a will that is not there; the reserved flags of CONNACK.
    pub ignore_flags: bool,
    /// The protocol levels 0x83 and 0x84, by which bridges of some brokers make themselves known, are read as 3 and 4.
    pub bridge_levels: bool,
    /// User Properties in one packet, those of its will included.
    pub max_user_properties: u32,
    /// Bytes that the User Properties of one packet take on the wire, those of its will included: names, values and 5 for each.
    pub max_user_property_bytes: u32,
    /// Filters in one SUBSCRIBE or UNSUBSCRIBE.
    pub max_filters: u32,
}

/// How packets of MQTT 3.1 are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Level3 {
    /// As its own text says: PUBREL, SUBSCRIBE and UNSUBSCRIBE may be marked as repeated, the user name and password that are announced
    /// may be absent, and the first byte of CONNACK has no meaning.
    #[default]
    AsWritten,
    /// By the rules of 3.1.1 in all of that.
    As311,
    /// As written, and what its peers do in spite of it: a SUBACK may tell of a failure (0x80), a password may come without a user name.
    Lenient,
}

impl Profile {
    /// What [`Packet::decode`] does.
    pub const STRICT: Self = Self {
        refuse_control_characters: false,
        refuse_non_characters: false,
        refuse_bad_filters: false,
        level_3: Level3::AsWritten,
        ignore_flags: false,
        bridge_levels: false,
        max_user_properties: u32::MAX,
        max_user_property_bytes: u32::MAX,
        max_filters: u32::MAX,
    };

    /// Judges what decoding has let pass. The packet was read out of `frame`.
    pub(crate) fn judge(&self, packet: &Packet<'_>, frame: &[u8]) -> Result<(), Fault> {
        let judge = Judge { profile: self, frame };
        judge.properties(packet)?;
        if self.refuse_control_characters || self.refuse_non_characters {
            judge.strings(packet)?;
        }
        judge.filters(packet)
    }

    /// The first character of `text` that is not taken, and the rule it breaks.
    fn odd_character(&self, text: &[u8]) -> Option<(usize, &'static Rule)> {
        spend(text.len());
        let text = core::str::from_utf8(text).unwrap_or_default();
        text.char_indices().find_map(|(offset, character)| {
            // v5 [X5-UTF-1], v4 [X311-UTF-1]: what should not be sent may be refused.
            if self.refuse_control_characters && character.is_control() {
                Some((offset, &rules::CONTROL_CHARACTER))
            } else if self.refuse_non_characters && is_non_character(character) {
                Some((offset, &rules::NON_CHARACTER))
            } else {
                None
            }
        })
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::STRICT
    }
}

fn is_non_character(character: char) -> bool {
    let code = u32::from(character);
    matches!(code, 0xFDD0..=0xFDEF) || code & 0xFFFE == 0xFFFE
}

/// A profile at work on one frame.
struct Judge<'p> {
    profile: &'p Profile,
    frame: &'p [u8],
}

impl Judge<'_> {
    /// The fault of breaking `rule` at `offset` of `field`, a part of the frame.
    fn fault(&self, field: &[u8], offset: usize, rule: &'static Rule) -> Fault {
        let start = field.as_ptr().addr().wrapping_sub(self.frame.as_ptr().addr());
        Fault { rule, left: self.frame.len().saturating_sub(start.saturating_add(offset)) }
    }

    /// Counts the User Properties.
    fn properties(&self, packet: &Packet<'_>) -> Result<(), Fault> {
        let (mut count, mut bytes) = (0_u32, 0_usize);
        for (name, value) in sections(packet).flat_map(Properties::user_properties) {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            count = count.saturating_add(1);
            bytes = bytes.saturating_add(5 + name.len() + value.len());
            if count > self.profile.max_user_properties {
                return Err(self.fault(name, 0, &rules::USER_PROPERTIES));
            }
            if u32::try_from(bytes).is_ok_and(|bytes| bytes > self.profile.max_user_property_bytes) {
                return Err(self.fault(name, 0, &rules::USER_PROPERTY_BYTES));
            }
        }
        Ok(())
    }

    fn strings(&self, packet: &Packet<'_>) -> Result<(), Fault> {
        if let Packet::Connect(connect) = packet {
            self.text(connect.client_id.as_bytes())?;
            if let Some(will) = &connect.will {
                self.text(will.topic.as_bytes())?;
            }
            if let Some(name) = connect.user_name {
                self.text(name.as_bytes())?;
            }
        }
        if let Packet::Publish(publish) = packet
            && let Some(topic) = publish.topic
        {
            self.text(topic.as_bytes())?;
        }
        for property in sections(packet).flatten() {
            match property {
                Property::ResponseTopic(topic) => self.text(topic.as_bytes())?,
                Property::UserProperty(name, value) => {
                    self.text(name.as_bytes())?;
                    self.text(value.as_bytes())?;
                }
                Property::ContentType(text)
                | Property::AssignedClientIdentifier(text)
                | Property::AuthenticationMethod(text)
                | Property::ResponseInformation(text)
                | Property::ServerReference(text)
                | Property::ReasonString(text) => self.text(text.as_bytes())?,
                _ => {} // not text
            }
        }
        Ok(())
    }

    fn text(&self, text: &[u8]) -> Result<(), Fault> {
        match self.profile.odd_character(text) {
            Some((offset, rule)) => Err(self.fault(text, offset, rule)),
            None => Ok(()),
        }
    }

    fn filters(&self, packet: &Packet<'_>) -> Result<(), Fault> {
        match packet {
            Packet::Subscribe(packet) => self.each_filter(packet.subscriptions.texts()),
            Packet::Unsubscribe(packet) => self.each_filter(packet.filters.texts()),
            _ => Ok(()),
        }
    }

    /// Each comes with whether the grammar of `$share/` is part of its own.
    fn each_filter<'f>(&self, texts: impl Iterator<Item = (&'f [u8], bool)>) -> Result<(), Fault> {
        for (count, (text, shared)) in (1_u32..).zip(texts) {
            if count > self.profile.max_filters {
                return Err(self.fault(text, 0, &rules::FILTERS));
            }
            if self.profile.refuse_bad_filters
                && let Err(error) = filters::parse(text, shared)
            {
                return Err(self.fault(text, error.offset, rule_of(error)));
            }
            if self.profile.refuse_control_characters || self.profile.refuse_non_characters {
                self.text(text)?;
            }
        }
        Ok(())
    }
}

/// The property sections of a packet.
fn sections<'a>(packet: &Packet<'a>) -> impl Iterator<Item = Properties<'a>> + use<'a> {
    let will = match packet {
        Packet::Connect(connect) => connect.will.map(|will| will.properties),
        _ => None,
    };
    packet.properties().into_iter().chain(will)
}

/// The rule that a bad filter breaks.
fn rule_of(error: FilterError) -> &'static Rule {
    match error.kind {
        FilterErrorKind::Empty => &rules::FILTER_EMPTY,
        FilterErrorKind::Nul => &rules::NUL,
        FilterErrorKind::MultiLevel => &rules::FILTER_HASH,
        FilterErrorKind::SingleLevel => &rules::FILTER_PLUS,
        FilterErrorKind::ShareName => &rules::SHARE_NAME,
        FilterErrorKind::ShareFilter => &rules::SHARE_FILTER,
        _ => &rules::FILTER_UTF8,
    }
}

/// What decoding asks a profile. A type of its own for no profile at all, so that strict decoding is compiled without the questions.
pub(crate) trait Leniency: Copy {
    /// Whether wrong flags are ignored.
    fn ignores_flags(self, version: Version) -> bool;
    fn takes_bridges(self) -> bool;
    fn level_3(self) -> Level3;

    /// Whether the flags of the fixed header of this packet type are ignored.
    #[inline]
    fn ignores_flags_of(self, packet_type: u8, version: Version) -> bool {
        self.ignores_flags(version) && 1 << packet_type != kind::CONNECT
    }
}

/// No profile.
#[derive(Clone, Copy)]
pub(crate) struct Strict;

impl Leniency for Strict {
    #[inline(always)]
    fn ignores_flags(self, _: Version) -> bool {
        false
    }

    #[inline(always)]
    fn takes_bridges(self) -> bool {
        false
    }

    #[inline(always)]
    fn level_3(self) -> Level3 {
        Level3::AsWritten
    }
}

impl Leniency for &Profile {
    fn ignores_flags(self, version: Version) -> bool {
        self.ignore_flags && version != Version::V5
    }

    fn takes_bridges(self) -> bool {
        self.bridge_levels
    }

    fn level_3(self) -> Level3 {
        self.level_3
    }
}
