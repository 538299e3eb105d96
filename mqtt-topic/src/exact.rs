//! The filters without wildcards: one table, by their whole text.
use crate::entries::{Entries, counted};
use crate::interner::give_back;
use crate::short::Text;
use crate::trie::{Full, Room};
use crate::{HashSeed, TopicFilter};
use core::hash::Hash;
use hashbrown::HashTable;

pub(crate) struct Exact<K, V> {
    seed: HashSeed,
    table: HashTable<Filter<K, V>>,
    /// Bytes of text.
    text: usize,
    /// Bytes that long texts and lists of entries hold outside of their place.
    heap: usize,
}

/// Most filters are short enough to lie in the table.
const SHORT: usize = 22;

struct Filter<K, V> {
    text: Text<SHORT>,
    entries: Entries<K, V>,
}

impl<K: Copy + Eq + Hash, V> Exact<K, V> {
    pub(crate) const fn new(seed: HashSeed) -> Self {
        Self { seed, table: HashTable::new(), text: 0, heap: 0 }
    }

    /// The entries of the filter, or for the topic name, with this text.
    #[inline]
    pub(crate) fn find(&self, text: &[u8]) -> Option<&Entries<K, V>> {
        if self.table.is_empty() {
            return None;
        }
        Some(&self.table.find(self.seed.hash(text), |filter| filter.text.as_bytes() == text)?.entries)
    }

    pub(crate) fn get(&self, filter: TopicFilter<'_>, key: K) -> Option<&V> {
        self.find(filter.as_bytes())?.get(key, self.seed)
    }

    pub(crate) fn get_mut(&mut self, filter: TopicFilter<'_>, key: K) -> Option<&mut V> {
        let text = filter.as_bytes();
        let filter = self.table.find_mut(self.seed.hash(text), |filter| filter.text.as_bytes() == text)?;
        filter.entries.get_mut(key, self.seed)
    }

    /// Adds or replaces the entry of `key`, if what it needs finds `room`.
    pub(crate) fn insert(&mut self, filter: TopicFilter<'_>, key: K, value: V, room: Room) -> Result<Option<V>, Full> {
        let (seed, text) = (self.seed, filter.as_bytes());
        let hash = seed.hash(text);
        let Some(filter) = self.table.find_mut(hash, |filter| filter.text.as_bytes() == text) else {
            room.check(2, text.len())?;
            let filter = Filter { text: Text::new(text), entries: Entries::One(key, value) };
            self.table.insert_unique(hash, filter, |filter| seed.hash(filter.text.as_bytes()));
            self.text += text.len();
            self.heap += Text::<SHORT>::heap(text);
            return Ok(None);
        };
        if filter.entries.get(key, seed).is_none() {
            room.check(1, 0)?;
        }
        Ok(counted(&mut self.heap, &mut filter.entries, |entries| entries.insert(key, value, seed)))
    }

    pub(crate) fn remove(&mut self, filter: TopicFilter<'_>, key: K) -> Option<V> {
        let (seed, text) = (self.seed, filter.as_bytes());
        let mut entry = self.table.find_entry(seed.hash(text), |filter| filter.text.as_bytes() == text).ok()?;
        let entries = &mut entry.get_mut().entries;
        let value = counted(&mut self.heap, entries, |entries| entries.remove(key, seed))?;
        if entries.is_empty() {
            entry.remove();
            self.text -= text.len();
            self.heap -= Text::<SHORT>::heap(text);
            give_back(&mut self.table, |filter| seed.hash(filter.text.as_bytes()));
        }
        Some(value)
    }
}

impl<K: Copy, V> Exact<K, V> {
    /// How many filters there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes of text.
    pub(crate) const fn text(&self) -> usize {
        self.text
    }

    /// Bytes held.
    pub(crate) fn memory(&self) -> usize {
        self.table.allocation_size() + self.heap
    }

    pub(crate) fn for_each(&self, each: &mut impl FnMut(TopicFilter<'_>, K, &V)) {
        for filter in &self.table {
            let text = TopicFilter::known(filter.text.as_bytes());
            filter.entries.for_each(&mut |key, value| each(text, key, value));
        }
    }
}
