//! Who subscribed to one filter: one entry in place, a few in a list, many in a list with an index.
use crate::HashSeed;
use crate::interner::give_back;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::Hash;
use core::mem::size_of;
use hashbrown::HashTable;

pub(crate) enum Entries<K, V> {
    Empty,
    One(K, V),
    Many(Box<Many<K, V>>),
}

pub(crate) struct Many<K, V> {
    /// Dense, because every lookup that hits walks over all of it.
    list: Vec<(K, V)>,
    /// Places in `list` by key; empty while the list is short.
    index: HashTable<u32>,
}

/// From this many entries on, a key is found by the index.
const INDEXED: usize = 32;

impl<K: Copy + Eq + Hash, V> Entries<K, V> {
    pub(crate) fn get(&self, key: K, seed: HashSeed) -> Option<&V> {
        match self {
            Self::Empty => None,
            Self::One(only, value) => (*only == key).then_some(value),
            Self::Many(many) => many.list.get(many.find(key, seed)?).map(|(_, value)| value),
        }
    }

    pub(crate) fn get_mut(&mut self, key: K, seed: HashSeed) -> Option<&mut V> {
        match self {
            Self::Empty => None,
            Self::One(only, value) => (*only == key).then_some(value),
            Self::Many(many) => {
                let place = many.find(key, seed)?;
                many.list.get_mut(place).map(|(_, value)| value)
            }
        }
    }

    /// Adds or replaces the entry of `key`; the old value comes back.
    pub(crate) fn insert(&mut self, key: K, value: V, seed: HashSeed) -> Option<V> {
        if let Some(old) = self.get_mut(key, seed) {
            return Some(core::mem::replace(old, value));
        }
        *self = match core::mem::replace(self, Self::Empty) {
            Self::Empty => Self::One(key, value),
            Self::One(first, first_value) => {
                let list = Vec::from([(first, first_value), (key, value)]);
                Self::Many(Box::new(Many {
                    list,
                    index: HashTable::new(),
                }))
            }
            Self::Many(mut many) => {
                many.push(key, value, seed);
                Self::Many(many)
            }
        };
        None
    }

    /// Removes the entry of `key`.
    pub(crate) fn remove(&mut self, key: K, seed: HashSeed) -> Option<V> {
        match self {
            Self::Empty => None,
            Self::One(only, _) => {
                if *only != key {
                    return None;
                }
                let Self::One(_, value) = core::mem::replace(self, Self::Empty) else {
                    return None;
                };
                Some(value)
            }
            Self::Many(many) => {
                let value = many.remove(key, seed)?;
                if many.list.len() == 1
                    && let Some((last, last_value)) = many.list.pop()
                {
                    *self = Self::One(last, last_value);
                }
                Some(value)
            }
        }
    }
}

impl<K: Copy, V> Entries<K, V> {
    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    #[inline]
    pub(crate) fn for_each<'t>(&'t self, found: &mut impl FnMut(K, &'t V)) {
        match self {
            Self::Empty => {}
            Self::One(key, value) => found(*key, value),
            Self::Many(many) => many.list.iter().for_each(|(key, value)| found(*key, value)),
        }
    }

    /// Bytes held outside of the value itself.
    pub(crate) fn heap(&self) -> usize {
        match self {
            Self::Empty | Self::One(..) => 0,
            Self::Many(many) => {
                size_of::<Many<K, V>>()
                    + many.list.capacity() * size_of::<(K, V)>()
                    + many.index.allocation_size()
            }
        }
    }
}

impl<K: Copy + Eq + Hash, V> Many<K, V> {
    fn find(&self, key: K, seed: HashSeed) -> Option<usize> {
        if self.index.is_empty() {
            return self.list.iter().position(|(other, _)| *other == key);
        }
        let is_it = |&place: &u32| {
            self.list
                .get(place as usize)
                .is_some_and(|(other, _)| *other == key)
        };
        self.index
            .find(seed.hash_key(&key), is_it)
            .map(|&place| place as usize)
    }

    /// Adds the entry of a key that is not there yet.
    fn push(&mut self, key: K, value: V, seed: HashSeed) {
        self.list.push((key, value));
        let start = match self.list.len() {
            len if len < INDEXED => return,
            _ if self.index.is_empty() => 0,
            len => len - 1,
        };
        let list = &self.list;
        for (place, (key, _)) in list.iter().enumerate().skip(start) {
            // the trie's limit of nodes keeps places within 32 bits
            self.index
                .insert_unique(seed.hash_key(key), place as u32, hasher(list, seed));
        }
    }

    fn remove(&mut self, key: K, seed: HashSeed) -> Option<V> {
        let place = self.find(key, seed)?;
        let last = self.list.len() - 1;
        let (_, value) = self.list.swap_remove(place);
        if let Ok(entry) = self
            .index
            .find_entry(seed.hash_key(&key), |&at| at as usize == place)
        {
            entry.remove();
        }
        // the last entry has moved into the gap
        if let Some((moved, _)) = self.list.get(place)
            && let Some(at) = self
                .index
                .find_mut(seed.hash_key(moved), |&at| at as usize == last)
        {
            *at = place as u32;
        }
        if self.list.len() < INDEXED / 2 {
            self.index = HashTable::new();
        } else {
            give_back(&mut self.index, hasher(&self.list, seed));
        }
        if self.list.capacity() / 4 > self.list.len() {
            self.list.shrink_to(self.list.len() * 2);
        }
        Some(value)
    }
}

fn hasher<K: Hash, V>(list: &[(K, V)], seed: HashSeed) -> impl Fn(&u32) -> u64 {
    move |&place| {
        list.get(place as usize)
            .map_or(0, |(key, _)| seed.hash_key(key))
    }
}

/// Changes entries and keeps the account of what they hold outside of their place.
pub(crate) fn counted<K: Copy, V, R>(
    heap: &mut usize,
    entries: &mut Entries<K, V>,
    change: impl FnOnce(&mut Entries<K, V>) -> R,
) -> R {
    *heap -= entries.heap();
    let result = change(entries);
    *heap += entries.heap();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_grows_an_index_and_loses_it_again() {
        let seed = HashSeed::new(1, 2);
        let mut entries = Entries::Empty;
        for key in 0..1000_u32 {
            assert_eq!(entries.insert(key, key, seed), None);
            assert_eq!(entries.insert(key, key * 2, seed), Some(key));
            assert_eq!(entries.get(key / 2, seed), Some(&(key / 2 * 2)));
        }
        for key in (0..1000_u32)
            .rev()
            .filter(|key| key % 3 == 0)
            .chain((0..1000).filter(|key| key % 3 != 0))
        {
            assert_eq!(entries.get_mut(key, seed), Some(&mut (key * 2)));
            assert_eq!(entries.remove(key, seed), Some(key * 2));
            assert_eq!(entries.remove(key, seed), None);
        }
        assert!(entries.is_empty());
        assert_eq!(entries.heap(), 0);
    }
}
