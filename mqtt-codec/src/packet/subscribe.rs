//! SUBSCRIBE (section 3.8).
use super::filters::split_filter;
use super::{Sections, kind};
use crate::read::{Cursor, Parsed};
use crate::rules::{self, Rule};
use crate::write::Sink;
use crate::{EncodeError, FilterError, PacketId, Properties, Qos, Role, TopicFilter, Version};
use core::fmt;

/// SUBSCRIBE (section 3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Answered by the SUBACK.
    pub packet_id: PacketId,
    /// 5.0 only: not written before.
    pub properties: Properties<'a>,
    /// One or more.
    pub subscriptions: Subscriptions<'a>,
}

/// One filter of a SUBSCRIBE and what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// The filter.
    pub filter: TopicFilter<'a>,
    /// Its options.
    pub options: SubscribeOptions,
}

/// Subscription options (section 3.8.3.1). Before 5.0 only the QoS exists; the others are not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct SubscribeOptions {
    /// The highest QoS wanted.
    pub qos: Qos,
    /// Not the messages this client published itself.
    pub no_local: bool,
    /// RETAIN as the publisher set it.
    pub retain_as_published: bool,
    /// Which retained messages come.
    pub retain_handling: RetainHandling,
}

/// Which retained messages a subscription brings (section 3.8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum RetainHandling {
    /// At every subscribe.
    #[default]
    Always = 0,
    /// Only if the subscription did not exist.
    IfNew = 1,
    /// Never.
    Never = 2,
}

const NO_LOCAL: u8 = 0x04;
const RETAIN_AS_PUBLISHED: u8 = 0x08;
const SHARED: &[u8] = b"$share/";

impl SubscribeOptions {
    fn from_byte(byte: u8, version: Version) -> Result<Self, &'static Rule> {
        // v5 [MQTT-3.8.3-5]: bits 7 and 6 are reserved; v4 [MQTT-3.8.3-4]: all but the QoS.
        let reserved = if version == Version::V5 { 0xC0 } else { 0xFC };
        if byte & reserved != 0 {
            return Err(&rules::OPTIONS);
        }
        // v5 [X5-SUB-1], v4 [MQTT-3.8.3-4]
        let Some(qos) = Qos::new(byte & 3) else {
            return Err(if version == Version::V5 { &rules::SUBSCRIBE_QOS } else { &rules::OPTIONS });
        };
        let retain_handling = match byte >> 4 & 3 {
            0 => RetainHandling::Always,
            1 => RetainHandling::IfNew,
            2 => RetainHandling::Never,
            _ => return Err(&rules::RETAIN_HANDLING), // v5 [X5-SUB-2]
        };
        Ok(Self {
            qos,
            no_local: byte & NO_LOCAL != 0,
            retain_as_published: byte & RETAIN_AS_PUBLISHED != 0,
            retain_handling,
        })
    }

    fn to_byte(self, version: Version) -> u8 {
        let qos = self.qos as u8;
        if version != Version::V5 {
            return qos;
        }
        let no_local = if self.no_local { NO_LOCAL } else { 0 };
        let retain_as_published = if self.retain_as_published { RETAIN_AS_PUBLISHED } else { 0 };
        qos | no_local | retain_as_published | (self.retain_handling as u8) << 4
    }
}

/// The filters of a SUBSCRIBE: a section of the wire whose structure (lengths, options) was validated, or a slice the caller built.
///
/// Equality is by element.
#[derive(Clone, Copy)]
pub struct Subscriptions<'a> {
    repr: Repr<'a>,
}

#[derive(Clone, Copy)]
enum Repr<'a> {
    Wire(&'a [u8], Version),
    List(&'a [Subscription<'a>]),
}

