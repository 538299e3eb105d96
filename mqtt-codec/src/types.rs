//! The small values every packet is made of (section 1.5).
use core::num::NonZeroU16;
use mqtt_topic::check_text;

/// A protocol version, as the level byte of CONNECT names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1, level 3.
    V31,
    /// MQTT 3.1.1, level 4.
    V311,
    /// MQTT 5.0, level 5.
    V5,
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that sends CONNECT.
    Client,
    /// The end that answers it.
    Server,
}

/// How surely a message arrives (section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Qos {
    /// QoS 0: may be lost.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: may come twice.
    AtLeastOnce = 1,
    /// QoS 2: comes once.
    ExactlyOnce = 2,
}

impl Qos {
    /// The QoS of the number 0, 1 or 2; `None` for any other.
    pub const fn new(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// A packet identifier: 1 to 65,535 (section 2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// `None` for 0.
    pub const fn new(id: u16) -> Option<Self> {
        match NonZeroU16::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }
    /// The number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

/// A string that was checked: at most 65,535 bytes of UTF-8 without U+0000 (section 1.5.4).
///
/// # Examples
///
/// ```
/// use mqtt_codec::Utf8;
///
/// let name = Utf8::new("sensor-7").unwrap();
/// assert_eq!(name.as_bytes(), b"sensor-7");
/// assert_eq!(Utf8::new("a\0b"), None);
/// assert_eq!(Utf8::from_bytes(&[0xFF]), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Utf8<'a>(&'a [u8]);

impl<'a> Utf8<'a> {
    /// The empty string.
    pub const EMPTY: Utf8<'static> = Utf8(&[]);
    /// Checks `text`: `None` if it is over 65,535 bytes or holds U+0000.
    pub fn new(text: &'a str) -> Option<Self> {
        Self::from_bytes(text.as_bytes())
    }
    /// Checks `bytes`: `None` if they are over 65,535, not UTF-8, or hold U+0000.
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > usize::from(u16::MAX) || check_text(bytes).is_err() {
            return None;
        }
        Some(Self(bytes))
    }
    /// Wraps bytes that the caller has just checked.
    pub(crate) const fn checked(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
    /// The bytes, free.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
    /// The text; checks the UTF-8 again, which takes time in proportion to its length.
    pub fn as_str(self) -> &'a str {
        core::str::from_utf8(self.0).unwrap_or_default()
    }
}

impl core::fmt::Debug for Utf8<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self.as_str(), f)
    }
}

impl core::fmt::Display for Utf8<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Version {
    /// The version of a level byte: 3, 4 or 5; `None` for any other.
    pub const fn of_level(level: u8) -> Option<Self> {
        match level {
            3 => Some(Self::V31),
            4 => Some(Self::V311),
            5 => Some(Self::V5),
            _ => None,
        }
    }

    /// The level byte: 3, 4 or 5.
    pub const fn level(self) -> u8 {
        match self {
            Self::V31 => 3,
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }
}
