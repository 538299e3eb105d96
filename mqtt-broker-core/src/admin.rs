//! Administration: looking at clients, subscriptions and retained messages page by page, and sending clients away.
use crate::clients::{Client, Home};
use crate::connections::Conn;
use crate::core_state::Core;
use crate::{Ban, BansFull, Broker, ClientId, ConnectionId, Policy};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;
use mqtt_session::codec::{Qos, ReasonCode, Version};
use mqtt_session::topic::{Cursor, Next, TopicFilter, TopicFilterBuf, TopicName, TopicNameBuf};
use mqtt_session::{Instant, Message};

/// A part of a list, and where the next part begins.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page<T, C = usize> {
    /// What was found; may be empty though there is more.
    pub items: Vec<T>,
    /// Where to go on; `None` at the end.
    pub next: Option<C>,
}

/// A session and its client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientRecord {
    /// Its client identifier.
    pub id: ClientId,
    /// The user name that its session belongs to.
    pub user_name: Option<Box<str>>,
    /// The version it speaks or spoke last.
    pub version: Version,
    /// Its connection, if it is connected.
    pub connection: Option<ConnectionId>,
    /// Where that comes from.
    pub address: Option<SocketAddr>,
    /// Its subscriptions.
    pub subscriptions: usize,
    /// Messages queued for it, never sent. 0, like the next two, while the session is in the host's store alone.
    pub queued: usize,
    /// Messages sent to it and not finished.
    pub inflight: usize,
    /// Bytes of both.
    pub bytes: usize,
    /// When its session ends; `None` while it is connected, or never.
    pub expires: Option<Instant>,
}

/// A subscription of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionRecord {
    /// To what.
    pub filter: TopicFilterBuf,
    /// The granted QoS.
    pub qos: Qos,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Subscription Identifier, 0 for none.
    pub identifier: u32,
}

/// A retained message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RetainedRecord {
    /// It.
    pub message: Message,
    /// The QoS it was published with.
    pub qos: Qos,
}

/// Where a walk over the retained messages has got to. It stays good whatever comes and goes in between.
#[derive(Clone, Debug)]
pub struct RetainedCursor(Cursor);

impl RetainedCursor {
    /// The beginning of all that `filter` matches.
    pub fn new(filter: TopicFilter<'_>) -> Self {
        Self(Cursor::new(filter))
    }
}

/// Steps into the retained messages that one call may take for each message asked for.
const STEPS_EACH: u32 = 64;

