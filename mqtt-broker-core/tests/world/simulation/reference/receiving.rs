//! What clients get, and what must hold at every moment.
use super::*;

impl Reference {
    // --- what clients get ------------------------------------------------------------------------------------------

    /// A client got a message it had not got before. **It was owed that, once, as it was, and in time.**
    pub(in super::super) fn received(&mut self, now: u64, session: u64, got: &Got<'_>) -> Found {
        let Some(at) = self.sessions.iter().position(|other| other.name == session) else { panic!("no such session") };
        // the policy says of a member of a group that it receives all
        let shared = |sub: &Subscription| is_shared(sub.filter) && matches(plain(sub.filter), got.topic);
        let by_group = self.sessions[at].subscriptions.iter().any(shared);
        let taken_back = self.revoked && got.topic.starts_with('b') && got.clear && !got.dup && !by_group;
        assert!(!taken_back, "nobody may receive {got:?} any more");
        let looks_so = |owed: &Owed| {
            (owed.number, owed.topic.as_str(), owed.retain) == (got.number, got.topic, got.retain)
                && got.ids.as_ref().is_none_or(|ids| *ids == owed.ids)
                && owed.must != Must::Never
                // nothing is repeated that was never sent
                && (!got.dup || owed.order <= got.since)
        };
        let fits = |owed: &Owed| looks_so(owed) && owed.qos == got.qos;
        let lower = |owed: &Owed| looks_so(owed) && owed.may_be_lower && owed.qos > got.qos;
        let in_order = |owed: &Owed| fits(owed) && owed.order >= got.behind;
        let of_group = (0..self.shared.len()).find(|one| self.shared[*one].is_free() && self.fits(*one, session, got));
        let all = &mut self.sessions[at].owed;
        let out_of_order = all.iter().position(fits).filter(|_| of_group.is_none());
        let best = all.iter().position(|owed| in_order(owed) && is_in_time(now, owed.expires, got));
        let late = all.iter().position(in_order).filter(|_| of_group.is_none());
        let lower = all.iter().position(lower).filter(|_| of_group.is_none());
        if let Some(found) = best.or(late).or(lower).or(out_of_order) {
            let owed = all.remove(found);
            // a copy of the same look may have been what came: then that one need not
            if owed.must == Must::May {
                if let Some(twin) = all.iter_mut().find(|other| fits(other) && other.must == Must::Yes) {
                    twin.must = Must::May;
                } else if let Some(twin) = of_group {
                    self.shared[twin].must = false;
                }
            }
            in_time(now, owed.expires, got);
            // what may have come by a group tells nothing of the order
            return Found { name: owed.name, order: Some(owed.order).filter(|_| of_group.is_none()), by_group: false };
        }
        self.received_of_group(now, at, got)
    }

    pub(super) fn received_of_group(&mut self, now: u64, at: usize, got: &Got<'_>) -> Found {
        let name = self.sessions[at].name;
        let free: Vec<_> =
            (0..self.shared.len()).filter(|one| self.shared[*one].is_free() && self.fits(*one, name, got)).collect();
        let best = free.iter().find(|one| is_in_time(now, self.shared[**one].expires, got));
        let found = best.or(free.first()).copied();
        // whoever is in two groups may have got for the one what was taken for the other's
        let found = found.or_else(|| {
            let mine: Vec<_> = (0..self.shared.len()).filter(|one| self.fits(*one, name, got)).collect();
            let (one, other) = mine.into_iter().find_map(|one| {
                let (holder, was) = (self.shared[one].holder?, self.shared[one].got.clone()?);
                let other = (0..self.shared.len())
                    .find(|at| self.shared[*at].is_free() && self.fits(*at, holder, &was.got()))?;
                Some((one, other))
            })?;
            let Shared { holder, done, again, ref got, .. } = self.shared[one];
            let got = got.clone();
            let to = &mut self.shared[other];
            (to.holder, to.done, to.again, to.got) = (holder, done, again, got);
            Some(one)
        });
        let Some(found) = found else {
            let Session { client, owed, .. } = &self.sessions[at];
            panic!("c{client} is not owed {got:?}; it is owed {owed:?}")
        };
        // of two that look alike it may have been the one that had to come
        if !self.shared[found].must
            && let Some(twin) = free.iter().find(|one| **one != found && self.shared[**one].must)
        {
            self.shared[*twin].must = false;
        }
        let shared = &mut self.shared[found];
        (shared.holder, shared.again, shared.got) = (Some(name), false, Some(Was::new(got)));
        // what is not acknowledged at QoS 1 may come to somebody else when its session ends
        shared.done = got.qos != Qos::AtLeastOnce;
        let name = shared.name;
        in_time(now, shared.expires, got);
        Found { name, order: None, by_group: true }
    }

