//! Generational slots: opaque ids that, once stale, find nothing.
use alloc::vec::Vec;

/// An opaque id: where, and which life of that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Values in reusable places.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    places: Vec<PlaceOf<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct PlaceOf<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Stores a value; `None` when there are no more indices.
    pub(crate) fn insert(&mut self, value: T) -> Option<Id> {
        if let Some(index) = self.free.pop() {
            let place = self.places.get_mut(index as usize)?;
            place.value = Some(value);
            return Some(Id { index, generation: place.generation });
        }
        let index = u32::try_from(self.places.len()).ok()?;
        self.places.push(PlaceOf { generation: 0, value: Some(value) });
        Some(Id { index, generation: 0 })
    }

    /// The id the next [`insert`](Self::insert) will give.
    pub(crate) fn next_id(&self) -> Id {
        let index = self.free.last().copied().unwrap_or(u32::try_from(self.places.len()).unwrap_or(u32::MAX));
        Id { index, generation: self.places.get(index as usize).map_or(0, |place| place.generation) }
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(value)
    }

    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        self.places.get(id.index as usize).filter(|place| place.generation == id.generation)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        self.places.get_mut(id.index as usize).filter(|place| place.generation == id.generation)?.value.as_mut()
    }

    /// By index alone: for ids that cannot be stale.
    pub(crate) fn at(&self, index: u32) -> Option<&T> {
        self.places.get(index as usize)?.value.as_ref()
    }

    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.places.get_mut(index as usize)?.value.as_mut()
    }

    /// The whole id of what lives at `index`.
    pub(crate) fn id_at(&self, index: u32) -> Option<Id> {
        let place = self.places.get(index as usize)?;
        place.value.as_ref().map(|_| Id { index, generation: place.generation })
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        self.places
            .iter()
            .zip(0u32..)
            .filter(|(place, _)| place.value.is_some())
            .map(|(place, index)| Id { index, generation: place.generation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_finds_nothing_even_when_its_place_lives_again() {
        let mut slots = Slots::new();
        let first = slots.insert('a').unwrap();
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b').unwrap();
        assert_eq!(first.index, second.index);
        assert_eq!((slots.get(first), slots.get(second)), (None, Some(&'b')));
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.len(), 1);
    }
}
