//! Sessions by client identifier: who they belong to, what they subscribed to, and where they live.
use crate::connections::Conn;
use crate::ledger::Recorded;
use crate::local::LocalQueue;
use crate::retained::Replay;
use crate::sharing::Memberships;
use crate::slots::{Id, Slots};
use crate::wills::Will;
use crate::{ClientInfo, Peer};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hashbrown::HashTable;
use mqtt_session::codec::Version;
use mqtt_session::topic::{HashSeed, TopicFilter, TopicFilterBuf};
use mqtt_session::{Instant, Session};

/// A client identifier. Cloning shares it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Arc<str>);

impl ClientId {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.into())
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    pub(crate) fn into_bytes(self) -> Arc<[u8]> {
        self.0.into()
    }
}

impl core::fmt::Display for ClientId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One session and what the broker knows of its client (section 4.1).
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    /// Whose session this is: nobody else may take it over (S8).
    pub(crate) user_name: Option<Box<str>>,
    pub(crate) version: Version,
    /// Of its last connection.
    pub(crate) listener: u32,
    /// The generation of the judgement that its rights come from.
    pub(crate) generation: u32,
    /// Whether messages that are on their way are to be judged before they are sent again.
    pub(crate) recheck: bool,
    /// Where the session lives: in a connection, or here.
    pub(crate) home: Home,
    /// Seconds it outlives its connection; `u32::MAX` for ever.
    pub(crate) expiry: u32,
    /// The most it can ask for when it goes: what configuration and policy grant.
    pub(crate) max_expiry: u32,
    /// v5 [MQTT-3.1.2-7] v4 [MQTT-3.1.2-12]: that of the connection it has or had last, if that had one.
    pub(crate) will: Option<Box<Will>>,
    /// Sorted.
    subscriptions: Vec<TopicFilterBuf>,
    /// What most clients have none of.
    rare: Option<Box<Rare>>,
    /// Bytes of its messages that are in the broker's sum.
    pub(crate) charged: usize,
    /// What is recorded of it, if anything is.
    pub(crate) recorded: Option<Box<Recorded>>,
}

/// What most clients have none of.
#[derive(Debug, Default)]
struct Rare {
    /// What the policy put in the place of what the client wrote: its own filter, and the one in `subscriptions`.
    aliases: Vec<(TopicFilterBuf, TopicFilterBuf)>,
    /// Retained messages still on their way, one per subscribe.
    replays: Vec<Replay>,
    /// The shared subscriptions among its own.
    shared: Memberships,
}

#[derive(Debug)]
pub(crate) enum Home {
    Connection(Id),
    /// A client of the embedding program.
    Local(Box<LocalQueue>),
    Away {
        /// `None`: in the host's store.
        session: Option<Box<Session>>,
        /// `None`: never.
        expires: Option<Instant>,
    },
}

impl Client {
    pub(crate) fn new(id: ClientId, user_name: Option<Box<str>>, version: Version, connection: Id) -> Self {
        Self {
            id,
            user_name,
            version,
            listener: 0,
            generation: 0,
            recheck: false,
            home: Home::Connection(connection),
            expiry: 0,
            max_expiry: 0,
            will: None,
            subscriptions: Vec::new(),
            rare: None,
            charged: 0,
            recorded: None,
        }
    }

    pub(crate) fn connection(&self) -> Option<Id> {
        match self.home {
            Home::Connection(id) => Some(id),
            Home::Away { .. } | Home::Local(_) => None,
        }
    }

    /// A client of the embedding program: it has no name, so that nobody can take it over.
    pub(crate) fn local(queue: Box<LocalQueue>) -> Self {
        let nowhere = Id { index: u32::MAX, generation: 0 };
        let client = Self::new(ClientId::new(""), None, Version::V5, nowhere);
        Self { home: Home::Local(queue), ..client }
    }

    pub(crate) fn is_local(&self) -> bool {
        matches!(self.home, Home::Local(_))
    }

    /// Where it comes from; of a client that is away, only by which listener it came last: that goes into `away`.
    pub(crate) fn peer<'a>(&self, connections: &'a Slots<Conn>, away: &'a mut Peer) -> &'a Peer {
        away.listener = self.listener;
        self.connection().and_then(|id| connections.get(id)).map_or(away, |conn| &conn.peer)
    }

