//! The filters without wildcards: one table, by their whole text.
use crate::entries::{Entries, counted};
use crate::interner::give_back;
use crate::trie::{Full, Room};
use crate::{HashSeed, TopicFilter};
use alloc::boxed::Box;
use core::hash::Hash;
use hashbrown::HashTable;

pub(crate) struct Exact<K, V> {
    seed: HashSeed,
    table: HashTable<Filter<K, V>>,
    /// Bytes of text.
    text: usize,
    /// Bytes that lists of entries hold outside of their place.
    heap: usize,
}

struct Filter<K, V> {
    text: Box<[u8]>,
    entries: Entries<K, V>,
}

impl<K: Copy + Eq + Hash, V> Exact<K, V> {
    pub(crate) const fn new(seed: HashSeed) -> Self {
        Self {
            seed,
            table: HashTable::new(),
            text: 0,
            heap: 0,
        }
    }

    /// The entries of the filter, or for the topic name, with this text.
    #[inline]
    pub(crate) fn find(&self, text: &[u8]) -> Option<&Entries<K, V>> {
        if self.table.is_empty() {
            return None;
        }
        Some(
            &self
                .table
                .find(self.seed.hash(text), |filter| *filter.text == *text)?
                .entries,
        )
    }

    pub(crate) fn get(&self, filter: TopicFilter<'_>, key: K) -> Option<&V> {
        self.find(filter.as_bytes())?.get(key, self.seed)
    }

    pub(crate) fn get_mut(&mut self, filter: TopicFilter<'_>, key: K) -> Option<&mut V> {
        let text = filter.as_bytes();
        let filter = self
            .table
            .find_mut(self.seed.hash(text), |filter| *filter.text == *text)?;
        filter.entries.get_mut(key, self.seed)
    }

    /// Adds or replaces the entry of `key`, if what it needs finds `room`.
    pub(crate) fn insert(
        &mut self,
        filter: TopicFilter<'_>,
        key: K,
        value: V,
        room: Room,
    ) -> Result<Option<V>, Full> {
        let (seed, text) = (self.seed, filter.as_bytes());
        let hash = seed.hash(text);
        let Some(filter) = self.table.find_mut(hash, |filter| *filter.text == *text) else {
            room.check(2, text.len())?;
            let filter = Filter {
                text: text.into(),
                entries: Entries::One(key, value),
            };
            self.table
                .insert_unique(hash, filter, |filter| seed.hash(&filter.text));
            self.text += text.len();
            return Ok(None);
        };
        if filter.entries.get(key, seed).is_none() {
            room.check(1, 0)?;
        }
        Ok(counted(&mut self.heap, &mut filter.entries, |entries| {
            entries.insert(key, value, seed)
        }))
    }

    pub(crate) fn remove(&mut self, filter: TopicFilter<'_>, key: K) -> Option<V> {
        let (seed, text) = (self.seed, filter.as_bytes());
        let mut entry = self
            .table
            .find_entry(seed.hash(text), |filter| *filter.text == *text)
            .ok()?;
        let entries = &mut entry.get_mut().entries;
        let value = counted(&mut self.heap, entries, |entries| entries.remove(key, seed))?;
        if entries.is_empty() {
            entry.remove();
            self.text -= text.len();
            give_back(&mut self.table, |filter| seed.hash(&filter.text));
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
        self.table.allocation_size() + self.text + self.heap
    }

    pub(crate) fn for_each(&self, each: &mut impl FnMut(TopicFilter<'_>, K, &V)) {
        for filter in &self.table {
            let text = TopicFilter::known(&filter.text);
            filter
                .entries
                .for_each(&mut |key, value| each(text, key, value));
        }
    }
}
