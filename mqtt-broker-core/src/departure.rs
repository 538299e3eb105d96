//! How connections and sessions end: goodbye, fault, loss, takeover, expiry, shutdown.
use crate::clients::{Client, Home};
use crate::connections::Phase;
use crate::core_state::Core;
use crate::deadlines::Due;
use crate::event::Cause;
use crate::slots::Id;
use crate::wills::Will;
use crate::{ConnectionId, Event, Policy, Refusal};
use alloc::boxed::Box;
use alloc::vec::Vec;
use mqtt_session::codec::{Disconnect, ReasonCode};
use mqtt_session::{Instant, Session};

impl<P: Policy> Core<P> {
    /// The client said goodbye.
    pub(crate) fn goodbye(&mut self, now: Instant, id: Id, disconnect: &Disconnect<'_>) {
        if let Some(index) = self.connections.get(id).and_then(|conn| conn.client()) {
            // v5 [MQTT-3.14.4-3] v4 [MQTT-3.14.4-3]: only a plain goodbye takes the will away ([X5-DISC-4]).
            if disconnect.reason == ReasonCode::SUCCESS {
                self.drop_will(index);
            }
            // [X5-DISC-3]
            if let (Some(expiry), Some(client)) =
                (disconnect.properties.session_expiry_interval(), self.clients.slots.at_mut(index))
            {
                client.expiry = expiry.min(client.max_expiry);
            }
        }
        self.close(now, id, Cause::Goodbye(disconnect.reason));
    }

    /// The broker ends a connection: the client is told why (5.0), then closed.
    pub(crate) fn end(&mut self, now: Instant, id: Id, reason: ReasonCode) {
        self.end_as(now, id, &Refusal::new(reason));
    }

