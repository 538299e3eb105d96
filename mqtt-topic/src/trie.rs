//! The subscription trie: filter -> entries, looked up by topic name.
//!
//! Filters without wildcards lie in one table by their whole text, so that most lookups are settled by one hash;
//! those with wildcards lie in a trie. This file is the front of both, and keeps the limits.
use crate::exact::Exact;
use crate::wild::Wild;
use crate::{HashSeed, TopicFilter, TopicName};
use core::fmt;
use core::hash::Hash;
use core::mem::size_of;

/// Which keys subscribed to which filters. `K` names the subscriber, `V` is what it asked for.
///
/// Nothing in it recurses, and what is removed gives its memory back. Work: an insert or removal takes one hash per
/// level of the filter whatever the number of entries; a lookup takes one hash of the name, one per level, and visits
/// each node of the trie at most once.
///
/// # Examples
///
/// ```
/// use mqtt_topic::{HashSeed, SubscriptionTrie, TopicFilter, TopicName};
///
/// let mut trie = SubscriptionTrie::new(HashSeed::new(1, 2));
/// trie.insert(TopicFilter::new("home/+/temp")?, 7_u32, "seven's options")?;
/// trie.insert(TopicFilter::new("home/#")?, 8, "eight's")?;
///
/// let mut keys = Vec::new();
/// trie.lookup(TopicName::new("home/attic/temp")?, |key, _| keys.push(key));
/// keys.sort();
/// assert_eq!(keys, [7, 8]);
///
/// assert_eq!(trie.remove(TopicFilter::new("home/#")?, 8), Some("eight's"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SubscriptionTrie<K, V> {
    limits: TrieLimits,
    exact: Exact<K, V>,
    wild: Wild<K, V>,
    /// How many entries there are.
    len: usize,
}

/// How much a [`SubscriptionTrie`] may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrieLimits {
    /// Nodes: levels of filters with wildcards, filters without, and entries, all counted together; 16,777,216 unless set.
    /// Each takes some 50 to 100 bytes.
    pub nodes: u32,
    /// Bytes of filter text; 268,435,456 (256 MiB) unless set.
    /// A beginning that filters with wildcards have in common counts once.
    pub text_bytes: usize,
}

impl Default for TrieLimits {
    fn default() -> Self {
        Self { nodes: 1 << 24, text_bytes: 1 << 28 }
    }
}

/// The trie is at its limit of nodes or bytes; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the subscription trie has reached its limit of nodes or of text")]
pub struct Full;

impl<K: Copy + Eq + Hash, V> SubscriptionTrie<K, V> {
    /// An empty trie with the default limits.
    pub fn new(seed: HashSeed) -> Self {
        Self::with_limits(seed, TrieLimits::default())
    }

    /// An empty trie with limits of your own.
    pub fn with_limits(seed: HashSeed, limits: TrieLimits) -> Self {
        Self { limits, exact: Exact::new(seed), wild: Wild::new(seed), len: 0 }
    }

    /// Sets other limits; what is there already stays.
    pub fn set_limits(&mut self, limits: TrieLimits) {
        self.limits = limits;
    }

    /// Adds or replaces the entry of `key` at `filter`; the old value comes back.
    ///
    /// A `$share/...` filter is taken as it stands; insert [`SharedFilter::filter`](crate::SharedFilter::filter)
    /// instead, with the group in `K` or `V`, or keep a trie per purpose.
    pub fn insert(&mut self, filter: TopicFilter<'_>, key: K, value: V) -> Result<Option<V>, Full> {
        let room = self.room();
        let old = if filter.has_wildcard() {
            self.wild.insert(filter, key, value, room)?
        } else {
            self.exact.insert(filter, key, value, room)?
        };
        self.len += usize::from(old.is_none());
        Ok(old)
    }

    /// Removes the entry of `key` at `filter` (equal text).
    // v5 [MQTT-3.10.4-1], v4 [MQTT-3.10.4-1]: the text decides, not what it would match.
    pub fn remove(&mut self, filter: TopicFilter<'_>, key: K) -> Option<V> {
        let value =
            if filter.has_wildcard() { self.wild.remove(filter, key)? } else { self.exact.remove(filter, key)? };
        self.len -= 1;
        Some(value)
    }

    /// The entry of `key` at `filter`.
    pub fn get(&self, filter: TopicFilter<'_>, key: K) -> Option<&V> {
        if filter.has_wildcard() { self.wild.get(filter, key) } else { self.exact.get(filter, key) }
    }

    /// The entry of `key` at `filter`.
    pub fn get_mut(&mut self, filter: TopicFilter<'_>, key: K) -> Option<&mut V> {
        if filter.has_wildcard() { self.wild.get_mut(filter, key) } else { self.exact.get_mut(filter, key) }
    }

