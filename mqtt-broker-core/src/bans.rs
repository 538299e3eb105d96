//! Who is kept out: by client identifier, user name or address, for ever or for a time.
use crate::ledger::Ledger;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::ops::Bound;
use mqtt_session::Instant;

/// Whom a ban keeps out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Ban {
    /// Whoever uses this client identifier.
    ClientId(Box<str>),
    /// Whoever gives this user name.
    User(Box<str>),
    /// Whoever comes from this address, whatever the port; an IPv4 address in IPv6 form is the IPv4 address.
    Address(IpAddr),
}

impl Ban {
    fn canonical(self) -> Self {
        match self {
            Self::Address(address) => Self::Address(address.to_canonical()),
            other => other,
        }
    }
}

/// [`Config::max_bans`](crate::Config::max_bans) is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are as many bans as the limit allows")]
pub struct BansFull;

/// All bans, and when they end. Those that have ended are forgotten when the next one is looked up or made.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    client_ids: BTreeMap<Box<str>, Option<Instant>>,
    users: BTreeMap<Box<str>, Option<Instant>>,
    addresses: BTreeMap<IpAddr, Option<Instant>>,
    ends: BTreeSet<(Instant, Ban)>,
    /// Those that came, went or changed; `None`: nobody asks.
    changed: Option<Vec<Ban>>,
}

impl Bans {
    pub(crate) fn len(&self) -> usize {
        self.client_ids.len() + self.users.len() + self.addresses.len()
    }

    /// Bans until then, or for ever; one that was there is replaced.
    pub(crate) fn add(&mut self, now: Instant, ban: Ban, until: Option<Instant>, max: usize) -> Result<(), BansFull> {
        self.expire(now);
        let ban = ban.canonical();
        let known = self.remove(&ban);
        if !known && self.len() >= max {
            return Err(BansFull);
        }
        self.note(&ban);
        if let Some(at) = until {
            self.ends.insert((at, ban.clone()));
        }
        match ban {
            Ban::ClientId(id) => self.client_ids.insert(id, until),
            Ban::User(name) => self.users.insert(name, until),
            Ban::Address(address) => self.addresses.insert(address, until),
        };
        Ok(())
    }

    /// Lifts a ban; whether there was one.
    pub(crate) fn remove(&mut self, ban: &Ban) -> bool {
        let ban = ban.clone().canonical();
        let until = match &ban {
            Ban::ClientId(id) => self.client_ids.remove(id),
            Ban::User(name) => self.users.remove(name),
            Ban::Address(address) => self.addresses.remove(address),
        };
        if until.is_some() {
            self.note(&ban);
        }
        if let Some(Some(at)) = until {
            self.ends.remove(&(at, ban));
        }
        until.is_some()
    }

    /// From here on changes are noted.
    pub(crate) fn record(&mut self) {
        self.changed = Some(Vec::new());
    }

    fn note(&mut self, ban: &Ban) {
        if let Some(changed) = &mut self.changed
            && changed.last() != Some(ban)
        {
            changed.push(ban.clone());
        }
    }

    pub(crate) fn take_changed(&mut self, ledger: &mut Ledger) {
        if let Some(changed) = self.changed.as_mut().filter(|changed| !changed.is_empty()) {
            ledger.mark();
            ledger.bans.append(changed);
        }
    }

    /// Whether there is such a ban, and until when.
    pub(crate) fn until(&self, ban: &Ban) -> Option<Option<Instant>> {
        match ban {
            Ban::ClientId(id) => self.client_ids.get(id).copied(),
            Ban::User(name) => self.users.get(name).copied(),
            Ban::Address(address) => self.addresses.get(address).copied(),
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some((at, ban)) = self.ends.pop_first() {
            if at > now {
                self.ends.insert((at, ban));
                return;
            }
            self.remove(&ban);
        }
    }

    pub(crate) fn bans_address(&mut self, now: Instant, address: IpAddr) -> bool {
        self.expire(now);
        self.addresses.contains_key(&address.to_canonical())
    }

    pub(crate) fn bans_client(&mut self, now: Instant, id: &str, user: Option<&str>) -> bool {
        self.expire(now);
        self.client_ids.contains_key(id) || user.is_some_and(|user| self.users.contains_key(user))
    }

    /// Up to `limit` bans that come behind `after`: client identifiers, then users, then addresses.
    pub(crate) fn list(&mut self, now: Instant, after: Option<&Ban>, limit: usize) -> Vec<(Ban, Option<Instant>)> {
        self.expire(now);
        type Start<'a, T> = Option<Bound<&'a T>>;
        let (ids, users, addresses): (Start<'_, str>, Start<'_, str>, Bound<IpAddr>) = match after {
            None => (Some(Bound::Unbounded), Some(Bound::Unbounded), Bound::Unbounded),
            Some(Ban::ClientId(id)) => (Some(Bound::Excluded(id)), Some(Bound::Unbounded), Bound::Unbounded),
            Some(Ban::User(name)) => (None, Some(Bound::Excluded(name)), Bound::Unbounded),
            Some(Ban::Address(address)) => (None, None, Bound::Excluded(address.to_canonical())),
        };
        let ids = ids.into_iter().flat_map(|from| self.client_ids.range::<str, _>((from, Bound::Unbounded)));
        let users = users.into_iter().flat_map(|from| self.users.range::<str, _>((from, Bound::Unbounded)));
        let addresses = self.addresses.range((addresses, Bound::Unbounded));
        ids.map(|(id, until)| (Ban::ClientId(id.clone()), *until))
            .chain(users.map(|(name, until)| (Ban::User(name.clone()), *until)))
            .chain(addresses.map(|(address, until)| (Ban::Address(*address), *until)))
            .take(limit)
            .collect()
    }
}
