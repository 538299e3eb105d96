//! The naive reference broker: everything lies in vectors and is looked through from end to end, so that it is plainly right.
//!
//! It is told what the broker under test says that it does, in that order, and knows what that must lead to: who is owed which
//! message, what is retained, which will is due, which session is there. It keeps what it was told by value, so that it can be put
//! back to how it was at an earlier moment, as a crash does.
use super::keeper::{Message, is_asked_each, may_receive, plain};
use super::plan::{Asked, Shape};
use mqtt_broker_core::codec::{Qos, RetainHandling};
use mqtt_broker_core::{Overflow, Overlap};
use std::collections::{BTreeMap, BTreeSet};

/// How long a policy may take, and a moment more.
const DECISION: u64 = 10_001;

#[derive(Clone)]
pub(super) struct Reference {
    shape: Shape,
    pub(super) revoked: bool,
    pub(super) sessions: Vec<Session>,
    pub(super) retained: Vec<Kept>,
    pub(super) shared: Vec<Shared>,
    pub(super) wills: Vec<Will>,
    /// How often each message was routed, and to how many the last time.
    pub(super) routed: BTreeMap<u32, (u32, usize)>,
    /// Messages that were not retained for want of room, and of which nobody has said so yet.
    pub(super) unkept: usize,
    /// Copies for groups that may have got lost in ways that the broker has told.
    slack: usize,
    /// Whose session was to end with the process, and may have to end anew.
    ghosts: Vec<usize>,
    /// Counts up: order of all things, and their names.
    pub(super) next: u64,
}

#[derive(Clone)]
pub(super) struct Session {
    pub(super) name: u64,
    pub(super) client: usize,
    pub(super) connected: bool,
    /// All its connection was given to send was taken at once.
    pub(super) clear: bool,
    pub(super) max_packet: Option<u32>,
    pub(super) expiry: u32,
    pub(super) expires: Option<u64>,
    pub(super) ended: bool,
    /// It lies in the store: nobody has come for it since the last crash.
    pub(super) unread: bool,
    /// What waits for it is judged anew when its client comes back.
    rechecked: bool,
    pub(super) subscriptions: Vec<Subscription>,
    /// All memberships of groups that it has or had.
    was: Vec<Subscription>,
    pub(super) owed: Vec<Owed>,
    replays: Vec<(Subscription, u64)>,
    /// Messages that were dropped, nobody knows which.
    slack: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Subscription {
    pub(super) filter: &'static str,
    pub(super) qos: Qos,
    no_local: bool,
    retain_as_published: bool,
    pub(super) id: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Must {
    Yes,
    /// It may come, and need not.
    May,
    /// It must not.
    Never,
}

/// A copy for a session.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    pub(super) name: u64,
    /// Its place in the order; all of one replay have the same.
    order: u64,
    pub(super) number: u32,
    topic: String,
    pub(super) qos: Qos,
    retain: bool,
    ids: Vec<u32>,
    pub(super) expires: Option<u64>,
    /// The filter, if it is a retained one for a new subscription.
    replay: Option<&'static str>,
    must: Must,
    /// A replay goes on at the QoS of what has replaced its subscription, once that is judged anew.
    may_be_lower: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) topic: String,
    pub(super) number: u32,
    pub(super) qos: Qos,
    pub(super) expires: Option<u64>,
}

/// A message for a group.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    name: u64,
    text: &'static str,
    number: u32,
    topic: String,
    qos: Qos,
    retain: bool,
    expires: Option<u64>,
    must: bool,
    /// The session that has it.
    holder: Option<u64>,
    /// Its holder has acknowledged it, or has begun with it at QoS 2.
    done: bool,
    /// The holder's session ended: it may come to somebody else.
    again: bool,
    /// What it got.
    got: Option<Was>,
}

/// What somebody got for a group.
#[derive(Clone, Debug)]
struct Was {
    number: u32,
    topic: String,
    qos: Qos,
    retain: bool,
    ids: Option<Vec<u32>>,
}

