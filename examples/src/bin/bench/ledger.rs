//! The account of a run: which messages came, which did not, which came twice or late.

use crate::wire::Stamp;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What came of what was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checks {
    /// Deliveries that had to come.
    pub(crate) expected: u64,
    /// Deliveries that came, repeated ones included.
    pub(crate) delivered: u64,
    /// Deliveries that never came.
    pub(crate) lost: u64,
    /// Deliveries that had come before.
    pub(crate) duplicates: u64,
    /// Deliveries that came after a later one of their stream.
    pub(crate) misordered: u64,
    /// Deliveries to somebody who had not asked for them, or of messages that were never sent.
    pub(crate) unexpected: u64,
    /// QoS 1 and 2 messages whose last acknowledgement never came.
    pub(crate) unacknowledged: u64,
    /// Messages the broker refused.
    pub(crate) refused: u64,
    /// Connections the broker closed.
    pub(crate) closed: u64,
}

impl Checks {
    /// Whether everything came, once and in order; with `loss` allowed, whether all that came did so.
    pub(crate) fn good(&self, loss: bool) -> bool {
        let Self { lost, duplicates, misordered, unexpected, unacknowledged, refused, closed, .. } = *self;
        duplicates + misordered + unexpected + refused + closed == 0 && (loss || lost + unacknowledged == 0)
    }

    /// Adds up the accounts of two runs.
    pub(crate) fn add(&mut self, other: &Self) {
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.misordered += other.misordered;
        self.unexpected += other.unexpected;
        self.unacknowledged += other.unacknowledged;
        self.refused += other.refused;
        self.closed += other.closed;
    }
}

/// A stream that a subscriber does not hear.
const DEAF: u32 = u32::MAX;

/// Every subscriber's place in every stream it hears.
pub(crate) struct Ledger {
    /// Where the row of a subscriber begins in `next`, and the first stream in it; one more at the end.
    rows: Vec<(usize, u32)>,
    /// The sequence number awaited; `DEAF` for none.
    next: Vec<u32>,
    /// Ranges of sequence numbers passed over, by place in `next`. Seldom any.
    gaps: HashMap<usize, Vec<(u32, u32)>>,
    duplicates: u64,
    misordered: u64,
    unexpected: u64,
    delivered: u64,
}

impl Ledger {
    /// A ledger for subscribers that hear these streams.
    pub(crate) fn new(heard: &[Vec<u32>]) -> Self {
        let mut rows = Vec::with_capacity(heard.len() + 1);
        let mut next = Vec::new();
        for streams in heard {
            let first = streams.iter().copied().min().unwrap_or(0);
            let last = streams.iter().copied().max().unwrap_or(0);
            let row = next.len();
            rows.push((row, first));
            next.resize(row + (last - first) as usize + 1, DEAF);
            for &stream in streams {
                next[row + (stream - first) as usize] = 0;
            }
        }
        rows.push((next.len(), 0));
        Self { rows, next, gaps: HashMap::new(), duplicates: 0, misordered: 0, unexpected: 0, delivered: 0 }
    }

    /// Takes down a delivery. Returns whether it is one more of those that had to come.
    #[inline]
    pub(crate) fn delivered(&mut self, subscriber: usize, stamp: Stamp) -> bool {
        self.delivered += 1;
        let (row, first) = self.rows[subscriber];
        let end = self.rows[subscriber + 1].0;
        let at = row.saturating_add(stamp.stream.wrapping_sub(first) as usize);
        let Some(next) = self.next.get_mut(at).filter(|next| at < end && **next != DEAF) else {
            self.unexpected += 1;
            return false;
        };
        if stamp.sequence == *next {
            *next += 1;
            return true;
        }
        if stamp.sequence > *next {
            self.gaps.entry(at).or_default().push((*next, stamp.sequence));
            *next = stamp.sequence.saturating_add(1);
            return true;
        }
        self.late(at, stamp.sequence)
    }

    /// A number below the one awaited: it fills a gap, or it was here before.
    #[cold]
    fn late(&mut self, at: usize, sequence: u32) -> bool {
        let gaps = self.gaps.entry(at).or_default();
        let Some(gap) = gaps.iter().position(|&(from, to)| (from..to).contains(&sequence)) else {
            self.duplicates += 1;
            return false;
        };
        self.misordered += 1;
        let (from, to) = gaps.swap_remove(gap);
        gaps.extend([(from, sequence), (sequence + 1, to)].into_iter().filter(|(from, to)| from < to));
        true
    }

    /// The account, when `sent[stream]` messages were sent.
    pub(crate) fn close(&self, sent: &[u32]) -> Checks {
        let mut checks = Checks {
            delivered: self.delivered,
            duplicates: self.duplicates,
            misordered: self.misordered,
            unexpected: self.unexpected,
            ..Checks::default()
        };
        for pair in self.rows.windows(2) {
            let [(row, first), (end, _)] = *pair else { continue };
            for at in row..end {
                let next = self.next[at];
                if next == DEAF {
                    continue;
                }
                let sent = sent[first as usize + at - row];
                checks.expected += u64::from(sent);
                checks.lost += u64::from(sent.saturating_sub(next));
                checks.unexpected += u64::from(next.saturating_sub(sent));
                let gaps = self.gaps.get(&at).into_iter().flatten();
                checks.lost += gaps.map(|(from, to)| u64::from(to - from)).sum::<u64>();
            }
        }
        checks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(numbers: &[u32], sent: u32) -> Checks {
        let mut ledger = Ledger::new(&[vec![], vec![3]]);
        for &sequence in numbers {
            ledger.delivered(1, Stamp { stream: 3, sequence, due: 0 });
        }
        ledger.close(&[9, 9, 9, sent])
    }

    #[test]
    fn what_is_missing_repeated_or_late_is_told_apart() {
        // came, of how many; lost, duplicates, misordered
        let rows: [(&[u32], u32, [u64; 3]); 7] = [
            (&[0, 1, 2], 3, [0, 0, 0]),
            (&[], 3, [3, 0, 0]),
            (&[0, 2], 3, [1, 0, 0]),
            (&[0, 1], 3, [1, 0, 0]),
            (&[0, 1, 1, 2], 3, [0, 1, 0]),
            (&[0, 2, 1], 3, [0, 0, 1]),
            (&[5, 2, 2, 0], 6, [3, 1, 2]),
        ];
        for (numbers, sent, [lost, duplicates, misordered]) in rows {
            let found = account(numbers, sent);
            assert_eq!((found.lost, found.duplicates, found.misordered), (lost, duplicates, misordered), "{numbers:?}");
            assert_eq!(found.good(false), numbers == [0, 1, 2], "{numbers:?}");
        }
    }

    #[test]
    fn what_nobody_asked_for_is_counted() {
        let mut ledger = Ledger::new(&[vec![1], vec![0, 2]]);
        for (subscriber, stream) in [(0, 0), (0, 2), (1, 1), (1, 3), (0, u32::MAX)] {
            assert!(!ledger.delivered(subscriber, Stamp { stream, sequence: 0, due: 0 }));
        }
        assert_eq!(ledger.close(&[0, 0, 0]).unexpected, 5);
        assert!(ledger.delivered(0, Stamp { stream: 1, sequence: 0, due: 0 }));
        assert_eq!(ledger.close(&[0, 0, 0]).unexpected, 6, "more than was sent");
    }
}
