//! Topic filters: what SUBSCRIBE and UNSUBSCRIBE carry (sections 4.7 and 4.8).
use crate::TopicName;
use crate::grammar::check_filter;
use crate::name::{Levels, split_level};
use alloc::sync::Arc;
use core::fmt;

/// A topic filter that was checked.
///
/// `$share/...` is accepted here as the plain filter it also is; [`TopicFilter::shared`] reads it as a shared one.
///
/// # Examples
///
/// ```
/// use mqtt_topic::{FilterErrorKind, TopicFilter, TopicName};
///
/// let filter = TopicFilter::new("home/+/temp")?;
/// assert!(filter.matches(TopicName::new("home/attic/temp").unwrap()));
/// assert!(!filter.matches(TopicName::new("home/attic/light").unwrap()));
///
/// let error = TopicFilter::new("home/a+").unwrap_err();
/// assert_eq!((error.kind, error.offset), (FilterErrorKind::SingleLevel, 6));
/// # Ok::<(), mqtt_topic::FilterError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter<'a>(&'a [u8]);

/// Why a filter is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (at byte {offset})")]
pub struct FilterError {
    /// What is wrong.
    pub kind: FilterErrorKind,
    /// The offset in bytes of the first byte that is wrong.
    pub offset: usize,
}

/// The rules a filter can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterErrorKind {
    /// Empty.
    Empty,
    /// Over 65,535 bytes.
    TooLong,
    /// Not well-formed UTF-8.
    NotUtf8,
    /// Holds U+0000.
    Nul,
    /// `#` that is not the whole last level.
    MultiLevel,
    /// `+` that is not a whole level.
    SingleLevel,
    /// `$share/` without a share name of one character or more.
    ShareName,
    /// `$share/name` without `/` and a filter behind it.
    ShareFilter,
}

impl fmt::Display for FilterErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a topic filter needs at least one character",
            Self::TooLong => "a topic filter has at most 65,535 bytes",
            Self::NotUtf8 => "the topic filter is not well-formed UTF-8",
            Self::Nul => "the topic filter holds the forbidden character U+0000",
            Self::MultiLevel => "'#' must be the whole last level of a topic filter",
            Self::SingleLevel => "'+' must be a whole level of a topic filter",
            Self::ShareName => "\"$share/\" needs a share name of at least one character and without '+' or '#'",
            Self::ShareFilter => "\"$share/name\" needs a '/' and a topic filter behind it",
        })
    }
}

/// One level of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterLevel<'a> {
    /// Matches itself (may be empty).
    Text(&'a [u8]),
    /// `+`
    Plus,
    /// `#`
    Hash,
}

/// What a shared subscription begins with. v5 [MQTT-4.8.2-1]
const SHARE: &[u8] = b"$share/";

impl<'a> TopicFilter<'a> {
    /// Checks `text`.
    #[inline]
    pub fn new(text: &'a str) -> Result<Self, FilterError> {
        Self::from_bytes(text.as_bytes())
    }

    /// Checks `bytes` in one pass.
    #[inline]
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, FilterError> {
        check_filter(bytes)?;
        Ok(Self(bytes))
    }

    /// A filter this crate has checked before.
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

    /// Whether `name` matches. One walk over both, no allocation.
    ///
    /// A filter that begins with `$share/` is taken as it stands; what a shared subscription receives
    /// is decided by [`SharedFilter::filter`].
    pub fn matches(self, name: TopicName<'_>) -> bool {
        if self.begins_with_wildcard() && name.begins_with_dollar() {
            return false;
        }
        // v5 [MQTT-4.7.3-4], v4 [MQTT-4.7.3-4]: bytes are compared, nothing is folded or normalised.
        let (mut filter, mut name) = (self.0, name.as_bytes());
        loop {
            // a name has no wildcards, so bytes that are equal are none
            while let (Some((a, filter_rest)), Some((b, name_rest))) =
                (filter.split_first_chunk::<8>(), name.split_first_chunk::<8>())
                && a == b
            {
                (filter, name) = (filter_rest, name_rest);
            }
            while let (Some((a, filter_rest)), Some((b, name_rest))) = (filter.split_first(), name.split_first())
                && a == b
            {
                (filter, name) = (filter_rest, name_rest);
            }
            match (filter.split_first(), name.split_first()) {
                (None, None) | (Some((b'#', _)), _) => return true,
                (Some((b'+', behind)), _) => {
                    filter = behind;
                    name = from_next_slash(name);
                }
                // "a/#" matches its parent "a" too [X5-SUB-12]
                (Some(_), None) => return filter == b"/#",
                (None | Some(_), Some(_)) => return false,
            }
        }
    }

    /// Whether it holds `+` or `#`.
    // v4 [MQTT-3.8.3-2]: this is what a server without wildcard support refuses.
    pub fn has_wildcard(self) -> bool {
        crate::text::any(self.0, |byte| (byte == b'+') | (byte == b'#'))
    }

    /// Whether it begins with `+` or `#`, and so never sees a name that begins with `$`.
    // v5 [MQTT-4.7.2-1], v4 [MQTT-4.7.2-1]: names that begin with `$` are hidden from such a filter.
    pub fn begins_with_wildcard(self) -> bool {
        matches!(self.0.first(), Some(b'+' | b'#'))
    }