    /// Who it is, for the policy.
    pub(crate) fn info<'a>(&'a self, peer: &'a Peer) -> ClientInfo<'a> {
        let Self { id, user_name, version, .. } = self;
        ClientInfo { client_id: id.as_str(), user_name: user_name.as_deref(), peer, version: *version }
    }

    pub(crate) fn subscriptions(&self) -> &[TopicFilterBuf] {
        &self.subscriptions
    }

    pub(crate) fn add_subscription(&mut self, filter: TopicFilter<'_>) {
        if let Err(at) = self.position(filter) {
            if self.subscriptions.len() < 4 {
                // most clients have one or two: no room for four
                self.subscriptions.reserve_exact(1);
            }
            self.subscriptions.insert(at, filter.into());
        }
    }

    /// Removes it with the client's own names for it; the bytes of those.
    pub(crate) fn remove_subscription(&mut self, filter: TopicFilter<'_>) -> usize {
        if let Ok(at) = self.position(filter) {
            self.subscriptions.remove(at);
        }
        let before = self.alias_bytes();
        self.change_rare(|rare| rare.aliases.retain(|(_, stands_for)| stands_for.as_filter() != filter));
        before.saturating_sub(self.alias_bytes())
    }

    /// Bytes of the client's own names for what the policy put in their place.
    pub(crate) fn alias_bytes(&self) -> usize {
        let aliases = self.rare.iter().flat_map(|rare| rare.aliases.iter());
        aliases.map(|(own, _)| own.as_filter().as_bytes().len()).sum()
    }

    /// Remembers that `filter` stands for the client's `own`; `false` if it has `most` such.
    pub(crate) fn add_alias(&mut self, own: TopicFilter<'_>, filter: TopicFilter<'_>, most: usize) -> bool {
        let aliases = &mut self.rare.get_or_insert_default().aliases;
        let room = aliases.len() < most;
        if room {
            aliases.push((own.into(), filter.into()));
        }
        room
    }

    /// What the client wrote, for which `filter` stands.
    pub(crate) fn own_name<'a>(&'a self, filter: TopicFilter<'a>) -> TopicFilter<'a> {
        let mut aliases = self.rare.iter().flat_map(|rare| rare.aliases.iter());
        aliases.find(|(_, stands_for)| stands_for.as_filter() == filter).map_or(filter, |(own, _)| own.as_filter())
    }

    /// What the client calls `filter`, where that is something else.
    pub(crate) fn names_of(&self, filter: TopicFilter<'_>) -> impl Iterator<Item = TopicFilter<'_>> {
        let aliases = self.rare.iter().flat_map(|rare| rare.aliases.iter());
        aliases.filter(move |(_, stands_for)| stands_for.as_filter() == filter).map(|(own, _)| own.as_filter())
    }

    /// What stands for the client's `own`, if that was rewritten; it is forgotten.
    pub(crate) fn take_alias(&mut self, own: TopicFilter<'_>) -> Option<TopicFilterBuf> {
        self.change_rare(|rare| {
            let at = rare.aliases.iter().position(|(written, _)| written.as_filter() == own)?;
            Some(rare.aliases.swap_remove(at).1)
        })?
    }

    pub(crate) fn add_replay(&mut self, replay: Replay) {
        self.rare.get_or_insert_default().replays.push(replay);
    }

    pub(crate) fn replay_mut(&mut self, is: impl FnMut(&&mut Replay) -> bool) -> Option<&mut Replay> {
        self.rare.as_mut()?.replays.iter_mut().find(is)
    }

    pub(crate) fn take_replay(&mut self, is: impl FnMut(&Replay) -> bool) -> Option<Replay> {
        self.change_rare(|rare| {
            let at = rare.replays.iter().position(is)?;
            Some(rare.replays.remove(at))
        })?
    }

    /// The groups it is a member of, if any.
    pub(crate) fn shared(&self) -> Option<&Memberships> {
        self.rare.as_ref().map(|rare| &rare.shared)
    }

    pub(crate) fn shared_mut(&mut self) -> Option<&mut Memberships> {
        self.rare.as_mut().map(|rare| &mut rare.shared)
    }

    pub(crate) fn shared_or_new(&mut self) -> &mut Memberships {
        &mut self.rare.get_or_insert_default().shared
    }

    pub(crate) fn left_group(&mut self, group: u32) {
        self.change_rare(|rare| rare.shared.remove(group));
    }

    /// Changes what is rare, and lets go of it when nothing of it is left.
    fn change_rare<R>(&mut self, change: impl FnOnce(&mut Rare) -> R) -> Option<R> {
        let rare = self.rare.as_mut()?;
        let changed = change(rare);
        if rare.aliases.is_empty() && rare.replays.is_empty() && rare.shared.is_empty() {
            self.rare = None;
        }
        Some(changed)
    }

    pub(crate) fn take_subscriptions(&mut self) -> Vec<TopicFilterBuf> {
        core::mem::take(&mut self.subscriptions)
    }

    fn position(&self, filter: TopicFilter<'_>) -> Result<usize, usize> {
        self.subscriptions.binary_search_by(|own| own.as_filter().cmp(&filter))
    }
}

/// All sessions.
pub(crate) struct Clients {
    pub(crate) slots: Slots<Client>,
    by_id: HashTable<u32>,
    seed: HashSeed,
    /// How many identifiers were assigned.
    assigned: u64,
    /// Clients of the embedding program among them.
    locals: usize,
}

impl Clients {
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self { slots: Slots::new(), by_id: HashTable::new(), seed, assigned: 0, locals: 0 }
    }

