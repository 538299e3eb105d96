//! Names in order, each with a value: chunks of sorted entries, so that a walk reads memory in a row.
//!
//! The order is that of the levels, one after the other: `/` sorts below every other byte, so a name is followed
//! at once by everything below it (`a`, `a/b`, `a/b/c`, `a/c`, `a!`).
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::mem::size_of;
use core::ops::Range;

pub(crate) struct Sorted<V> {
    chunks: Vec<Chunk<V>>,
    len: usize,
    /// Bytes of the names and of the chunks' bounds.
    text: usize,
    /// How many entries the chunks have memory for.
    room: usize,
    /// How many entries each block of `BLOCK` chunks has, so that counting skips over blocks.
    sums: Vec<usize>,
}

struct Chunk<V> {
    /// The first bytes of `from`: in a search most chunks are told by these, without a look at the text.
    head: Head,
    /// No name in here sorts below it, those of the first chunk excepted.
    from: Box<[u8]>,
    entries: Vec<Entry<V>>, // never empty
    /// All names in here begin with the same so many bytes, at least.
    common: usize,
}

pub(crate) struct Entry<V> {
    /// The bytes behind those all names of the chunk begin with: in a search most names are told by these.
    head: u64,
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
        Self { chunk: self.chunk, index: self.index + 1 }
    }
}

/// A full chunk is split in two.
const CHUNK: usize = 128;

/// So many chunks are counted together.
const BLOCK: usize = 64;

