//! How a CONNECT becomes a client (section 3.1.4): rules, policy, the will's policy, takeover, session.
use crate::authorize::{Desk, Verdict, vet_name};
use crate::clients::{Client, Home};
use crate::connections::Phase;
use crate::core_state::Core;
use crate::deadlines::Due;
use crate::deferred::Deferred;
use crate::event::Cause;
use crate::ledger::Recorded;
use crate::restoring::NotLoaded;
use crate::slots::Id;
use crate::wills::Will;
use crate::{
    AuthStep, ClientId, ClientInfo, ConnectRequest, ConnectionId, Decision, Durability, Event, Limit, NewMessage,
    OpenError, Origin, Peer, Policy, Refusal, Terms,
};
use alloc::boxed::Box;
use mqtt_session::codec::{Connect, Qos, ReasonCode, Utf8, Version};
use mqtt_session::topic::TopicName;
use mqtt_session::{Accept, Instant, Publication, Session, State};

/// What a CONNECT asked for, kept while it is decided upon.
#[derive(Debug)]
pub(crate) struct Joining {
    client_id: ClientId,
    assigned: bool,
    user_name: Option<Box<str>>,
    version: Version,
    clean_start: bool,
    /// Seconds asked for.
    expiry: u32,
    /// What the policy makes of it.
    terms: Terms,
    /// The first data of an authentication, if a method was named; taken when it begins.
    first_data: Option<Option<Box<[u8]>>>,
    will: Option<Box<Will>>,
}

impl Joining {
    pub(crate) fn info<'a>(&'a self, peer: &'a Peer) -> ClientInfo<'a> {
        ClientInfo {
            client_id: self.client_id.as_str(),
            user_name: self.user_name.as_deref(),
            peer,
            version: self.version,
        }
    }
}

impl<P: Policy> Core<P> {
    /// Whether a transport may be taken at all (S18).
    pub(crate) fn vet_open(&mut self, now: Instant, peer: &Peer) -> Result<(), OpenError> {
        let (limit, error) = if self.shutting_down {
            return Err(OpenError::ShuttingDown);
        } else if peer.address.is_some_and(|address| self.bans.bans_address(now, address.ip())) {
            (Limit::Banned, OpenError::Banned)
        } else if self.connections.len() >= self.config.max_connections || self.listener_is_full(peer.listener) {
            (Limit::Connections, OpenError::Full)
        } else if self.handshakes >= self.config.max_handshakes {
            (Limit::Handshakes, OpenError::Full)
        } else if self.connects_too_fast(now, peer) {
            (Limit::ConnectionRate, OpenError::TooFast)
        } else {
            return Ok(());
        };
        self.limited(limit, None, Some(peer));
        Err(error)
    }

    /// Judges a CONNECT by the rules, then asks the policy.
    pub(crate) fn connect(&mut self, now: Instant, id: Id, connect: &Connect<'_>) {
        let Some(listener) = self.connections.get(id).map(|conn| conn.peer.listener) else { return };
        let (client_id, assigned) = match self.vet_connect(listener, connect) {
            Ok(named) => named,
            Err(reason) => return self.turn_away(now, id, reason),
        };
        // before the policy is asked, which may cost a password's hash; who it turns out to be is looked at again
        // a proxy's word on the address may have come after the transport was opened
        let address = self.connections.get(id).and_then(|conn| conn.peer.address);
        if self.bans.bans_client(now, client_id.as_str(), connect.user_name.map(|name| name.as_str()))
            || address.is_some_and(|address| self.bans.bans_address(now, address.ip()))
        {
            self.limited_at(Limit::Banned, id);
            return self.turn_away(now, id, ReasonCode::BANNED);
        }
        let ticket = self.next_ticket();
        let Some(conn) = self.connections.get_mut(id) else { return };
        let joining = Box::new(Joining {
            client_id,
            assigned,
            // what the transport has proven counts for more than what the client says
            user_name: match &conn.peer.identity {
                Some(identity) => Some((**identity).into()),
                None => connect.user_name.map(|name| name.as_str().into()),
            },
            version: connect.version,
            clean_start: connect.clean_start,
            expiry: asked_expiry(connect, self.config.session_expiry_v3),
            terms: Terms::default(),
            first_data: connect
                .properties
                .authentication_method()
                .map(|_| connect.properties.authentication_data().map(Into::into)),
            will: connect.will.as_ref().map(|will| Box::new(Will::new(now, will, (*conn.peer).clone(), &self.config))),
        });
        let client = joining.info(&conn.peer);
        let decision = self.policy.connect(&ConnectRequest { client, connection: ConnectionId(id), connect, ticket });
        let phase = core::mem::replace(&mut conn.phase, Phase::Closing);
        let Phase::Handshake(connection) = phase else {
            conn.phase = phase;
            return;
        };
        conn.phase = Phase::Deciding(connection, joining);
        match decision {
            Decision::Defer(_) => self.defer(now, Deferred::Connect(id), Some(id)),
            decision => self.connect_decided(now, id, decision),
        }
    }