impl<'a> Subscriptions<'a> {
    /// Filters the caller built.
    pub const fn from_slice(list: &'a [Subscription<'a>]) -> Self {
        Self { repr: Repr::List(list) }
    }

    /// Each filter parsed as it is reached; at level 5 the grammar of `$share/` is part of it.
    pub fn iter(self) -> impl Iterator<Item = Result<Subscription<'a>, FilterError>> + Clone + use<'a> {
        let shared = self.has_shared();
        self.raw().map(move |(filter, options)| {
            let filter = super::filters::parse(filter, shared)?;
            Ok(Subscription { filter, options })
        })
    }

    /// How many.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(self) -> usize {
        match self.repr {
            Repr::Wire(..) => self.raw().count(),
            Repr::List(list) => list.len(),
        }
    }

    /// The filters as bytes, and whether the grammar of `$share/` is part of theirs.
    pub(crate) fn texts(self) -> impl Iterator<Item = (&'a [u8], bool)> {
        let shared = self.has_shared();
        self.raw().map(move |(filter, _)| (filter, shared))
    }

    fn has_shared(self) -> bool {
        !matches!(self.repr, Repr::Wire(_, Version::V31 | Version::V311))
    }

    /// The filters as bytes.
    fn raw(self) -> Raw<'a> {
        Raw(self.repr)
    }

    fn decode(cursor: &mut Cursor<'a>, version: Version) -> Parsed<Self> {
        // v5 [MQTT-3.8.3-2], v4 [MQTT-3.8.3-3]
        if cursor.is_empty() {
            return Err(cursor.fault(&rules::NO_SUBSCRIPTION));
        }
        let section = cursor.rest();
        while !cursor.is_empty() {
            // v5 [MQTT-3.8.3-1], v4 [MQTT-3.8.3-1]: the iterator judges the text.
            let filter = cursor.binary()?;
            let at = *cursor;
            let options = SubscribeOptions::from_byte(cursor.u8()?, version).map_err(|rule| at.fault(rule))?;
            // v5 [MQTT-3.8.3-4]: a member of a group cannot leave out what it published itself.
            if options.no_local && filter.starts_with(SHARED) {
                return Err(at.fault(&rules::SHARED_NO_LOCAL));
            }
        }
        Ok(Self { repr: Repr::Wire(section, version) })
    }

    fn check(self, version: Version) -> Result<(), EncodeError> {
        // v5 [MQTT-3.8.3-2], v4 [MQTT-3.8.3-3]
        if self.raw().next().is_none() {
            return Err(EncodeError::Invalid);
        }
        let v5 = version == Version::V5;
        for (filter, options) in self.raw() {
            // v5 [MQTT-3.8.3-4]
            let no_local = v5 && options.no_local && filter.starts_with(SHARED);
            if no_local || super::filters::parse(filter, v5).is_err() {
                return Err(EncodeError::Invalid);
            }
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Raw<'a>(Repr<'a>);

impl<'a> Iterator for Raw<'a> {
    type Item = (&'a [u8], SubscribeOptions);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Repr::Wire(bytes, version) => {
                let (filter, rest) = split_filter(bytes)?;
                let (&options, rest) = rest.split_first()?;
                *bytes = rest;
                Some((filter, SubscribeOptions::from_byte(options, *version).ok()?))
            }
            Repr::List(list) => {
                let (subscription, rest) = list.split_first()?;
                *list = rest;
                Some((subscription.filter.as_bytes(), subscription.options))
            }
        }
    }
}

impl PartialEq for Subscriptions<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.raw().eq(other.raw())
    }
}

impl Eq for Subscriptions<'_> {}

impl fmt::Debug for Subscriptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> Subscribe<'a> {
    pub(super) fn decode(mut cursor: Cursor<'a>, version: Version) -> Parsed<Self> {
        let packet_id = cursor.packet_id()?;
        let properties = match version {
            Version::V5 => Properties::decode(&mut cursor, kind::SUBSCRIBE, Role::Client)?,
            Version::V31 | Version::V311 => Properties::EMPTY,
        };
        Ok(Self { packet_id, properties, subscriptions: Subscriptions::decode(&mut cursor, version)? })
    }

    pub(super) fn plan(&self, version: Version) -> Result<Sections, EncodeError> {
        self.subscriptions.check(version)?;
        self.properties.plan(version, kind::SUBSCRIBE).map(Sections::own)
    }

    pub(super) fn write(&self, version: Version, sections: Sections, out: &mut impl Sink) {
        out.u16(self.packet_id.get());
        if version == Version::V5 {
            self.properties.write(sections.own, out);
        }
        for (filter, options) in self.subscriptions.raw() {
            out.binary(filter);
            out.u8(options.to_byte(version));
        }
    }
}