    /// The same with words, or with another server's name.
    pub(crate) fn end_as(&mut self, now: Instant, id: Id, refusal: &Refusal) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        // v5 [MQTT-3.14.0-1]: before CONNACK there is no DISCONNECT.
        if conn.client().is_none() {
            return self.refuse_connect(now, id, refusal);
        }
        if let Some(connection) = conn.connection_mut() {
            connection.disconnect(now, refusal.reason, &refusal.properties());
        }
        self.close(now, id, Cause::Ended(refusal.reason));
    }

    /// Lets a connection go: its last packet is flushed, its session goes home, its will is armed, those who wait for it go on.
    pub(crate) fn close(&mut self, now: Instant, id: Id, cause: Cause) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        if matches!(conn.phase, Phase::Closing) {
            return;
        }
        let gated = !self.ledger.is_stored(conn.gate);
        conn.flush_goodbye(now, gated);
        let phase = core::mem::replace(&mut conn.phase, Phase::Closing);
        let wake = core::mem::replace(&mut conn.wake, Instant::MAX);
        if wake != Instant::MAX {
            self.deadlines.clear(wake, Due::Connection(id));
        }
        if let Some(at) = conn.meter.take().and_then(|metered| metered.until) {
            self.deadlines.clear(at, Due::Rate(id));
        }
        if let Some(ticket) = conn.ticket.take() {
            self.forget_ticket(ticket.get());
        }
        // also of one that was refused after all was decided
        if let Phase::Handshake(connection) | Phase::Deciding(connection, _) | Phase::Live(connection, _) = &phase
            && connection.authentication_method().is_some()
        {
            self.policy.forget(ConnectionId(id));
        }
        self.release_waiters(now, id);
        let was_client = matches!(phase, Phase::Live(..));
        match cause {
            Cause::Protocol(_) => self.stats.protocol_errors += 1,
            Cause::Ended(_) if was_client => self.stats.ended += 1,
            Cause::Ended(_) => self.stats.refused += 1,
            Cause::Goodbye(_) | Cause::Lost => {}
        }
        match phase {
            Phase::Live(connection, index) => {
                self.connected = self.connected.saturating_sub(1);
                if self.config.events.connections
                    && let Some(client) = self.client_id(index)
                {
                    self.events
                        .push(&mut self.stats, Event::Disconnected { connection: ConnectionId(id), client, cause });
                }
                self.part(now, index, connection.into_session());
            }
            Phase::Handshake(_) | Phase::Deciding(..) => {
                self.handshakes = self.handshakes.saturating_sub(1);
                if self.config.events.connections {
                    self.events.push(&mut self.stats, Event::Refused { connection: ConnectionId(id), cause });
                }
            }
            Phase::Closing => {}
        }
        self.list(id);
    }

    /// The connection of a session is gone.
    fn part(&mut self, now: Instant, index: u32, mut session: Session) {
        if !self.config.queue_qos0_offline {
            session.drop_qos0(); // no part of a session's state (section 4.1)
        }
        let Some(client) = self.clients.slots.at_mut(index) else { return };
        let expiry = client.expiry;
        client.home = Home::Away { session: Some(Box::new(session)), expires: None };
        if expiry == 0 {
            return self.end_session(index);
        }
        if expiry != u32::MAX {
            // v5 [MQTT-4.1.0-2] [MQTT-3.1.2-23]
            let at = now.plus_secs(expiry);
            if let Home::Away { expires, .. } = &mut client.home {
                *expires = Some(at);
            }
            self.deadlines.set(at, Due::Session(index));
        }
        self.arm_will(now, index);
        self.mark_head(index);
        self.recharge(index);
        self.rank_anew(index);
    }

    /// A session that is not connected ends: subscriptions, messages and identifiers go, a pending will is due
    /// (v5 [MQTT-3.1.2-8]); retained messages stay (v4 [MQTT-3.1.2-7]).
    pub(crate) fn end_session(&mut self, index: u32) {
        self.will_is_due(index);
        // what a session that is still in the store had for groups is for others
        let away =
            self.clients.slots.at(index).is_some_and(|client| {
                client.shared().is_some() && matches!(client.home, Home::Away { session: None, .. })
            });
        let stored = if away { self.read_session(index).ok() } else { None };
        let Some(mut client) = self.clients.remove(index) else { return };
        if client.recorded.is_some() {
            self.ledger.mark_ended(client.id.clone());
        }
        self.unhold(client.alias_bytes());
        for filter in client.take_subscriptions() {
            self.routes.remove(filter.as_filter(), index);
            self.unhold(filter.as_filter().as_bytes().len());
        }
        self.leave_all(index, client.shared());
        if let Home::Away { session, expires } = client.home {
            if let Some(at) = expires {
                self.deadlines.clear(at, Due::Session(index));
            }
            let session = session.map(|session| *session).or(stored);
            self.bequeath(session.map(Session::into_shared).unwrap_or_default());
        }
        self.queued_bytes = self.queued_bytes.saturating_sub(client.charged);
        if self.config.events.connections {
            self.events.push(&mut self.stats, Event::SessionEnded { client: client.id });
        }
    }

    /// The transport is gone.
    pub(crate) fn handle_closed(&mut self, now: Instant, id: Id) {
        self.close(now, id, Cause::Lost);
        self.release_waiters(now, id);
        let Some(conn) = self.connections.remove(id) else { return };
        self.count_connection(conn.peer.listener, false);
        if let Some(at) = conn.waiters.and_then(|waiters| waiters.stall_at) {
            self.deadlines.clear(at, Due::Stall(id));
        }
    }

    /// Refuses what is new; wills first, those with a delay too, while there is somebody to read them, then everybody is told (5.0) and closed.
    pub(crate) fn shutdown(&mut self, now: Instant, word: &Refusal) {
        self.shutting_down = true;
        let ids: Vec<Id> = self.connections.ids().collect();
        // also of those that are away, and those with a delay, where their sessions end with the broker
        let clients: Vec<Id> = self.clients.slots.ids().collect();
        for id in clients {
            let at_once =
                |client: &Client, will: &Will| client.recorded.is_none() || will.delay.min(client.expiry) == 0;
            let client = self
                .clients
                .slots
                .get(id)
                .filter(|client| client.will.as_ref().is_some_and(|will| at_once(client, will)));
            if client.is_some() {
                self.will_is_due(id.index);
            }
        }
        self.publish_wills(now);
        for id in ids {
            self.end_as(now, id, word);
        }
    }

    pub(crate) fn publish_wills(&mut self, now: Instant) {
        while let Some(due) = self.wills_due.pop_front() {
            self.publish_will(now, due);
        }
    }
}