    /// Calls `found` for every entry whose filter matches `name`; one key may come several times.
    ///
    /// Allocates nothing while the filters that reach into the name have 32 levels or fewer.
    /// The order depends on what was inserted and removed before, not on the seed.
    // v5 [MQTT-3.3.2-3], v4 [MQTT-3.3.2-3]: what is found here is what receives the name.
    pub fn lookup<'t>(&'t self, name: TopicName<'_>, mut found: impl FnMut(K, &'t V)) {
        if let Some(entries) = self.exact.find(name.as_bytes()) {
            entries.for_each(&mut found);
        }
        self.wild.walk(name, &mut found);
    }

    /// How many nodes of the trie a [`lookup`](Self::lookup) of `name` looks at: what its time grows with, besides its
    /// hits. For tests, and for hosts that watch what their clients' filters cost.
    ///
    /// Filters without wildcards lie in a table and take none. A node that is turned away from, because no filter below it
    /// has the depth of the name, counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_topic::{HashSeed, SubscriptionTrie, TopicFilter, TopicName};
    ///
    /// let mut trie = SubscriptionTrie::new(HashSeed::new(1, 2));
    /// trie.insert(TopicFilter::new("a/+/c")?, 1, ())?;
    /// assert_eq!(trie.lookup_visits(TopicName::new("a/b/c")?), 4); // above "a", "a", "a/+", "a/+/c"
    /// assert_eq!(trie.lookup_visits(TopicName::new("a/b")?), 1); // no filter has two levels
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lookup_visits(&self, name: TopicName<'_>) -> usize {
        self.wild.walk(name, &mut |_, _| {})
    }

    /// How much more the limits allow.
    fn room(&self) -> Room {
        let nodes = self.wild.nodes() + self.exact.len() + self.len;
        Room {
            nodes: (self.limits.nodes as usize).saturating_sub(nodes),
            text: self.limits.text_bytes.saturating_sub(self.wild.text() + self.exact.text()),
        }
    }
}

impl<K: Copy, V> SubscriptionTrie<K, V> {
    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes held, to within allocator rounding; what the values hold elsewhere is not counted.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.exact.memory() + self.wild.memory()
    }

    /// Calls `each` for every entry there is, in no particular order. Takes time and memory for the filters' texts.
    pub fn for_each(&self, mut each: impl FnMut(TopicFilter<'_>, K, &V)) {
        self.exact.for_each(&mut each);
        self.wild.for_each(&mut each);
    }
}

impl<K, V> fmt::Debug for SubscriptionTrie<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionTrie").field("len", &self.len).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What may be added until a limit is reached.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    nodes: usize,
    text: usize,
}

impl Room {
    #[cfg(test)]
    pub(crate) const ENDLESS: Self = Self { nodes: usize::MAX, text: usize::MAX };

    /// Refuses what would exceed a limit.
    pub(crate) const fn check(self, nodes: usize, text: usize) -> Result<(), Full> {
        if nodes > self.nodes || text > self.text { Err(Full) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn filter(text: &str) -> TopicFilter<'_> {
        TopicFilter::new(text).unwrap()
    }

    #[test]
    fn a_full_trie_refuses_and_stays_as_it_was() {
        let limits = TrieLimits { nodes: 5, text_bytes: 10 };
        let mut trie = SubscriptionTrie::with_limits(HashSeed::new(1, 2), limits);
        trie.insert(filter("a/+"), 1, "x").unwrap(); // two levels and an entry
        let before = trie.memory();
        assert_eq!(trie.insert(filter("b/+/c/#"), 1, "x"), Err(Full));
        assert_eq!(trie.insert(filter("a/+/0123456789"), 1, "x"), Err(Full));
        assert_eq!(trie.insert(filter("0123456789"), 1, "x"), Err(Full));
        assert_eq!((trie.memory(), trie.len()), (before, 1));
        assert_eq!(trie.insert(filter("a/+"), 1, "y"), Ok(Some("x")));
        trie.insert(filter("c"), 1, "x").unwrap(); // a filter and an entry: five
        assert_eq!(trie.insert(filter("c"), 2, "x"), Err(Full));
        assert_eq!(trie.insert(filter("c"), 1, "y"), Ok(Some("x")));
        assert_eq!(trie.insert(filter("a/+"), 2, "x"), Err(Full));
        trie.remove(filter("c"), 1).unwrap();
        assert_eq!(trie.insert(filter("a/+"), 2, "x"), Ok(None));
    }

    #[test]
    fn every_filter_can_be_told_again() {
        let mut trie = SubscriptionTrie::new(HashSeed::new(1, 2));
        let texts = ["#", "+", "/", "+/+", "/#", "a/#", "a", "a/+/", "a//+", "$SYS/#", "a/+/b/#"];
        for text in texts {
            trie.insert(filter(text), 1, ()).unwrap();
        }
        let mut told: Vec<String> = Vec::new();
        trie.for_each(|filter, _, ()| told.push(filter.as_str().into()));
        told.sort();
        let mut expected = texts.to_vec();
        expected.sort_unstable();
        assert_eq!(told, expected);
    }
}