impl Was {
    fn new(got: &Got<'_>) -> Self {
        let Got { number, topic, qos, retain, ref ids, .. } = *got;
        Self { number, topic: topic.to_owned(), qos, retain, ids: ids.clone() }
    }
    fn got(&self) -> Got<'_> {
        let Self { number, ref topic, qos, retain, ref ids } = *self;
        Got {
            number,
            topic,
            qos,
            retain,
            ids: ids.clone(),
            dup: false,
            expiry: None,
            clear: false,
            since: 0,
            behind: 0,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Will {
    pub(super) client: usize,
    pub(super) number: u32,
    pub(super) topic: &'static str,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) size: usize,
    delay: u32,
    pub(super) due: Option<u64>,
}

/// What a client got.
#[derive(Debug)]
pub(super) struct Got<'a> {
    pub(super) number: u32,
    pub(super) topic: &'a str,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) dup: bool,
    /// Sorted; `None` before 5.0.
    pub(super) ids: Option<Vec<u32>>,
    /// `None` before 5.0.
    pub(super) expiry: Option<Option<u32>>,
    /// What was given to the connection was taken at once.
    pub(super) clear: bool,
    /// The order of things when the connection was made.
    pub(super) since: u64,
    /// The order of what came last.
    pub(super) behind: u64,
}

/// Which copy it was.
pub(super) struct Found {
    pub(super) name: u64,
    /// Its place in the order of its session, if it has one.
    pub(super) order: Option<u64>,
    pub(super) by_group: bool,
}

/// Whether a filter matches a name, level by level.
pub(super) fn matches(filter: &str, name: &str) -> bool {
    let (filter, name): (Vec<_>, Vec<_>) = (plain(filter).split('/').collect(), name.split('/').collect());
    for (at, level) in filter.iter().enumerate() {
        match *level {
            "#" => return true,
            "+" if at < name.len() => {}
            level if name.get(at) == Some(&level) => {}
            _ => return false,
        }
    }
    filter.len() == name.len()
}

fn is_shared(filter: &str) -> bool {
    filter.starts_with("$share/")
}

impl Reference {
    pub(super) fn new(shape: &Shape) -> Self {
        Self {
            shape: shape.clone(),
            revoked: false,
            sessions: Vec::new(),
            retained: Vec::new(),
            shared: Vec::new(),
            wills: Vec::new(),
            routed: BTreeMap::new(),
            unkept: 0,
            slack: 0,
            ghosts: Vec::new(),
            next: 1,
        }
    }

    fn count(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The session of a client, if it has one.
    pub(super) fn of(&mut self, client: usize) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.client == client && !session.ended)
    }

