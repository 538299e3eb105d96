//! What a host takes of names and filters that are well-formed, but longer or deeper than it wants.
use crate::name::MAX_LEN;
use crate::{TopicFilter, TopicName};
use core::fmt;

/// How long and how deep a name or a filter may be; both limits are those of the protocol unless set.
///
/// # Examples
///
/// ```
/// use mqtt_topic::{LimitErrorKind, TopicFilter, TopicLimits, TopicName};
///
/// let limits = TopicLimits::new(1_024, 8);
/// TopicName::new("home/attic/temp")?.within(limits)?;
///
/// let error = TopicFilter::new("a/b/c/d/e/f/g/h/#")?.within(limits).unwrap_err();
/// assert_eq!((error.kind, error.offset), (LimitErrorKind::Levels, 15));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicLimits {
    /// The most bytes; 65,535 unless set.
    pub bytes: usize,
    /// The most levels; 65,536 unless set.
    pub levels: usize,
}

impl TopicLimits {
    /// At most so many bytes and so many levels.
    pub const fn new(bytes: usize, levels: usize) -> Self {
        Self { bytes, levels }
    }

    fn check(self, text: &[u8]) -> Result<(), LimitError> {
        if text.len() > self.bytes {
            return Err(LimitError { kind: LimitErrorKind::Bytes, offset: self.bytes });
        }
        // n levels have n - 1 slashes, so fewer bytes than the limit have fewer levels
        if text.len() < self.levels {
            return Ok(());
        }
        let mut slashes = text.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        match self.levels.checked_sub(1) {
            None => Err(LimitError { kind: LimitErrorKind::Levels, offset: 0 }),
            Some(most) => match slashes.nth(most) {
                None => Ok(()),
                Some((offset, _)) => Err(LimitError { kind: LimitErrorKind::Levels, offset }),
            },
        }
    }
}

impl Default for TopicLimits {
    fn default() -> Self {
        Self::new(MAX_LEN, MAX_LEN + 1)
    }
}

/// A well-formed name or filter is over a limit of the host.
///
/// A server answers with reason code 0x90 for a name and 0x8F for a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (at byte {offset})")]
pub struct LimitError {
    /// Which limit.
    pub kind: LimitErrorKind,
    /// The offset of the first byte over the limit: for levels that of the slash in front of the first level too many.
    pub offset: usize,
}

/// The limits a name or a filter can be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitErrorKind {
    /// [`TopicLimits::bytes`].
    Bytes,
    /// [`TopicLimits::levels`].
    Levels,
}

impl fmt::Display for LimitErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "more bytes than the limit allows",
            Self::Levels => "more levels than the limit allows",
        })
    }
}

impl TopicName<'_> {
    /// Refuses a name that is over `limits`. One pass over the bytes, no allocation.
    pub fn within(self, limits: TopicLimits) -> Result<(), LimitError> {
        limits.check(self.as_bytes())
    }
}

impl TopicFilter<'_> {
    /// Refuses a filter that is over `limits`. One pass over the bytes, no allocation.
    ///
    /// A filter that begins with `$share/` is judged whole, the share name included; judge what is inside by
    /// [`SharedFilter::filter`](crate::SharedFilter::filter).
    pub fn within(self, limits: TopicLimits) -> Result<(), LimitError> {
        limits.check(self.as_bytes())
    }
}