    /// A hash that attackers cannot foresee.
    pub(crate) fn hash(&self, bytes: &[u8]) -> u64 {
        self.seed.hash(bytes)
    }

    pub(crate) fn seed(&self) -> HashSeed {
        self.seed
    }

    /// v5 [MQTT-3.1.3-2] v4 [MQTT-3.1.3-2]: the client identifier is the key to everything kept for a client.
    pub(crate) fn find(&self, id: &str) -> Option<u32> {
        let hash = self.seed.hash(id.as_bytes());
        self.by_id.find(hash, |&index| self.slots.at(index).is_some_and(|client| client.id.as_str() == id)).copied()
    }

    pub(crate) fn insert(&mut self, client: Client) -> Option<u32> {
        let hash = self.seed.hash(client.id.as_str().as_bytes());
        let index = self.slots.insert(client)?.index;
        let Self { slots, by_id, seed, .. } = self;
        by_id.insert_unique(hash, index, |&index| {
            slots.at(index).map_or(0, |client| seed.hash(client.id.as_str().as_bytes()))
        });
        Some(index)
    }

    /// Sessions, connected or not; clients of the embedding program have none.
    pub(crate) fn sessions(&self) -> usize {
        self.slots.len().saturating_sub(self.locals)
    }

    pub(crate) fn locals(&self) -> usize {
        self.locals
    }

    pub(crate) fn insert_local(&mut self, client: Client) -> Option<Id> {
        let id = self.slots.insert(client)?;
        self.locals += 1;
        Some(id)
    }

    pub(crate) fn remove_local(&mut self, id: Id) -> Option<Client> {
        self.slots.get(id).filter(|client| client.is_local())?;
        self.locals = self.locals.saturating_sub(1);
        self.slots.remove(id)
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<Client> {
        let id = self.slots.id_at(index)?;
        let hash = self.seed.hash(self.slots.at(index)?.id.as_str().as_bytes());
        if let Ok(entry) = self.by_id.find_entry(hash, |&other| other == index) {
            entry.remove();
        }
        self.slots.remove(id)
    }

    /// v5 [MQTT-3.1.3-6] [MQTT-3.2.2-16] v4 [MQTT-3.1.3-6]: an identifier that no session has.
    pub(crate) fn assign(&mut self) -> ClientId {
        loop {
            self.assigned = self.assigned.wrapping_add(1);
            // keyed, so that nobody can guess the next one and wait for it
            let number = self.seed.hash(&self.assigned.to_be_bytes());
            let id = alloc::format!("auto{number:016x}");
            if self.find(&id).is_none() {
                return ClientId::new(&id);
            }
        }
    }
}
