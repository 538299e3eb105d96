//! Requests whose decision was put off: each has a ticket, a deadline, and what it takes to go on.
use crate::core_state::Core;
use crate::deadlines::Due;
use crate::slots::Id;
use crate::wills::DueWill;
use crate::{Decision, Limit, LocalId, NewMessage, NewSubscription, Policy, Ticket};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU64;
use mqtt_session::codec::{ReasonCode, SubscribeOptions};
use mqtt_session::topic::TopicFilterBuf;
use mqtt_session::{AckToken, Instant, Publication, RequestToken};

/// What waits for a decision.
#[derive(Debug)]
pub(crate) enum Deferred {
    /// A CONNECT: may this client connect?
    Connect(Id),
    /// A step of an authentication.
    Authenticate(Id),
    /// A CONNECT: may its will, rewritten or not, be published?
    ConnectWill(Id, Option<Box<NewMessage>>),
    /// A PUBLISH; its acknowledgement is held.
    Publish { connection: Id, token: AckToken, held: Box<HeldMessage> },
    /// A SUBSCRIBE, up to one of its filters; its SUBACK is held.
    Subscribe { connection: Id, request: Box<HeldSubscribe> },
    /// An UNSUBSCRIBE, up to one of its filters; its UNSUBACK is held.
    Unsubscribe { connection: Id, request: Box<HeldUnsubscribe> },
    /// A will that fires, rewritten or not.
    Will(Box<DueWill>, Option<Box<NewMessage>>),
    /// A subscription that was granted once and is judged anew, rewritten or not; it stays meanwhile.
    Again { client: Id, filter: TopicFilterBuf, new: Option<Box<NewSubscription>> },
    /// A message of the embedding program.
    Local { from: Option<LocalId>, held: Box<HeldMessage> },
}

impl Deferred {
    /// Bytes of what a client has sent that are kept with it.
    fn bytes(&self) -> usize {
        match self {
            Self::Connect(_) | Self::Authenticate(_) | Self::ConnectWill(..) => 0, // bounded by `max_handshakes`
            Self::Publish { held, .. } | Self::Local { held, .. } => held.message.message.size(),
            Self::Subscribe { request, .. } => {
                request.rest.iter().map(|(filter, _)| filter.as_filter().as_bytes().len()).sum()
            }
            Self::Unsubscribe { request, .. } => {
                request.rest.iter().map(|filter| filter.as_filter().as_bytes().len()).sum()
            }
            Self::Will(due, _) => due.will.message.size(),
            Self::Again { filter, .. } => filter.as_filter().as_bytes().len(),
        }
    }
}

/// A message that waits for a decision.
#[derive(Debug)]
pub(crate) struct HeldMessage {
    pub(crate) message: NewMessage,
    /// Whether the policy put it in another's place.
    pub(crate) rewritten: bool,
}

impl HeldMessage {
    /// `publication`, or what the policy put in its place.
    pub(crate) fn new(now: Instant, publication: &Publication<'_>, new: Option<Box<NewMessage>>) -> Box<Self> {
        let rewritten = new.is_some();
        Box::new(Self { message: new.map_or_else(|| NewMessage::new(now, publication), |new| *new), rewritten })
    }
}

/// A SUBSCRIBE that was answered in part.
#[derive(Debug)]
pub(crate) struct HeldSubscribe {
    pub(crate) token: RequestToken,
    pub(crate) identifier: Option<u32>,
    /// The filters that are not decided, last first; the last one here is the one that waits.
    pub(crate) rest: Vec<(TopicFilterBuf, SubscribeOptions)>,
    /// What the policy put in the place of the one that waits.
    pub(crate) new: Option<Box<NewSubscription>>,
    /// One code for each filter that was decided.
    pub(crate) codes: Vec<ReasonCode>,
}

/// An UNSUBSCRIBE that was answered in part.
#[derive(Debug)]
pub(crate) struct HeldUnsubscribe {
    pub(crate) token: RequestToken,
    /// The filters that are not decided, last first; the last one here is the one that waits.
    pub(crate) rest: Vec<TopicFilterBuf>,
    /// One code for each filter that was decided.
    pub(crate) codes: Vec<ReasonCode>,
}

