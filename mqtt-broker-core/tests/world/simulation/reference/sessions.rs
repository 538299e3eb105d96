//! Clients come and go, and what they subscribe to.
use super::*;

impl Reference {
    // --- clients come and go ---------------------------------------------------------------------------------------

    /// A client was let in; the name of its session. **Session present is exactly right.**
    pub(in super::super) fn connected(
        &mut self,
        now: u64,
        client: usize,
        connect: &super::super::plan::Connect,
        expiry: u32,
        present: bool,
    ) -> u64 {
        let name = self.count();
        let expected = self.of(client).is_some() && !connect.clean_start;
        assert_eq!(present, expected, "session present of c{client}");
        // one that is due is published all the same; one that is not, its client came back in time for
        self.wills.retain(|will| will.client != client || will.due.is_some_and(|at| at <= now));
        if let Some(will) = &connect.will {
            self.wills.push(Will {
                client,
                number: will.number,
                topic: will.topic,
                qos: will.qos,
                retain: will.retain,
                size: will.payload().len(),
                delay: will.delay,
                due: None,
            });
        }
        let old = self.of(client).map(|session| (session.connected, session.expires));
        if let Some((was_connected, expires)) = old {
            assert!(!was_connected, "c{client} is let in twice");
            assert!(expires.is_none_or(|at| at > now), "c{client} finds a session that has expired");
        } else {
            self.sessions.push(Session {
                name,
                client,
                connected: true,
                clear: true,
                max_packet: None,
                expiry: 0,
                expires: None,
                ended: false,
                unread: false,
                rechecked: false,
                subscriptions: Vec::new(),
                was: Vec::new(),
                left: Vec::new(),
                owed: Vec::new(),
                replays: Vec::new(),
                replayed: false,
                slack: 0,
                oldest: Vec::new(),
            });
        }
        let session = self.of(client).expect("it was just made");
        (session.connected, session.clear, session.expires) = (true, true, None);
        session.unread = false;
        (session.expiry, session.max_packet) = (expiry, connect.max_packet);
        if let Some(most) = connect.max_packet {
            session.owed.iter_mut().filter(|owed| owed.may_be_larger(most)).for_each(Owed::soften);
        }
        session.name
    }

    /// A client's connection ended; `plainly` with a goodbye that takes the will away.
    pub(in super::super) fn disconnected(&mut self, now: u64, client: usize, plainly: bool, expiry: Option<u32>) {
        let most = self.shape.max_session_expiry;
        let session = self.of(client).expect("who is disconnected has a session");
        assert!(session.connected, "c{client} is disconnected twice");
        session.connected = false;
        if let Some(expiry) = expiry {
            session.expiry = expiry.min(most);
        }
        let expiry = session.expiry;
        session.expires = (expiry != u32::MAX).then(|| now + u64::from(expiry) * 1_000);
        for owed in session.owed.iter_mut().filter(|owed| owed.qos == Qos::AtMostOnce) {
            owed.soften();
        }
        if plainly {
            self.wills.retain(|will| will.client != client || will.due.is_some());
        }
        for will in self.wills.iter_mut().filter(|will| will.client == client && will.due.is_none()) {
            will.due = Some(now + u64::from(will.delay.min(expiry)) * 1_000);
        }
    }

    /// A session ended; `cleared` if its client asked for that, or the host did.
    pub(in super::super) fn session_ended(&mut self, now: u64, client: usize, cleared: bool) {
        let Some(session) = self.of(client) else {
            // it may have been stored, though it was to end with its connection
            let ghost = self.ghosts.iter().position(|ghost| *ghost == client);
            self.ghosts.remove(ghost.expect("a session ends once"));
            return;
        };
        assert!(!session.connected, "the session of c{client} ends while it is connected");
        let over = session.expires.is_some_and(|at| at <= now);
        assert!(over || cleared, "the session of c{client} ends too early");
        session.ended = true;
        session.subscriptions.clear();
        session.replays.clear();
        session.owed.iter_mut().for_each(Owed::soften);
        let name = session.name;
        for will in self.wills.iter_mut().filter(|will| will.client == client) {
            will.due = Some(will.due.map_or(now, |at| at.min(now)));
        }
        self.leave(name, None);
    }

    /// A session leaves a group, or all: what it had may come to others.
    pub(super) fn leave(&mut self, name: u64, text: Option<&'static str>) {
        if text.is_none() {
            self.give_back(name);
        }
        for shared in self.shared.iter_mut().filter(|shared| text.is_none_or(|text| shared.text == text)) {
            if shared.by.is_none() && shared.qos == Qos::ExactlyOnce {
                shared.must = false; // it may have been begun with, and stays there
            }
        }
        let Self { shared, sessions, .. } = self;
        for shared in shared.iter_mut() {
            let has_members = |session: &Session| session.subscriptions.iter().any(|sub| sub.filter == shared.text);
            shared.must &= sessions.iter().any(has_members);
        }
    }

    // --- subscriptions ---------------------------------------------------------------------------------------------

