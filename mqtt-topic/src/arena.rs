//! Slots with 32-bit ids and a free list: what the trie's nodes, levels and entries live in.
use alloc::vec::Vec;
use core::mem::size_of;
use core::num::NonZeroU32;

/// The id of a slot; its place is one less.
pub(crate) type Id = NonZeroU32;

pub(crate) struct Arena<T> {
    slots: Vec<Slot<T>>,
    free: Option<Id>,
    live: usize,
    /// How many of the first slots never die.
    base: usize,
    /// How many slots died since the last `tidy`.
    died: usize,
}

enum Slot<T> {
    Free(Option<Id>),
    Live(T),
}

impl<T> Arena<T> {
    /// An empty arena whose first `base` slots will never be removed.
    pub(crate) fn new(base: usize) -> Self {
        Self { slots: Vec::with_capacity(base), free: None, live: 0, base, died: 0 }
    }

    /// Fills a slot; `None` when the ids are used up.
    pub(crate) fn insert(&mut self, value: T) -> Option<Id> {
        if let Some(id) = self.free {
            let slot = self.slots.get_mut(place(id))?;
            if let Slot::Free(next) = *slot {
                self.free = next;
            }
            *slot = Slot::Live(value);
            self.live += 1;
            return Some(id);
        }
        let id = id_at(self.slots.len())?;
        self.slots.push(Slot::Live(value));
        self.live += 1;
        Some(id)
    }

    #[inline]
    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        match self.slots.get(place(id)) {
            Some(Slot::Live(value)) => Some(value),
            Some(Slot::Free(_)) | None => None,
        }
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        match self.slots.get_mut(place(id)) {
            Some(Slot::Live(value)) => Some(value),
            Some(Slot::Free(_)) | None => None,
        }
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let slot = self.slots.get_mut(place(id))?;
        if let Slot::Free(_) = slot {
            return None;
        }
        let Slot::Live(value) = core::mem::replace(slot, Slot::Free(self.free)) else {
            return None;
        };
        self.free = Some(id);
        self.live -= 1;
        self.died += 1;
        self.tidy();
        Some(value)
    }

    /// Gives memory back: the free slots at the end go, when enough have died to pay for the look.
    fn tidy(&mut self) {
        if self.live > self.base && self.died.saturating_mul(2) < self.slots.len() {
            return;
        }
        self.died = 0;
        while let Some(Slot::Free(_)) = self.slots.last() {
            self.slots.pop();
        }
        let mut free = None;
        for (place, slot) in self.slots.iter_mut().enumerate().rev() {
            if let Slot::Free(next) = slot {
                *next = free;
                free = id_at(place);
            }
        }
        self.free = free;
        if self.live <= self.base || self.slots.capacity() / 4 > self.slots.len() {
            self.slots.shrink_to_fit();
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.live
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.slots.iter().enumerate().filter_map(|(place, slot)| match slot {
            Slot::Live(value) => Some((id_at(place)?, value)),
            Slot::Free(_) => None,
        })
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Id, &mut T)> {
        self.slots.iter_mut().enumerate().filter_map(|(place, slot)| match slot {
            Slot::Live(value) => Some((id_at(place)?, value)),
            Slot::Free(_) => None,
        })
    }

    /// How many slots there are, free ones included: no id is greater.
    pub(crate) const fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Bytes held for the slots, those the values hold elsewhere not counted.
    pub(crate) const fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<T>>()
    }
}

#[inline]
pub(crate) const fn place(id: Id) -> usize {
    id.get() as usize - 1
}

fn id_at(place: usize) -> Option<Id> {
    Id::new(u32::try_from(place).ok()?.checked_add(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_slot_is_used_again_and_an_empty_arena_holds_nothing() {
        let mut arena = Arena::new(0);
        let ids: Vec<Id> = (0..100).map(|n| arena.insert(n).unwrap()).collect();
        assert_eq!(arena.remove(ids[7]), Some(7));
        assert_eq!(arena.remove(ids[7]), None);
        assert_eq!(arena.get(ids[7]), None);
        assert_eq!(arena.insert(700), Some(ids[7]));
        assert_eq!(arena.get(ids[7]), Some(&700));
        for &id in &ids {
            arena.remove(id).unwrap();
        }
        assert_eq!((arena.len(), arena.memory()), (0, 0));
    }

    #[test]
    fn slots_that_outlive_a_tidy_keep_their_ids() {
        let mut arena = Arena::new(0);
        let ids: Vec<Id> = (0..1000).map(|n| arena.insert(n).unwrap()).collect();
        let full = arena.memory();
        for (n, &id) in ids.iter().enumerate() {
            if n % 50 != 3 || n > 500 {
                arena.remove(id).unwrap();
            }
        }
        for (n, &id) in ids.iter().enumerate() {
            assert_eq!(arena.get(id).copied(), (n % 50 == 3 && n <= 500).then_some(n));
        }
        assert!(arena.memory() <= full);
        assert_eq!(arena.iter().count(), arena.len());
        let again: Vec<Id> = (0..1000).map(|n| arena.insert(n).unwrap()).collect();
        assert_eq!(arena.len(), 1000 + 10);
        assert!(again.iter().all(|&id| arena.get(id).is_some()));
    }
}
