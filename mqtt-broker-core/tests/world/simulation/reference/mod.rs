//! The naive reference broker: everything lies in vectors and is looked through from end to end, so that it is plainly right.
//!
//! It is told what the broker under test says that it does, in that order, and knows what that must lead to: who is owed which
//! message, what is retained, which will is due, which session is there. It keeps what it was told by value, so that it can be put
//! back to how it was at an earlier moment, as a crash does.
use super::keeper::{Message, is_asked_each, may_receive, plain};
use super::plan::{Asked, Shape};
use super::wire::as_sent;
use mqtt_broker_core::codec::{Qos, RetainHandling};
use mqtt_broker_core::{Overflow, Overlap};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

mod crash;
mod messages;
mod moments;
mod receiving;
mod sessions;

pub(super) use crash::Known;
use receiving::Receipt;

/// How long a policy may take, and a moment more.
const DECISION: u64 = 10_001;

#[derive(Clone)]
pub(super) struct Reference {
    shape: Shape,
    pub(super) revoked: bool,
    pub(super) sessions: Vec<Session>,
    pub(super) retained: Vec<Kept>,
    pub(super) shared: Vec<Shared>,
    /// What came, by number, but for what can be forgotten.
    receipts: BTreeMap<usize, Receipt>,
    next_receipt: usize,
    pub(super) wills: Vec<Will>,
    /// How often each message was routed, and to how many the last time.
    pub(super) routed: BTreeMap<u32, (u32, usize)>,
    /// Messages that were not retained for want of room, and of which nobody has said so yet.
    pub(super) unkept: usize,
    /// Messages that were to be retained and had expired before they were let in, and of which nobody has said so yet.
    late: usize,
    /// Copies for groups that may have got lost in ways that the broker has told.
    slack: usize,
    /// Whose session was to end with the process, and may have to end anew.
    ghosts: Vec<usize>,
    /// All that is older and could be sent has been sent to those who take everything.
    pub(super) settled: u64,
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
    /// What waits for it is judged anew when its client comes back, before its CONNACK is sent.
    pub(super) rechecked: bool,
    pub(super) subscriptions: Vec<Subscription>,
    /// All memberships of groups that it has or had.
    was: Vec<Subscription>,
    /// The groups that it has left, and when: what came for them later is not for it.
    left: Vec<(&'static str, u64)>,
    pub(super) owed: Vec<Owed>,
    replays: Vec<(Subscription, u64)>,
    /// It has had retained messages for a new subscription, which its queue takes beyond its limit.
    replayed: bool,
    /// Messages that were dropped, nobody knows which.
    slack: usize,
    /// Of those that were the oldest of their queue: the newest at that moment.
    oldest: Vec<u64>,
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
    topic: Rc<str>,
    /// Bytes of its payload.
    size: usize,
    pub(super) qos: Qos,
    /// Its own.
    kept: Qos,
    retain: bool,
    ids: Vec<u32>,
    pub(super) expires: Option<u64>,
    /// The filter, if it is a retained one for a new subscription.
    pub(super) replay: Option<&'static str>,
    must: Must,
    /// A replay goes on as the subscription is now: what else its QoS and identifiers may be.
    also: Vec<(Qos, Vec<u32>)>,
    /// The receipt that is taken for it.
    pub(super) by: Option<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) topic: Rc<str>,
    pub(super) number: u32,
    size: usize,
    pub(super) qos: Qos,
    pub(super) expires: Option<u64>,
}

/// A message for a group.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    name: u64,
    text: &'static str,
    number: u32,
    topic: Rc<str>,
    /// Bytes of its payload.
    size: usize,
    qos: Qos,
    retain: bool,
    expires: Option<u64>,
    must: bool,
    /// The receipt that is taken for it.
    by: Option<usize>,
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
            receipts: BTreeMap::new(),
            next_receipt: 0,
            wills: Vec::new(),
            routed: BTreeMap::new(),
            unkept: 0,
            late: 0,
            slack: 0,
            ghosts: Vec::new(),
            settled: 0,
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
}

/// **Nothing comes that has expired, and the rest of its time comes with it.**
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

/// Whether a PUBLISH can be of more than `most` bytes: with all that may be in it besides its topic, its payload and its identifiers.
fn may_be_larger(size: usize, topic: &str, ids: usize, most: u32) -> bool {
    size + topic.len() + 2 * ids + 16 > most as usize
}

impl Owed {
    fn may_be_larger(&self, most: u32) -> bool {
        may_be_larger(self.size, &self.topic, self.ids.len().max(1), most)
    }

    fn soften(&mut self) {
        self.must = self.must.softened();
    }

    fn looks(&self, qos: Qos, ids: &[u32], got: &Got<'_>) -> bool {
        qos == got.qos && got.ids.as_ref().is_none_or(|got| got == ids)
    }

    /// Whether it can be what its session got.
    fn fits(&self, got: &Got<'_>) -> bool {
        (self.number, &*self.topic, self.retain) == (got.number, got.topic, got.retain)
            && (self.looks(self.qos, &self.ids, got) || self.also.iter().any(|(qos, ids)| self.looks(*qos, ids, got)))
            && self.must != Must::Never
            // nothing is repeated that was never sent
            && (!got.dup || self.order <= got.since)
    }
}
