//! Enhanced authentication (section 4.12): the policy's questions to a client before it is let in, and when it proves itself anew.
use crate::connections::Phase;
use crate::core_state::Core;
use crate::deferred::Deferred;
use crate::slots::Id;
use crate::{AuthRequest, AuthStep, ConnectionId, Decision, Policy, Refusal, Terms};
use mqtt_session::codec::{Auth, ReasonCode};
use mqtt_session::{Connection, Instant};

impl<P: Policy> Core<P> {
    /// An AUTH of the client.
    pub(crate) fn auth(&mut self, now: Instant, id: Id, auth: &Auth<'_>) {
        let step = if auth.reason == ReasonCode::REAUTHENTICATE { AuthStep::Again } else { AuthStep::Answer };
        self.authenticate(now, id, auth.properties.authentication_data(), step);
    }

    /// Asks the policy about one step of an exchange.
    pub(crate) fn authenticate(&mut self, now: Instant, id: Id, data: Option<&[u8]>, step: AuthStep) {
        let ticket = self.next_ticket();
        let Some(conn) = self.connections.get(id) else { return };
        let (connection, client) = match &conn.phase {
            Phase::Deciding(connection, joining) => (connection, Some(joining.info(&conn.peer))),
            Phase::Live(connection, _) => (connection, Self::info(&self.clients, conn)),
            Phase::Handshake(_) | Phase::Closing => return,
        };
        let (Some(method), Some(client)) = (connection.authentication_method(), client) else { return };
        let request = AuthRequest { client, connection: ConnectionId(id), method, data, step, ticket };
        match self.policy.authenticate(&request) {
            Decision::Defer(_) => self.defer(now, Deferred::Authenticate(id), Some(id)),
            decision => self.auth_decided(now, id, decision),
        }
    }

    /// The policy has spoken on a step.
    pub(crate) fn auth_decided(&mut self, now: Instant, id: Id, decision: Decision) {
        let live = self.connections.get(id).is_some_and(|conn| conn.client().is_some());
        match decision {
            Decision::Continue(data) => self.ask_for_more(now, id, &data),
            Decision::Allow if live => self.proven_again(now, id, &Terms::default()),
            Decision::AllowWith(terms) if live => self.proven_again(now, id, &terms),
            Decision::Allow => self.vetted(now, id),
            Decision::AllowWith(terms) => match self.take_terms(id, *terms) {
                Ok(()) => self.vetted(now, id),
                Err(reason) => self.refuse_connect(now, id, &Refusal::new(reason)),
            },
            // v5 [MQTT-4.12.1-2]: a DISCONNECT that says why; it has no code for an unknown method.
            no if live => self.end_as(
                now,
                id,
                &match no.into_refusal() {
                    refusal if refusal.reason == ReasonCode::BAD_AUTHENTICATION_METHOD => {
                        Refusal { reason: ReasonCode::NOT_AUTHORIZED, ..refusal }
                    }
                    refusal => refusal,
                },
            ),
            // v5 [MQTT-4.12.0-4]
            no => self.refuse_connect(now, id, &no.into_refusal()),
        }
        self.touch(now, id);
    }

    fn ask_for_more(&mut self, now: Instant, id: Id, data: &[u8]) {
        let connection = self.connections.get_mut(id).and_then(|conn| conn.connection_mut());
        // v5 [MQTT-4.12.0-2]: one that does not take so much is not let in
        if connection.is_some_and(|connection| connection.challenge(now, Some(data), &[]).is_err()) {
            self.end(now, id, ReasonCode::NOT_AUTHORIZED);
        }
        // what it sends is read again
        self.list(id);
        self.runnable.push_back(id);
    }

    /// A connected client has proven anew who it is; if that is somebody else, it goes (S8).
    fn proven_again(&mut self, now: Instant, id: Id, terms: &Terms) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        let Some(index) = conn.client() else { return };
        let Some(client) = self.clients.slots.at(index) else { return };
        let is_same = terms.user_name.is_none() || terms.user_name == client.user_name;
        let data = terms.authentication_data.as_deref();
        let said = |connection: &mut Connection| connection.authenticated(now, data, &[]).is_ok();
        if !is_same || !conn.connection_mut().is_some_and(said) {
            return self.end(now, id, ReasonCode::NOT_AUTHORIZED);
        }
        self.reauthorize(now, index);
    }
}
