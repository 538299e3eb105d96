//! What must hold at every moment.
use super::*;

impl Reference {
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
        assert_eq!(self.unkept + self.late, 0, "a retained message that does not fit is not reported");
    }

    /// **A queue holds no more than it may**; `unfinished` is what each client has and has not acknowledged.
    pub(in super::super) fn queues_keep_their_limits(&self, now: u64, unfinished: impl Fn(usize) -> usize) {
        for session in self.sessions.iter().filter(|session| !session.ended) {
            let kept = |owed: &&Owed| {
                let there = owed.must == Must::Yes && owed.expires.is_none_or(|at| at > now);
                there && owed.by.is_none() && owed.replay.is_none() && owed.qos != Qos::AtMostOnce
            };
            let waiting = (session.owed.iter().filter(kept).count()).saturating_sub(session.slack);
            let all = waiting + unfinished(session.client);
            assert!(
                waiting <= self.shape.queue_messages && (session.replayed || all <= self.shape.queue_messages),
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
            for owed in session.owed.iter_mut().filter(|owed| owed.replay.is_some() && owed.must == Must::May) {
                owed.must = Must::Never;
            }
        }
    }
}