    /// The rules that need no policy; gives the client identifier to go by, and whether it was assigned.
    fn vet_connect(&mut self, listener: u32, connect: &Connect<'_>) -> Result<(ClientId, bool), ReasonCode> {
        let versions = self.config.versions_of(listener);
        let served = match connect.version {
            Version::V31 => versions.v31,
            Version::V311 => versions.v311,
            Version::V5 => versions.v5,
        };
        if !served {
            // v5 [MQTT-3.1.2-2] v4 [MQTT-3.1.2-2]
            return Err(ReasonCode::UNSUPPORTED_PROTOCOL_VERSION);
        }
        if self.shutting_down {
            return Err(ReasonCode::SERVER_UNAVAILABLE);
        }
        if let Some(will) = &connect.will {
            // v5 [MQTT-3.2.2-12] [MQTT-3.2.2-13]
            let server = self.config.server_of(listener);
            if will.qos > server.maximum_qos {
                return Err(ReasonCode::QOS_NOT_SUPPORTED);
            }
            if will.retain && !server.retain_available {
                return Err(ReasonCode::RETAIN_NOT_SUPPORTED);
            }
            let properties = will.properties;
            let is_text = will.properties.payload_format_indicator() == Some(true);
            if self.config.check_payload_format && is_text && core::str::from_utf8(will.payload).is_err() {
                return Err(ReasonCode::PAYLOAD_FORMAT_INVALID);
            }
            self.vet_properties(properties)?;
            self.vet_name(will.topic)?;
        }
        self.vet_client_id(connect)
    }

