//! Names in order, each with a value: chunks of sorted entries, so that a walk reads memory in a row.
//!
//! The order is that of the levels, one after the other: `/` sorts below every other byte, so a name is followed
//! at once by everything below it (`a`, `a/b`, `a/b/c`, `a/c`, `a!`).
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::mem::size_of;

pub(crate) struct Sorted<V> {
    chunks: Vec<Chunk<V>>,
    len: usize,
    /// Bytes of the names and of the chunks' bounds.
    text: usize,
    /// How many entries the chunks have memory for.
    room: usize,
}

struct Chunk<V> {
    /// No name in here sorts below it, those of the first chunk excepted.
    from: Box<[u8]>,
    entries: Vec<Entry<V>>, // never empty
}

pub(crate) struct Entry<V> {
    pub(crate) name: Box<[u8]>,
    pub(crate) value: V,
}

/// Where an entry is, or would be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    chunk: usize,
    index: usize,
}

impl Place {
    /// The place behind this one.
    pub(crate) const fn next(self) -> Self {
        Self {
            chunk: self.chunk,
            index: self.index + 1,
        }
    }
}

/// A full chunk is split in two.
const CHUNK: usize = 128;

impl<V> Sorted<V> {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
            text: 0,
            room: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes held by names and slots, less the values in them.
    pub(crate) const fn memory(&self) -> usize {
        self.text
            + self.chunks.capacity() * size_of::<Chunk<V>>()
            + self.room * size_of::<Entry<V>>()
            - self.len * size_of::<V>()
    }

    /// Where `name` is (`Ok`) or would be (`Err`).
    pub(crate) fn find(&self, name: &[u8]) -> Result<Place, Place> {
        let behind = self
            .chunks
            .partition_point(|chunk| order(&chunk.from, name) != Ordering::Greater);
        self.find_in(behind.saturating_sub(1), name)
    }

    fn find_in(&self, chunk: usize, name: &[u8]) -> Result<Place, Place> {
        let entries = self
            .chunks
            .get(chunk)
            .map_or(&[][..], |chunk| &chunk.entries);
        match entries.binary_search_by(|entry| order(&entry.name, name)) {
            Ok(index) => Ok(Place { chunk, index }),
            Err(index) => Err(Place { chunk, index }),
        }
    }

    /// The first place whose name does not sort below `bound`; looks around `near` first.
    pub(crate) fn seek(&self, bound: &[u8], near: Place) -> Place {
        let ends_behind = |chunk: usize| {
            self.chunks
                .get(chunk)
                .and_then(|chunk| chunk.entries.last())
                .is_some_and(|last| order(&last.name, bound) != Ordering::Less)
        };
        let begins_before = |chunk: usize| {
            self.chunks
                .get(chunk)
                .is_some_and(|chunk| order(&chunk.from, bound) != Ordering::Greater)
        };
        let found = match near.chunk {
            near if begins_before(near) && ends_behind(near) => self.find_in(near, bound),
            near if begins_before(near + 1) && ends_behind(near + 1) => {
                self.find_in(near + 1, bound)
            }
            _ => self.find(bound),
        };
        found.unwrap_or_else(|place| place)
    }

