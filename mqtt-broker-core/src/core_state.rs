//! The parts of the broker together, and what every operation needs: who is ready, who is paused, what is due.
use crate::bans::Bans;
use crate::clients::{Client, Clients, Home};
use crate::connections::{Conn, Paused, Phase};
use crate::deadlines::{Deadlines, Due};
use crate::deferred::Entry;
use crate::event::{Cause, Drop};
use crate::ledger::Ledger;
use crate::rates::Rates;
use crate::retained::Retained;
use crate::routes::{Routes, Targets};
use crate::shared::Groups;
use crate::slots::{Id, Slots};
use crate::sys::Sys;
use crate::wills::DueWill;
use crate::{ClientId, ClientInfo, Config, Decision, Event, Limit, Peer, Policy, Ready, Stats};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use mqtt_session::codec::{DecodeError, Packet, Qos, ReasonCode};
use mqtt_session::topic::{HashSeed, TopicName};
use mqtt_session::{
    CopyBuf, Delivery, Event as SessionEvent, Instant, Message, Publication, PublishToken, Session, State,
};

/// Events kept for a host that does not poll; further ones are counted.
const MAX_EVENTS: usize = 8192;

/// Everything but the reading halves, so that a packet that still lies in one of those can be routed to any connection.
pub(crate) struct Core<P> {
    pub(crate) config: Config,
    pub(crate) policy: P,
    pub(crate) connections: Slots<Conn>,
    /// How many connections are before the end of their handshake.
    pub(crate) handshakes: usize,
    /// Clients that are connected.
    pub(crate) connected: usize,
    pub(crate) clients: Clients,
    pub(crate) routes: Routes,
    pub(crate) groups: Groups,
    pub(crate) retained: Retained,
    /// By serial number, and the number given out last.
    pub(crate) deferred: BTreeMap<u64, Entry>,
    pub(crate) last_ticket: u64,
    /// Those among them to deny before the call under way ends.
    pub(crate) over_budget: VecDeque<u64>,
    /// What is to be stored, and what waits for that.
    pub(crate) ledger: Ledger,
    /// The tickets of wills that wait for the policy, by the number under which each is recorded.
    pub(crate) waiting_wills: BTreeMap<u64, u64>,
    pub(crate) deadlines: Deadlines,
    pub(crate) events: Events,
    pub(crate) stats: Stats,
    /// Bytes of messages in all sessions.
    pub(crate) queued_bytes: usize,
    /// Bytes of filters, wills and deferred requests.
    pub(crate) held_bytes: usize,
    /// Wills to publish before the call under way ends.
    pub(crate) wills_due: VecDeque<DueWill>,
    /// Deliveries of groups to hand to other members before the call under way ends.
    pub(crate) handovers: VecDeque<Delivery>,
    /// Clients that a group found less fit than it thought; kept for its memory.
    pub(crate) demoted: Vec<u32>,
    /// Connections whose kept input can be taken now.
    pub(crate) runnable: VecDeque<Id>,
    /// Connections with something for the host.
    pub(crate) ready: VecDeque<Id>,
    /// Clients of the embedding program with something to receive.
    pub(crate) local_ready: VecDeque<Id>,
    /// The copies of the message being routed; kept for its memory.
    pub(crate) targets: Targets,
    /// Encodings of the message being routed, once one had several targets; kept for its memory.
    pub(crate) copies: Option<Box<CopyBuf>>,
    pub(crate) bans: Bans,
    pub(crate) rates: Rates,
    pub(crate) sys: Sys,
    pub(crate) shutting_down: bool,
    /// How often all rights were called into question.
    pub(crate) generation: u32,
    /// How far the sweep over all clients is that this set going.
    pub(crate) sweep: Option<usize>,
}

/// Events on their way to the host.
#[derive(Debug, Default)]
pub(crate) struct Events {
    queue: VecDeque<Event>,
}