    fn vet_client_id(&mut self, connect: &Connect<'_>) -> Result<(ClientId, bool), ReasonCode> {
        let text = connect.client_id.as_str();
        let (empty, version) = (text.is_empty(), connect.version);
        // [X31-CON-2]: 1 to 23 characters at 3.1.
        let v31_wrong =
            version == Version::V31 && (empty || (self.config.strict_v31_client_id && text.chars().nth(23).is_some()));
        // v4 [MQTT-3.1.3-7] [MQTT-3.1.3-8]: an empty identifier cannot be kept.
        let v311_wrong = version == Version::V311 && empty && !connect.clean_start;
        let too_long = text.len() > self.config.max_client_id;
        if too_long {
            self.limited(Limit::ClientId, None, None);
        }
        if v31_wrong || v311_wrong || too_long {
            // v5 [MQTT-3.1.3-8] v4 [MQTT-3.1.3-9]
            return Err(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
        }
        // v5 [MQTT-3.1.3-5] v4 [MQTT-3.1.3-5]: 1 to 23 letters and digits among all that is taken.
        // v5 [MQTT-3.1.3-6] [MQTT-3.1.3-7] v4 [MQTT-3.1.3-6]
        Ok(if empty { (self.clients.assign(), true) } else { (ClientId::new(text), false) })
    }

    /// A topic that a client may publish to at all.
    pub(crate) fn vet_name(&mut self, name: TopicName<'_>) -> Result<(), ReasonCode> {
        let vetted = vet_name(&self.config, name, false);
        if vetted.is_err() && !name.begins_with_dollar() {
            self.limited(Limit::TopicLevels, None, None);
        }
        vetted
    }

    /// The policy has spoken on the CONNECT; now the client may have to prove itself.
    pub(crate) fn connect_decided(&mut self, now: Instant, id: Id, decision: Decision) {
        let taken = match decision {
            Decision::Allow => Ok(()),
            Decision::AllowWith(terms) => self.take_terms(id, *terms).map_err(Refusal::new),
            no => Err(no.into_refusal()),
        };
        if let Err(refusal) = taken {
            return self.refuse_connect(now, id, &refusal);
        }
        let Some(Phase::Deciding(_, joining)) = self.connections.get_mut(id).map(|conn| &mut conn.phase) else {
            return;
        };
        match joining.first_data.take() {
            Some(data) => self.authenticate(now, id, data.as_deref(), AuthStep::Connect),
            None => self.vetted(now, id),
        }
    }

    /// Puts the policy's terms in the place of what the client asked for.
    pub(crate) fn take_terms(&mut self, id: Id, terms: Terms) -> Result<(), ReasonCode> {
        let Some(conn) = self.connections.get_mut(id) else { return Err(ReasonCode::UNSPECIFIED_ERROR) };
        let Phase::Deciding(_, joining) = &mut conn.phase else { return Err(ReasonCode::UNSPECIFIED_ERROR) };
        joining.terms.merge(terms);
        if let Some(user_name) = joining.terms.user_name.take() {
            joining.user_name = Some(user_name);
        }
        if let Some(client_id) = joining.terms.client_id.take() {
            if client_id.is_empty() || client_id.len() > self.config.max_client_id || Utf8::new(&client_id).is_none() {
                return Err(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
            }
            joining.client_id = ClientId::new(&client_id);
        }
        Ok(())
    }

    /// The client is who it is; now on its will (S6).
    pub(crate) fn vetted(&mut self, now: Instant, id: Id) {
        self.judge_connect_will(now, id, |desk, origin, publication| desk.publish(origin, publication));
    }

    /// The policy has spoken on a will that was left, rewritten or not.
    pub(crate) fn connect_will_resumed(
        &mut self,
        now: Instant,
        id: Id,
        new: Option<Box<NewMessage>>,
        answer: Decision,
    ) {
        self.judge_connect_will(now, id, |desk, origin, publication| match new {
            Some(new) => desk.resume_publish(origin, &new.publication(), true, answer),
            None => desk.resume_publish(origin, publication, false, answer),
        });
    }

    /// Judges the will of a CONNECT, if there is one; one that was rewritten is rewritten again when it fires.
    fn judge_connect_will(
        &mut self,
        now: Instant,
        id: Id,
        judge: impl FnOnce(&mut Desk<'_, P>, Origin<'_>, &Publication<'_>) -> Verdict<NewMessage>,
    ) {
        let Self { policy, config, last_ticket, connections, .. } = self;
        let Some(conn) = connections.get(id) else { return };
        let Phase::Deciding(_, joining) = &conn.phase else { return };
        let mut desk = Desk { now, policy, config, last_ticket, again: false };
        let origin = Origin::Will(joining.info(&conn.peer));
        let verdict = joining
            .will
            .as_ref()
            .map_or(Verdict::Allow, |will| will.with_publication(|publication| judge(&mut desk, origin, publication)));
        match verdict {
            Verdict::Allow | Verdict::AllowAs(_) => self.all_decided(now, id),
            Verdict::Deny(_) => self.turn_away(now, id, ReasonCode::NOT_AUTHORIZED),
            Verdict::Defer(new) => self.defer(now, Deferred::ConnectWill(id, new), Some(id)),
        }
    }

    /// All is decided: let the client in.
    fn all_decided(&mut self, now: Instant, id: Id) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        match core::mem::replace(&mut conn.phase, Phase::Closing) {
            Phase::Deciding(connection, joining) => {
                conn.phase = Phase::Handshake(connection);
                if let Err(reason) = self.admit(now, id, *joining) {
                    self.turn_away(now, id, reason);
                }
            }
            other => conn.phase = other,
        }
    }

    fn turn_away(&mut self, now: Instant, id: Id, reason: ReasonCode) {
        self.refuse_connect(now, id, &Refusal::new(reason));
    }

    /// CONNACK with a failure, then close (v5 [MQTT-3.2.2-7], v4 [MQTT-3.2.2-5]).
    pub(crate) fn refuse_connect(&mut self, now: Instant, id: Id, refusal: &Refusal) {
        if let Some(connection) = self.connections.get_mut(id).and_then(|conn| conn.connection_mut()) {
            let reason = refusal.connack_reason(connection.version().unwrap_or(Version::V5));
            connection.reject(now, reason, &refusal.properties());
        }
        self.close(now, id, Cause::Ended(refusal.reason));
    }

    /// Finds or makes the session, takes it over, answers CONNACK.
    fn admit(&mut self, now: Instant, id: Id, joining: Joining) -> Result<(), ReasonCode> {
        let Joining { client_id, assigned, user_name, version, clean_start, expiry, will, terms, .. } = joining;
        // what was banned while it was decided upon
        let address = self.connections.get(id).and_then(|conn| conn.peer.address);
        if self.bans.bans_client(now, client_id.as_str(), user_name.as_deref())
            || address.is_some_and(|address| self.bans.bans_address(now, address.ip()))
        {
            self.limited_at(Limit::Banned, id);
            return Err(ReasonCode::BANNED);
        }
        let listener = self.connections.get(id).map_or(0, |conn| conn.peer.listener);
        let durability = self.durability_of(listener, &terms);
        if durability != Durability::None && self.store_is_behind() {
            self.limited(Limit::Unstored, Some(&client_id), None);
            return Err(ReasonCode::SERVER_UNAVAILABLE);
        }
        let will_bytes = will.as_ref().map_or(0, |will| will.message.size());
        if !self.may_hold(will_bytes) {
            self.limited(Limit::HeldBytes, Some(&client_id), None);
            return Err(ReasonCode::QUOTA_EXCEEDED);
        }
        let mut found = self.clients.find(client_id.as_str());
        if let Some((index, client)) = found.and_then(|index| Some((index, self.clients.slots.at(index)?))) {
            // what is due comes first, though the host has not called `handle_timeout` yet
            let will_due = client.will.as_ref().and_then(|will| will.due).is_some_and(|at| at <= now);
            let over = matches!(client.home, Home::Away { expires: Some(at), .. } if at <= now);
            if will_due {
                self.will_is_due(index);
            }
            if over {
                self.stats.sessions_expired += 1;
                self.end_session(index);
                found = None;
            }
        }
        let before = found.and_then(|index| self.clients.slots.at(index));
        // S8: a session belongs to the user who began it.
        if before.is_some_and(|client| client.user_name != user_name) {
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        let old = before.and_then(Client::connection);
        // behind S8, so that it does not count against a client what somebody else does in its name
        if let Err((limit, reason)) = self.vet_pace(now, client_id.as_str()) {
            self.limited(limit, Some(&client_id), None);
            return Err(reason);
        }
        if let Some(old) = old {
            // v5 [MQTT-3.1.4-3] v4 [MQTT-3.1.4-2]: the client that was connected is told, and closed.
            self.end(now, old, ReasonCode::SESSION_TAKEN_OVER);
            found = self.clients.find(client_id.as_str());
        }
        if let Some(index) = found.filter(|_| clean_start) {
            // v5 [MQTT-3.1.2-4] [MQTT-3.1.4-4] v4 [MQTT-3.1.2-6] [MQTT-3.1.4-3]: a clean start throws the old session away.
            self.end_session(index);
            found = None;
        }
        if let Some(index) = found {
            match self.load(index) {
                Ok(()) => {}
                // v5 [MQTT-3.2.2-2] v4 [MQTT-3.2.2-3]: what was lost is not said to be present
                Err(NotLoaded::Lost) => found = None,
                Err(NotLoaded::Unreadable) => return Err(ReasonCode::SERVER_UNAVAILABLE),
            }
        }
        let old = found.and_then(|index| self.clients.slots.at(index));
        let stale = old.is_some_and(|client| client.recheck || client.generation != self.generation);
        // v5 [MQTT-3.1.2-5] [MQTT-3.1.2-6] v4 [MQTT-3.1.2-4]
        let session_present = found.is_some();
        let (index, mut session) = match found {
            Some(index) => (index, self.come_home(index, id)),
            None => (self.new_client(&client_id, user_name, version, id)?, Session::new()),
        };
        let meter = self.meter(now, listener);
        let most = terms.session_expiry.unwrap_or(u32::MAX).min(self.config.max_session_expiry);
        let granted = expiry.min(most);
        let Some(client) = self.clients.slots.at_mut(index) else { return Err(ReasonCode::UNSPECIFIED_ERROR) };
        let Some(conn) = self.connections.get_mut(id) else { return Err(ReasonCode::UNSPECIFIED_ERROR) };
        (client.version, client.listener) = (version, conn.peer.listener);
        // S7: what it was allowed before is judged before anything is sent, or sent again
        conn.generation = if stale { self.generation.wrapping_sub(1) } else { self.generation };
        client.generation = conn.generation;
        (client.expiry, client.max_expiry, client.will) = (granted, most, will);
        self.held_bytes += will_bytes;
        conn.meter = meter;
        // what ends with the connection needs no record, unless it leaves a will
        if durability != Durability::None && client.recorded.is_none() && (granted > 0 || client.will.is_some()) {
            session.record_changes();
            client.recorded = Some(Recorded::new(durability));
        }
        if client.recorded.is_none() && self.ledger.unrestored {
            // v5 [MQTT-3.1.2-4] v4 [MQTT-3.1.2-6]: nor is there an older session of its name in the store that another process would find
            self.ledger.mark_ended(client.id.clone());
        }
        if let Some(recorded) = &mut client.recorded {
            recorded.durability = durability.max(Durability::Buffered);
            (recorded.head, recorded.will) = (true, true);
        }
        (conn.durability, conn.recorded) = (durability, client.recorded.is_some());
        conn.phase = match core::mem::replace(&mut conn.phase, Phase::Closing) {
            Phase::Handshake(mut connection) => {
                let accept = Accept {
                    session_present,
                    // v5 [MQTT-3.1.3-7] [MQTT-3.2.2-16]
                    assigned_client_id: if assigned { Utf8::new(client_id.as_str()) } else { None },
                    // [X5-CACK-1]
                    session_expiry_interval: (granted != expiry).then_some(granted),
                    authentication_data: terms.authentication_data.as_deref(),
                    properties: &terms.properties(),
                };
                let server = self.config.server_of(conn.peer.listener);
                match terms.keep_alive.filter(|most| *most > 0) {
                    Some(most) => {
                        let most = server.maximum_keep_alive.map_or(most, |own| own.min(most));
                        let mut server = server.clone();
                        server.maximum_keep_alive = Some(most);
                        connection.accept(now, session, &server, &accept);
                    }
                    None => connection.accept(now, session, server, &accept),
                }
                self.handshakes = self.handshakes.saturating_sub(1);
                Phase::Live(connection, index)
            }
            other => other,
        };
        let connection = self.connections.get(id).and_then(|conn| conn.connection());
        let let_in = connection.is_some_and(|connection| connection.state() == State::Connected);
        if !let_in && let Some(client) = self.clients.slots.at_mut(index) {
            let will = client.will.take(); // its CONNACK does not fit: it never was a client
            self.unhold(will.map_or(0, |will| will.message.size()));
            self.mark_will(index);
        }
        self.connected += 1;
        self.stats.connected_max = self.stats.connected_max.max(self.connected);
        if self.config.events.connections && let_in {
            let event = Event::Connected { connection: ConnectionId(id), client: client_id, version, session_present };
            self.events.push(&mut self.stats, event);
        }
        self.recharge(index);
        self.rank_anew(index);
        self.mark_session(index);
        self.hold_all(now, id);
        self.touch(now, id);
        // what came behind the CONNECT while it was decided upon
        self.runnable.push_back(id);
        Ok(())
    }

    /// A client is back in time: its session goes on, its pending will is dropped (v5 [MQTT-3.1.3-9]); after a takeover, one
    /// without delay was published when the old connection ended ([X5-WILL-2]).
    fn come_home(&mut self, index: u32, id: Id) -> Session {
        self.drop_will(index);
        let Some(client) = self.clients.slots.at_mut(index) else { return Session::new() };
        match core::mem::replace(&mut client.home, Home::Connection(id)) {
            Home::Away { session, expires } => {
                if let Some(at) = expires {
                    self.deadlines.clear(at, Due::Session(index));
                }
                session.map_or_else(Session::new, |session| *session)
            }
            Home::Connection(_) | Home::Local(_) => Session::new(),
        }
    }

    fn new_client(
        &mut self,
        client_id: &ClientId,
        user_name: Option<Box<str>>,
        version: Version,
        id: Id,
    ) -> Result<u32, ReasonCode> {
        if self.clients.sessions() >= self.config.max_sessions {
            self.limited(Limit::Sessions, Some(client_id), None);
            return Err(ReasonCode::QUOTA_EXCEEDED);
        }
        self.clients.insert(Client::new(client_id.clone(), user_name, version, id)).ok_or(ReasonCode::QUOTA_EXCEEDED)
    }
}

/// How long the session is to outlive its connection.
fn asked_expiry(connect: &Connect<'_>, v3: u32) -> u32 {
    match connect.version {
        // [X5-CON-1]: absent means that it ends with the connection.
        Version::V5 => connect.properties.session_expiry_interval().unwrap_or(0),
        Version::V31 | Version::V311 if connect.clean_start => 0,
        Version::V31 | Version::V311 => v3,
    }
}

/// What is granted to a subscription: no more than the server offers (v5 [MQTT-3.2.2-10]: never refused for it).
pub(crate) fn granted(asked: Qos, maximum: Qos) -> Qos {
    asked.min(maximum)
}
