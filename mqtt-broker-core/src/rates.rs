//! Rates: token buckets for messages and bytes, for connections and sessions, and what is remembered of those who came lately.
use crate::core_state::Core;
use crate::deadlines::Due;
use crate::slots::Id;
use crate::{Ban, Limit, Peer, Policy};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::net::IpAddr;
use core::time::Duration;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use mqtt_session::Instant;
use mqtt_session::codec::ReasonCode;

/// So much per second, and so much at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Per second, on average.
    pub per_second: u32,
    /// At once. At least 1.
    pub burst: u32,
}

impl Rate {
    /// `per_second` on average, and as many at once.
    pub const fn per_second(per_second: u32) -> Self {
        Self { per_second, burst: per_second }
    }
}

/// How fast clients may publish. Both are off unless set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishRates {
    /// Messages.
    pub messages: Option<Rate>,
    /// Bytes of topic and payload. One message larger than the burst is taken, and paid for afterwards.
    pub bytes: Option<Rate>,
}

/// What happens to a client that publishes faster than it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverRate {
    /// It is not read until it may publish again: it waits, and loses nothing.
    #[default]
    Pause,
    /// What it publishes is dropped: acknowledged with 0x97 at 5.0, and before 5.0 as if it had been taken.
    Drop,
    /// It is disconnected (0x96 at 5.0).
    Disconnect,
}

/// When a client identifier that connects again and again is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flapping {
    /// So many connects ..
    pub connects: u32,
    /// .. in so long ..
    pub within: Duration,
    /// .. and it is banned for so long.
    pub ban_for: Duration,
}

/// A token bucket. Counts in thousandths, so that no time is lost to rounding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    tokens: i64,
    at: Instant,
}

const WHOLE: i64 = 1_000;

impl Bucket {
    fn full(now: Instant, rate: Rate) -> Self {
        Self { tokens: i64::from(rate.burst.max(1)) * WHOLE, at: now }
    }

    fn refill(&mut self, now: Instant, rate: Rate) {
        let elapsed = i64::try_from(now.as_millis().saturating_sub(self.at.as_millis())).unwrap_or(i64::MAX);
        let most = i64::from(rate.burst.max(1)) * WHOLE;
        self.tokens = self.tokens.saturating_add(elapsed.saturating_mul(rate.per_second.into())).min(most);
        self.at = now;
    }

    /// Whether there is anything left.
    fn has(&mut self, now: Instant, rate: Rate) -> bool {
        self.refill(now, rate);
        self.tokens > 0
    }

    /// Takes, into debt if need be.
    fn take(&mut self, amount: usize) {
        let amount = i64::try_from(amount).unwrap_or(i64::MAX).saturating_mul(WHOLE);
        self.tokens = self.tokens.saturating_sub(amount);
    }

    /// Takes one if there is a whole one.
    fn take_one(&mut self, now: Instant, rate: Rate) -> bool {
        self.refill(now, rate);
        let has = self.tokens >= WHOLE;
        if has {
            self.tokens -= WHOLE;
        }
        has
    }

    /// Milliseconds until there is something left again.
    fn wait(&self, rate: Rate) -> u64 {
        let missing = u64::try_from(WHOLE.saturating_sub(self.tokens)).unwrap_or(0).max(1);
        if self.tokens > 0 { 0 } else { missing.div_ceil(u64::from(rate.per_second.max(1))) }
    }
}

/// The buckets for messages and bytes of a client, or of all clients of a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    rates: PublishRates,
    messages: Bucket,
    bytes: Bucket,
}

impl Meter {
    pub(crate) fn new(now: Instant, rates: PublishRates) -> Option<Self> {
        let bucket = |rate: Option<Rate>| rate.map_or(Bucket { tokens: 0, at: now }, |rate| Bucket::full(now, rate));
        let limited = rates.messages.is_some() || rates.bytes.is_some();
        limited.then(|| Self { rates, messages: bucket(rates.messages), bytes: bucket(rates.bytes) })
    }

    /// Which limit is met, if one is.
    fn over(&mut self, now: Instant) -> Option<Limit> {
        if self.rates.messages.is_some_and(|rate| !self.messages.has(now, rate)) {
            return Some(Limit::MessageRate);
        }
        self.rates.bytes.is_some_and(|rate| !self.bytes.has(now, rate)).then_some(Limit::ByteRate)
    }

    fn take(&mut self, size: usize) {
        self.messages.take(1);
        self.bytes.take(size);
    }

    fn wait(&self) -> (u64, Limit) {
        let messages = self.rates.messages.map_or(0, |rate| self.messages.wait(rate));
        let bytes = self.rates.bytes.map_or(0, |rate| self.bytes.wait(rate));
        if bytes > messages { (bytes, Limit::ByteRate) } else { (messages, Limit::MessageRate) }
    }
}

/// What a connection needs where publishing is limited.
#[derive(Debug)]
pub(crate) struct Metered {
    own: Option<Meter>,
    /// Until when it is not read.
    pub(crate) until: Option<Instant>,
}