    /// Its levels, first to last.
    pub const fn levels(self) -> FilterLevels<'a> {
        FilterLevels(Levels::of(self.0))
    }

    /// Reads it as a shared filter (section 4.8.2): `Ok(None)` if it does not begin with `$share/`.
    ///
    /// Version 3.1.1 gives `$share/` no meaning [X311-SHR-1]: a server either calls this for its 3.1.1 clients too, or
    /// keeps the plain filter, which then matches only names that begin with `$share/`.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_topic::TopicFilter;
    ///
    /// let shared = TopicFilter::new("$share/workers/jobs/#")?.shared()?.unwrap();
    /// assert_eq!(shared.group(), b"workers");
    /// assert_eq!(shared.filter().as_str(), "jobs/#");
    ///
    /// assert!(TopicFilter::new("jobs/#")?.shared()?.is_none());
    /// assert!(TopicFilter::new("$share/workers")?.shared().is_err());
    /// # Ok::<(), mqtt_topic::FilterError>(())
    /// ```
    // v5 [MQTT-3.8.3-4]: who decodes the No Local option learns here whether the subscription is a shared one.
    pub fn shared(self) -> Result<Option<SharedFilter<'a>>, FilterError> {
        let Some(rest) = self.0.strip_prefix(SHARE) else {
            return Ok(None);
        };
        let (group, filter) = match split_level(rest) {
            Some((group, filter)) => (group, Some(filter)),
            None => (rest, None),
        };
        // v5 [MQTT-4.8.2-1]: one character or more; v5 [MQTT-4.8.2-2]: none of them '/', '+' or '#'.
        let wildcard = group.iter().position(|byte| matches!(byte, b'+' | b'#'));
        if group.is_empty() || wildcard.is_some() {
            return Err(FilterError { kind: FilterErrorKind::ShareName, offset: SHARE.len() + wildcard.unwrap_or(0) });
        }
        // v5 [MQTT-4.8.2-2]: then a slash and a filter. What stands behind a slash of a good filter is a good filter,
        // unless it is empty.
        match filter {
            Some(filter) if !filter.is_empty() => {
                Ok(Some(SharedFilter { text: self, group, filter: TopicFilter(filter) }))
            }
            Some(_) | None => Err(FilterError { kind: FilterErrorKind::ShareFilter, offset: self.0.len() }),
        }
    }
}

/// `name` from its next slash on.
#[inline]
fn from_next_slash(name: &[u8]) -> &[u8] {
    let end = name.iter().position(|&byte| byte == b'/').unwrap_or(name.len());
    name.split_at_checked(end).map_or(&[], |(_, rest)| rest)
}

impl fmt::Debug for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl AsRef<[u8]> for TopicFilter<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

impl<'a> TryFrom<&'a str> for TopicFilter<'a> {
    type Error = FilterError;
    fn try_from(text: &'a str) -> Result<Self, FilterError> {
        Self::new(text)
    }
}

impl<'a> From<TopicName<'a>> for TopicFilter<'a> {
    /// The filter that matches this one name: every name is a filter without wildcards.
    fn from(name: TopicName<'a>) -> Self {
        Self(name.as_bytes())
    }
}

/// The levels of a filter.
#[derive(Clone, Debug)]
pub struct FilterLevels<'a>(Levels<'a>);

impl<'a> Iterator for FilterLevels<'a> {
    type Item = FilterLevel<'a>;

    #[inline]
    fn next(&mut self) -> Option<FilterLevel<'a>> {
        Some(match self.0.next()? {
            b"+" => FilterLevel::Plus,
            b"#" => FilterLevel::Hash,
            text => FilterLevel::Text(text),
        })
    }
}

/// `$share/{group}/{filter}` (section 4.8.2).
///
/// Two of them are the same subscription when their whole texts are equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SharedFilter<'a> {
    text: TopicFilter<'a>,
    group: &'a [u8],
    filter: TopicFilter<'a>,
}

impl<'a> SharedFilter<'a> {
    /// The whole text: what UNSUBSCRIBE names, and the subscription's identity.
    pub const fn text(self) -> TopicFilter<'a> {
        self.text
    }

    /// The share name.
    pub const fn group(self) -> &'a [u8] {
        self.group
    }

    /// The filter inside: what decides which names match, the `$` rule included.
    pub const fn filter(self) -> TopicFilter<'a> {
        self.filter
    }
}

impl fmt::Debug for SharedFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for SharedFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.text, f)
    }
}

/// An owned filter; cloning shares it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilterBuf(Arc<[u8]>);

impl TopicFilterBuf {
    /// Borrows it.
    pub fn as_filter(&self) -> TopicFilter<'_> {
        TopicFilter(&self.0)
    }
}

impl From<TopicFilter<'_>> for TopicFilterBuf {
    fn from(filter: TopicFilter<'_>) -> Self {
        Self(filter.0.into())
    }
}

impl fmt::Debug for TopicFilterBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_filter(), f)
    }
}

impl fmt::Display for TopicFilterBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_filter(), f)
    }
}