impl<P: Policy> Broker<P> {
    /// The session of one client; `None` if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mqtt_broker_core::{AllowAll, Broker, Config, Instant, Peer, codec::ReasonCode, topic::HashSeed};
    /// let now = Instant::ZERO;
    /// let mut broker = Broker::new(Config::default(), AllowAll, HashSeed::new(1, 2))?;
    /// let id = broker.handle_open(now, Peer::default())?;
    /// broker.handle_input(now, id, b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02c1");
    /// assert_eq!(broker.client("c1").unwrap().connection, Some(id));
    /// assert!(broker.kick(now, "c1", ReasonCode::ADMINISTRATIVE_ACTION));
    /// assert!(broker.client("c1").is_none(), "it wanted no session to be kept");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn client(&self, client_id: &str) -> Option<ClientRecord> {
        let core = self.core();
        core.record(core.clients.slots.at(core.clients.find(client_id)?)?)
    }

    /// A page of the sessions, connected or not, beginning at `from` (0, then the last page's `next`). It looks at no more
    /// than `limit` places, so one of which many have gone may be short, or empty. Sessions that come and go between two
    /// calls may be missed; all others are listed once.
    pub fn clients(&self, from: usize, limit: usize) -> Page<ClientRecord> {
        let core = self.core();
        let places = core.clients.slots.places();
        let end = from.saturating_add(limit.max(1)).min(places);
        let items =
            (from..end).filter_map(|index| core.record(core.clients.slots.at(u32::try_from(index).ok()?)?)).collect();
        Page { items, next: (end < places).then_some(end) }
    }

    /// A page of the subscriptions of one client, in the order of their text, beginning behind the first `from`; O(page).
    /// Empty for a client that has no session.
    pub fn subscriptions(&self, client_id: &str, from: usize, limit: usize) -> Page<SubscriptionRecord> {
        let core = self.core();
        let found = core.clients.find(client_id);
        let client = found.and_then(|index| Some((index, core.clients.slots.at(index)?)));
        let Some((index, client)) = client else { return Page { items: Vec::new(), next: None } };
        let all = client.subscriptions();
        let end = from.saturating_add(limit.max(1)).min(all.len());
        let record = |filter: &TopicFilterBuf| {
            let subscription = core.subscription(index, filter.as_filter())?;
            Some(SubscriptionRecord {
                filter: filter.clone(),
                qos: subscription.qos,
                no_local: subscription.no_local,
                retain_as_published: subscription.retain_as_published,
                identifier: subscription.id,
            })
        };
        let items = all.get(from..end).unwrap_or_default().iter().filter_map(record).collect();
        Page { items, next: (end < all.len()).then_some(end) }
    }

    /// Disconnects a client: at 5.0 it is told `reason`. Its session stays as long as it was to, and its will is published.
    /// Whether it was connected.
    pub fn kick(&mut self, now: Instant, client_id: &str, reason: ReasonCode) -> bool {
        let now = self.clock(now);
        let connection = self.core_mut().connection_of(client_id);
        if let Some(id) = connection {
            self.core_mut().end(now, id, reason);
            self.settle(now);
        }
        connection.is_some()
    }

    /// Throws a session away, subscriptions, messages and all; its client is disconnected first (0x98 at 5.0), and its will is
    /// published. Whether there was one. Its retained messages stay.
    pub fn purge_session(&mut self, now: Instant, client_id: &str) -> bool {
        let now = self.clock(now);
        let core = self.core_mut();
        let found = core.clients.find(client_id);
        if let Some(id) = core.connection_of(client_id) {
            core.end(now, id, ReasonCode::ADMINISTRATIVE_ACTION);
        }
        // [X5-SESS-3]: the client sees it as Session Present 0.
        if let Some(index) = core.clients.find(client_id) {
            core.end_session(index);
        }
        self.settle(now);
        found.is_some()
    }

    /// Keeps somebody out, until then or for ever (0x8A in CONNACK at 5.0). A client that is banned by its client identifier and is
    /// connected is disconnected (0x98); for users and addresses, [`kick`](Self::kick) those that [`clients`](Self::clients) lists.
    ///
    /// # Errors
    /// [`Config::max_bans`](crate::Config::max_bans) is reached.
    pub fn ban(&mut self, now: Instant, ban: Ban, until: Option<Instant>) -> Result<(), BansFull> {
        let now = self.clock(now);
        let core = self.core_mut();
        let connection = match &ban {
            Ban::ClientId(id) => core.connection_of(id),
            Ban::User(_) | Ban::Address(_) => None,
        };
        core.bans.add(now, ban, until, core.config.max_bans)?;
        if let Some(id) = connection {
            core.end(now, id, ReasonCode::ADMINISTRATIVE_ACTION); // DISCONNECT has no word for a ban
            self.settle(now);
        }
        Ok(())
    }

    /// Lifts a ban; whether there was one.
    pub fn unban(&mut self, ban: &Ban) -> bool {
        self.core_mut().bans.remove(ban)
    }

    /// Up to `limit` bans behind `after` (`None`: from the beginning), and when they end; O(log n + answer).
    pub fn bans(&mut self, now: Instant, after: Option<&Ban>, limit: usize) -> Vec<(Ban, Option<Instant>)> {
        let now = self.clock(now);
        self.core_mut().bans.list(now, after, limit)
    }

    /// The retained message of a topic.
    pub fn retained(&self, now: Instant, topic: TopicName<'_>) -> Option<RetainedRecord> {
        self.core().retained.record(now, topic)
    }

    /// A page of the retained messages that a filter matches; a page may be empty though there is more. Names that begin
    /// with `$` are matched only by filters that do.
    pub fn list_retained(
        &self,
        now: Instant,
        cursor: RetainedCursor,
        limit: usize,
    ) -> Page<RetainedRecord, RetainedCursor> {
        let mut items = Vec::new();
        let next = self.core().retained.walk(cursor.0, limit, |_, record| {
            if record.message.expires().is_none_or(|at| at > now) {
                items.push(record);
            }
        });
        Page { items, next: next.map(RetainedCursor) }
    }

    /// Removes up to `limit` of the retained messages that a filter matches, and gives their topics. Nobody is told: a
    /// subscriber learns of a removal by a publication with an empty payload.
    pub fn clear_retained(&mut self, cursor: RetainedCursor, limit: usize) -> Page<TopicNameBuf, RetainedCursor> {
        let mut items: Vec<TopicNameBuf> = Vec::new();
        let core = self.core_mut();
        let next = core.retained.walk(cursor.0, limit, |name, _| items.push(name.into()));
        for name in &items {
            core.retained.remove(name.as_name());
            core.mark_retained(name.as_name());
        }
        Page { items, next: next.map(RetainedCursor) }
    }

    /// Refuses new connections from now on, or takes them again; those that are there stay. To empty a broker gently, set this,
    /// [`kick`](Self::kick) clients page by page, then [`shutdown`](Self::shutdown).
    pub fn set_draining(&mut self, draining: bool) {
        self.core_mut().shutting_down = draining;
    }
}

impl<P: Policy> Core<P> {
    fn connection_of(&self, client_id: &str) -> Option<crate::slots::Id> {
        self.clients.slots.at(self.clients.find(client_id)?)?.connection()
    }

    fn record(&self, client: &Client) -> Option<ClientRecord> {
        let conn = client.connection().and_then(|id| self.connections.get(id));
        let (session, expires) = match &client.home {
            Home::Local(_) => return None,
            Home::Away { session, expires } => (session.as_deref(), *expires),
            Home::Connection(_) => (conn.and_then(Conn::connection).map(|connection| connection.session()), None),
        };
        Some(ClientRecord {
            id: client.id.clone(),
            user_name: client.user_name.clone(),
            version: client.version,
            connection: client.connection().map(ConnectionId),
            address: conn.and_then(|conn| conn.peer.address),
            subscriptions: client.subscriptions().len(),
            queued: session.map_or(0, |session| session.queued()),
            inflight: session.map_or(0, |session| session.inflight()),
            bytes: session.map_or(0, |session| session.bytes()),
            expires,
        })
    }
}

impl crate::retained::Retained {
    /// Hands out up to `limit` messages; where to go on, if there is more.
    fn walk(
        &self,
        mut cursor: Cursor,
        limit: usize,
        mut each: impl FnMut(TopicName<'_>, RetainedRecord),
    ) -> Option<Cursor> {
        let mut budget = u32::try_from(limit.max(1)).unwrap_or(u32::MAX).saturating_mul(STEPS_EACH);
        for _ in 0..limit.max(1) {
            match self.next(&mut cursor, &mut budget) {
                Next::Found(name, kept) => each(name, kept.record()),
                Next::OutOfBudget => return Some(cursor),
                Next::Done => return None,
            }
        }
        Some(cursor)
    }
}
