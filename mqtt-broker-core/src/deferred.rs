//! Requests whose decision was put off: each has a ticket, a deadline, and what it takes to go on.
use crate::core_state::Core;
use crate::deadlines::Due;
use crate::slots::Id;
use crate::wills::DueWill;
use crate::{Decision, LocalId, Policy, Ticket};
use alloc::boxed::Box;
use alloc::vec::Vec;
use mqtt_session::codec::{Qos, ReasonCode, SubscribeOptions};
use mqtt_session::topic::TopicFilterBuf;
use mqtt_session::{AckToken, Instant, Message, RequestToken};

/// What waits for a decision.
#[derive(Debug)]
pub(crate) enum Deferred {
    /// A CONNECT: may this client connect?
    Connect(Id),
    /// A CONNECT: may its will be published?
    ConnectWill(Id),
    /// A PUBLISH; its acknowledgement is held.
    Publish { connection: Id, token: AckToken, message: Message, qos: Qos, retain: bool },
    /// A SUBSCRIBE, up to one of its filters; its SUBACK is held.
    Subscribe { connection: Id, request: Box<HeldSubscribe> },
    /// An UNSUBSCRIBE, up to one of its filters; its UNSUBACK is held.
    Unsubscribe { connection: Id, request: Box<HeldUnsubscribe> },
    /// A will that fires.
    Will(Box<DueWill>),
    /// A message of the embedding program.
    Local { from: Option<LocalId>, message: Message, qos: Qos, retain: bool },
}

/// A SUBSCRIBE that was answered in part.
#[derive(Debug)]
pub(crate) struct HeldSubscribe {
    pub(crate) token: RequestToken,
    pub(crate) identifier: Option<u32>,
    /// The filters that are not decided, last first; the last one here is the one that waits.
    pub(crate) rest: Vec<(TopicFilterBuf, SubscribeOptions)>,
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

impl<P: Policy> Core<P> {
    /// The ticket of the next request: no two have the same.
    pub(crate) fn next_ticket(&mut self) -> Ticket {
        self.last_ticket = self.last_ticket.wrapping_add(1);
        Ticket(self.last_ticket)
    }

    /// Keeps the request that was asked about last, and pauses the connection it came from, if any, and no other.
    pub(crate) fn defer(&mut self, now: Instant, deferred: Deferred, from: Option<Id>) {
        let (serial, deadline) = (self.last_ticket, now + self.config.decision_timeout);
        self.deferred.insert(serial, Entry { deferred, deadline });
        self.deadlines.set(deadline, Due::Ticket(serial));
        if let Some(connection) = from
            && let Some(conn) = self.connections.get_mut(connection)
        {
            conn.ticket = Some(serial);
            self.pause(now, connection, |paused| paused.policy = true);
        }
    }

    /// Forgets the request a closing connection waited for.
    pub(crate) fn forget_ticket(&mut self, serial: u64) {
        if let Some(entry) = self.deferred.remove(&serial) {
            self.deadlines.clear(entry.deadline, Due::Ticket(serial));
        }
    }

    /// Goes on with what waited. A stale ticket does nothing; deferring again counts as denying.
    pub(crate) fn resume(&mut self, now: Instant, serial: u64, decision: Decision) {
        let Some(entry) = self.deferred.remove(&serial) else { return };
        self.deadlines.clear(entry.deadline, Due::Ticket(serial));
        let verdict = match decision {
            Decision::Allow => Ok(()),
            Decision::Deny(reason) => Err(reason),
            Decision::Defer(_) => Err(ReasonCode::NOT_AUTHORIZED),
        };
        match entry.deferred {
            Deferred::Connect(connection) => {
                self.end_wait(now, connection);
                self.connect_decided(now, connection, verdict);
            }
            Deferred::ConnectWill(connection) => {
                self.end_wait(now, connection);
                self.will_decided(now, connection, verdict);
            }
            Deferred::Publish { connection, token, message, qos, retain } => {
                self.end_wait(now, connection);
                self.publish_decided(now, connection, token, message, qos, retain, verdict);
            }
            Deferred::Subscribe { connection, request } => {
                self.end_wait(now, connection);
                self.subscribe_decided(now, connection, *request, verdict);
            }
            Deferred::Unsubscribe { connection, request } => {
                self.end_wait(now, connection);
                self.unsubscribe_decided(now, connection, *request, verdict);
            }
            Deferred::Will(due) => match verdict {
                Ok(()) => self.route_will(now, &due),
                Err(reason) => self.dropped(Some(&due.client), crate::Drop::Denied(reason)),
            },
            Deferred::Local { from, message, qos, retain } => match verdict {
                Ok(()) => {
                    let origin = self.local_origin(from);
                    self.route_message(now, origin, None, message, qos, retain);
                }
                Err(reason) => self.dropped(None, crate::Drop::Denied(reason)),
            },
        }
    }

    fn end_wait(&mut self, now: Instant, connection: Id) {
        if let Some(conn) = self.connections.get_mut(connection) {
            conn.ticket = None;
        }
        self.unpause(now, connection, |paused| paused.policy = false);
    }
}
