//! Time as an argument: milliseconds since a moment the host chose.
use core::time::Duration;

/// A moment, in milliseconds since the host's zero. Never read from a clock here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The host's zero.
    pub const ZERO: Self = Self(0);
    /// The furthest moment there is.
    pub const MAX: Self = Self(u64::MAX);
    /// `ms` milliseconds after the host's zero.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }
    /// Milliseconds since the host's zero.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
    /// `ms` milliseconds later; stops at [`Instant::MAX`].
    pub const fn plus_millis(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
    /// `secs` seconds later; stops at [`Instant::MAX`].
    pub const fn plus_secs(self, secs: u32) -> Self {
        self.plus_millis(secs as u64 * 1000)
    }
    /// How long after `earlier`, zero if before.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Which Unix time the host's zero is: records that outlive a process carry Unix time, everything else the host's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Epoch(u64);

impl Epoch {
    /// [`Instant::ZERO`] is `ms` milliseconds after 1970-01-01 00:00 UTC.
    pub const fn from_unix_millis(ms: u64) -> Self {
        Self(ms)
    }
    /// The Unix time of a moment, in milliseconds.
    pub const fn to_unix_millis(self, at: Instant) -> u64 {
        self.0.saturating_add(at.0)
    }
    /// The moment of a Unix time in milliseconds; [`Instant::ZERO`] for all that came before.
    pub const fn from_unix(self, ms: u64) -> Instant {
        Instant(ms.saturating_sub(self.0))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        self.plus_millis(u64::try_from(by.as_millis()).unwrap_or(u64::MAX))
    }
}