    /// A subscription was made or replaced.
    pub(in super::super) fn subscribed(&mut self, now: u64, client: usize, asked: &Asked, id: Option<u32>) {
        let order = self.count();
        let Asked { filter, qos, no_local, retain_as_published, handling } = *asked;
        let sub = Subscription { filter, qos, no_local, retain_as_published, id };
        let session = self.of(client).expect("a session that subscribes");
        let is_new = session.subscriptions.iter().all(|old| old.filter != filter);
        session.subscriptions.retain(|old| old.filter != filter);
        session.subscriptions.push(sub.clone());
        let most = self.shape.max_subscriptions;
        let session = self.of(client).expect("it was there");
        assert!(session.subscriptions.len() <= most, "c{client} has more subscriptions than it may");
        if is_shared(filter) {
            session.was.push(sub);
            if qos == Qos::AtMostOnce {
                // what is handed on to it may get lost
                self.shared.iter_mut().filter(|shared| shared.text == filter).for_each(|shared| shared.must = false);
            }
            return;
        }
        let wants = match handling {
            RetainHandling::Always => true,
            RetainHandling::IfNew => is_new,
            RetainHandling::Never => false,
        };
        if !wants {
            // what goes on goes on as it is now
            for owed in session.owed.iter_mut().filter(|owed| owed.replay == Some(filter) && owed.by.is_none()) {
                let kept = owed.kept;
                owed.also.push((kept.min(qos), id.into_iter().collect()));
            }
            for (replayed, _) in session.replays.iter_mut().filter(|(replayed, _)| replayed.filter == filter) {
                *replayed = sub.clone();
            }
            return;
        }
        self.end_replay(client, filter);
        let found: Vec<_> =
            self.retained.iter().filter(|kept| matches(filter, &kept.topic) && kept.is_there(now)).cloned().collect();
        for kept in found {
            self.owe_retained(client, &sub, &kept, order, Must::Yes);
        }
        if filter.contains(['+', '#'])
            && let Some(session) = self.of(client)
        {
            session.replayed = true;
            session.replays.push((sub, order));
        }
    }

    pub(super) fn owe_retained(&mut self, client: usize, sub: &Subscription, kept: &Kept, order: u64, must: Must) {
        if is_asked_each(sub.filter) && !may_receive(&kept.topic, false) {
            return;
        }
        // the policy is asked when the replay gets there
        let must = if is_asked_each(sub.filter) && !may_receive(&kept.topic, self.revoked) { Must::May } else { must };
        let name = self.count();
        let Some(session) = self.of(client) else { return };
        let mut owed = Owed {
            name,
            order,
            number: kept.number,
            topic: kept.topic.clone(),
            size: kept.size,
            qos: kept.qos.min(sub.qos),
            kept: kept.qos,
            retain: true,
            ids: sub.id.into_iter().collect(),
            expires: kept.expires,
            replay: Some(sub.filter),
            must,
            also: Vec::new(),
            by: None,
        };
        if session.max_packet.is_some_and(|most| owed.may_be_larger(most))
            || (owed.qos == Qos::AtMostOnce && !session.clear)
        {
            owed.soften();
        }
        session.replayed = true;
        session.owed.push(owed);
    }

    pub(super) fn end_replay(&mut self, client: usize, filter: &'static str) {
        let Some(session) = self.of(client) else { return };
        if filter.contains(['+', '#']) {
            session.replays.retain(|(sub, _)| sub.filter != filter);
            session.owed.iter_mut().filter(|owed| owed.replay == Some(filter)).for_each(Owed::soften);
        }
    }

    /// A subscription was ended; by the policy, unless the client `asked`.
    pub(in super::super) fn unsubscribed(&mut self, client: usize, filter: &str, asked: bool) {
        let order = self.count();
        let session = self.of(client).expect("a session that subscribed");
        let Some(at) = session.subscriptions.iter().position(|sub| sub.filter == filter) else {
            panic!("c{client} loses {filter}, which it did not have")
        };
        let sub = session.subscriptions.remove(at);
        session.left.push((sub.filter, order));
        let name = session.name;
        if !asked {
            self.judged_anew(Some(client), Some(sub.filter));
        }
        self.end_replay(client, sub.filter);
        if is_shared(sub.filter) {
            self.leave(name, Some(sub.filter));
        }
    }

    /// Rights were looked at anew: what waits may be taken back, and what nobody may have must not come any more to those who are away.
    pub(in super::super) fn judged_anew(&mut self, client: Option<usize>, denied: Option<&'static str>) {
        let revoked = self.revoked;
        for session in self.sessions.iter_mut().filter(|session| client.is_none_or(|client| session.client == client)) {
            session.rechecked |= session.connected;
            for owed in &mut session.owed {
                if !may_receive(&owed.topic, revoked) {
                    // what is on its way to somebody who is connected cannot be taken back; what was not read is judged when it is
                    // and a replay asks when its turn comes: the right may be back by then
                    let later = session.connected || session.unread || owed.replay.is_some();
                    owed.must = if later { owed.must.softened() } else { Must::Never };
                } else if denied.is_some_and(|filter| matches(filter, &owed.topic)) {
                    owed.soften();
                }
            }
        }
        for shared in &mut self.shared {
            shared.must &=
                may_receive(&shared.topic, revoked) && denied.is_none_or(|filter| !matches(filter, &shared.topic));
        }
    }
}
