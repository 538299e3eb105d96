//! The broker as its host sees it: bytes in, bytes out, decisions outside. Dispatches, decides nothing.
use crate::connections::{Conn, ConnectionId, OpenError, Ready};
use crate::core_state::Core;
use crate::slots::{Id, grow};
use crate::store::{RestoreError, StoreKey, StoreOp, StoreTicket};
use crate::{
    Config, ConfigError, Decision, Event, EventMask, LocalError, LocalId, Peer, Policy, Publication, Refusal, Stats,
    Ticket,
};
use alloc::vec::Vec;
use mqtt_session::codec::{OutBuf, Reader, ReasonCode, SubscribeOptions};
use mqtt_session::topic::{HashSeed, TopicFilter};
use mqtt_session::{Connection, Delivery, Epoch, Instant, QueueLimits};

/// How much unread input a paused connection may leave here beyond one packet, in bytes: what a host had already read.
const PAUSED_INPUT: usize = 1 << 20;

/// An MQTT broker without sockets, clock or threads. See the [crate's page](crate) for how a host drives it.
pub struct Broker<P> {
    /// The reading halves, by index of their connection.
    readers: Vec<Option<Reader>>,
    core: Core<P>,
    /// The latest time seen; one that goes back is clamped.
    now: Instant,
}