    /// The entry at `place`, or the next one, and where it is.
    pub(crate) fn at(&self, mut place: Place) -> Option<(Place, &Entry<V>)> {
        loop {
            let chunk = self.chunks.get(place.chunk)?;
            if let Some(entry) = chunk.entries.get(place.index) {
                return Some((place, entry));
            }
            place = Place {
                chunk: place.chunk + 1,
                index: 0,
            };
        }
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&V> {
        let place = self.find(name).ok()?;
        Some(&self.at(place)?.1.value)
    }

    pub(crate) fn value_mut(&mut self, place: Place) -> Option<&mut V> {
        let entry = self
            .chunks
            .get_mut(place.chunk)?
            .entries
            .get_mut(place.index)?;
        Some(&mut entry.value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry<V>> {
        self.chunks.iter().flat_map(|chunk| &chunk.entries)
    }

    /// Adds a name that is not there yet, at the place [`find`](Self::find) has told.
    pub(crate) fn insert(&mut self, place: Place, name: &[u8], value: V) {
        let entry = Entry {
            name: name.into(),
            value,
        };
        self.text += name.len();
        self.len += 1;
        let last = place.chunk + 1 >= self.chunks.len();
        let Some(chunk) = self.chunks.get_mut(place.chunk) else {
            return self.add_chunk(self.chunks.len(), Vec::from([entry]));
        };
        if chunk.entries.len() < CHUNK {
            self.room -= chunk.entries.capacity();
            chunk.entries.insert(place.index, entry);
            self.room += chunk.entries.capacity();
        } else if last && place.index == CHUNK {
            // names that come in order fill one chunk after the other
            self.add_chunk(place.chunk + 1, Vec::from([entry]));
        } else {
            let mut right = chunk.entries.split_off(CHUNK / 2);
            match place.index.checked_sub(CHUNK / 2) {
                Some(index) => right.insert(index, entry),
                None => chunk.entries.insert(place.index, entry),
            }
            self.add_chunk(place.chunk + 1, right);
        }
    }

    fn add_chunk(&mut self, at: usize, entries: Vec<Entry<V>>) {
        let from: Box<[u8]> = entries.first().map_or(&[][..], |first| &first.name).into();
        self.text += from.len();
        self.room += entries.capacity();
        self.chunks.insert(at, Chunk { from, entries });
    }

    /// Removes the entry at `place`.
    pub(crate) fn remove(&mut self, place: Place) -> Option<V> {
        let chunk = self.chunks.get_mut(place.chunk)?;
        if place.index >= chunk.entries.len() {
            return None;
        }
        let entry = chunk.entries.remove(place.index);
        self.text -= entry.name.len();
        self.len -= 1;
        let left = place.chunk.saturating_sub(1);
        if chunk.entries.is_empty() {
            self.remove_chunk(place.chunk);
        } else if !self.merge(left) && !self.merge(place.chunk) {
            self.shrink(place.chunk);
        }
        if self.chunks.len() <= self.chunks.capacity() / 4 {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
        Some(entry.value)
    }

    /// Moves the next chunk's entries into chunk `left`, if both are small.
    fn merge(&mut self, left: usize) -> bool {
        let Some([one, two]) = self
            .chunks
            .get_mut(left..)
            .and_then(|chunks| chunks.first_chunk_mut())
        else {
            return false;
        };
        if one.entries.len() + two.entries.len() > CHUNK / 2 {
            return false;
        }
        self.room -= one.entries.capacity();
        one.entries.append(&mut two.entries);
        self.room += one.entries.capacity();
        self.remove_chunk(left + 1);
        true
    }

    fn remove_chunk(&mut self, at: usize) {
        if at < self.chunks.len() {
            let chunk = self.chunks.remove(at);
            self.text -= chunk.from.len();
            self.room -= chunk.entries.capacity();
        }
    }

    fn shrink(&mut self, at: usize) {
        if let Some(chunk) = self.chunks.get_mut(at)
            && chunk.entries.len() <= chunk.entries.capacity() / 4
        {
            self.room -= chunk.entries.capacity();
            chunk.entries.shrink_to(chunk.entries.len() * 2);
            self.room += chunk.entries.capacity();
        }
    }
}

/// The order of names: by level, then by bytes.
fn order(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while let (Some((x, a_rest)), Some((y, b_rest))) =
        (a.split_first_chunk(), b.split_first_chunk())
    {
        let (x, y) = (u64::from_be_bytes(*x), u64::from_be_bytes(*y));
        if x != y {
            // the first byte that differs
            let shift = (x ^ y).leading_zeros() / 8 * 8;
            let byte = |word: u64| (word << shift).to_be_bytes()[0];
            return rank(byte(x)).cmp(&rank(byte(y)));
        }
        (a, b) = (a_rest, b_rest);
    }
    for (x, y) in a.iter().zip(b) {
        if x != y {
            return rank(*x).cmp(&rank(*y));
        }
    }
    a.len().cmp(&b.len())
}

/// U+0000 is in no name, so its place is free for the slash.
const fn rank(byte: u8) -> u8 {
    if byte == b'/' { 0 } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::format;
    use alloc::vec;

    fn obvious_key(name: &[u8]) -> Vec<Vec<u8>> {
        name.split(|&byte| byte == b'/')
            .map(<[u8]>::to_vec)
            .collect()
    }

    #[test]
    fn names_sort_level_by_level() {
        let mut names: Vec<&[u8]> = vec![
            b"a",
            b"a/",
            b"a//",
            b"a/b",
            b"a/b/c",
            b"a/c",
            b"a!",
            b"a!/b",
            b"aa",
            b"/",
            b"//",
            b"/a",
            b"$",
            b"0123456/",
            b"0123456",
            b"01234567",
            b"0123456!",
            b"01234567/8",
            b"01234567!8",
            b"01234567",
            b"\xC3\xA9",
        ];
        let mut expected = names.clone();
        expected.sort_by_key(|name| obvious_key(name));
        names.sort_by(|a, b| order(a, b));
        assert_eq!(names, expected);
    }

    #[test]
    fn a_seek_ends_at_the_same_place_wherever_it_starts() {
        let mut sorted = Sorted::new();
        for n in 0..1000_u32 {
            let name = format!("{:03}", n * 7 % 1000).into_bytes();
            let place = sorted.find(&name).unwrap_err();
            sorted.insert(place, &name, ());
        }
        assert!(sorted.chunks.len() > 5);
        for bound in ["", "000", "0005", "25", "500", "500!", "999", "9991"] {
            let expected = sorted
                .iter()
                .position(|entry| *entry.name >= *bound.as_bytes());
            for chunk in 0..sorted.chunks.len() + 2 {
                let found = sorted.at(sorted.seek(bound.as_bytes(), Place { chunk, index: 5 }));
                let expected = expected.and_then(|place| sorted.iter().nth(place));
                assert_eq!(
                    found.map(|(_, entry)| &entry.name),
                    expected.map(|entry| &entry.name)
                );
            }
        }
    }

    #[test]
    fn many_names_come_and_go_in_order_and_leave_nothing() {
        let mut sorted = Sorted::new();
        let mut model = BTreeMap::new();
        let empty = sorted.memory();
        let mut state = 1_u64;
        for round in 0..40_000_u32 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let name = format!("a/{}/x", (state >> 33) % 3000).into_bytes();
            // first it grows, then it shrinks
            let insert = (state >> 60) < if round < 20_000 { 12 } else { 3 };
            match (insert, sorted.find(&name)) {
                (true, Err(place)) => {
                    sorted.insert(place, &name, round);
                    model.insert(obvious_key(&name), round);
                }
                (false, Ok(place)) => {
                    assert_eq!(sorted.remove(place), model.remove(&obvious_key(&name)))
                }
                (_, found) => assert_eq!(found.is_ok(), model.contains_key(&obvious_key(&name))),
            }
            if round % 500 == 0 {
                assert!(
                    sorted
                        .iter()
                        .map(|entry| entry.value)
                        .eq(model.values().copied())
                );
                let room: usize = sorted
                    .chunks
                    .iter()
                    .map(|chunk| chunk.entries.capacity())
                    .sum();
                assert_eq!((room, sorted.len()), (sorted.room, model.len()));
            }
        }
        while let Some((place, _)) = sorted.at(Place::default()) {
            sorted.remove(place).unwrap();
        }
        assert_eq!(sorted.memory(), empty);
    }
}