/// The rates of one listener's clients together.
#[derive(Debug)]
pub(crate) struct ListenerState {
    /// Connections it has now.
    pub(crate) connections: usize,
    connects: Option<Bucket>,
    meter: Option<Meter>,
}

/// Buckets by keyed hash, for those who came lately: what was not used for a whole window is forgotten, and what would be
/// more than `most` makes room for itself, so that no flood of names makes it grow.
#[derive(Debug)]
pub(crate) struct Recent {
    began: Instant,
    young: HashTable<(u64, Bucket)>,
    old: HashTable<(u64, Bucket)>,
}

/// Names remembered in one generation.
const MOST_RECENT: usize = 10_000;

impl Recent {
    fn new() -> Self {
        Self { began: Instant::ZERO, young: HashTable::new(), old: HashTable::new() }
    }

    /// Takes one from the bucket of `key`; `false` if it is empty. A bucket that nobody used for `window` would be full.
    fn take_one(&mut self, now: Instant, key: u64, rate: Rate, window: Duration) -> bool {
        if now.since(self.began) >= window || self.young.len() >= MOST_RECENT {
            self.old = core::mem::take(&mut self.young);
            self.began = now;
        }
        let Self { young, old, .. } = self;
        match young.entry(key, |entry| entry.0 == key, |entry| entry.0) {
            Entry::Occupied(mut entry) => entry.get_mut().1.take_one(now, rate),
            Entry::Vacant(place) => {
                let known = old.find_entry(key, |entry| entry.0 == key).ok().map(|entry| entry.remove().0.1);
                let mut bucket = known.unwrap_or_else(|| Bucket::full(now, rate));
                let took = bucket.take_one(now, rate);
                place.insert((key, bucket));
                took
            }
        }
    }
}

/// All rates but those of single clients, which lie with their connections.
#[derive(Debug)]
pub(crate) struct Rates {
    pub(crate) listeners: BTreeMap<u32, ListenerState>,
    addresses: Recent,
    client_ids: Recent,
    admission: Bucket,
    /// Whether anything limits publishing: else nobody asks [`vet_rate`](Core::vet_rate).
    pub(crate) publishing: bool,
}

impl Rates {
    pub(crate) fn new(config: &crate::Config) -> Self {
        let now = Instant::ZERO;
        let listener = |listener: &crate::ListenerConfig| ListenerState {
            connections: 0,
            connects: listener.connection_rate.map(|rate| Bucket::full(now, rate)),
            meter: Meter::new(now, listener.publish_rates),
        };
        let rated = |rates: &PublishRates| rates.messages.is_some() || rates.bytes.is_some();
        let publishing = rated(&config.client_rates)
            || config
                .listeners
                .values()
                .any(|listener| rated(&listener.publish_rates) || listener.client_rates.as_ref().is_some_and(rated));
        Self {
            listeners: config.listeners.iter().map(|(number, config)| (*number, listener(config))).collect(),
            addresses: Recent::new(),
            client_ids: Recent::new(),
            admission: config.admission_rate.map_or(Bucket { tokens: 0, at: now }, |rate| Bucket::full(now, rate)),
            publishing,
        }
    }
}

impl<P: Policy> Core<P> {
    /// Whether a transport comes too soon after others of its listener or its address.
    pub(crate) fn connects_too_fast(&mut self, now: Instant, peer: &Peer) -> bool {
        let rate = self.config.listeners.get(&peer.listener).and_then(|listener| listener.connection_rate);
        if let Some(rate) = rate
            && let Some(bucket) =
                self.rates.listeners.get_mut(&peer.listener).and_then(|listener| listener.connects.as_mut())
            && !bucket.take_one(now, rate)
        {
            return true;
        }
        self.address_comes_too_fast(now, peer)
    }

    /// Whether a transport comes too soon after others of its address.
    pub(crate) fn address_comes_too_fast(&mut self, now: Instant, peer: &Peer) -> bool {
        let (Some(rate), Some(address)) = (self.config.address_rate, peer.address) else { return false };
        let key = match address.ip().to_canonical() {
            IpAddr::V4(address) => self.clients.hash(&address.octets()),
            // whoever has one address of IPv6 has all of its last 64 bits
            IpAddr::V6(address) => self.clients.hash(address.octets().first_chunk::<8>().map_or(&[], |half| half)),
        };
        let window =
            Duration::from_millis(u64::from(rate.burst.max(1)) * 1_000 / u64::from(rate.per_second.max(1)) + 1);
        !self.rates.addresses.take_one(now, key, rate, window)
    }