/// A deferred request and when it counts as denied.
#[derive(Debug)]
pub(crate) struct Entry {
    deferred: Deferred,
    deadline: Instant,
}

impl Entry {
    pub(crate) fn deferred(&self) -> &Deferred {
        &self.deferred
    }
}

impl<P: Policy> Core<P> {
    /// The ticket of the next request: no two have the same.
    pub(crate) fn next_ticket(&mut self) -> Ticket {
        next_ticket(&mut self.last_ticket)
    }

    /// Keeps the request that was asked about last, and pauses the connection it came from, if any, and no other.
    pub(crate) fn defer(&mut self, now: Instant, deferred: Deferred, from: Option<Id>) {
        let (serial, deadline) = (self.last_ticket, now + self.config.decision_timeout);
        let bytes = deferred.bytes();
        if bytes > 0 && !self.may_hold(bytes) {
            self.limited(Limit::HeldBytes, None, None);
            // before the call under way ends: here, one filter after the other would recurse
            self.over_budget.push_back(serial);
        }
        self.hold(bytes);
        self.deferred.insert(serial, Entry { deferred, deadline });
        self.deadlines.set(deadline, Due::Ticket(serial));
        if let Some(connection) = from
            && let Some(conn) = self.connections.get_mut(connection)
        {
            conn.ticket = NonZeroU64::new(serial);
            self.pause(now, connection, |paused| paused.policy = true);
        }
    }

    /// Forgets the request a closing connection waited for.
    pub(crate) fn forget_ticket(&mut self, serial: u64) {
        if let Some(entry) = self.deferred.remove(&serial) {
            self.unhold(entry.deferred.bytes());
            self.deadlines.clear(entry.deadline, Due::Ticket(serial));
        }
    }

    /// Denies what there was no room to keep.
    pub(crate) fn deny_over_budget(&mut self, now: Instant) {
        while let Some(serial) = self.over_budget.pop_front() {
            self.resume(now, serial, Decision::Deny(ReasonCode::QUOTA_EXCEEDED));
        }
    }

    /// Goes on with what waited. A stale ticket does nothing; deferring again counts as denying.
    pub(crate) fn resume(&mut self, now: Instant, serial: u64, decision: Decision) {
        let Some(entry) = self.deferred.remove(&serial) else { return };
        self.unhold(entry.deferred.bytes());
        self.deadlines.clear(entry.deadline, Due::Ticket(serial));
        match entry.deferred {
            Deferred::Connect(connection) => {
                self.end_wait(now, connection);
                self.connect_decided(now, connection, decision);
            }
            Deferred::Authenticate(connection) => {
                self.end_wait(now, connection);
                self.auth_decided(now, connection, decision);
            }
            Deferred::ConnectWill(connection, new) => {
                self.end_wait(now, connection);
                self.connect_will_resumed(now, connection, new, decision);
            }
            Deferred::Publish { connection, token, held } => {
                self.end_wait(now, connection);
                self.publish_resumed(now, connection, token, *held, decision);
            }
            Deferred::Subscribe { connection, request } => {
                self.end_wait(now, connection);
                self.subscribe_resumed(now, connection, *request, decision);
            }
            Deferred::Unsubscribe { connection, request } => {
                self.end_wait(now, connection);
                self.unsubscribe_resumed(now, connection, *request, decision);
            }
            Deferred::Will(due, new) => self.will_resumed(now, due, new, decision),
            Deferred::Again { client, filter, new } => self.again_resumed(now, client, filter, new, decision),
            Deferred::Local { from, held } => self.local_resumed(now, from, *held, decision),
        }
    }

    fn end_wait(&mut self, now: Instant, connection: Id) {
        if let Some(conn) = self.connections.get_mut(connection) {
            conn.ticket = None;
        }
        self.unpause(now, connection, |paused| paused.policy = false);
    }
}

/// The ticket after `last`.
pub(crate) fn next_ticket(last: &mut u64) -> Ticket {
    *last = last.wrapping_add(1);
    Ticket(*last)
}