    /// Whether a message for a group can be what a session got: as one of its memberships was granted it.
    pub(super) fn fits(&self, at: usize, session: u64, got: &Got<'_>) -> bool {
        let shared = &self.shared[at];
        let as_granted = |sub: &Subscription| {
            sub.filter == shared.text
                && got.qos == shared.qos.min(sub.qos)
                && got.retain == (shared.retain && sub.retain_as_published)
                && got.ids.as_ref().is_none_or(|ids| ids.iter().copied().eq(sub.id))
        };
        (shared.number, shared.topic.as_str()) == (got.number, got.topic)
            && self.sessions.iter().any(|other| other.name == session && other.was.iter().any(as_granted))
    }

    /// A client has acknowledged a message that came by a group; `arrived`: the broker has that for certain.
    pub(in super::super) fn acknowledged(&mut self, session: u64, number: u32, arrived: bool) {
        let is_it = |shared: &&mut Shared| shared.holder == Some(session) && shared.number == number && !shared.done;
        if let Some(shared) = self.shared.iter_mut().find(is_it) {
            (shared.done, shared.must) = (arrived, false);
        }
    }

    // --- what must hold at every moment ----------------------------------------------------------------------------

    /// What is due is done. **Wills fire and sessions end when they are due.**
    pub(in super::super) fn nothing_is_overdue(&mut self, now: u64) {
        self.retained.retain(|kept| kept.is_there(now));
        for session in self.sessions.iter().filter(|session| !session.ended && !session.connected) {
            let over = session.expires.is_some_and(|at| at <= now);
            assert!(!over, "the session of c{} should have ended", session.client);
        }
        for will in &self.wills {
            let waits = will.topic.starts_with('d');
            assert!(will.due.is_none_or(|at| at > now || waits), "a will was not published: {will:?}");
        }
        self.wills.retain(|will| will.due.is_none_or(|at| at + DECISION > now));
        assert_eq!(self.unkept, 0, "a retained message that does not fit is not reported");
    }

    /// **A queue holds no more than it may**; `unfinished` is what each client has and has not acknowledged.
    pub(in super::super) fn queues_keep_their_limits(&self, now: u64, unfinished: impl Fn(usize) -> usize) {
        for session in self.sessions.iter().filter(|session| !session.ended) {
            let kept = |owed: &&Owed| {
                let there = owed.must == Must::Yes && owed.expires.is_none_or(|at| at > now);
                there && owed.replay.is_none() && owed.qos != Qos::AtMostOnce
            };
            let waiting = (session.owed.iter().filter(kept).count()).saturating_sub(session.slack);
            let all = waiting + unfinished(session.client);
            let replayed = !session.replays.is_empty() || session.owed.iter().any(|owed| owed.replay.is_some());
            assert!(
                all <= self.shape.queue_messages || replayed || waiting <= self.shape.queue_messages,
                "c{} has {all} of {} in its queue",
                session.client,
                self.shape.queue_messages
            );
        }
    }

    /// A client has all that it is to have now: what is retained and comes no more.
    pub(in super::super) fn caught_up(&mut self, client: usize) {
        if let Some(session) = self.of(client) {
            session.replays.clear();
            session.owed.retain(|owed| owed.replay.is_none() || owed.must == Must::Yes);
        }
    }

    /// Everybody was there and took everything. **What was owed has come: at least once at QoS 1, exactly once at QoS 2.**
    pub(in super::super) fn everything_has_come(&self, now: u64) {
        let over = |expires: Option<u64>| expires.is_some_and(|at| at <= now);
        for session in self.sessions.iter().filter(|session| !session.ended) {
            let missing: Vec<_> =
                session.owed.iter().filter(|owed| owed.must == Must::Yes && !over(owed.expires)).collect();
            assert!(missing.len() <= session.slack, "c{} never got {missing:?}", session.client);
        }
        let missing: Vec<_> = self
            .shared
            .iter()
            .filter(|shared| shared.must && (shared.holder.is_none() || shared.again) && !over(shared.expires))
            .collect();
        assert!(missing.len() <= self.slack, "groups never got {missing:?}");
    }
}