    /// Whether a client that may come in has to wait its turn, or has come too often (S19).
    ///
    /// Only of clients that the policy has let in: nobody can have another's client identifier banned by guessing it.
    pub(crate) fn vet_pace(&mut self, now: Instant, client_id: &str) -> Result<(), (Limit, ReasonCode)> {
        if let Some(flapping) = self.config.flapping {
            let millis = u64::try_from(flapping.within.as_millis()).unwrap_or(u64::MAX).max(1);
            let key = self.clients.hash(client_id.as_bytes());
            // a bucket that a whole window fills: `within` in milliseconds stands for a second
            let rate = Rate { per_second: flapping.connects.max(1), burst: flapping.connects.max(1) };
            let scaled = Instant::from_millis(now.as_millis().saturating_mul(1_000) / millis);
            if !self.rates.client_ids.take_one(scaled, key, rate, Duration::from_secs(1)) {
                let until = now + flapping.ban_for;
                if self.bans.add(now, Ban::ClientId(client_id.into()), Some(until), self.config.max_bans).is_err() {
                    self.limited(Limit::Bans, None, None);
                }
                return Err((Limit::Flapping, ReasonCode::BANNED));
            }
        }
        match self.config.admission_rate {
            Some(rate) if !self.rates.admission.take_one(now, rate) => Err((Limit::Admission, ReasonCode::SERVER_BUSY)),
            Some(_) | None => Ok(()),
        }
    }

    /// The meter of a connection that was just let in.
    pub(crate) fn meter(&self, now: Instant, listener: u32) -> Option<Box<Metered>> {
        let own = self.config.listeners.get(&listener).and_then(|listener| listener.client_rates);
        let own = Meter::new(now, own.unwrap_or(self.config.client_rates));
        self.rates.publishing.then(|| Box::new(Metered { own, until: None }))
    }

    /// A message of `size` bytes has come; `Err` if it is not to be taken: why, and what the sender is told.
    pub(crate) fn vet_rate(&mut self, now: Instant, id: Id, size: usize) -> Result<(), ReasonCode> {
        let Some(conn) = self.connections.get_mut(id) else { return Ok(()) };
        let shared = self.rates.listeners.get_mut(&conn.peer.listener).and_then(|listener| listener.meter.as_mut());
        let own = conn.meter.as_mut().and_then(|metered| metered.own.as_mut());
        let mut meters = [own, shared];
        let over = meters.iter_mut().flatten().find_map(|meter| meter.over(now));
        let (mut wait, mut limit) = (0, Limit::MessageRate);
        match (self.config.over_rate, over) {
            (OverRate::Drop | OverRate::Disconnect, Some(limit)) => {
                self.limited_at(limit, id);
                if self.config.over_rate == OverRate::Drop {
                    return Err(ReasonCode::QUOTA_EXCEEDED);
                }
                self.end(now, id, ReasonCode::MESSAGE_RATE_TOO_HIGH);
                return Err(ReasonCode::MESSAGE_RATE_TOO_HIGH);
            }
            (OverRate::Drop | OverRate::Disconnect, None) | (OverRate::Pause, _) => {}
        }
        for meter in meters.into_iter().flatten() {
            meter.take(size);
            let (millis, why) = meter.wait();
            if millis > wait {
                (wait, limit) = (millis, why);
            }
        }
        if self.config.over_rate == OverRate::Pause && wait > 0 {
            self.limited_at(limit, id);
            let at = now.plus_millis(wait);
            if let Some(metered) = self.connections.get_mut(id).and_then(|conn| conn.meter.as_mut()) {
                metered.until = Some(at);
                self.deadlines.set(at, Due::Rate(id));
                self.pause(now, id, |paused| paused.rate = true);
            }
        }
        Ok(())
    }

    /// A client that was too fast may go on.
    pub(crate) fn end_rate_pause(&mut self, now: Instant, id: Id) {
        if let Some(metered) = self.connections.get_mut(id).and_then(|conn| conn.meter.as_mut()) {
            metered.until = None;
            self.unpause(now, id, |paused| paused.rate = false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_its_rate_on_average() {
        let rate = Rate { per_second: 10, burst: 3 };
        let mut bucket = Bucket::full(at(0), rate);
        assert_eq!((0..10).filter(|_| bucket.take_one(at(0), rate)).count(), 3);
        let taken = (1..=10_000).filter(|millis| bucket.take_one(at(*millis), rate)).count();
        assert_eq!(taken, 100);
    }

    #[test]
    fn a_debt_is_paid_before_anything_more_is_given() {
        let rate = Rate { per_second: 1_000, burst: 1_000 };
        let mut bucket = Bucket::full(at(0), rate);
        assert!(bucket.has(at(0), rate));
        bucket.take(5_000);
        let wait = bucket.wait(rate);
        assert_eq!(wait, 4_001);
        assert!(!bucket.has(at(wait - 2), rate));
        assert!(bucket.has(at(wait), rate));
    }

    #[test]
    fn a_flood_of_names_is_not_remembered_for_ever() {
        let (mut recent, rate) = (Recent::new(), Rate { per_second: 1, burst: 1 });
        for key in 0..100_000u64 {
            recent.take_one(at(0), key.wrapping_mul(0x9E37_79B9_7F4A_7C15), rate, Duration::from_secs(1));
        }
        assert!(recent.young.len() + recent.old.len() <= 2 * MOST_RECENT);
        assert!(recent.take_one(at(0), 1, rate, Duration::from_secs(1)));
        assert!(!recent.take_one(at(500), 1, rate, Duration::from_secs(1)));
        assert!(recent.take_one(at(1_000), 1, rate, Duration::from_secs(1)));
    }
}
