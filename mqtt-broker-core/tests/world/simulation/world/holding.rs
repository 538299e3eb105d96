//! What must hold at every moment, and at the end.
use super::*;

impl World {
    /// **The broker's own counters are the reference's, and within their limits.**
    pub(super) fn check(&mut self) {
        let stats = self.broker.stats();
        let alive = || self.reference.sessions.iter().filter(|session| !session.ended);
        assert_eq!(stats.events_lost, 0);
        assert_eq!(stats.connections, self.links.iter().flatten().count(), "connections");
        assert_eq!(stats.sessions, alive().count(), "sessions");
        assert_eq!(stats.connected, alive().filter(|session| session.connected).count(), "connected");
        let subscriptions: usize = alive().map(|session| session.subscriptions.len()).sum();
        assert_eq!(stats.subscriptions, subscriptions, "subscriptions");
        let is_replayed = |owed: &&Owed| owed.replay.is_some() && owed.by.is_none();
        let replayed: usize = alive().map(|session| session.owed.iter().filter(is_replayed).count()).sum();
        // nothing is larger
        let replays = (replayed + self.clients.iter().map(|client| client.unfinished.len()).sum::<usize>()) * 600;
        assert!(
            stats.queued_bytes <= self.shape.max_queued_bytes.saturating_add(replays),
            "too many bytes wait, {stats:?}"
        );
        assert_eq!(stats.retained, self.reference.retained.len(), "retained");
        let waits = self.shape.durability == Durability::Synced;
        assert!(waits || stats.held_answers == 0, "answers wait for a store that nothing rests on");
        self.retained_is_as_it_should_be();
        self.keep_alive_is_kept();
        self.who_breaks_a_rule_is_closed();
        self.no_will_gets_lost();
        self.nothing_lies_about();
        let clients = &self.clients;
        self.reference.queues_keep_their_limits(self.now, |who| {
            clients[who].unfinished.iter().filter(|taken| !taken.answered && !taken.may_be_lost()).count()
        });
        self.reference.settled = self.reference.next;
        let all_stored = self.host.waiting.is_none();
        for who in 0..self.clients.len() {
            let Some(slot) = self.clients[who].link else { continue };
            let most = self.shape.inflight;
            let link = self.link(slot);
            let most = most.min(link.plan.receive_maximum.unwrap_or(u16::MAX));
            if all_stored
                && link.connected
                && link.clear
                && link.reading
                && link.wire.is_empty()
                && link.inflight.len() < usize::from(most)
            {
                self.reference.caught_up(who);
            }
        }
        self.steps += 1;
        if self.steps.is_multiple_of(500) {
            self.forget();
        }
        // what was denied or never decided will not be published any more
        if self.reference.routed.len() > 4_000 {
            let oldest = self.reference.routed.keys().nth(2_000).copied().unwrap_or(0);
            self.reference.routed = self.reference.routed.split_off(&oldest);
        }
        let names: Vec<u64> = self.links.iter().flatten().filter_map(|link| link.session).collect();
        // what one got for a group that has ended since may yet turn out to have been for another group
        let lately = self.reference.next.saturating_sub(2_000);
        let sessions = &mut self.reference.sessions;
        sessions.retain(|session| !session.ended || names.contains(&session.name) || session.name > lately);
    }

    /// What is settled whatever a crash leaves is looked at no more.
    fn forget(&mut self) {
        let settled = match self.host.stood.front() {
            Some((_, durable)) if self.shape.is_stored() => durable.settled(),
            _ => self.reference.settled(),
        };
        self.host.stood.iter_mut().for_each(|(_, stood)| stood.forget(&settled));
        self.reference.forget(&settled);
    }

    /// **What is retained is the last of each topic.**
    pub(super) fn retained_is_as_it_should_be(&mut self) {
        let all = RetainedCursor::new(TopicFilter::new("#").unwrap());
        let page = self.broker.list_retained(self.at(), all, 1_000);
        let mut listed: Vec<_> = page
            .items
            .iter()
            .map(|record| {
                let expires = record.message.expires().map(|at| self.zero + at.as_millis());
                (record.message.topic().as_str().to_owned(), number_of(record.message.payload()), record.qos, expires)
            })
            .collect();
        listed.sort_by(|one, other| one.0.cmp(&other.0));
        let kept = self.reference.retained.iter();
        let mut expected: Vec<_> =
            kept.map(|kept| (kept.topic.to_string(), kept.number, kept.qos, kept.expires)).collect();
        expected.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(listed, expected, "retained");
    }

    /// **Who is silent for too long is disconnected.**
    pub(super) fn keep_alive_is_kept(&self) {
        if self.host.waiting.is_some() {
            return; // who waits for the store is excused
        }
        for link in
            self.links.iter().flatten().filter(|link| link.connected && !link.was_paused && link.plan.keep_alive > 0)
        {
            let silent = (self.now - link.spoke.max(link.welcomed).max(self.host.synced)) * 2;
            assert!(silent <= u64::from(link.plan.keep_alive) * 3 * SECOND, "c{} is silent and connected", link.who);
        }
    }

    /// **Who breaks a rule is disconnected**, as soon as it is read.
    pub(super) fn who_breaks_a_rule_is_closed(&self) {
        for link in self.links.iter().flatten().filter(|link| link.broken) {
            assert!(!link.reading || !link.wire.is_empty(), "c{} has broken a rule and is connected", link.who);
        }
    }

