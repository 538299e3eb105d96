//! When to try to connect again.
use core::time::Duration;

/// How long to wait before the next attempt to connect: twice as long each time, up to a bound, and by chance between half of that and
/// all of it, so that the clients of a server that was away do not come back all at once (S19).
///
/// A pure function of the attempt and a seed: there is no state to keep but the number of attempts, which begins anew once
/// [`Event::Connected`](crate::Event::Connected) has come.
///
/// # Examples
///
/// ```
/// use core::time::Duration;
/// use mqtt_session::Backoff;
///
/// let backoff = Backoff::new(0x5EED); // of this client: its serial number, or a random one
/// for (attempt, most) in [(0, 1), (1, 2), (2, 4), (3, 8), (10, 60), (u32::MAX, 60)] {
///     let delay = backoff.delay(attempt);
///     assert!(delay <= Duration::from_secs(most) && delay >= Duration::from_secs(most) / 2);
///     assert_eq!(delay, backoff.delay(attempt), "the same each time");
/// }
/// assert_ne!(backoff.delay(3), Backoff::new(7).delay(3), "and another for another client");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// At most so long before the first attempt (number 0). Default 1 s.
    pub first: Duration,
    /// At most so long before any. Default 60 s.
    pub most: Duration,
    /// What distinguishes this client from others.
    pub seed: u64,
}

impl Backoff {
    /// From one second to sixty.
    pub const fn new(seed: u64) -> Self {
        Self { first: Duration::from_secs(1), most: Duration::from_secs(60), seed }
    }

    /// The wait before attempt `attempt`, counted from 0 since the connection was last up. Whole milliseconds. O(1).
    pub fn delay(&self, attempt: u32) -> Duration {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let factor = 1_u64.checked_shl(attempt).unwrap_or(u64::MAX);
        let ceiling = millis(self.first).saturating_mul(factor).min(millis(self.most));
        let floor = ceiling / 2;
        let chance = mix(self.seed ^ u64::from(attempt).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        // The high half of a product is an even draw below the bound.
        let draw = (u128::from(chance) * (u128::from(ceiling - floor) + 1)) >> 64;
        Duration::from_millis(floor.saturating_add(u64::try_from(draw).unwrap_or(u64::MAX)))
    }
}

/// The finishing step of SplitMix64: every bit of the result depends on every bit of the input.
const fn mix(input: u64) -> u64 {
    let mut bits = input.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