impl<P: Policy> Broker<P> {
    /// A broker that asks `policy`. `seed` keeps attackers from choosing colliding strings: [`HashSeed::random`] outside of tests.
    ///
    /// # Errors
    /// A limit in `config` under which nobody could connect.
    pub fn new(config: Config, policy: P, seed: HashSeed) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self { readers: Vec::new(), core: Core::new(config, policy, seed), now: Instant::ZERO })
    }

    pub(crate) fn core(&self) -> &Core<P> {
        &self.core
    }

    pub(crate) fn core_mut(&mut self) -> &mut Core<P> {
        &mut self.core
    }

    pub(crate) fn clock(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// A transport is there: a socket, a WebSocket, a channel.
    ///
    /// # Errors
    /// The limits on connections, or a shutdown: close the transport (S18).
    pub fn handle_open(&mut self, now: Instant, peer: Peer) -> Result<ConnectionId, OpenError> {
        let now = self.clock(now);
        let Self { readers, core, .. } = self;
        core.vet_open(now, &peer)?;
        let listener = peer.listener;
        let connection = Connection::server(now, core.config.server_of(listener));
        let mut reader = connection.reader();
        if let Some(profile) = core.config.profile {
            reader = reader.with_profile(profile);
        }
        let id =
            core.connections.insert(Conn::new(now, connection, peer, core.config.high_water)).ok_or(OpenError::Full)?;
        core.handshakes += 1;
        core.count_connection(listener, true);
        let index = id.index as usize;
        if readers.len() <= index {
            grow(readers, index + 1);
            readers.resize_with(index + 1, || None);
        }
        if let Some(place) = readers.get_mut(index) {
            *place = Some(reader);
        }
        // [X5-CON-8] [X311-CON-1]: from here on its deadline runs.
        core.touch(now, id);
        Ok(ConnectionId(id))
    }

    /// What the host has learnt of the peer since it opened the transport: a proxy's word, say. Only before CONNECT; after it, and
    /// for a stale `id`, nothing changes. An address that is new counts for [`Config::address_rate`] as if the transport had just come
    /// from there; over it, the connection is closed. So open what comes through a proxy without an address: the proxy's own would count.
    pub fn set_peer(&mut self, id: ConnectionId, peer: Peer) {
        self.core.set_peer(self.now, id.0, peer);
    }

    /// Bytes came. All are taken: what cannot be worked off now (the connection is paused) is kept.
    pub fn handle_input(&mut self, now: Instant, id: ConnectionId, bytes: &[u8]) {
        let now = self.clock(now);
        self.core.stats.bytes_in += bytes.len() as u64;
        self.pump(now, id.0, bytes);
        self.settle(now);
    }

    /// Takes the packets of one connection as far as it may go.
    fn pump(&mut self, now: Instant, id: Id, bytes: &[u8]) {
        let Self { readers, core, .. } = self;
        if core.connections.get(id).is_none() {
            return;
        }
        let Some(Some(reader)) = readers.get_mut(id.index as usize) else { return };
        let live = core.is_live(id);
        reader.set_limit(core.read_limit(id, live));
        let mut packets = reader.read(bytes);
        // one that is let in here goes on in a turn of its own, with another limit
        let goes_on = |core: &Core<P>| core.is_reading(id) && (live || !core.is_live(id));
        let mut reading = goes_on(core);
        while reading {
            match packets.next() {
                Ok(Some(packet)) => {
                    core.stats.packets_in += 1;
                    core.handle_packet(now, id, &packet);
                }
                Ok(None) => break,
                Err(error) => core.handle_decode_error(now, id, error),
            }
            reading = goes_on(core);
        }
        drop(packets);
        if reader.buffered() > PAUSED_INPUT && reader.buffered() - PAUSED_INPUT > core.packet_limit(id) {
            core.end(now, id, ReasonCode::QUOTA_EXCEEDED);
            reading = false;
        }
        if !reading
            && core.is_closing(id)
            && let Some(place) = readers.get_mut(id.index as usize)
        {
            *place = None;
        }
    }

    /// Works off what a call has set going: connections that may be read again, wills that are due.
    #[inline]
    pub(crate) fn settle(&mut self, now: Instant) {
        if self.core.has_set_going() {
            self.work_off(now);
        }
    }

    fn work_off(&mut self, now: Instant) {
        self.core.start_sys(now);
        loop {
            self.core.publish_wills(now);
            self.core.hand_over(now);
            self.core.deny_over_budget(now);
            if !self.core.wills_due.is_empty() || !self.core.handovers.is_empty() {
                continue; // a hand-over or a refusal has ended a session
            }
            let Some(id) = self.core.runnable.pop_front() else { return };
            self.pump(now, id, &[]);
        }
    }

    /// The transport is gone, or was closed after [`Read::Close`](crate::Read::Close). Call once; `id` is stale from here on.
    pub fn handle_closed(&mut self, now: Instant, id: ConnectionId) {
        let now = self.clock(now);
        if self.core.connections.get(id.0).is_some()
            && let Some(place) = self.readers.get_mut(id.index())
        {
            *place = None;
        }
        self.core.handle_closed(now, id.0);
        self.settle(now);
    }

    /// Does what is due. Early and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock(now);
        while let Some(due) = self.core.deadlines.pop(now) {
            self.core.handle_due(now, due);
        }
        self.core.expire_retained(now);
        self.core.sweep(now);
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (due, expiry) = (self.core.deadlines.first(), self.core.retained.next_expiry());
        let sweep = self.core.may_sweep().then_some(self.now);
        // what was restored and is due
        let wills = (!self.core.wills_due.is_empty()).then_some(self.now);
        [due, expiry, sweep, wills].into_iter().flatten().min()
    }

    /// The next connection with something for the host to do; each change is told once. Call until `None` after every `handle_*`,
    /// `poll_transmit`, `resume`, `publish` and `shutdown`.
    pub fn poll_ready(&mut self) -> Option<Ready> {
        self.core.poll_ready()
    }

    /// Moves what is to be sent on a connection into `out`, the host's own buffer for it. What still lies there counts as unsent.
    ///
    /// Write, [`advance`](OutBuf::advance), and call again until it leaves `out` empty or the socket takes no more; then once more
    /// when the socket is writable. So the broker knows who keeps up.
    pub fn poll_transmit(&mut self, now: Instant, id: ConnectionId, out: &mut OutBuf) {
        let now = self.clock(now);
        self.core.transmit(now, id.0, out);
        self.settle(now);
    }

    /// The next event, of those the [mask](crate::EventMask) asks for. The queue is bounded: what a host does not poll is lost and counted.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.events.pop()
    }

    /// Asks for other events than [`Config::events`] from now on.
    pub fn set_events(&mut self, mask: EventMask) {
        self.core.config.events = mask;
    }

    /// What is to be stored of all that has happened since the last call, appended to `batch`, and its ticket; `None` if there is nothing.
    /// For hosts that want sessions to outlive the process ([`Config::durability`]); call it after each `handle_*` or after many, or answers wait for ever.
    ///
    /// **The operations of one call, and what is in `batch` already, are stored whole or not at all**, and in the order they are given out. When they
    /// would survive a crash, say so ([`stored`](Self::stored)); many calls may be stored, and said, at once. `epoch` is the Unix
    /// time of [`Instant::ZERO`] by the host's clocks of this moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_broker_core::session::Epoch;
    /// use mqtt_broker_core::store::{StoreAction, Table};
    /// use mqtt_broker_core::{AllowAll, Broker, Config, Durability, Instant, Peer, codec::OutBuf, topic::HashSeed};
    ///
    /// let mut config = Config::default();
    /// config.durability = Durability::Synced;
    /// let (now, epoch) = (Instant::ZERO, Epoch::from_unix_millis(1_700_000_000_000));
    /// let mut broker = Broker::new(config, AllowAll, HashSeed::new(1, 2))?;
    /// let id = broker.handle_open(now, Peer::default())?;
    /// broker.handle_input(now, id, b"\x10\x0e\x00\x04MQTT\x04\x00\x00\x3c\x00\x02c1"); // CONNECT, the session is to stay
    ///
    /// let mut batch = Vec::new();
    /// let ticket = broker.poll_store(epoch, &mut batch).unwrap();
    /// assert!(batch.iter().any(|op| op.key.table == Table::Clients && matches!(op.action, StoreAction::Put(_))));
    ///
    /// let mut out = OutBuf::with_limit(1000);
    /// broker.poll_transmit(now, id, &mut out);
    /// assert!(out.is_empty(), "a CONNACK would promise what a crash could break");
    /// broker.stored(now, ticket); // the batch is on the disk
    /// broker.poll_transmit(now, id, &mut out);
    /// assert_eq!(out.chunk(), b"\x20\x02\x00\x00");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_store(&mut self, epoch: Epoch, batch: &mut Vec<StoreOp>) -> Option<StoreTicket> {
        self.settle(self.now); // a will that is due is stored with what it does
        let ticket = self.core.poll_store(self.now, epoch, batch);
        self.settle(self.now);
        ticket
    }

    /// All that was given out up to `ticket` survives a crash: what waited for it is said. O(1) for each operation.
    pub fn stored(&mut self, now: Instant, ticket: StoreTicket) {
        let now = self.clock(now);
        self.core.stored(now, ticket);
        self.settle(now);
    }

    /// Takes back what an earlier process had stored under `key`, in its order: for each key of all tables but
    /// [`Sessions`](crate::store::Table::Sessions), before the first connection. `now` and `epoch` are those of this process. Sessions are read when
    /// somebody needs them ([`Policy::load_session`]). `store::restore` does it for a whole `Store`.
    ///
    /// What has expired meanwhile, sessions and wills, is due at the next [`handle_timeout`](Self::handle_timeout); clients that were
    /// connected count as lost at `now`. Each client is judged anew when it comes back; where rules may have changed meanwhile, call
    /// [`reauthorize_all`](Self::reauthorize_all) behind it: what was taken away last may not have been stored.
    ///
    /// # Errors
    /// Nothing is taken, but for [`RestoreError::Full`](crate::store::RestoreError::Full): a subscription of it found no room.
    pub fn restore<R: AsRef<[u8]>>(
        &mut self,
        now: Instant,
        epoch: Epoch,
        key: &StoreKey,
        records: impl IntoIterator<Item = R>,
    ) -> Result<(), RestoreError> {
        let now = self.clock(now);
        self.core.restore(now, epoch, key, records)
    }

    /// Decides a deferred request. A stale ticket does nothing; [`Decision::Defer`] counts as denied.
    pub fn resume(&mut self, now: Instant, ticket: Ticket, decision: Decision) {
        let now = self.clock(now);
        self.core.resume(now, ticket.0, decision);
        self.settle(now);
    }

    /// Judges anew what a client was allowed: its subscriptions, the messages queued for it, those to be sent again, the retained ones
    /// on their way to it. What the policy no longer allows ends; what was sent already cannot be taken back. Whether there is such
    /// a client, connected or not.
    ///
    /// The policy is asked again [`subscribe`](Policy::subscribe), [`receives_all`](Policy::receives_all) and
    /// [`receive`](Policy::receive); a subscription it puts off stays until the decision. Whether the client may still connect is
    /// not asked. A will is asked about anyway when it fires. Takes time for the client's subscriptions and messages.
    pub fn reauthorize(&mut self, now: Instant, client_id: &str) -> bool {
        let now = self.clock(now);
        let Some(index) = self.core.clients.find(client_id) else { return false };
        self.core.reauthorize(now, index);
        self.settle(now);
        true
    }

    /// [`reauthorize`](Self::reauthorize) for every client. Takes effect at once: nothing is sent any more to a client before it has
    /// been judged. The work itself is done in shares, each in a call of [`handle_timeout`](Self::handle_timeout), which is due
    /// until it is done.
    pub fn reauthorize_all(&mut self, now: Instant) {
        self.clock(now);
        self.core.reauthorize_all();
    }

    /// Publishes from the embedding program; how many sessions it was for (0 also while the policy defers it).
    ///
    /// # Errors
    /// The policy's refusal.
    pub fn publish(&mut self, now: Instant, publication: &Publication<'_>) -> Result<usize, ReasonCode> {
        let now = self.clock(now);
        let published = self.core.publish_local(now, None, publication);
        self.settle(now);
        published
    }

    /// A client of the embedding program: it subscribes and publishes without a socket or an encoded byte, and its messages
    /// wait in a queue of at most `limits` (further ones are dropped as [`Config::overflow`] says, the newest where that is `Disconnect`, and counted).
    ///
    /// It has no client identifier, so no network client can take it over, and it is trusted: the [`Policy`] is asked about
    /// what it publishes ([`Origin::Local`](crate::Origin::Local)), but not about what it subscribes to.
    ///
    /// # Errors
    /// [`LocalError::Full`] at [`Config::max_local_clients`].
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_broker_core::session::QueueLimits;
    /// use mqtt_broker_core::topic::{HashSeed, TopicFilter, TopicName};
    /// use mqtt_broker_core::{AllowAll, Broker, Config, Instant, Publication, codec::SubscribeOptions};
    ///
    /// let now = Instant::ZERO;
    /// let mut broker = Broker::new(Config::default(), AllowAll, HashSeed::new(1, 2))?;
    /// let logger = broker.local_open(QueueLimits { messages: 100, bytes: 1 << 20 })?;
    /// broker.local_subscribe(now, logger, TopicFilter::new("sensors/#").unwrap(), SubscribeOptions::default())?;
    ///
    /// let reading = Publication::new(TopicName::new("sensors/door").unwrap(), b"open");
    /// broker.publish(now, &reading).unwrap();
    ///
    /// while let Some(id) = broker.poll_local() {
    ///     while let Some(delivery) = broker.local_receive(now, id) {
    ///         assert_eq!((id, delivery.message.payload()), (logger, &b"open"[..]));
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn local_open(&mut self, limits: QueueLimits) -> Result<LocalId, LocalError> {
        self.core.local_open(limits)
    }

    /// Subscribes a client of the embedding program, or replaces its subscription; retained messages come as to any other client.
    ///
    /// # Errors
    /// The client was closed, or has [`Config::max_subscriptions`] already; `filter` begins with `$share/` and goes on wrongly.
    pub fn local_subscribe(
        &mut self,
        now: Instant,
        id: LocalId,
        filter: TopicFilter<'_>,
        options: SubscribeOptions,
    ) -> Result<(), LocalError> {
        let now = self.clock(now);
        self.core.local_subscribe(now, id, filter, options)
    }

    /// Ends a subscription of a client of the embedding program; whether there was one. What is queued already
    /// stays, but for what the other members of a group can have.
    pub fn local_unsubscribe(&mut self, id: LocalId, filter: TopicFilter<'_>) -> bool {
        let ended = self.core.local_unsubscribe(id, filter);
        self.settle(self.now);
        ended
    }

    /// Publishes in the name of a client of the embedding program: like [`publish`](Self::publish), but a no-local
    /// subscription of its own does not see the message.
    ///
    /// # Errors
    /// The policy's refusal.
    pub fn local_publish(
        &mut self,
        now: Instant,
        id: LocalId,
        publication: &Publication<'_>,
    ) -> Result<usize, ReasonCode> {
        let now = self.clock(now);
        let published = self.core.publish_local(now, Some(id), publication);
        self.settle(now);
        published
    }

    /// The next message for a client of the embedding program. What has expired while it waited is passed over and counted.
    pub fn local_receive(&mut self, now: Instant, id: LocalId) -> Option<Delivery> {
        let now = self.clock(now);
        self.core.local_receive(now, id)
    }

    /// The next client of the embedding program that has something to receive; each is told once until
    /// [`local_receive`](Self::local_receive) has answered `None`. Many retained messages come in shares: then `None` is
    /// followed by a further turn here.
    pub fn poll_local(&mut self) -> Option<LocalId> {
        self.core.poll_local()
    }

    /// How many messages a client of the embedding program has lost because its queue was full.
    pub fn local_dropped(&self, id: LocalId) -> u64 {
        self.core.local_dropped(id)
    }

    /// Ends a client of the embedding program: its subscriptions and its queue go, what it had for a group to another member. A stale id does nothing.
    pub fn local_close(&mut self, id: LocalId) {
        self.core.local_close(id);
        self.settle(self.now);
    }

    /// Refuses new connections, publishes the wills of those connected, tells everybody (0x8B at 5.0) and closes.
    /// The broker is drained when [`connections`](Self::connections) is 0.
    pub fn shutdown(&mut self, now: Instant) {
        let now = self.clock(now);
        self.core.shutdown(now, &Refusal::new(ReasonCode::SERVER_SHUTTING_DOWN));
        self.settle(now);
    }

    /// [`shutdown`](Self::shutdown), but everybody is told `word` instead: another server's name, say. Before 5.0 nobody can be told.
    pub fn shutdown_as(&mut self, now: Instant, word: &Refusal) {
        let now = self.clock(now);
        self.core.shutdown(now, word);
        self.settle(now);
    }

    /// Sends a connected client away with `word`: to another server, say. Its session stays, and its will is due as after every end
    /// that the client did not ask for. Whether it was connected.
    pub fn redirect(&mut self, now: Instant, client_id: &str, word: &Refusal) -> bool {
        let now = self.clock(now);
        let index = self.core.clients.find(client_id);
        let client = index.and_then(|index| self.core.clients.slots.at(index));
        let Some(id) = client.and_then(|client| client.connection()) else { return false };
        self.core.end_as(now, id, word);
        self.settle(now);
        true
    }

    /// Connections whose [`handle_closed`](Self::handle_closed) has not come yet.
    pub fn connections(&self) -> usize {
        self.core.connections.len()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// The policy.
    pub fn policy(&self) -> &P {
        &self.core.policy
    }

    /// The policy.
    pub fn policy_mut(&mut self) -> &mut P {
        &mut self.core.policy
    }
}