    /// **What can be sent has been sent**: nobody waits for something else to happen first.
    pub(super) fn nothing_lies_about(&mut self) {
        for slot in 0..self.links.len() {
            let Some(link) = self.links[slot].as_ref().filter(|link| link.takes.is_none() && link.out.is_empty())
            else {
                continue;
            };
            let (id, who, mut out) = (link.id, link.who, OutBuf::default());
            self.broker.poll_transmit(self.at(), id, &mut out);
            assert!(out.is_empty(), "c{who} could have been sent {:02x?}", out.chunk());
        }
        self.note();
    }

    /// **A will that is due was published, or the policy has yet to speak on it.**
    pub(super) fn no_will_gets_lost(&self) {
        let waiting = &self.broker.policy().waiting;
        for will in self.reference.wills.iter().filter(|will| will.due.is_some_and(|at| at <= self.now)) {
            let is_it = |about: &About| matches!(about, About::Message(it) if it.is_will && it.number == will.number);
            let late = will.due.is_some_and(|at| at + 10 * SECOND <= self.now);
            assert!(late || waiting.iter().any(|(_, about)| is_it(about)), "a will is lost: {will:?}");
        }
    }

    // --- the end ---------------------------------------------------------------------------------------------------

    /// Everybody is there, reads and answers, and nothing is put off any more: then what was owed has come, and nobody waits.
    pub(in super::super) fn settle(&mut self) {
        let keeper = self.broker.policy_mut();
        (keeper.defers_connect, keeper.defers_publish, keeper.defers_subscribe) = (false, false, false);
        while !self.broker.policy().waiting.is_empty() {
            self.decide(0, true);
            self.turn();
        }
        self.revoke(false);
        self.turn();
        self.advance(0);
        for slot in 0..self.links.len() {
            if let Some(link) = &mut self.links[slot] {
                (link.takes, link.plan.lazy) = (None, false);
                self.flush(slot);
                self.turn();
            }
        }
        (self.settling, self.host.holds) = (true, false);
        self.sync();
        self.turn();
        for _ in 0..20 {
            for who in 0..self.clients.len() {
                self.is_there(who);
                self.ping(who);
                self.turn();
            }
            self.advance(SECOND);
        }
        self.check();
        self.reference.everything_has_come(self.now);
        self.nobody_waits();
    }

    /// A client is connected, and sends again what it has to.
    pub(super) fn is_there(&mut self, who: usize) {
        let Some(slot) = self.live(who) else {
            self.connect(Connect {
                who,
                version: Version::V5,
                clean_start: false,
                expiry: 100,
                keep_alive: 0,
                receive_maximum: None,
                aliases: None,
                max_packet: None,
                lazy: false,
                will: None,
            });
            return self.turn();
        };
        let later = std::mem::take(&mut self.link(slot).later);
        if !later.is_empty() {
            self.send(slot, &later);
        }
    }

    /// **Nobody is paused for ever, and everything is answered.**
    pub(super) fn nobody_waits(&self) {
        for (at, client) in self.clients.iter().enumerate() {
            let pending: Vec<_> = client.pending.iter().map(|sent| (sent.id, sent.released)).collect();
            assert!(pending.is_empty(), "c{at} waits for acknowledgements: {pending:?}");
            let waits = |taken: &Taken| taken.qos == Qos::ExactlyOnce && !taken.answered;
            assert!(!client.unfinished.iter().any(waits), "c{at} waits for PUBREL");
            let comes_again = |taken: &Taken| !taken.answered && !taken.may_be_lost();
            assert!(!client.unfinished.iter().any(comes_again), "c{at} did not get again what it has not acknowledged");
            assert!(self.live(at).is_some(), "c{at} is not let in");
        }
        for link in self.links.iter().flatten() {
            assert!(link.connected, "c{} is neither let in nor closed", link.who);
            assert!(link.reading && link.wire.is_empty(), "c{} is paused for ever", link.who);
            assert_eq!((link.pings, link.asked.len(), link.answers.len()), (0, 0, 0), "c{} waits", link.who);
        }
        assert!(self.broker.policy().waiting.is_empty());
        assert_eq!(self.broker.stats().held_answers, 0);
    }

    /// **Everybody goes, and what was kept for them with them.**
    pub(in super::super) fn all_ends(&mut self) {
        for slot in 0..self.links.len() {
            self.cut(slot);
            self.turn();
        }
        self.advance(100_000 * SECOND);
        self.check();
        for topic in TOPICS {
            let _ = self.broker.clear_retained(RetainedCursor::new(TopicFilter::new(topic).unwrap()), 10);
        }
        let stats = self.broker.stats();
        let left = (stats.connections, stats.sessions, stats.subscriptions, stats.groups);
        assert_eq!(left, (0, 0, 0, 0), "something is left at the end, {stats:?}");
        assert_eq!((stats.queued_bytes, stats.held_bytes), (0, 0), "bytes are left at the end, {stats:?}");
        assert_eq!((stats.retained, stats.retained_bytes), (0, 0), "retained bytes are left at the end, {stats:?}");
        assert!(self.reference.wills.is_empty(), "a will was never published: {:?}", self.reference.wills);
        assert_eq!(self.broker.poll_timeout(), None, "something is due, though nobody is there");
        self.turn();
        for table in Table::ALL {
            let mut left = Vec::new();
            let each = &mut |name: &[u8]| left.push(String::from_utf8_lossy(name).into_owned());
            self.host.store.borrow_mut().names(table, each).expect("it can be read");
            left.retain(|name| name.as_bytes() != BATCHES);
            assert!(left.is_empty(), "{table:?} keeps {left:?}");
        }
    }
}
