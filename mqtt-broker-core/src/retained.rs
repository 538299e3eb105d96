//! Retained messages: kept, expired, and replayed to new subscriptions by a resumable cursor.
use crate::RetainedRecord;
use alloc::collections::BTreeSet;
use mqtt_session::codec::Qos;
use mqtt_session::topic::{Cursor, Next, RetainedTrie, TopicFilter, TopicName, TopicNameBuf};
use mqtt_session::{Delivery, Instant, Message, Place};

/// Steps into the trie per turn of one replay.
const STEPS_PER_TURN: u32 = 256;

pub(crate) struct Kept {
    message: Message,
    /// v4 [MQTT-3.3.1-5]: stored with its QoS.
    qos: Qos,
}

/// The retained message of each topic.
pub(crate) struct Retained {
    trie: RetainedTrie<Kept>,
    expiries: BTreeSet<(Instant, TopicNameBuf)>,
    bytes: usize,
}

impl Kept {
    pub(crate) fn record(&self) -> RetainedRecord {
        RetainedRecord { message: self.message.clone(), qos: self.qos }
    }
}

/// What it costs to keep a message: itself, its name in the tree, and once more in the order of expiry.
fn cost(message: &Message) -> usize {
    let names = if message.expires().is_some() { 2 } else { 1 };
    message.size().saturating_add(message.topic().as_bytes().len() * names)
}

/// There is no room for a further retained message.
pub(crate) struct NoRoom;

impl Retained {
    pub(crate) fn new() -> Self {
        Self { trie: RetainedTrie::new(), expiries: BTreeSet::new(), bytes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.trie.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.trie.is_empty()
    }

    pub(crate) fn remove(&mut self, name: TopicName<'_>) {
        let Some(old) = self.trie.remove(name) else { return };
        self.bytes = self.bytes.saturating_sub(cost(&old.message));
        if let Some(at) = old.message.expires() {
            self.expiries.remove(&(at, name.into()));
        }
    }

    /// v5 [MQTT-3.3.1-5] v4 [MQTT-3.3.1-5] [MQTT-3.3.1-7]: replaces what was there. What cannot be kept leaves nothing behind, lest the
    /// old message pass for the last one.
    pub(crate) fn insert(&mut self, message: Message, qos: Qos, max: usize, max_bytes: usize) -> Result<(), NoRoom> {
        let name: TopicNameBuf = message.topic().into();
        self.remove(name.as_name());
        if self.trie.len() >= max || self.bytes.saturating_add(cost(&message)) > max_bytes {
            return Err(NoRoom);
        }
        self.bytes += cost(&message);
        let expires = message.expires();
        self.trie.insert(name.as_name(), Kept { message, qos });
        if let Some(at) = expires {
            self.expiries.insert((at, name));
        }
        Ok(())
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// [X5-PUB-11]: an expired retained message is discarded; `gone` is told its topic.
    pub(crate) fn expire(&mut self, now: Instant, mut gone: impl FnMut(TopicName<'_>)) {
        while let Some((at, name)) = self.expiries.pop_first() {
            if at > now {
                self.expiries.insert((at, name));
                return;
            }
            if let Some(old) = self.trie.remove(name.as_name()) {
                self.bytes = self.bytes.saturating_sub(cost(&old.message));
                gone(name.as_name());
            }
        }
    }

    /// The retained message of exactly this topic, expired or not.
    pub(crate) fn stored(&self, name: TopicName<'_>) -> Option<RetainedRecord> {
        self.trie.get(name).map(Kept::record)
    }

    /// The retained message of exactly this topic.
    pub(crate) fn record(&self, now: Instant, name: TopicName<'_>) -> Option<RetainedRecord> {
        self.trie.get(name).filter(|kept| !kept.message.is_expired(now)).map(Kept::record)
    }

    /// One step of a walk.
    pub(crate) fn next<'t>(&'t self, cursor: &mut Cursor, budget: &mut u32) -> Next<'t, Kept> {
        self.trie.next(cursor, budget)
    }

    /// The retained message of exactly this topic, for a new subscription.
    pub(crate) fn get(&self, now: Instant, name: TopicName<'_>, wanted: Wanted) -> Option<Delivery> {
        self.trie.get(name).and_then(|kept| wanted.delivery(now, kept))
    }
}

/// What a subscription was granted, as far as it counts for each message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) qos: Qos,
    /// Whether the policy is asked about each message.
    pub(crate) each: bool,
    /// Subscription Identifier, 0 for none.
    pub(crate) id: u32,
}

impl Wanted {
    fn delivery(self, now: Instant, kept: &Kept) -> Option<Delivery> {
        if kept.message.expires().is_some_and(|at| at <= now) {
            return None;
        }
        // [X5-PUB-12]: its expiry is a moment, so what is sent is the rest.
        // v4 [MQTT-3.3.1-8]: what comes because of a new subscription has RETAIN 1, whatever Retain As Published says.
        let delivery = Delivery::new(kept.message.clone(), kept.qos.min(self.qos), true);
        Some(if self.id == 0 { delivery } else { delivery.with_ids(&[self.id]) })
    }
}

/// The retained messages of one new subscription on their way, driven by how fast its client takes them.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) place: Place,
    pub(crate) playback: Playback,
}

/// The retained messages that match a filter, one after the other.
#[derive(Debug)]
pub(crate) struct Playback {
    cursor: Cursor,
    pub(crate) wanted: Wanted,
}

/// One step of a replay.
pub(crate) enum Step {
    /// The next message.
    Deliver(Delivery),
    /// This turn's share is used up.
    Later,
    /// There are no more.
    Done,
}

impl Replay {
    pub(crate) fn new(place: Place, filter: TopicFilter<'_>, wanted: Wanted) -> Self {
        Self { place, playback: Playback::new(filter, wanted) }
    }

    pub(crate) fn filter(&self) -> TopicFilter<'_> {
        self.playback.filter()
    }
}

impl Playback {
    pub(crate) fn new(filter: TopicFilter<'_>, wanted: Wanted) -> Self {
        Self { cursor: Cursor::new(filter), wanted }
    }

    pub(crate) fn filter(&self) -> TopicFilter<'_> {
        self.cursor.filter()
    }

    pub(crate) fn step(&mut self, now: Instant, retained: &Retained) -> Step {
        let mut budget = STEPS_PER_TURN;
        loop {
            match retained.trie.next(&mut self.cursor, &mut budget) {
                Next::Found(_, kept) => {
                    if let Some(delivery) = self.wanted.delivery(now, kept) {
                        return Step::Deliver(delivery);
                    }
                }
                Next::OutOfBudget => return Step::Later,
                Next::Done => return Step::Done,
            }
        }
    }
}
