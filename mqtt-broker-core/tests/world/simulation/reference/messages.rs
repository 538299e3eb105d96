//! Messages on their way: who is owed them, what is retained, what is dropped.
use super::*;

impl Reference {
    // --- messages --------------------------------------------------------------------------------------------------

    /// A message is routed: who is owed it, and what is retained. `client`: who published it, for No Local.
    pub(in super::super) fn routed(&mut self, now: u64, message: &Message, client: Option<usize>) {
        let Message { number, ref topic, qos, retain, expiry, .. } = *message;
        // of a message from when it came, of a will from when it is published
        let from = if message.is_will { now } else { message.at };
        let expires = expiry.map(|seconds| from + u64::from(seconds) * 1_000);
        if retain {
            self.retain(now, message, expires);
        }
        let order = self.count();
        let topic: Rc<str> = topic.as_str().into();
        let mut matched = 0;
        for at in 0..self.sessions.len() {
            let session = &self.sessions[at];
            let mine: Vec<_> = session
                .subscriptions
                .iter()
                .filter(|sub| !is_shared(sub.filter) && matches(sub.filter, &topic))
                .filter(|sub| !(sub.no_local && client == Some(session.client)))
                .cloned()
                .collect();
            let copies: Vec<Vec<Subscription>> = match self.shape.overlap {
                Overlap::Each => mine.into_iter().map(|sub| vec![sub]).collect(),
                _ if mine.is_empty() => Vec::new(),
                _ => vec![mine],
            };
            let several = copies.len() > 1;
            for subs in copies {
                if subs.iter().all(|sub| is_asked_each(sub.filter)) && !may_receive(&topic, self.revoked) {
                    continue;
                }
                matched += 1;
                let most = subs.iter().map(|sub| sub.qos).max().unwrap_or(Qos::AtMostOnce);
                let mut ids: Vec<u32> = subs.iter().filter_map(|sub| sub.id).collect();
                ids.sort_unstable();
                let retain = retain && subs.iter().any(|sub| sub.retain_as_published);
                let name = self.next + 1;
                self.next = name;
                // those of one message come in any order
                let order = if several { order } else { name };
                self.owe(
                    at,
                    Owed {
                        name,
                        order,
                        number,
                        topic: topic.clone(),
                        size: message.size,
                        qos: qos.min(most),
                        kept: qos,
                        retain,
                        ids,
                        expires,
                        replay: None,
                        // who is judged anew on its next connection is judged with what came meanwhile
                        must: if may_receive(&topic, self.revoked) { Must::Yes } else { Must::May },
                        also: Vec::new(),
                        by: None,
                    },
                );
            }
        }
        matched += self.share(message, expires);
        let entry = self.routed.entry(as_sent(number)).or_default();
        *entry = (entry.0 + 1, matched);
    }

    pub(super) fn owe(&mut self, at: usize, mut owed: Owed) {
        if owed.number == 0 {
            owed.soften(); // empty payloads cannot be told apart
        }
        let offline = self.shape.queue_qos0_offline;
        let session = &mut self.sessions[at];
        if owed.qos == Qos::AtMostOnce {
            if !session.connected && !offline {
                return;
            }
            if session.connected && !session.clear {
                owed.soften();
            }
        }
        if session.connected && session.max_packet.is_some_and(|most| owed.may_be_larger(most)) {
            owed.soften();
        }
        // the policy says no to it, though its subscription may have all
        if session.rechecked && !may_receive(&owed.topic, false) {
            owed.soften();
        }
        session.owed.push(owed);
    }

    /// One of each group; how many groups.
    pub(super) fn share(&mut self, message: &Message, expires: Option<u64>) -> usize {
        let mut texts: Vec<&'static str> = Vec::new();
        for sub in self.sessions.iter().flat_map(|session| &session.subscriptions) {
            if is_shared(sub.filter) && matches(sub.filter, &message.topic) && !texts.contains(&sub.filter) {
                texts.push(sub.filter);
            }
        }
        for &text in &texts {
            let members = self.sessions.iter().flat_map(|session| &session.subscriptions);
            let all_keep = members.filter(|sub| sub.filter == text).all(|sub| sub.qos != Qos::AtMostOnce);
            // what is given to somebody who ended with the process is lost
            let ghosts = self.sessions.iter().filter(|session| session.ended && self.ghosts.contains(&session.client));
            let all_keep = all_keep && !ghosts.flat_map(|session| &session.was).any(|sub| sub.filter == text);
            let rechecked =
                self.sessions.iter().any(|session| session.rechecked) && !may_receive(&message.topic, false);
            let name = self.count();
            self.shared.push(Shared {
                name,
                text,
                number: message.number,
                topic: message.topic.as_str().into(),
                size: message.size,
                qos: message.qos,
                retain: message.retain,
                expires,
                // empty payloads cannot be told apart
                must: all_keep && !rechecked && message.number != 0 && message.qos != Qos::AtMostOnce,
                by: None,
            });
        }
        texts.len()
    }

