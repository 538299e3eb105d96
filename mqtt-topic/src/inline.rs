//! A small stack that lies on the call stack and moves to the heap only when it is deep.
use alloc::vec::Vec;

pub(crate) struct Inline<T, const N: usize> {
    len: usize,
    first: [T; N],
    more: Vec<T>,
}

impl<T: Copy, const N: usize> Inline<T, N> {
    /// An empty one; `fill` is any value.
    pub(crate) const fn new(fill: T) -> Self {
        Self { len: 0, first: [fill; N], more: Vec::new() }
    }

    #[inline]
    pub(crate) fn push(&mut self, value: T) {
        match self.first.get_mut(self.len) {
            Some(slot) => *slot = value,
            None => self.more.push(value),
        }
        self.len += 1;
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        match self.first.get(self.len) {
            Some(value) => Some(*value),
            None => self.more.pop(),
        }
    }

    #[inline]
    pub(crate) fn get(&self, place: usize) -> Option<T> {
        if place >= self.len {
            return None;
        }
        match self.first.get(place) {
            Some(value) => Some(*value),
            None => self.more.get(place - N).copied(),
        }
    }

    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_in_last_comes_out_first_beyond_the_inline_part_too() {
        let mut stack = Inline::<_, 3>::new(0);
        for value in 0..10 {
            stack.push(value);
            assert_eq!(stack.get(value), Some(value));
            assert_eq!(stack.get(value + 1), None);
        }
        for value in (0..10).rev() {
            assert_eq!(stack.len(), value + 1);
            assert_eq!(stack.pop(), Some(value));
        }
        assert_eq!(stack.pop(), None);
    }
}