impl Events {
    pub(crate) fn push(&mut self, stats: &mut Stats, event: Event) {
        if self.queue.len() < MAX_EVENTS {
            self.queue.push_back(event);
        } else {
            stats.events_lost += 1;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }
}

impl<P: Policy> Core<P> {
    pub(crate) fn new(config: Config, policy: P, seed: HashSeed) -> Self {
        let rates = Rates::new(&config);
        let ledger = Ledger::new(config.records());
        let mut bans = Bans::default();
        if ledger.on {
            bans.record();
        }
        Self {
            config,
            policy,
            connections: Slots::new(),
            handshakes: 0,
            connected: 0,
            clients: Clients::new(seed),
            routes: Routes::new(seed),
            groups: Groups::new(seed),
            retained: Retained::new(),
            deferred: BTreeMap::new(),
            last_ticket: 0,
            over_budget: VecDeque::new(),
            ledger,
            waiting_wills: BTreeMap::new(),
            deadlines: Deadlines::default(),
            events: Events::default(),
            stats: Stats::default(),
            queued_bytes: 0,
            held_bytes: 0,
            wills_due: VecDeque::new(),
            handovers: VecDeque::new(),
            demoted: Vec::new(),
            runnable: VecDeque::new(),
            ready: VecDeque::new(),
            local_ready: VecDeque::new(),
            targets: Targets::default(),
            copies: None,
            bans,
            rates,
            sys: Sys::default(),
            shutting_down: false,
            generation: 0,
            sweep: None,
        }
    }

    /// What the host has learnt of a peer that has not sent its CONNECT.
    pub(crate) fn set_peer(&mut self, now: Instant, id: Id, peer: Peer) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        if !matches!(conn.phase, Phase::Handshake(_)) {
            return;
        }
        let old = core::mem::replace(&mut *conn.peer, peer.clone());
        self.count_connection(old.listener, false);
        self.count_connection(peer.listener, true);
        let host = |peer: &Peer| peer.address.map(|address| address.ip());
        if host(&old) != host(&peer) && self.address_comes_too_fast(now, &peer) {
            self.limited(Limit::ConnectionRate, None, Some(&peer));
            self.close(now, id, Cause::Ended(ReasonCode::CONNECTION_RATE_EXCEEDED));
        }
    }

    pub(crate) fn is_reading(&self, id: Id) -> bool {
        self.connections.get(id).is_some_and(Conn::is_reading)
    }

    pub(crate) fn is_live(&self, id: Id) -> bool {
        self.connections.get(id).is_some_and(|conn| conn.client().is_some())
    }

    pub(crate) fn is_closing(&self, id: Id) -> bool {
        self.connections.get(id).is_some_and(|conn| matches!(conn.phase, Phase::Closing))
    }

    /// Takes one packet of a connection.
    pub(crate) fn handle_packet(&mut self, now: Instant, id: Id, packet: &Packet<'_>) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        let Some(connection) = conn.connection_mut() else { return };
        match connection.handle_packet(now, packet) {
            // It leaves nothing to say to its sender, and a deadline that moved back is looked at when the old one comes.
            Ok(SessionEvent::Publish(ref received, token)) if !token.is_awaited() => {
                return self.publish(now, id, received, token);
            }
            Ok(ref event) => self.handle_event(now, id, event),
            Err(error) => self.close(now, id, Cause::Protocol(error)),
        }
        self.touch(now, id);
        self.heed_store(now, id);
    }

