//! The texts of the levels that wildcard filters use, each kept once and known by a small id.
use crate::HashSeed;
use crate::arena::{Arena, Id};
use crate::short::Text;
use hashbrown::HashTable;

pub(crate) struct Interner {
    levels: Arena<Level>,
    table: HashTable<Id>,
    seed: HashSeed,
    /// Bytes of long texts.
    heap: usize,
}

struct Level {
    text: Text<SHORT>,
    uses: u32,
}

/// Most levels are short enough to lie in their slot.
const SHORT: usize = 14;

impl Interner {
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self { levels: Arena::new(0), table: HashTable::new(), seed, heap: 0 }
    }

    /// The id of `text`, if any filter uses it. One hash, no allocation.
    #[inline]
    pub(crate) fn find(&self, text: &[u8]) -> Option<Id> {
        if self.table.is_empty() {
            return None;
        }
        self.find_hashed(self.seed.hash(text), text)
    }

    fn find_hashed(&self, hash: u64, text: &[u8]) -> Option<Id> {
        self.table.find(hash, |&id| self.text(id) == Some(text)).copied()
    }

    /// The id of `text` with one more use; `None` when the ids are used up.
    pub(crate) fn acquire(&mut self, text: &[u8]) -> Option<Id> {
        let hash = self.seed.hash(text);
        if let Some(id) = self.find_hashed(hash, text) {
            let level = self.levels.get_mut(id)?;
            level.uses = level.uses.checked_add(1)?;
            return Some(id);
        }
        let id = self.levels.insert(Level { text: Text::new(text), uses: 1 })?;
        self.heap += Text::<SHORT>::heap(text);
        let (levels, seed) = (&self.levels, self.seed);
        self.table.insert_unique(hash, id, |&id| levels.get(id).map_or(0, |level| seed.hash(level.text.as_bytes())));
        Some(id)
    }

    /// Takes one use back; the last one removes the text.
    pub(crate) fn release(&mut self, id: Id) {
        let Some(level) = self.levels.get_mut(id) else {
            return;
        };
        level.uses -= 1;
        if level.uses > 0 {
            return;
        }
        let Some(level) = self.levels.remove(id) else {
            return;
        };
        let text = level.text.as_bytes();
        if let Ok(entry) = self.table.find_entry(self.seed.hash(text), |&other| other == id) {
            entry.remove();
        }
        self.heap -= Text::<SHORT>::heap(text);
        let (levels, seed) = (&self.levels, self.seed);
        give_back(&mut self.table, |&id| levels.get(id).map_or(0, |level| seed.hash(level.text.as_bytes())));
    }

    pub(crate) fn text(&self, id: Id) -> Option<&[u8]> {
        Some(self.levels.get(id)?.text.as_bytes())
    }

    pub(crate) fn memory(&self) -> usize {
        self.levels.memory() + self.table.allocation_size() + self.heap
    }
}

/// Shrinks a table that has become much too large for what is left in it; an empty one holds nothing.
pub(crate) fn give_back<T>(table: &mut HashTable<T>, hasher: impl Fn(&T) -> u64) {
    if table.is_empty() || table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2, hasher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_lives_as_long_as_its_last_use() {
        let long = [b'x'; 40];
        let mut interner = Interner::new(HashSeed::new(1, 2));
        for text in [&b""[..], b"a", &long[..14], &long[..15], &long] {
            let id = interner.acquire(text).unwrap();
            assert_eq!(interner.acquire(text), Some(id));
            assert_eq!(interner.find(text), Some(id));
            assert_eq!(interner.text(id), Some(text));
            interner.release(id);
            assert_eq!(interner.find(text), Some(id));
            interner.release(id);
            assert_eq!(interner.find(text), None);
        }
        assert_eq!(interner.memory(), 0);
    }
}