    pub(super) fn retain(&mut self, now: u64, message: &Message, expires: Option<u64>) {
        // what is over makes room first: deadlines come before what is read
        self.retained.retain(|kept| kept.expires.is_none_or(|at| at > now));
        self.retained.retain(|kept| *kept.topic != *message.topic);
        // a replay that has not got there yet will not find the old one
        for session in &mut self.sessions {
            for owed in session.owed.iter_mut().filter(|owed| *owed.topic == *message.topic) {
                if owed.replay.is_some_and(|filter| filter.contains(['+', '#'])) {
                    owed.soften();
                }
            }
        }
        if message.size == 0 {
            return;
        }
        if expires.is_some_and(|at| at <= now) {
            self.late += 1;
            return;
        }
        if self.retained.len() >= self.shape.max_retained {
            self.unkept += 1;
            return;
        }
        let Message { number, size, qos, .. } = *message;
        let kept = Kept { topic: message.topic.as_str().into(), number, size, qos, expires };
        self.retained.push(kept.clone());
        // but may find this one
        let open: Vec<_> = self
            .sessions
            .iter()
            .flat_map(|session| session.replays.iter().map(|(sub, order)| (session.client, sub.clone(), *order)))
            .filter(|(_, sub, _)| matches(sub.filter, &message.topic))
            .collect();
        for (client, sub, order) in open {
            self.owe_retained(client, &sub, &kept, order, Must::May);
        }
    }

    /// A will was published; whose. **Once, and when it is due.**
    pub(in super::super) fn will_fired(&mut self, now: u64, message: &Message) -> usize {
        let is_it = |will: &Will| will.number == message.number;
        let Some(at) = self.wills.iter().position(is_it) else {
            panic!("a will that nobody left, or a second time: {message:?}")
        };
        let will = self.wills.remove(at);
        assert!(will.due.is_some_and(|at| at <= now), "too early: {will:?}");
        assert_eq!((will.topic, will.qos, will.retain), (message.topic.as_str(), message.qos, message.retain));
        will.client
    }

    /// The policy denies a will: one that is due is gone.
    pub(in super::super) fn will_denied(&mut self, now: u64, number: u32) {
        self.wills.retain(|will| will.number != number || will.due.is_none_or(|at| at > now));
    }

    /// The policy has not spoken on a will in time: that counts as denied.
    pub(in super::super) fn will_undecided(&mut self, now: u64, client: usize) {
        self.wills.retain(|will| will.client != client || will.due.is_none_or(|at| at + DECISION - 1 > now));
    }

    // --- what the broker says that it dropped ----------------------------------------------------------------------

    /// A queue is full. **Only if it is**; `unfinished` is what its client has and has not acknowledged.
    pub(in super::super) fn dropped_full(&mut self, client: usize, unfinished: usize) {
        let Shape { overflow, overlap, queue_messages, max_queued_bytes, inflight, .. } = self.shape.clone();
        let of_groups = self.shared.iter().filter(|shared| self.may_wait(shared.by)).count();
        if self.ghosts.contains(&client) && self.of(client).is_none() {
            self.slack += 1;
            return;
        }
        let own = self.of(client).expect("a queue is somebody's").owed.clone();
        let waiting = own.iter().filter(|owed| self.may_wait(owed.by)).count() + unfinished + of_groups;
        self.slack += usize::from(self.of(client).is_some_and(|session| !session.was.is_empty()));
        let session = self.of(client).expect("it was there");
        assert!(
            waiting > queue_messages || max_queued_bytes < 1 << 20,
            "the queue of c{client} is full with {waiting} of {queue_messages}"
        );
        let plain = overlap == Overlap::Merge && session.was.is_empty();
        let newest = plain && matches!(overflow, Overflow::DropNewest | Overflow::Disconnect);
        // where not all that fits can be on its way there is always one that waits
        let oldest = plain
            && overflow == Overflow::DropOldest
            && usize::from(inflight) < queue_messages
            && max_queued_bytes >= 1 << 20;
        match session.owed.last_mut() {
            Some(owed) if newest => owed.must = Must::Never,
            last => {
                session.slack += 1;
                session.oldest.extend(last.filter(|_| oldest).map(|owed| owed.name));
            }
        }
    }

    /// Something had expired. **Only if it had.**
    pub(in super::super) fn dropped_expired(&mut self, now: u64, client: Option<usize>) {
        if client.is_none() && self.late > 0 {
            self.late -= 1;
            return;
        }
        let over = |expires: Option<u64>| expires.is_some_and(|at| at <= now);
        let of_groups = self.shared.iter().any(|shared| over(shared.expires) && self.may_wait(shared.by));
        let own = client.is_some_and(|client| {
            let own = self.sessions.iter().filter(|session| session.client == client).flat_map(|session| &session.owed);
            own.into_iter().any(|owed| over(owed.expires) && self.may_wait(owed.by))
        });
        assert!(of_groups || own, "nothing of c{client:?} had expired");
    }

    /// Something is too large. **Only for who said so, and only if it can be.** `again`: it may be something that the client has.
    pub(in super::super) fn dropped_too_large(&mut self, client: usize, again: bool) {
        let session = self.of(client).expect("a client that is connected").clone();
        let most = session.max_packet.expect("nothing is too large for somebody who takes everything");
        let in_groups = !session.was.is_empty();
        let of_groups =
            || in_groups && self.shared.iter().any(|shared| may_be_larger(shared.size, &shared.topic, 1, most));
        let own = session.owed.iter().any(|owed| owed.may_be_larger(most));
        assert!(again || own || of_groups(), "nothing is too large for c{client}");
        self.slack += usize::from(in_groups);
    }

    /// A group has nobody for a message.
    pub(in super::super) fn dropped_of_group(&mut self) {
        self.slack += 1;
    }
}