impl<V> Sorted<V> {
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), len: 0, text: 0, room: 0, sums: Vec::new() }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes held by names and slots, less the values in them.
    pub(crate) const fn memory(&self) -> usize {
        self.text
            + self.chunks.capacity() * size_of::<Chunk<V>>()
            + self.sums.capacity() * size_of::<usize>()
            + self.room * size_of::<Entry<V>>()
            - self.len * size_of::<V>()
    }

    /// Where `name` is (`Ok`) or would be (`Err`).
    pub(crate) fn find(&self, name: &[u8]) -> Result<Place, Place> {
        self.find_between(0, self.chunks.len(), name, head(name))
    }

    /// The same, when the chunk is known to be one of these or the one before.
    fn find_between(&self, from: usize, to: usize, name: &[u8], head: Head) -> Result<Place, Place> {
        let chunks = self.chunks.get(from..to).unwrap_or_default();
        let behind = from + chunks.partition_point(|chunk| chunk.order(name, head) != Ordering::Greater);
        self.find_in(behind.saturating_sub(1), name)
    }

    fn find_in(&self, chunk: usize, name: &[u8]) -> Result<Place, Place> {
        let found = self.chunks.get(chunk).map_or(Err(0), |chunk| chunk.find(name));
        found.map(|index| Place { chunk, index }).map_err(|index| Place { chunk, index })
    }

    /// The first place whose name does not sort below `bound`; looks around `near` first, then further and further.
    pub(crate) fn seek(&self, bound: &[u8], near: Place) -> Place {
        let head = head(bound);
        let begins_before =
            |chunk: usize| self.chunks.get(chunk).is_some_and(|chunk| chunk.order(bound, head) != Ordering::Greater);
        let found = if begins_before(near.chunk) {
            let (mut from, mut stride) = (near.chunk, 1);
            while begins_before(from + stride) {
                from += stride;
                stride *= 2;
            }
            self.find_between(from, self.chunks.len().min(from + stride), bound, head)
        } else {
            self.find_between(0, self.chunks.len(), bound, head)
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
            place = Place { chunk: place.chunk + 1, index: 0 };
        }
    }

    /// How many names sort below `bound`: one addition for each `BLOCK` chunks, and those within one block.
    pub(crate) fn rank(&self, bound: &[u8]) -> usize {
        let place = self.find(bound).unwrap_or_else(|place| place);
        let block = place.chunk / BLOCK;
        let before = self.sums.get(..block).unwrap_or_default().iter().sum::<usize>();
        before + self.count(block * BLOCK..place.chunk) + place.index
    }

    /// How many entries these chunks have; those that there are not have none.
    fn count(&self, chunks: Range<usize>) -> usize {
        let end = chunks.end.min(self.chunks.len());
        self.chunks.get(chunks.start..end).map_or(0, |chunks| chunks.iter().map(|chunk| chunk.entries.len()).sum())
    }

    /// How many entries the first chunk from `at` on has.
    fn count_at(&self, at: usize) -> usize {
        self.chunks.get(at).map_or(0, |chunk| chunk.entries.len())
    }

    /// Counts the blocks again whose chunks are not the same any more: chunk `at` and the one before have changed.
    fn recount(&mut self, at: usize) {
        for block in [at.saturating_sub(1) / BLOCK, at / BLOCK] {
            let count = self.count(block * BLOCK..(block + 1) * BLOCK);
            if let Some(sum) = self.sums.get_mut(block) {
                *sum = count;
            }
        }
    }

    /// Sets the sums right after chunk `at` was added: behind it each block took one chunk in and gave one away.
    fn count_added(&mut self, at: usize) {
        if self.sums.len() * BLOCK < self.chunks.len() {
            self.sums.push(0);
        }
        for block in at / BLOCK + 1..self.sums.len() {
            let (came, went) = (self.count_at(block * BLOCK), self.count_at((block + 1) * BLOCK));
            if let Some(sum) = self.sums.get_mut(block) {
                *sum = *sum + came - went;
            }
        }
        self.recount(at);
    }

    /// Sets the sums right after chunk `at` was removed.
    fn count_removed(&mut self, at: usize) {
        for block in at / BLOCK + 1..self.sums.len() {
            let (came, went) = (self.count_at((block + 1) * BLOCK - 1), self.count_at(block * BLOCK - 1));
            if let Some(sum) = self.sums.get_mut(block) {
                *sum = *sum + came - went;
            }
        }
        if self.chunks.len() <= (self.sums.len() - 1) * BLOCK {
            self.sums.pop();
        }
        self.recount(at);
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&V> {
        let place = self.find(name).ok()?;
        Some(&self.at(place)?.1.value)
    }

    pub(crate) fn value_mut(&mut self, place: Place) -> Option<&mut V> {
        let entry = self.chunks.get_mut(place.chunk)?.entries.get_mut(place.index)?;
        Some(&mut entry.value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry<V>> {
        self.chunks.iter().flat_map(|chunk| &chunk.entries)
    }

    /// Adds a name that is not there yet, at the place [`find`](Self::find) has told.
    pub(crate) fn insert(&mut self, place: Place, name: &[u8], value: V) {
        let entry = Entry { head: 0, name: name.into(), value };
        self.text += name.len();
        self.len += 1;
        let last = place.chunk + 1 >= self.chunks.len();
        let Some(chunk) = self.chunks.get_mut(place.chunk) else {
            return self.add_chunk(self.chunks.len(), Vec::from([entry]));
        };
        if chunk.entries.len() < CHUNK {
            self.room -= chunk.entries.capacity();
            chunk.insert(place.index, entry);
            self.room += chunk.entries.capacity();
            if let Some(sum) = self.sums.get_mut(place.chunk / BLOCK) {
                *sum += 1;
            }
        } else if last && place.index == CHUNK {
            // names that come in order fill one chunk after the other
            self.add_chunk(place.chunk + 1, Vec::from([entry]));
        } else {
            let mut right = chunk.entries.split_off(CHUNK / 2);
            match place.index.checked_sub(CHUNK / 2) {
                Some(index) => right.insert(index, entry),
                None => chunk.entries.insert(place.index, entry),
            }
            chunk.set_heads();
            self.add_chunk(place.chunk + 1, right);
        }
    }

    fn add_chunk(&mut self, at: usize, entries: Vec<Entry<V>>) {
        let from: Box<[u8]> = entries.first().map_or(&[][..], |first| &first.name).into();
        self.text += from.len();
        self.room += entries.capacity();
        let mut chunk = Chunk { head: head(&from), from, entries, common: 0 };
        chunk.set_heads();
        self.chunks.insert(at, chunk);
        self.count_added(at);
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
        if let Some(sum) = self.sums.get_mut(place.chunk / BLOCK) {
            *sum -= 1;
        }
        let left = place.chunk.saturating_sub(1);
        if chunk.entries.is_empty() {
            self.remove_chunk(place.chunk);
        } else if !self.merge(left) && !self.merge(place.chunk) {
            self.shrink(place.chunk);
        }
        if self.chunks.len() <= self.chunks.capacity() / 4 {
            self.chunks.shrink_to(self.chunks.len() * 2);
            self.sums.shrink_to(self.sums.len() * 2);
        }
        Some(entry.value)
    }

    /// Moves the next chunk's entries into chunk `left`, if both are small.
    fn merge(&mut self, left: usize) -> bool {
        let Some([one, two]) = self.chunks.get_mut(left..).and_then(|chunks| chunks.first_chunk_mut()) else {
            return false;
        };
        if one.entries.len() + two.entries.len() > CHUNK / 2 {
            return false;
        }
        self.room -= one.entries.capacity();
        one.entries.append(&mut two.entries);
        one.set_heads();
        self.room += one.entries.capacity();
        self.remove_chunk(left + 1);
        true
    }

    fn remove_chunk(&mut self, at: usize) {
        if at < self.chunks.len() {
            let chunk = self.chunks.remove(at);
            self.text -= chunk.from.len();
            self.room -= chunk.entries.capacity();
            self.count_removed(at);
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

impl<V> Chunk<V> {
    /// How its first name sorts against `name`, whose head is `head`.
    fn order(&self, name: &[u8], head: Head) -> Ordering {
        self.head.cmp(&head).then_with(|| order(&self.from, name))
    }

    /// Where in here `name` is or would be.
    fn find(&self, name: &[u8]) -> Result<usize, usize> {
        let Some(head) = self.head_in_here(name) else {
            // it does not begin like the names in here: it sorts below them all, or above
            let below = self.entries.first().is_some_and(|first| order(&first.name, name) == Ordering::Greater);
            return Err(if below { 0 } else { self.entries.len() });
        };
        self.entries.binary_search_by(|entry| entry.head.cmp(&head).then_with(|| order(&entry.name, name)))
    }

    /// The head `name` has or would have in here; `None` if it does not begin like the names in here.
    fn head_in_here(&self, name: &[u8]) -> Option<u64> {
        let common = self.entries.first()?.name.get(..self.common)?;
        Some(head(name.strip_prefix(common)?)[0])
    }

    fn insert(&mut self, index: usize, mut entry: Entry<V>) {
        let head = self.head_in_here(&entry.name);
        entry.head = head.unwrap_or_default();
        self.entries.insert(index, entry);
        if head.is_none() {
            self.set_heads();
        }
    }

    /// Finds out what the names have in common, and sets their heads.
    fn set_heads(&mut self) {
        let [Some(first), Some(last)] = [self.entries.first(), self.entries.last()] else {
            return;
        };
        // what lies between two names in order begins with all that these two have in common
        let common = first.name.iter().zip(&last.name).take_while(|(a, b)| a == b).count();
        self.common = common;
        for entry in &mut self.entries {
            entry.head = head(entry.name.get(common..).unwrap_or_default())[0];
        }
    }
}

/// The first 16 bytes of a name as numbers that sort like the name: `/` is zero, and so is what is missing, which sorts
/// below everything else too. Equal heads say nothing.
type Head = [u64; 2];

fn head(name: &[u8]) -> Head {
    let mut bytes = [0; 16];
    for (byte, of_name) in bytes.iter_mut().zip(name) {
        *byte = rank(*of_name);
    }
    let (words, _) = bytes.as_chunks();
    [words.first(), words.last()].map(|word| word.copied().map_or(0, u64::from_be_bytes))
}

/// The order of names: by level, then by bytes.
fn order(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while let (Some((x, a_rest)), Some((y, b_rest))) = (a.split_first_chunk(), b.split_first_chunk()) {
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
        name.split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect()
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
            b"0123456789abcde",
            b"0123456789abcde/",
            b"0123456789abcde/f",
            b"0123456789abcde!",
            b"0123456789abcdef",
            b"0123456789abcdef/",
            b"0123456789abcdef!",
            b"0123456789abcdef!/a",
        ];
        let mut expected = names.clone();
        expected.sort_by_key(|name| obvious_key(name));
        names.sort_by(|a, b| order(a, b));
        assert_eq!(names, expected);
        names.sort_by(|a, b| head(a).cmp(&head(b)).then_with(|| order(a, b)));
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
            let expected = sorted.iter().position(|entry| *entry.name >= *bound.as_bytes());
            for chunk in 0..sorted.chunks.len() + 2 {
                let found = sorted.at(sorted.seek(bound.as_bytes(), Place { chunk, index: 5 }));
                let expected = expected.and_then(|place| sorted.iter().nth(place));
                assert_eq!(found.map(|(_, entry)| &entry.name), expected.map(|entry| &entry.name));
            }
        }
    }

    #[test]
    fn the_rank_of_a_bound_is_the_number_of_names_below() {
        let mut sorted = Sorted::new();
        for n in 0..30_000_u32 {
            let name = format!("{:05}", n * 7919 % 30_000).into_bytes();
            let place = sorted.find(&name).unwrap_err();
            sorted.insert(place, &name, ());
        }
        assert!(sorted.sums.len() > 3);
        let check = |sorted: &Sorted<()>, left: usize| {
            for bound in 0..30_001_usize {
                // those that are left are the multiples of some number
                assert_eq!(sorted.rank(format!("{bound:05}").as_bytes()), bound.div_ceil(left), "{bound}");
            }
        };
        check(&sorted, 1);
        for n in (0..30_000).filter(|n| n % 10 != 0) {
            sorted.remove(sorted.find(format!("{n:05}").as_bytes()).unwrap()).unwrap();
        }
        check(&sorted, 10);
    }

    #[test]
    fn many_names_come_and_go_in_order_and_leave_nothing() {
        let mut sorted = Sorted::new();
        let mut model = BTreeMap::new();
        let empty = sorted.memory();
        let mut state = 1_u64;
        for round in 0..120_000_u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let name =
                format!("{}/{}/x", ["a", "a/b/c/d/e/f", "$"][(state >> 20) as usize % 3], (state >> 33) % 10_000)
                    .into_bytes();
            // first it grows, then it shrinks
            let insert = (state >> 60) < if round < 60_000 { 12 } else { 3 };
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
            if round % 1_000 == 0 {
                assert!(sorted.iter().map(|entry| entry.value).eq(model.values().copied()));
                let room: usize = sorted.chunks.iter().map(|chunk| chunk.entries.capacity()).sum();
                assert_eq!((room, sorted.len()), (sorted.room, model.len()));
                let sums: Vec<usize> = sorted
                    .chunks
                    .chunks(BLOCK)
                    .map(|block| block.iter().map(|chunk| chunk.entries.len()).sum())
                    .collect();
                assert_eq!(sorted.sums, sums);
                for chunk in &sorted.chunks {
                    let heads = chunk.entries.iter().map(|entry| chunk.head_in_here(&entry.name));
                    assert!(heads.eq(chunk.entries.iter().map(|entry| Some(entry.head))));
                }
            }
        }
        while let Some((place, _)) = sorted.at(Place::default()) {
            sorted.remove(place).unwrap();
        }
        assert_eq!(sorted.memory(), empty);
    }
}
