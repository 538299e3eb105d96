//! What a crash leaves.
use super::*;

/// What clients know, whatever becomes of the broker.
#[derive(Default)]
pub(in super::super) struct Known {
    /// The messages that were acknowledged to their publishers.
    pub(in super::super) acknowledged: BTreeSet<u32>,
    /// Sessions that a CONNACK has told of.
    pub(in super::super) told: BTreeSet<u64>,
    /// Subscriptions that a SUBACK has told of, and those that an UNSUBACK has told to be gone.
    pub(in super::super) granted: BTreeSet<(usize, &'static str)>,
    pub(in super::super) gone: BTreeSet<(usize, &'static str)>,
}

impl Reference {
    /// The process died at `now`: this is what was stored, `before` is how things stood.
    ///
    /// **Nothing is lost that somebody was told of**: sessions, subscriptions, messages that were acknowledged, retained ones among them.
    pub(in super::super) fn begin_anew(&mut self, now: u64, before: &Self, known: &Known) {
        self.nothing_told_is_lost(before, known);
        self.next = before.next;
        self.retained.retain(|kept| kept.is_there(now));
        (self.revoked, self.unkept, self.late) = (before.revoked, 0, 0);
        // that something came by a group is stored with the membership: of who has left it nobody knows any more that it is for others
        for session in before.sessions.iter().filter(|session| !session.ended) {
            let has_left = |text| {
                let is_of = |sub: &Subscription| sub.filter == text;
                session.was.iter().any(is_of) && !session.subscriptions.iter().any(is_of)
            };
            self.shared.iter_mut().filter(|shared| has_left(shared.text)).for_each(|shared| shared.must = false);
        }
        for shared in &mut self.shared {
            if let Some(was) = before.shared.iter().find(|was| was.name == shared.name) {
                shared.must &= was.must;
            }
        }
        self.remember(before);
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
            for owed in session.owed.iter_mut().filter(|owed| owed.replay.is_some() || owed.qos == Qos::AtMostOnce) {
                owed.soften();
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

    pub(super) fn nothing_told_is_lost(&self, before: &Self, known: &Known) {
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
            for owed in
                was.owed.iter().filter(|owed| owed.must == Must::Yes && owed.by.is_none() && owed.replay.is_none())
            {
                let told = owed.qos != Qos::AtMostOnce && known.acknowledged.contains(&as_sent(owed.number));
                let is_there = is.owed.iter().any(|other| other.name == owed.name);
                let dropped = was.slack > is.slack; // nobody knows which
                assert!(!told || is_there || dropped, "c{} will never get {owed:?}", was.client);
            }
        }
        for was in &before.retained {
            let told = known.acknowledged.contains(&as_sent(was.number));
            let is_there = self.retained.iter().any(|is| is.topic == was.topic && is.number == was.number);
            assert!(!told || is_there, "it is not retained any more: {was:?}");
        }
        for was in before.shared.iter().filter(|was| was.must && was.by.is_none()) {
            // one that had it and is gone may not have been stored
            let mut members =
                before.sessions.iter().filter(|session| session.was.iter().any(|sub| sub.filter == was.text));
            let told = known.acknowledged.contains(&as_sent(was.number)) && members.all(|member| member.expiry > 0);
            let is_there = self.shared.iter().any(|is| is.name == was.name);
            let dropped = before.slack > self.slack;
            assert!(!told || is_there || dropped, "the group will never get {was:?}");
        }
    }
}
