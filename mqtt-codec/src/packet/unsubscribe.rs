//! UNSUBSCRIBE (section 3.10).
use super::filters::{parse, split_filter};
use super::{Sections, kind};
use crate::read::{Cursor, Parsed};
use crate::write::Sink;
use crate::{EncodeError, FilterError, PacketId, Properties, Role, TopicFilter, Version, rules};
use core::fmt;

/// UNSUBSCRIBE (section 3.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Answered by the UNSUBACK.
    pub packet_id: PacketId,
    /// 5.0 only: not written before.
    pub properties: Properties<'a>,
    /// One or more.
    pub filters: Filters<'a>,
}

/// The filters of an UNSUBSCRIBE: a section of the wire whose lengths were validated, or a slice the caller built.
///
/// Equality is by element.
#[derive(Clone, Copy)]
pub struct Filters<'a> {
    repr: Repr<'a>,
}

#[derive(Clone, Copy)]
enum Repr<'a> {
    Wire(&'a [u8], Version),
    List(&'a [TopicFilter<'a>]),
}

impl<'a> Filters<'a> {
    /// Filters the caller built.
    pub const fn from_slice(list: &'a [TopicFilter<'a>]) -> Self {
        Self { repr: Repr::List(list) }
    }

    /// Each filter parsed as it is reached; at level 5 the grammar of `$share/` is part of it.
    pub fn iter(self) -> impl Iterator<Item = Result<TopicFilter<'a>, FilterError>> + Clone + use<'a> {
        let shared = self.has_shared();
        self.raw().map(move |filter| parse(filter, shared))
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
        self.raw().map(move |filter| (filter, shared))
    }

    fn has_shared(self) -> bool {
        !matches!(self.repr, Repr::Wire(_, Version::V31 | Version::V311))
    }

    /// The filters as bytes.
    fn raw(self) -> Raw<'a> {
        Raw(self.repr)
    }

    fn decode(cursor: &mut Cursor<'a>, version: Version) -> Parsed<Self> {
        // v5 [MQTT-3.10.3-2], v4 [MQTT-3.10.3-2]
        if cursor.is_empty() {
            return Err(cursor.fault(&rules::NO_FILTER));
        }
        let section = cursor.rest();
        while !cursor.is_empty() {
            // v5 [MQTT-3.10.3-1], v4 [MQTT-3.10.3-1]: the iterator judges the text.
            cursor.binary()?;
        }
        Ok(Self { repr: Repr::Wire(section, version) })
    }

    fn check(self, version: Version) -> Result<(), EncodeError> {
        // v5 [MQTT-3.10.3-2], v4 [MQTT-3.10.3-2]
        let v5 = version == Version::V5;
        let mut filters = self.raw().peekable();
        if filters.peek().is_none() || filters.any(|filter| parse(filter, v5).is_err()) {
            return Err(EncodeError::Invalid);
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Raw<'a>(Repr<'a>);

impl<'a> Iterator for Raw<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.0 {
            Repr::Wire(bytes, _) => {
                let (filter, rest) = split_filter(bytes)?;
                *bytes = rest;
                Some(filter)
            }
            Repr::List(list) => {
                let (filter, rest) = list.split_first()?;
                *list = rest;
                Some(filter.as_bytes())
            }
        }
    }
}

impl PartialEq for Filters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.raw().eq(other.raw())
    }
}

impl Eq for Filters<'_> {}

impl fmt::Debug for Filters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn decode(mut cursor: Cursor<'a>, version: Version) -> Parsed<Self> {
        let packet_id = cursor.packet_id()?;
        let properties = match version {
            Version::V5 => Properties::decode(&mut cursor, kind::UNSUBSCRIBE, Role::Client)?,
            Version::V31 | Version::V311 => Properties::EMPTY,
        };
        Ok(Self { packet_id, properties, filters: Filters::decode(&mut cursor, version)? })
    }

    pub(super) fn plan(&self, version: Version) -> Result<Sections, EncodeError> {
        self.filters.check(version)?;
        self.properties.plan(version, kind::UNSUBSCRIBE).map(Sections::own)
    }

    pub(super) fn write(&self, version: Version, sections: Sections, out: &mut impl Sink) {
        out.u16(self.packet_id.get());
        if version == Version::V5 {
            self.properties.write(sections.own, out);
        }
        for filter in self.filters.raw() {
            out.binary(filter);
        }
    }
}
