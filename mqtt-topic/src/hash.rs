//! The seed that keeps attackers from choosing strings that collide.
use core::fmt;
use core::hash::{Hash, Hasher};
use siphasher::sip::SipHasher13;

/// A seed for the keyed hash (SipHash 1-3) of every attacker-chosen string.
///
/// # Examples
///
/// ```
/// use mqtt_topic::HashSeed;
///
/// let seed = HashSeed::new(1, 2);
/// assert_eq!(seed.hash(b"a/b"), HashSeed::new(1, 2).hash(b"a/b"));
/// assert_ne!(seed.hash(b"a/b"), HashSeed::new(3, 4).hash(b"a/b"));
/// ```
#[derive(Clone, Copy)]
pub struct HashSeed(pub(crate) [u64; 2]);

impl HashSeed {
    /// A fixed seed: runs repeat. For tests, and for hosts with their own source of randomness.
    pub const fn new(a: u64, b: u64) -> Self {
        Self([a, b])
    }

    /// A seed nobody can guess.
    #[cfg(feature = "std")]
    pub fn random() -> Self {
        use std::hash::{BuildHasher, RandomState};
        // each `RandomState` has a key of its own; its hash of nothing is as good as the key
        Self([RandomState::new().hash_one(0_u8), RandomState::new().hash_one(1_u8)])
    }

    /// The keyed hash of `bytes`.
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let [a, b] = self.0;
        SipHasher13::new_with_keys(a, b).hash(bytes)
    }

    /// The keyed hash of a subscriber's key.
    pub(crate) fn hash_key(&self, key: &impl Hash) -> u64 {
        let [a, b] = self.0;
        let mut hasher = SipHasher13::new_with_keys(a, b);
        key.hash(&mut hasher);
        hasher.finish()
    }

    /// The keyed hash of two small ids the trie gave out itself: one multiplication, folded.
    pub(crate) fn hash_ids(&self, high: u32, low: u32) -> u64 {
        let [a, b] = self.0;
        let ids = (u64::from(high) << 32) | u64::from(low);
        let product = u128::from(ids ^ a).wrapping_mul(u128::from(b | 1));
        let folded = (product as u64) ^ ((product >> 64) as u64);
        // the table takes its tag from the top seven bits and its place from the lowest
        folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (folded >> 29)
    }
}

impl fmt::Debug for HashSeed {
    /// Keeps the seed secret: it is worth nothing once it stands in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashSeed(..)")
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn two_random_seeds_differ_and_neither_shows_itself() {
        let (one, other) = (HashSeed::random(), HashSeed::random());
        assert_ne!(one.0, other.0);
        assert_eq!(std::format!("{one:?}"), "HashSeed(..)");
    }
}