    pub(crate) fn handle_decode_error(&mut self, now: Instant, id: Id, error: DecodeError) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        let Some(connection) = conn.connection_mut() else { return };
        let error = connection.handle_decode_error(now, error);
        self.close(now, id, Cause::Protocol(error));
    }

    fn handle_event(&mut self, now: Instant, id: Id, event: &SessionEvent<'_>) {
        match *event {
            SessionEvent::Connect(ref connect) => self.connect(now, id, connect),
            SessionEvent::Publish(ref received, token) => self.publish(now, id, received, token),
            SessionEvent::Released(token) => self.acknowledge(id, token, ReasonCode::SUCCESS),
            SessionEvent::Completed { token, reason, .. } => {
                self.completed(id);
                self.tell_acked(id, token, reason);
            }
            SessionEvent::Subscribe(ref subscribe, token) => self.subscribe(now, id, subscribe, token),
            SessionEvent::Unsubscribe(ref unsubscribe, token) => self.unsubscribe(now, id, unsubscribe, token),
            SessionEvent::Auth(ref auth) => self.auth(now, id, auth),
            SessionEvent::Disconnect(ref disconnect) => self.goodbye(now, id, disconnect),
            // The others are the client's end.
            _ => {}
        }
    }

    /// Does one thing whose time has come.
    pub(crate) fn handle_due(&mut self, now: Instant, due: Due) {
        match due {
            Due::Connection(id) => {
                let Some(conn) = self.connections.get_mut(id) else { return };
                conn.wake = Instant::MAX;
                let Some(connection) = conn.connection_mut() else { return };
                let before_connect = connection.state() == State::Handshake;
                if let Err(error) = connection.handle_timeout(now) {
                    if before_connect {
                        self.limited_at(Limit::ConnectTimeout, id);
                    }
                    self.close(now, id, Cause::Protocol(error));
                } else {
                    // a quiet moment: what was only needed for bursts is given back
                    conn.staging.shrink();
                }
                self.touch(now, id);
            }
            Due::Sys => self.publish_sys(now),
            Due::Rate(id) => self.end_rate_pause(now, id),
            Due::Stall(id) => self.look_for_stall(now, id),
            Due::Ticket(id) => self.resume(now, id, Decision::Deny(ReasonCode::NOT_AUTHORIZED)),
            Due::Will(index) => self.will_is_due(index),
            Due::Session(index) => {
                self.stats.sessions_expired += 1;
                self.end_session(index);
            }
        }
    }

    /// Whether a call that ends now has set something going.
    #[inline]
    pub(crate) fn has_set_going(&self) -> bool {
        let nothing = self.runnable.is_empty()
            && self.wills_due.is_empty()
            && self.handovers.is_empty()
            && self.over_budget.is_empty();
        !nothing || self.sys_is_due()
    }

    // --- readiness ------------------------------------------------------------------------------------------------

    /// Lists a connection for [`poll_ready`](Self::poll_ready).
    pub(crate) fn list(&mut self, id: Id) {
        if let Some(conn) = self.connections.get_mut(id)
            && !core::mem::replace(&mut conn.listed, true)
        {
            self.ready.push_back(id);
        }
    }

    /// What stood before others in the queue of a client is gone, or a place is new there: is there something to send now?
    pub(crate) fn goes_on(&mut self, index: u32) {
        if let Some(id) = self.clients.slots.at(index).and_then(|client| client.connection())
            && let Some(conn) = self.connections.get_mut(id)
        {
            conn.transmit = true;
            self.list(id);
        }
    }

    pub(crate) fn poll_ready(&mut self) -> Option<Ready> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(ready) = self.connections.get_mut(id).and_then(|conn| conn.take_ready(id)) {
                return Some(ready);
            }
        }
        None
    }

    /// After anything was done to a connection: is there something to send, is its deadline in the set, does it fall behind?
    pub(crate) fn touch(&mut self, now: Instant, id: Id) {
        let high_water = self.config.high_water;
        let Some(conn) = self.connections.get_mut(id) else { return };
        let (wake, recorded) = (conn.wake, conn.recorded);
        let Some(connection) = conn.connection() else { return };
        if connection.state() == State::Closing {
            // an answer that must be given does not fit what the client takes
            return self.close(now, id, Cause::Ended(ReasonCode::PACKET_TOO_LARGE));
        }
        // only its own answers: what others send it is bounded by its queue
        let behind = connection.control_backlog() > high_water;
        let has_output = connection.has_output();
        // A deadline that moved back is looked at when the old one comes: re-arming costs nothing.
        if let Some(at) = connection.poll_timeout()
            && at < wake
        {
            conn.wake = at;
            if wake != Instant::MAX {
                self.deadlines.clear(wake, Due::Connection(id));
            }
            self.deadlines.set(at, Due::Connection(id));
        }
        if has_output {
            conn.transmit = true;
            self.list(id);
        }
        if recorded {
            self.mark_connection(id);
        }
        if behind {
            self.pause(now, id, |paused| paused.backlog = true);
        }
    }

    /// Stops taking packets of a connection. Time spent so, other than for its own slowness, does not count against its keep alive.
    pub(crate) fn pause(&mut self, now: Instant, id: Id, set: impl FnOnce(&mut Paused)) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        set(&mut conn.paused);
        if conn.paused.excused()
            && let Some(connection) = conn.connection_mut()
        {
            connection.pause_keep_alive(now);
        }
        self.list(id);
    }

    pub(crate) fn unpause(&mut self, now: Instant, id: Id, clear: impl FnOnce(&mut Paused)) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        let excused = conn.paused.excused();
        clear(&mut conn.paused);
        if excused
            && !conn.paused.excused()
            && let Some(connection) = conn.connection_mut()
        {
            connection.resume_keep_alive(now);
        }
        if conn.is_reading() {
            self.runnable.push_back(id);
        }
        self.list(id);
        self.touch(now, id);
    }

    // --- look-ups -------------------------------------------------------------------------------------------------

    /// Who a connection belongs to, for the policy.
    pub(crate) fn info<'a>(clients: &'a Clients, conn: &'a Conn) -> Option<ClientInfo<'a>> {
        Some(clients.slots.at(conn.client()?)?.info(&conn.peer))
    }

    pub(crate) fn client_id(&self, index: u32) -> Option<ClientId> {
        self.clients.slots.at(index).map(|client| client.id.clone())
    }

    /// The session of a client, wherever it lives.
    pub(crate) fn session_mut<'a>(connections: &'a mut Slots<Conn>, client: &'a mut Client) -> Option<&'a mut Session> {
        match &mut client.home {
            Home::Away { session, .. } => session.as_deref_mut(),
            Home::Local(_) => None,
            Home::Connection(id) => match &mut connections.get_mut(*id)?.phase {
                Phase::Live(connection, _) => Some(connection.session_mut()),
                _ => None,
            },
        }
    }

    // --- counting -------------------------------------------------------------------------------------------------

    /// Brings the sum of queued bytes up to date for one session.
    pub(crate) fn recharge(&mut self, index: u32) {
        let Some(client) = self.clients.slots.at_mut(index) else { return };
        let bytes = match &client.home {
            Home::Away { session, .. } => session.as_ref().map_or(0, |session| session.bytes()),
            Home::Local(queue) => queue.bytes(),
            Home::Connection(id) => self
                .connections
                .get(*id)
                .and_then(Conn::connection)
                .map_or(0, |connection| connection.session().bytes()),
        };
        self.queued_bytes = self.queued_bytes.saturating_sub(client.charged).saturating_add(bytes);
        client.charged = bytes;
    }

    /// A client has answered a message.
    fn completed(&mut self, id: Id) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        let unready = core::mem::take(&mut conn.unready);
        let Some(index) = conn.client() else { return };
        self.recharge(index);
        if unready {
            self.recover(index);
        }
    }

    /// Reports a message that is being routed, where the mask asks.
    #[inline]
    pub(crate) fn tell_published(&mut self, origin: Option<u32>, publication: &Publication<'_>) {
        if self.config.events.published {
            let Publication { topic, qos, retain, payload, .. } = *publication;
            let (client, size) = (origin.and_then(|index| self.client_id(index)), payload.len());
            let event = Event::Published { client, topic: topic.into(), qos, retain, size };
            self.events.push(&mut self.stats, event);
        }
    }

    /// What is to be reported of a delivery once it is handed on, where the mask asks: nothing is kept else.
    pub(crate) fn note(&self, delivery: &Delivery) -> Option<(Message, Qos)> {
        self.config.events.delivered.then(|| (delivery.message.clone(), delivery.qos))
    }

    pub(crate) fn tell_noted(&mut self, index: u32, noted: Option<(Message, Qos)>) {
        if let Some((message, qos)) = noted {
            self.tell_delivered(index, message.topic(), qos);
        }
    }

    /// Reports a copy that was handed on, where the mask asks.
    pub(crate) fn tell_delivered(&mut self, index: u32, topic: TopicName<'_>, qos: Qos) {
        if self.config.events.delivered
            && let Some(client) = self.client_id(index)
        {
            self.events.push(&mut self.stats, Event::Delivered { client, topic: topic.into(), qos });
        }
    }

    fn tell_acked(&mut self, id: Id, token: PublishToken, reason: ReasonCode) {
        if self.config.events.acked
            && let Some(client) =
                self.connections.get(id).and_then(Conn::client).and_then(|index| self.client_id(index))
        {
            self.events.push(&mut self.stats, Event::Acked { client, token, reason });
        }
    }

    /// Counts and reports a message that was dropped.
    pub(crate) fn dropped(&mut self, client: Option<&ClientId>, why: Drop) {
        let counter = match why {
            Drop::QueueFull => &mut self.stats.dropped_full,
            Drop::TooLarge => &mut self.stats.dropped_too_large,
            Drop::Expired => &mut self.stats.dropped_expired,
            Drop::Denied(_) => &mut self.stats.dropped_denied,
            Drop::NoMember => &mut self.stats.dropped_no_member,
            Drop::HandedOver => &mut self.stats.dropped_handed_over,
            Drop::RetainedFull => &mut self.stats.dropped_retained,
            Drop::NotLoaded => &mut self.stats.dropped_not_loaded,
        };
        *counter += 1;
        if self.config.events.drops {
            self.events.push(&mut self.stats, Event::Dropped { client: client.cloned(), why });
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            connections: self.connections.len(),
            connected: self.connected,
            sessions: self.clients.sessions(),
            subscriptions: self.routes.len() + self.groups.memberships(),
            groups: self.groups.len(),
            retained: self.retained.len(),
            retained_bytes: self.retained.bytes(),
            queued_bytes: self.queued_bytes,
            held_bytes: self.held_bytes,
            unstored_bytes: self.ledger.unstored(),
            held_answers: self.ledger.held(),
            ..self.stats
        }
    }
}
