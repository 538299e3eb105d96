//! Topic names: what a PUBLISH carries (section 4.7).
use crate::text::{any, utf8_prefix};
use alloc::sync::Arc;
use core::fmt;

/// The most bytes a name or a filter can have: its length travels in two bytes.
pub(crate) const MAX_LEN: usize = 65_535;

/// A topic name that was checked: 1 to 65,535 bytes of UTF-8 without U+0000, `+` or `#`.
///
/// Names are compared byte by byte: no case folding, no Unicode normalisation.
///
/// # Examples
///
/// ```
/// use mqtt_topic::{NameErrorKind, TopicName};
///
/// let name = TopicName::new("home//temp")?;
/// assert_eq!(name.levels().collect::<Vec<_>>(), [&b"home"[..], b"", b"temp"]);
///
/// let error = TopicName::new("home/+").unwrap_err();
/// assert_eq!((error.kind, error.offset), (NameErrorKind::Wildcard, 5));
/// # Ok::<(), mqtt_topic::NameError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a>(&'a [u8]);

/// Why a topic name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (at byte {offset})")]
pub struct NameError {
    /// What is wrong.
    pub kind: NameErrorKind,
    /// The offset in bytes of the first byte that is wrong.
    pub offset: usize,
}

/// The rules a topic name can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameErrorKind {
    /// Empty.
    Empty,
    /// Over 65,535 bytes.
    TooLong,
    /// Not well-formed UTF-8.
    NotUtf8,
    /// Holds U+0000.
    Nul,
    /// Holds `+` or `#`.
    Wildcard,
}

impl fmt::Display for NameErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a topic name needs at least one character",
            Self::TooLong => "a topic name has at most 65,535 bytes",
            Self::NotUtf8 => "the topic name is not well-formed UTF-8",
            Self::Nul => "the topic name holds the forbidden character U+0000",
            Self::Wildcard => "a topic name must not hold a wildcard, '+' or '#'",
        })
    }
}

impl<'a> TopicName<'a> {
    /// Checks `text`.
    #[inline]
    pub fn new(text: &'a str) -> Result<Self, NameError> {
        Self::from_bytes(text.as_bytes())
    }

    /// Checks `bytes` in one pass.
    #[inline]
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, NameError> {
        // v5 [MQTT-4.7.3-2], v4 [MQTT-4.7.3-2]: no U+0000.
        // v5 [MQTT-4.7.0-1], v5 [MQTT-3.3.2-2], v5 [MQTT-3.3.2-14], v4 [MQTT-4.7.1-1], v4 [MQTT-3.3.2-2]: no wildcard
        // in a topic name, be it that of a PUBLISH, of a will or a Response Topic.
        let odd = |byte| (byte >= 0x80) | (byte == 0) | (byte == b'+') | (byte == b'#');
        if (bytes.len().wrapping_sub(1) >= MAX_LEN) | any(bytes, odd) {
            return judge(bytes);
        }
        Ok(Self(bytes))
    }

    /// Takes bytes that were checked before: for owners that keep the bytes of a name, such as a stored message.
    ///
    /// Bytes that never were a [`TopicName`] give a name that matches nonsense, never memory unsafety.
    #[inline]
    pub const fn from_checked(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A name this crate has checked before.
    pub(crate) const fn known(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes, free.
    #[inline]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The text; checks the UTF-8 again, because safe Rust has no free way from checked bytes to `str`.
    pub fn as_str(self) -> &'a str {
        core::str::from_utf8(self.0).unwrap_or("")
    }

    /// Its levels, first to last; there is always one, and each may be empty.
    pub const fn levels(self) -> Levels<'a> {
        Levels(Some(self.0))
    }

    /// Whether it begins with `$`, which hides it from filters that begin with a wildcard (section 4.7.2).
    pub fn begins_with_dollar(self) -> bool {
        self.0.first() == Some(&b'$')
    }
}

/// The exact answer for a name that is empty, too long or holds a byte that is not plain text.
#[cold]
fn judge(bytes: &[u8]) -> Result<TopicName<'_>, NameError> {
    // v5 [MQTT-4.7.3-1], v4 [MQTT-4.7.3-1]: at least one character.
    if bytes.is_empty() {
        return Err(NameError { kind: NameErrorKind::Empty, offset: 0 });
    }
    if bytes.len() > MAX_LEN {
        return Err(NameError { kind: NameErrorKind::TooLong, offset: MAX_LEN });
    }
    let (text, broken) = utf8_prefix(bytes);
    let wrong = text.iter().enumerate().find_map(|(offset, byte)| match byte {
        0 => Some(NameError { kind: NameErrorKind::Nul, offset }),
        b'+' | b'#' => Some(NameError { kind: NameErrorKind::Wildcard, offset }),
        _ => None,
    });
    match (wrong, broken) {
        (Some(error), _) => Err(error),
        (None, Some(offset)) => Err(NameError { kind: NameErrorKind::NotUtf8, offset }),
        (None, None) => Ok(TopicName(bytes)),
    }
}

impl fmt::Debug for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl AsRef<[u8]> for TopicName<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

impl<'a> TryFrom<&'a str> for TopicName<'a> {
    type Error = NameError;
    fn try_from(text: &'a str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

/// The levels of a topic name.
#[derive(Clone, Debug)]
pub struct Levels<'a>(Option<&'a [u8]>);

impl<'a> Levels<'a> {
    pub(crate) const fn of(bytes: &'a [u8]) -> Self {
        Self(Some(bytes))
    }
}

impl<'a> Iterator for Levels<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        // v5: empty levels are levels [X5-SUB-13], so "/a" has two and "a//b" three
        let Some((level, behind)) = split_level(rest) else {
            self.0 = None;
            return Some(rest);
        };
        self.0 = Some(behind);
        Some(level)
    }
}

/// What stands before the first slash of `bytes`, and what stands behind it.
#[inline]
pub(crate) fn split_level(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = bytes.iter().position(|&byte| byte == b'/')?;
    let (level, rest) = bytes.split_at_checked(slash)?;
    let (_, behind) = rest.split_first()?;
    Some((level, behind))
}

/// An owned topic name; cloning shares it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicNameBuf(Arc<[u8]>);

impl TopicNameBuf {
    /// Borrows it.
    pub fn as_name(&self) -> TopicName<'_> {
        TopicName(&self.0)
    }
}

impl From<TopicName<'_>> for TopicNameBuf {
    fn from(name: TopicName<'_>) -> Self {
        Self(name.0.into())
    }
}

impl fmt::Debug for TopicNameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_name(), f)
    }
}

impl fmt::Display for TopicNameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_name(), f)
    }
}