    pub(super) fn named(&mut self, name: u64) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.name == name)
    }

    // --- clients come and go ---------------------------------------------------------------------------------------

    /// A client was let in; the name of its session. **Session present is exactly right.**
    pub(super) fn connected(
        &mut self,
        now: u64,
        client: usize,
        connect: &super::plan::Connect,
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
                owed: Vec::new(),
                replays: Vec::new(),
                slack: 0,
            });
        }
        let session = self.of(client).expect("it was just made");
        (session.connected, session.clear, session.expires) = (true, true, None);
        (session.unread, session.rechecked) = (false, false);
        (session.expiry, session.max_packet) = (expiry, connect.max_packet);
        if connect.max_packet.is_some() {
            session.owed.iter_mut().for_each(Owed::soften);
        }
        session.name
    }

    /// A client's connection ended; `plainly` with a goodbye that takes the will away.
    pub(super) fn disconnected(&mut self, now: u64, client: usize, plainly: bool, expiry: Option<u32>) {
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
    pub(super) fn session_ended(&mut self, now: u64, client: usize, cleared: bool) {
        let Some(session) = self.of(client) else {
            // it may have been stored, though it was to end with its connection
            assert!(self.ghosts.contains(&client), "a session ends once");
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
    fn leave(&mut self, name: u64, text: Option<&'static str>) {
        let ended = text.is_none();
        for shared in self.shared.iter_mut().filter(|shared| text.is_none_or(|text| shared.text == text)) {
            if shared.holder == Some(name) && !shared.done && ended {
                shared.again = true;
            }
            if shared.holder.is_none() && shared.qos == Qos::ExactlyOnce {
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
    pub(super) fn subscribed(&mut self, now: u64, client: usize, asked: &Asked, id: Option<u32>) {
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
            return;
        }
        let wants = match handling {
            RetainHandling::Always => true,
            RetainHandling::IfNew => is_new,
            RetainHandling::Never => false,
        };
        if !wants {
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
            session.replays.push((sub, order));
        }
    }

    fn owe_retained(&mut self, client: usize, sub: &Subscription, kept: &Kept, order: u64, must: Must) {
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
            qos: kept.qos.min(sub.qos),
            retain: true,
            ids: sub.id.into_iter().collect(),
            expires: kept.expires,
            replay: Some(sub.filter),
            must,
            may_be_lower: false,
        };
        if session.max_packet.is_some() || (owed.qos == Qos::AtMostOnce && !session.clear) {
            owed.soften();
        }
        session.owed.push(owed);
    }

    fn end_replay(&mut self, client: usize, filter: &'static str) {
        let Some(session) = self.of(client) else { return };
        if filter.contains(['+', '#']) {
            session.replays.retain(|(sub, _)| sub.filter != filter);
            session.owed.iter_mut().filter(|owed| owed.replay == Some(filter)).for_each(Owed::soften);
        }
    }

    /// A subscription was ended; by the policy, unless the client `asked`.
    pub(super) fn unsubscribed(&mut self, client: usize, filter: &str, asked: bool) {
        let session = self.of(client).expect("a session that subscribed");
        let Some(at) = session.subscriptions.iter().position(|sub| sub.filter == filter) else {
            panic!("c{client} loses {filter}, which it did not have")
        };
        let sub = session.subscriptions.remove(at);
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
    pub(super) fn judged_anew(&mut self, client: Option<usize>, denied: Option<&'static str>) {
        let revoked = self.revoked;
        for session in self.sessions.iter_mut().filter(|session| client.is_none_or(|client| session.client == client)) {
            session.rechecked |= session.connected;
            for owed in &mut session.owed {
                owed.may_be_lower |= owed.replay.is_some();
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

    // --- messages --------------------------------------------------------------------------------------------------

    /// A message is routed: who is owed it, and what is retained. `client`: who published it, for No Local.
    pub(super) fn routed(&mut self, now: u64, message: &Message, client: Option<usize>) {
        let Message { number, ref topic, qos, retain, expiry, .. } = *message;
        // of a message from when it came, of a will from when it is published
        let from = if message.is_will { now } else { message.at };
        let expires = expiry.map(|seconds| from + u64::from(seconds) * 1_000);
        if retain {
            self.retain(now, message, expires);
        }
        let order = self.count();
        let mut matched = 0;
        for at in 0..self.sessions.len() {
            let session = &self.sessions[at];
            let mine: Vec<_> = session
                .subscriptions
                .iter()
                .filter(|sub| !is_shared(sub.filter) && matches(sub.filter, topic))
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
                if subs.iter().all(|sub| is_asked_each(sub.filter)) && !may_receive(topic, self.revoked) {
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
                        qos: qos.min(most),
                        retain,
                        ids,
                        expires,
                        replay: None,
                        // who is judged anew on its next connection is judged with what came meanwhile
                        must: if may_receive(topic, self.revoked) { Must::Yes } else { Must::May },
                        may_be_lower: false,
                    },
                );
            }
        }
        matched += self.share(message, expires);
        let entry = self.routed.entry(number).or_default();
        *entry = (entry.0 + 1, matched);
    }

    fn owe(&mut self, at: usize, mut owed: Owed) {
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
        if session.connected && session.max_packet.is_some() {
            owed.soften();
        }
        // the policy says no to it, though its subscription may have all
        if session.rechecked && !may_receive(&owed.topic, false) {
            owed.soften();
        }
        session.owed.push(owed);
    }

    /// One of each group; how many groups.
    fn share(&mut self, message: &Message, expires: Option<u64>) -> usize {
        let mut texts: Vec<&'static str> = Vec::new();
        for sub in self.sessions.iter().flat_map(|session| &session.subscriptions) {
            if is_shared(sub.filter) && matches(sub.filter, &message.topic) && !texts.contains(&sub.filter) {
                texts.push(sub.filter);
            }
        }
        for &text in &texts {
            let members = self.sessions.iter().flat_map(|session| &session.subscriptions);
            let all_keep = members.filter(|sub| sub.filter == text).all(|sub| sub.qos != Qos::AtMostOnce);
            let rechecked =
                self.sessions.iter().any(|session| session.rechecked) && !may_receive(&message.topic, false);
            let name = self.count();
            self.shared.push(Shared {
                name,
                text,
                number: message.number,
                topic: message.topic.clone(),
                qos: message.qos,
                retain: message.retain,
                expires,
                // empty payloads cannot be told apart
                must: all_keep && !rechecked && message.number != 0 && message.qos != Qos::AtMostOnce,
                holder: None,
                done: false,
                again: false,
                got: None,
            });
        }
        texts.len()
    }

    fn retain(&mut self, now: u64, message: &Message, expires: Option<u64>) {
        // what is over makes room first: deadlines come before what is read
        self.retained.retain(|kept| kept.expires.is_none_or(|at| at > now));
        self.retained.retain(|kept| kept.topic != message.topic);
        // a replay that has not got there yet will not find the old one
        for session in &mut self.sessions {
            for owed in session.owed.iter_mut().filter(|owed| owed.topic == message.topic) {
                if owed.replay.is_some_and(|filter| filter.contains(['+', '#'])) {
                    owed.soften();
                }
            }
        }
        if message.size == 0 {
            return;
        }
        if self.retained.len() >= self.shape.max_retained {
            self.unkept += 1;
            return;
        }
        let kept = Kept { topic: message.topic.clone(), number: message.number, qos: message.qos, expires };
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
    pub(super) fn will_fired(&mut self, now: u64, message: &Message) -> usize {
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
    pub(super) fn will_denied(&mut self, now: u64, number: u32) {
        self.wills.retain(|will| will.number != number || will.due.is_none_or(|at| at > now));
    }

    // --- what the broker says that it dropped ----------------------------------------------------------------------

    /// A queue is full. **Only if it is**; `unfinished` is what its client has and has not acknowledged.
    pub(super) fn dropped_full(&mut self, client: usize, unfinished: usize) {
        let Shape { overflow, overlap, queue_messages, max_queued_bytes, .. } = self.shape.clone();
        let of_groups = self.shared.iter().filter(|shared| !shared.done).count();
        self.slack += 1;
        if self.ghosts.contains(&client) && self.of(client).is_none() {
            return;
        }
        let session = self.of(client).expect("a queue is somebody's");
        let waiting = session.owed.len() + unfinished + of_groups;
        assert!(
            waiting > queue_messages || max_queued_bytes < 1 << 20,
            "the queue of c{client} is full with {waiting} of {queue_messages}"
        );
        let newest = matches!(overflow, Overflow::DropNewest | Overflow::Disconnect)
            && overlap == Overlap::Merge
            && session.was.is_empty();
        match session.owed.last_mut().filter(|_| newest) {
            Some(owed) => owed.must = Must::Never,
            None => session.slack += 1,
        }
    }

    /// Something had expired. **Only if it had.**
    pub(super) fn dropped_expired(&mut self, now: u64, client: Option<usize>) {
        let over = |expires: Option<u64>| expires.is_some_and(|at| at <= now);
        let of_groups = self.shared.iter().any(|shared| over(shared.expires));
        let own = client.is_some_and(|client| {
            self.sessions
                .iter()
                .any(|session| session.client == client && session.owed.iter().any(|owed| over(owed.expires)))
        });
        assert!(of_groups || own, "nothing of c{client:?} had expired");
    }

    /// Something is too large. **Only for who said so.**
    pub(super) fn dropped_too_large(&mut self, client: usize) {
        self.slack += 1;
        let session = self.of(client).expect("a client that is connected");
        assert!(session.max_packet.is_some(), "nothing is too large for c{client}");
    }

    /// A group has nobody for a message.
    pub(super) fn dropped_of_group(&mut self) {
        self.slack += 1;
    }

    // --- what clients get ------------------------------------------------------------------------------------------

    /// A client got a message it had not got before. **It was owed that, once, as it was, and in time.**
    pub(super) fn received(&mut self, now: u64, session: u64, got: &Got<'_>) -> Found {
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

    fn received_of_group(&mut self, now: u64, at: usize, got: &Got<'_>) -> Found {
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
    fn fits(&self, at: usize, session: u64, got: &Got<'_>) -> bool {
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
    pub(super) fn acknowledged(&mut self, session: u64, number: u32, arrived: bool) {
        let is_it = |shared: &&mut Shared| shared.holder == Some(session) && shared.number == number && !shared.done;
        if let Some(shared) = self.shared.iter_mut().find(is_it) {
            (shared.done, shared.must) = (arrived, false);
        }
    }

    // --- what must hold at every moment ----------------------------------------------------------------------------

    /// What is due is done. **Wills fire and sessions end when they are due.**
    pub(super) fn nothing_is_overdue(&mut self, now: u64) {
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
    pub(super) fn queues_keep_their_limits(&self, now: u64, unfinished: impl Fn(usize) -> usize) {
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
    pub(super) fn caught_up(&mut self, client: usize) {
        if let Some(session) = self.of(client) {
            session.replays.clear();
            session.owed.retain(|owed| owed.replay.is_none() || owed.must == Must::Yes);
        }
    }

    /// Everybody was there and took everything. **What was owed has come: at least once at QoS 1, exactly once at QoS 2.**
    pub(super) fn everything_has_come(&self, now: u64) {
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

// --- crashes -----------------------------------------------------------------------------------------------------------

/// What clients know, whatever becomes of the broker.
#[derive(Default)]
pub(super) struct Known {
    /// The copies of QoS 1 and 2 that came, by name.
    pub(super) received: BTreeSet<u64>,
    /// The messages that were acknowledged to their publishers.
    pub(super) acknowledged: BTreeSet<u32>,
    /// Sessions that a CONNACK has told of.
    pub(super) told: BTreeSet<u64>,
    /// Subscriptions that a SUBACK has told of, and those that an UNSUBACK has told to be gone.
    pub(super) granted: BTreeSet<(usize, &'static str)>,
    pub(super) gone: BTreeSet<(usize, &'static str)>,
}

impl Reference {
    /// The process died at `now`: this is what was stored, `before` is how things stood.
    ///
    /// **Nothing is lost that somebody was told of**: sessions, subscriptions, messages that were acknowledged, retained ones among them.
    pub(super) fn begin_anew(&mut self, now: u64, before: &Self, known: &Known) {
        self.nothing_told_is_lost(before, known);
        self.next = before.next;
        self.retained.retain(|kept| kept.is_there(now));
        (self.revoked, self.unkept) = (before.revoked, 0);
        for shared in &mut self.shared {
            let Some(was) = before.shared.iter().find(|was| was.name == shared.name) else { continue };
            *shared = was.clone();
            if shared.holder.is_some() {
                // what is not known to be acknowledged may come again, to whoever it was for
                (shared.again, shared.done, shared.must) =
                    (true, shared.done && shared.got.as_ref().is_some_and(|got| got.qos == Qos::ExactlyOnce), false);
            }
        }
        let (mut gone, mut groups) = (Vec::new(), Vec::new());
        for session in &mut self.sessions {
            if !session.ended && session.connected {
                session.connected = false;
                session.expires = (session.expiry != u32::MAX).then(|| now + u64::from(session.expiry) * 1_000);
                if session.expiry == 0 {
                    session.ended = true;
                    groups.extend(session.subscriptions.drain(..).map(|sub| sub.filter));
                    gone.push((session.name, session.client));
                }
                for will in self.wills.iter_mut().filter(|will| will.client == session.client && will.due.is_none()) {
                    will.due = Some(now + u64::from(will.delay.min(session.expiry)) * 1_000);
                }
            }
            session.unread = true;
            session.replays.clear();
            session.owed.retain(|owed| owed.qos != Qos::ExactlyOnce || !known.received.contains(&owed.name));
            for owed in &mut session.owed {
                if owed.replay.is_some() || owed.qos == Qos::AtMostOnce || known.received.contains(&owed.name) {
                    owed.soften();
                }
            }
        }
        // what a group had given to a member that is not stored went with it
        for shared in self.shared.iter_mut().filter(|shared| groups.contains(&shared.text)) {
            shared.must = false;
        }
        for (name, client) in gone {
            self.ghosts.push(client);
            self.leave(name, None);
        }
        // one that waits for the policy has its time anew
        for will in self.wills.iter_mut().filter(|will| will.due.is_some_and(|at| at < now)) {
            will.due = Some(now);
        }
    }

    fn nothing_told_is_lost(&self, before: &Self, known: &Known) {
        let stays = |session: &&Session| !session.ended && session.expiry > 0;
        for was in before.sessions.iter().filter(stays) {
            let told = known.told.contains(&was.name);
            let Some(is) = self.sessions.iter().find(|is| is.name == was.name && !is.ended) else {
                assert!(!told, "the session of c{} is lost", was.client);
                continue;
            };
            for sub in &was.subscriptions {
                let told = known.granted.contains(&(was.client, sub.filter));
                assert!(!told || is.subscriptions.contains(sub), "c{} has lost {sub:?}", was.client);
            }
            for sub in &is.subscriptions {
                let told = known.gone.contains(&(was.client, sub.filter));
                assert!(!told, "c{} has {sub:?} again", was.client);
            }
            for owed in was.owed.iter().filter(|owed| owed.must == Must::Yes && owed.replay.is_none()) {
                let told = owed.qos != Qos::AtMostOnce && known.acknowledged.contains(&owed.number);
                let is_there = is.owed.iter().any(|other| other.name == owed.name);
                let dropped = was.slack > is.slack; // nobody knows which
                assert!(!told || is_there || dropped, "c{} will never get {owed:?}", was.client);
            }
        }
        for was in &before.retained {
            let told = known.acknowledged.contains(&was.number);
            let is_there = self.retained.iter().any(|is| is.topic == was.topic && is.number == was.number);
            assert!(!told || is_there, "it is not retained any more: {was:?}");
        }
        for was in before.shared.iter().filter(|was| was.must && was.holder.is_none()) {
            let mut members =
                before.sessions.iter().filter(|session| session.subscriptions.iter().any(|sub| sub.filter == was.text));
            let told = known.acknowledged.contains(&was.number) && members.all(|member| member.expiry > 0);
            let is_there = self.shared.iter().any(|is| is.name == was.name);
            let dropped = before.slack > self.slack;
            assert!(!told || is_there || dropped, "the group will never get {was:?}");
        }
    }
}

/// **Nothing comes that has expired, and the rest of its time comes with it.**
fn in_time(now: u64, expires: Option<u64>, got: &Got<'_>) {
    // one empty payload is like another
    assert!(got.number == 0 || is_in_time(now, expires, got), "expires at {expires:?}, now is {now}: {got:?}");
}

fn is_in_time(now: u64, expires: Option<u64>, got: &Got<'_>) -> bool {
    // what lay in a socket for a time, or was sent before, is as it was then
    if !got.clear || got.dup {
        return true;
    }
    let as_told = match (got.expiry, expires) {
        (None, _) | (Some(None), None) => true,
        (Some(Some(told)), Some(at)) => (u64::from(told) * 1_000).abs_diff(at.saturating_sub(now)) < 1_000,
        _ => false,
    };
    as_told && expires.is_none_or(|at| at > now)
}

impl Shared {
    /// Nobody has it, or who had it has lost it.
    fn is_free(&self) -> bool {
        self.holder.is_none() || (self.again && !self.done)
    }
}

impl Kept {
    fn is_there(&self, now: u64) -> bool {
        self.expires.is_none_or(|at| at > now)
    }
}

impl Must {
    fn softened(self) -> Self {
        if self == Self::Yes { Self::May } else { self }
    }
}

impl Owed {
    fn soften(&mut self) {
        self.must = self.must.softened();
    }
}
