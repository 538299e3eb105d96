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
    Few(Vec<(K, V)>),
    Many(Box<Many<K, V>>),
}

pub(crate) struct Many<K, V> {
    /// Dense, because every lookup that hits walks over all of it.
    list: Vec<(K, V)>,
    /// Places in `list` by key.
    index: HashTable<u32>,
}

/// From this many entries on, a key is found by the index.
const INDEXED: usize = 32;

impl<K: Copy + Eq + Hash, V> Entries<K, V> {
    pub(crate) fn get(&self, key: K, seed: HashSeed) -> Option<&V> {
        match self {
            Self::Empty => None,
            Self::One(only, value) => (*only == key).then_some(value),
            Self::Few(list) => list.iter().find(|(other, _)| *other == key).map(|(_, value)| value),
            Self::Many(many) => many.list.get(many.find(key, seed)?).map(|(_, value)| value),
        }
    }

    pub(crate) fn get_mut(&mut self, key: K, seed: HashSeed) -> Option<&mut V> {
        match self {
            Self::Empty => None,
            Self::One(only, value) => (*only == key).then_some(value),
            Self::Few(list) => list.iter_mut().find(|(other, _)| *other == key).map(|(_, value)| value),
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
            Self::One(first, first_value) => Self::Few(Vec::from([(first, first_value), (key, value)])),
            Self::Few(mut list) => {
                list.push((key, value));
                if list.len() < INDEXED { Self::Few(list) } else { Self::Many(Box::new(Many::new(list, seed))) }
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
            Self::Few(list) => {
                let place = list.iter().position(|(other, _)| *other == key)?;
                let (_, value) = list.swap_remove(place);
                if list.len() == 1
                    && let Some((last, last_value)) = list.pop()
                {
                    *self = Self::One(last, last_value);
                } else {
                    give_list_back(list);
                }
                Some(value)
            }
            Self::Many(many) => {
                let value = many.remove(key, seed)?;
                if many.list.len() < INDEXED / 2 {
                    *self = Self::Few(core::mem::take(&mut many.list));
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
            Self::Few(list) => list.iter().for_each(|(key, value)| found(*key, value)),
            Self::Many(many) => many.list.iter().for_each(|(key, value)| found(*key, value)),
        }
    }

    /// Bytes held outside of the value itself.
    pub(crate) fn heap(&self) -> usize {
        match self {
            Self::Empty | Self::One(..) => 0,
            Self::Few(list) => list.capacity() * size_of::<(K, V)>(),
            Self::Many(many) => {
                size_of::<Many<K, V>>() + many.list.capacity() * size_of::<(K, V)>() + many.index.allocation_size()
            }
        }
    }
}

impl<K: Copy + Eq + Hash, V> Many<K, V> {
    fn new(list: Vec<(K, V)>, seed: HashSeed) -> Self {
        let mut index = HashTable::with_capacity(list.len());
        for (place, (key, _)) in list.iter().enumerate() {
            index.insert_unique(seed.hash_key(key), place as u32, hasher(&list, seed));
        }
        Self { list, index }
    }

    fn find(&self, key: K, seed: HashSeed) -> Option<usize> {
        let is_it = |&place: &u32| self.list.get(place as usize).is_some_and(|(other, _)| *other == key);
        self.index.find(seed.hash_key(&key), is_it).map(|&place| place as usize)
    }

    /// Adds the entry of a key that is not there yet.
    fn push(&mut self, key: K, value: V, seed: HashSeed) {
        // the trie's limit of nodes keeps places within 32 bits
        let place = self.list.len() as u32;
        self.list.push((key, value));
        self.index.insert_unique(seed.hash_key(&key), place, hasher(&self.list, seed));
    }

    fn remove(&mut self, key: K, seed: HashSeed) -> Option<V> {
        let place = self.find(key, seed)?;
        let last = self.list.len() - 1;
        let (_, value) = self.list.swap_remove(place);
        if let Ok(entry) = self.index.find_entry(seed.hash_key(&key), |&at| at as usize == place) {
            entry.remove();
        }
        // the last entry has moved into the gap
        if let Some((moved, _)) = self.list.get(place)
            && let Some(at) = self.index.find_mut(seed.hash_key(moved), |&at| at as usize == last)
        {
            *at = place as u32;
        }
        give_back(&mut self.index, hasher(&self.list, seed));
        give_list_back(&mut self.list);
        Some(value)
    }
}

/// Shrinks a list that has become much too large for what is left in it.
fn give_list_back<T>(list: &mut Vec<T>) {
    if list.capacity() / 4 > list.len() {
        list.shrink_to(list.len() * 2);
    }
}

fn hasher<K: Hash, V>(list: &[(K, V)], seed: HashSeed) -> impl Fn(&u32) -> u64 {
    move |&place| list.get(place as usize).map_or(0, |(key, _)| seed.hash_key(key))
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
    fn entries_are_as_small_as_one_of_them_and_a_word() {
        assert_eq!(size_of::<Entries<u64, u64>>(), 24);
        assert_eq!(size_of::<Entries<u32, u32>>(), 24);
    }

    #[test]
    fn a_list_grows_an_index_and_loses_it_again() {
        let seed = HashSeed::new(1, 2);
        let mut entries = Entries::Empty;
        for key in 0..1000_u32 {
            assert_eq!(entries.insert(key, key, seed), None);
            assert_eq!(entries.insert(key, key * 2, seed), Some(key));
            assert_eq!(entries.get(key / 2, seed), Some(&(key / 2 * 2)));
        }
        for key in (0..1000_u32).rev().filter(|key| key % 3 == 0).chain((0..1000).filter(|key| key % 3 != 0)) {
            assert_eq!(entries.get_mut(key, seed), Some(&mut (key * 2)));
            assert_eq!(entries.remove(key, seed), Some(key * 2));
            assert_eq!(entries.remove(key, seed), None);
        }
        assert!(entries.is_empty());
        assert_eq!(entries.heap(), 0);
    }
}
