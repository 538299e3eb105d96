//! How many levels lie between a node of the trie and the entries below it: what keeps a lookup out of subtrees that
//! are too shallow or too deep for the name.

/// The least and the most levels from a node down to an entry list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    least: u16,
    /// `u16::MAX` is endless: there is a `#`, or a filter so long that no name needs the difference.
    most: u16,
}

impl Reach {
    /// Of a node without any list.
    pub(crate) const NOTHING: Self = Self { least: u16::MAX, most: 0 };
    /// Of the filter that ends here.
    pub(crate) const HERE: Self = Self { least: 0, most: 0 };
    /// Of the filter that has `#` right below.
    pub(crate) const BELOW: Self = Self { least: 0, most: u16::MAX };

    /// The same lists, seen from one level further up.
    pub(crate) const fn lifted(self) -> Self {
        Self { least: self.least.saturating_add(1), most: self.most.saturating_add(1) }
    }

    /// Of both together.
    pub(crate) fn join(self, other: Self) -> Self {
        Self { least: self.least.min(other.least), most: self.most.max(other.most) }
    }

    /// Whether any list may match a name that has `levels` left here.
    #[inline]
    pub(crate) const fn takes(self, levels: usize) -> bool {
        self.least as usize <= levels && (levels <= self.most as usize || self.most == u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reach_takes_what_lies_between_its_ends() {
        let two_up = Reach::HERE.lifted().lifted();
        assert_eq!([1, 2, 3].map(|levels| two_up.takes(levels)), [false, true, false]);
        let joined = two_up.join(Reach::BELOW.lifted());
        assert_eq!([0, 1, 2, 70_000].map(|levels| joined.takes(levels)), [false, true, true, true]);
        assert_eq!([0, 1, 70_000].map(|levels| Reach::NOTHING.takes(levels)), [false; 3]);
    }

    #[test]
    fn the_longest_filters_there_are_stay_within_reach() {
        // 65,536 empty levels fit into a name
        let far = (0..65_536).fold(Reach::HERE, |reach, _| reach.lifted());
        assert!(far.takes(65_536) && far.takes(65_535) && !far.takes(65_534));
    }
}
