//! What clients get: which copy it can have been.
//!
//! Copies may look the same: of one message by two groups, by two subscriptions, by a replay. So what came is not taken for one of them
//! at once: each [`Receipt`] keeps all the copies that it can have been, and there has to be a way to give each its own. What had to
//! come has come if there is a way to cover that. (If there are both ways, there is one that does both.)
use super::*;

/// A copy: of a session, or of a group if there is none; and its name.
pub(in super::super) type Copy = (Option<u64>, u64);

/// Something that came.
#[derive(Clone)]
pub(super) struct Receipt {
    got: Rc<Came>,
    state: State,
    /// What it is taken for.
    copy: Option<Copy>,
    acknowledged: Acknowledged,
}

struct Came {
    session: u64,
    number: u32,
    qos: Qos,
    /// What it can have been, when it came.
    copies: Vec<Copy>,
    by_group: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// It has a copy of its own.
    Firm,
    /// It came, but the process that had sent it does not live to know: it may come again.
    Loose,
    /// It came to somebody who is gone: it is to come to somebody else.
    Void,
}

#[derive(Clone, Copy, PartialEq)]
enum Acknowledged {
    No,
    /// The acknowledgement was sent, or a crash has undone it.
    Perhaps,
    Yes,
}

/// What came.
pub(in super::super) struct Found {
    pub(in super::super) receipt: usize,
    /// The places in the order of its session that it may have; none if that cannot be known.
    pub(in super::super) orders: Vec<u64>,
}

impl Session {
    /// Whether it is a member of the group of a message, or was when that came and has had it on its way since.
    fn had(&self, shared: &Shared, got: &Got<'_>, settled: u64) -> bool {
        let was_sent = |at: u64| got.dup || !got.clear || at > settled;
        let is_member = self.subscriptions.iter().any(|sub| sub.filter == shared.text);
        let was_member = |(text, at): &(&str, u64)| *text == shared.text && shared.name < *at && was_sent(*at);
        self.ended || is_member || self.left.iter().any(was_member)
    }
}

impl Reference {
    /// A client got a message it had not got before. **It was owed that, once, as it was, and in time.**
    pub(in super::super) fn received(&mut self, now: u64, session: u64, got: &Got<'_>) -> Found {
        let Some(at) = self.sessions.iter().position(|other| other.name == session) else { panic!("no such session") };
        // the policy says of a member of a group that it receives all
        let shared = |sub: &Subscription| is_shared(sub.filter) && matches(plain(sub.filter), got.topic);
        let by_group = self.sessions[at].subscriptions.iter().any(shared);
        let taken_back = self.revoked && got.topic.starts_with('b') && got.clear && !got.dup && !by_group;
        assert!(!taken_back, "nobody may receive {got:?} any more");
        // one empty payload is like another
        let in_time = |expires: &Option<u64>| got.number == 0 || is_in_time(now, *expires, got);
        let own: Vec<_> = self.sessions[at].owed.iter().filter(|owed| owed.fits(got)).collect();
        let of_groups: Vec<_> = self.shared.iter().filter(|shared| self.fits(shared, session, got)).collect();
        let by_group = !of_groups.is_empty();
        let mut orders: Vec<_> = own.iter().filter(|owed| in_time(&owed.expires)).map(|owed| owed.order).collect();
        orders.retain(|_| !by_group);
        orders.sort_unstable();
        let expires = own.iter().map(|owed| owed.expires).chain(of_groups.iter().map(|shared| shared.expires));
        let late: Vec<_> = expires.filter(|expires| !in_time(expires)).collect();
        let own = own.iter().map(|owed| (owed.must != Must::Yes, owed.expires, (Some(session), owed.name)));
        let of_groups = of_groups.iter().map(|shared| (!shared.must, shared.expires, (None, shared.name)));
        let mut copies: Vec<_> = own.chain(of_groups).filter(|(_, expires, _)| in_time(expires)).collect();
        // what had to come before what need not
        copies.sort_by_key(|(need_not, _, copy)| (*need_not, copy.1));
        let copies = copies.into_iter().map(|(.., copy)| copy).collect();
        let came = Came { session, number: got.number, qos: got.qos, copies, by_group };
        let receipt = self.next_receipt;
        self.next_receipt += 1;
        let (state, acknowledged) = (State::Firm, Acknowledged::No);
        self.receipts.insert(receipt, Receipt { got: Rc::new(came), state, copy: None, acknowledged });
        if !self.assign(receipt, &mut Vec::new()) {
            let Session { client, ref owed, .. } = self.sessions[at];
            assert!(late.is_empty(), "c{client} gets what expires at {late:?}, now is {now}: {got:?}");
            panic!("c{client} is not owed {got:?}; it is owed {owed:?}");
        }
        Found { receipt, orders }
    }

