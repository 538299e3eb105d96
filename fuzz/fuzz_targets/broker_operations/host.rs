//! What the embedding program does: time, decisions, its own clients, administration.
use crate::*;

impl World {
    /// Lets time pass, deadline by deadline.
    pub(crate) fn advance(&mut self, millis: u64) {
        let end = self.now.plus_millis(millis);
        let mut wakes = 0;
        while let Some(at) = self.broker.poll_timeout().filter(|at| *at <= end) {
            wakes += 1;
            assert!(wakes < FOREVER, "time stands still");
            self.now = self.now.max(at);
            self.broker.handle_timeout(self.now);
            self.turn();
        }
        self.now = end;
        self.broker.handle_timeout(end);
        self.turn();
    }

    /// Decides one of the requests that were put off, stale ones among them; a second answer changes nothing.
    pub(crate) fn decide(&mut self, how: u8) {
        let tickets = &mut self.broker.policy_mut().tickets;
        if tickets.is_empty() {
            return;
        }
        let ticket = tickets.remove(usize::from(how >> 2) % tickets.len());
        let decision = match how & 3 {
            0 => NO,
            1 => Decision::Defer(ticket),
            _ => Decision::Allow,
        };
        self.broker.resume(self.now, ticket, decision);
        self.note();
        let before = self.broker.stats();
        self.broker.resume(self.now, ticket, Decision::Allow);
        let after = self.broker.stats();
        assert_eq!((before.held_bytes, before.messages_out), (after.held_bytes, after.messages_out), "decided twice");
    }

    pub(crate) fn host_publishes(&mut self, how: u8) {
        let payload = vec![b'h'; usize::from(how >> 4)];
        let mut publication = Publication::new(TopicName::new(TOPICS[usize::from(how) % 8]).unwrap(), &payload);
        (publication.retain, publication.qos) = (how & 8 != 0, QOS[usize::from(how) % 3]);
        let _ = self.broker.publish(self.now, &publication);
    }

    pub(crate) fn local(&mut self, which: usize, how: u8) {
        let argument = usize::from(how >> 3);
        let Some(id) = self.locals[which] else {
            self.locals[which] = self.broker.local_open(QueueLimits { messages: 4, bytes: 2048 }).ok();
            return;
        };
        let filter = TopicFilter::new(FILTERS[argument % FILTERS.len()]).unwrap();
        match how & 7 {
            0..=2 => {
                let options = SubscribeOptions { qos: QOS[argument % 3], no_local: false, ..Default::default() };
                let _ = self.broker.local_subscribe(self.now, id, filter, options);
            }
            3 => drop(self.broker.local_unsubscribe(id, filter)),
            4 => {
                let topic = TopicName::new(TOPICS[argument % TOPICS.len()]).unwrap();
                let _ = self.broker.local_publish(self.now, id, &Publication::new(topic, b"local"));
            }
            5 | 6 => self.locals_receive(),
            _ => {
                self.locals[which] = None;
                self.broker.local_close(id);
                self.note();
                // it is stale
                assert!(self.broker.local_receive(self.now, id).is_none());
                assert!(!self.broker.local_unsubscribe(id, filter));
                let again = self.broker.local_subscribe(self.now, id, filter, SubscribeOptions::default());
                assert_eq!(again, Err(LocalError::Stale));
                self.broker.local_close(id);
            }
        }
    }

    pub(crate) fn locals_receive(&mut self) {
        for round in 0.. {
            assert!(round < FOREVER, "there is always something for the host's own clients");
            let Some(id) = self.broker.poll_local() else { return };
            assert!(self.locals.contains(&Some(id)), "a client that was closed has something to receive");
            while self.broker.local_receive(self.now, id).is_some() {}
        }
    }

    pub(crate) fn close_locals(&mut self) {
        for id in std::mem::take(&mut self.locals).into_iter().flatten() {
            self.broker.local_close(id);
        }
    }

    pub(crate) fn administrate(&mut self, who: usize, how: u8) {
        let (name, now) = (NAMES[who], self.now);
        let ban = || Ban::ClientId(name.into());
        match how % 10 {
            0 => drop(self.broker.kick(now, name, ReasonCode::ADMINISTRATIVE_ACTION)),
            1 => {
                let until = Some(now.plus_millis(u64::from(how) * SECOND / 10));
                let _ = self.broker.ban(now, ban(), until);
            }
            2 => drop(self.broker.unban(&ban())),
            3 => {
                self.broker.purge_session(now, name);
                assert!(self.broker.client(name).is_none());
            }
            4 => drop(self.broker.clear_retained(RetainedCursor::new(TopicFilter::new("#").unwrap()), 2)),
            5 => self.broker.set_draining(how & 128 != 0),
            6 => drop(self.broker.redirect(now, name, &Refusal::use_another_server("elsewhere"))),
            7 => {
                let listed = self.broker.clients(0, ALL).items.len();
                assert_eq!(listed, self.broker.stats().sessions);
            }
            8 => {
                let page = self.broker.subscriptions(name, 0, 3);
                assert!(page.items.len() <= 3);
            }
            _ => {
                let all = RetainedCursor::new(TopicFilter::new("#").unwrap());
                assert!(self.broker.list_retained(now, all, 3).items.len() <= 3);
            }
        }
        self.note();
    }

    pub(crate) fn revoke(&mut self, revoked: bool) {
        self.broker.policy_mut().revoked = revoked;
        self.broker.reauthorize_all(self.now);
        self.forget();
    }

    pub(crate) fn reauthorize(&mut self, who: usize) {
        self.broker.reauthorize(self.now, NAMES[who]);
        self.note();
        self.forget();
    }

    /// What anybody may receive has changed: nothing is certain any more.
    pub(crate) fn forget(&mut self) {
        for who in &mut self.whos {
            (who.sure, who.owed) = Default::default();
        }
    }
}