    /// Whether a message for a group can be what a session got: as one of its memberships was granted it.
    fn fits(&self, shared: &Shared, session: u64, got: &Got<'_>) -> bool {
        let as_granted = |sub: &Subscription| {
            sub.filter == shared.text
                && got.qos == shared.qos.min(sub.qos)
                && got.retain == (shared.retain && sub.retain_as_published)
                && got.ids.as_ref().is_none_or(|ids| ids.iter().copied().eq(sub.id))
        };
        (shared.number, &*shared.topic) == (got.number, got.topic)
            && self.sessions.iter().any(|other| {
                other.name == session && other.was.iter().any(as_granted) && other.had(shared, got, self.settled)
            })
    }

    fn by(&mut self, copy: Copy) -> Option<&mut Option<usize>> {
        match copy {
            (Some(session), name) => {
                let session = self.sessions.iter_mut().find(|other| other.name == session)?;
                session.owed.iter_mut().find(|owed| owed.name == name).map(|owed| &mut owed.by)
            }
            (None, name) => self.shared.iter_mut().find(|shared| shared.name == name).map(|shared| &mut shared.by),
        }
    }

    /// Whether a copy that `by` is taken for may not have come: that can have been another.
    pub(super) fn may_wait(&self, by: Option<usize>) -> bool {
        by.and_then(|by| self.receipts.get(&by)).is_none_or(|receipt| receipt.got.copies.len() > 1)
    }

    /// Gives a receipt a copy of its own; others may have to take another.
    fn assign(&mut self, receipt: usize, tried: &mut Vec<Copy>) -> bool {
        let Some(came) = self.receipts.get(&receipt).map(|receipt| Rc::clone(&receipt.got)) else { return false };
        for copy in &came.copies {
            if tried.contains(copy) {
                continue;
            }
            tried.push(*copy);
            let there = self.by(*copy).map(|by| *by);
            // also of a session that is gone: it may have been that
            let of_gone = || self.receipts.iter().find(|(_, other)| other.copy == Some(*copy)).map(|(at, _)| *at);
            let by = there.unwrap_or_else(of_gone);
            if by.is_none_or(|other| self.assign(other, tried)) {
                self.take(*copy, receipt);
                return true;
            }
        }
        false
    }

    fn take(&mut self, copy: Copy, receipt: usize) {
        if let Some(receipt) = self.receipts.get_mut(&receipt) {
            receipt.copy = Some(copy);
        }
        if let Some(by) = self.by(copy) {
            *by = Some(receipt);
        }
    }

    fn let_go(&mut self, receipt: usize, state: State) {
        let Some(Receipt { state: was, copy, .. }) = self.receipts.get_mut(&receipt) else { return };
        *was = state;
        if let Some(copy) = copy.take()
            && let Some(by) = self.by(copy)
        {
            *by = None;
        }
    }

    /// A client has acknowledged what came; `arrived`: the broker has that for certain.
    pub(in super::super) fn acknowledged(&mut self, receipt: usize, arrived: bool) {
        let Some(receipt) = self.receipts.get_mut(&receipt) else { return };
        receipt.acknowledged = if arrived { Acknowledged::Yes } else { Acknowledged::Perhaps };
    }

    /// A session is gone: what came to it by a group and was not acknowledged at QoS 1 is for others. (At QoS 2 it is not.)
    pub(super) fn give_back(&mut self, session: u64) {
        let unfinished = |receipt: &Receipt| {
            let Receipt { got, acknowledged, state, .. } = receipt;
            let of_group = got.session == session && got.by_group && got.qos == Qos::AtLeastOnce;
            of_group && *state == State::Firm && *acknowledged != Acknowledged::Yes
        };
        let all = self.receipts.iter().filter(|(_, receipt)| unfinished(receipt));
        let all: Vec<_> = all.map(|(at, receipt)| (*at, receipt.acknowledged)).collect();
        for (at, acknowledged) in all {
            self.let_go(at, if acknowledged == Acknowledged::No { State::Void } else { State::Loose });
        }
    }

    /// After a crash, `before` which all this had come: what came at QoS 2 does not come again; what came at another and was not stored may.
    pub(super) fn remember(&mut self, before: &Self) {
        for (at, is) in &mut self.receipts {
            let was = before.receipts.get(at).map_or(Acknowledged::No, |was| was.acknowledged);
            if was != Acknowledged::No && is.acknowledged == Acknowledged::No {
                is.acknowledged = Acknowledged::Perhaps;
            }
        }
        for (at, was) in before.receipts.range(self.next_receipt..) {
            let firm = was.got.qos == Qos::ExactlyOnce;
            let state = if firm { State::Firm } else { State::Loose };
            self.receipts.insert(*at, Receipt { state, copy: None, ..was.clone() });
            if firm {
                self.assign(*at, &mut Vec::new());
            }
        }
        self.next_receipt = before.next_receipt;
    }

    /// What came, was acknowledged for good, and cannot have been anything else.
    pub(in super::super) fn settled(&self) -> BTreeMap<usize, Copy> {
        let mut times: BTreeMap<Copy, u32> = BTreeMap::new();
        for copy in self.receipts.values().flat_map(|receipt| &receipt.got.copies) {
            *times.entry(*copy).or_default() += 1;
        }
        let is_settled = |receipt: &Receipt| {
            let done = receipt.got.qos != Qos::AtLeastOnce || receipt.acknowledged == Acknowledged::Yes;
            let only = receipt.got.copies.len() == 1 && receipt.copy.is_some_and(|copy| times.get(&copy) == Some(&1));
            done && only && receipt.state == State::Firm
        };
        let settled = self.receipts.iter().filter(|(_, receipt)| is_settled(receipt));
        settled.filter_map(|(at, receipt)| Some((*at, receipt.copy?))).collect()
    }

    /// Forgets what is settled.
    pub(in super::super) fn forget(&mut self, settled: &BTreeMap<usize, Copy>) {
        let copies: BTreeSet<Copy> = settled.values().copied().collect();
        self.receipts.retain(|at, _| !settled.contains_key(at));
        self.shared.retain(|shared| !copies.contains(&(None, shared.name)));
        for session in &mut self.sessions {
            session.owed.retain(|owed| !copies.contains(&(Some(session.name), owed.name)));
        }
    }

    /// Takes what came for a copy that had to come, if there is something: what it was taken for can be covered otherwise,
    /// or need not be. What is for `groups` may be what was dropped, so it comes last.
    fn cover(&mut self, now: u64, copy: Copy, groups: bool, tried: &mut Vec<usize>) -> bool {
        let can_be = |receipt: &Receipt| receipt.state != State::Void && receipt.got.copies.contains(&copy);
        let all: Vec<_> = self.receipts.iter().filter(|(_, receipt)| can_be(receipt)).map(|(at, _)| *at).collect();
        for at in all {
            if tried.contains(&at) {
                continue;
            }
            tried.push(at);
            let taken_for = self.receipts.get(&at).and_then(|receipt| receipt.copy);
            if taken_for
                .is_none_or(|other| !self.had_to_come(now, other, groups) || self.cover(now, other, groups, tried))
            {
                if let Some(other) = self.receipts.get(&at).and_then(|receipt| receipt.copy)
                    && let Some(by) = self.by(other)
                    && *by == Some(at)
                {
                    *by = None;
                }
                self.take(copy, at);
                return true;
            }
        }
        false
    }

    fn had_to_come(&self, now: u64, copy: Copy, groups: bool) -> bool {
        let over = |expires: Option<u64>| expires.is_some_and(|at| at <= now);
        match copy {
            (Some(session), name) => self
                .sessions
                .iter()
                .filter(|other| other.name == session && !other.ended)
                .flat_map(|session| &session.owed)
                .any(|owed| owed.name == name && owed.must == Must::Yes && !over(owed.expires)),
            (None, name) => {
                groups && self.shared.iter().any(|shared| shared.name == name && shared.must && !over(shared.expires))
            }
        }
    }

    /// Everybody was there and took everything. **What was owed has come: at least once at QoS 1, exactly once at QoS 2.**
    pub(in super::super) fn everything_has_come(&mut self, now: u64) {
        for session in self.sessions.clone().iter().filter(|session| !session.ended) {
            let copies = session.owed.iter().filter(|owed| owed.by.is_none());
            let missing: Vec<_> = copies
                .filter(|owed| {
                    let copy = (Some(session.name), owed.name);
                    self.had_to_come(now, copy, false) && !self.cover(now, copy, false, &mut Vec::new())
                })
                .collect();
            assert!(missing.len() <= session.slack, "c{} never got {missing:?}", session.client);
            let was_oldest = |owed: &Owed| session.oldest.iter().any(|newest| *newest > owed.name);
            let not_oldest: Vec<_> = missing.iter().filter(|owed| !was_oldest(owed)).collect();
            let unknown = session.slack - session.oldest.len();
            assert!(not_oldest.len() <= unknown, "c{} lost what was not the oldest: {not_oldest:?}", session.client);
        }
        let shared = self.shared.clone();
        let missing: Vec<_> = shared
            .iter()
            .filter(|shared| {
                let copy = (None, shared.name);
                let free = self.by(copy).is_some_and(|by| by.is_none());
                free && self.had_to_come(now, copy, true) && !self.cover(now, copy, true, &mut Vec::new())
            })
            .collect();
        assert!(missing.len() <= self.slack, "groups never got {missing:?}");
    }
}
