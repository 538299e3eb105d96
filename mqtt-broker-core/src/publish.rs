//! A PUBLISH until it is routed and acknowledged (section 3.3), and what the embedding program publishes.
use crate::authorize::{Desk, Verdict};
use crate::core_state::Core;
use crate::deferred::{Deferred, HeldMessage};
use crate::event::Drop;
use crate::slots::Id;
use crate::{Decision, LocalId, NewMessage, Origin, Policy};
use alloc::vec::Vec;
use mqtt_session::codec::{Properties, Property, Qos, ReasonCode};
use mqtt_session::{AckToken, Instant, Message, Publication, Received};

impl<P: Policy> Core<P> {
    /// A client's PUBLISH: rules, policy, routing, acknowledgement.
    pub(crate) fn publish(&mut self, now: Instant, id: Id, received: &Received<'_>, token: AckToken) {
        self.stats.messages_in += 1;
        let mut publication = received.publication();
        if let Err(reason) = self.vet_name(publication.topic) {
            return self.refuse(id, token, reason);
        }
        if publication.retain
            && let Some(conn) = self.connections.get(id)
        {
            // before 5.0 a client was not told that its listener keeps nothing
            publication.retain = self.config.server_of(conn.peer.listener).retain_available;
        }
        let mut asked = None;
        if !publication.properties.is_empty() {
            if self.config.check_payload_format && !has_its_format(&publication) {
                return self.refuse(id, token, ReasonCode::PAYLOAD_FORMAT_INVALID);
            }
            if let Err(reason) = self.vet_properties(publication.properties) {
                return self.refuse(id, token, reason);
            }
            asked = publication.properties.message_expiry_interval();
        }
        let expiry = self.config.expiry_of_message(asked);
        let mut properties = Vec::new();
        if expiry != asked {
            let others = publication.properties.iter();
            properties.extend(others.filter(|property| !matches!(property, Property::MessageExpiryInterval(_))));
            properties.extend(expiry.map(Property::MessageExpiryInterval));
            publication.properties = Properties::from_slice(&properties);
        }
        if self.rates.publishing {
            let size = publication.topic.as_bytes().len() + publication.payload.len();
            if let Err(reason) = self.vet_rate(now, id, size) {
                return self.refuse(id, token, reason);
            }
        }
        let Self { policy, config, last_ticket, clients, connections, .. } = self;
        let Some(conn) = connections.get(id) else { return };
        let Some(client) = Self::info(clients, conn) else { return };
        let origin = conn.client();
        match (Desk { now, policy, config, last_ticket, again: false }).publish(Origin::Client(client), &publication) {
            Verdict::Allow => self.accept(now, id, token, origin, &publication, None),
            Verdict::AllowAs(new) => self.publish_kept(now, id, token, &new),
            Verdict::Deny(reason) => self.refuse(id, token, reason),
            Verdict::Defer(new) => {
                let held = HeldMessage::new(now, &publication, new);
                self.defer(now, Deferred::Publish { connection: id, token, held }, Some(id));
            }
        }
    }

    /// The policy has spoken on a PUBLISH that was held.
    pub(crate) fn publish_resumed(
        &mut self,
        now: Instant,
        id: Id,
        token: AckToken,
        held: HeldMessage,
        answer: Decision,
    ) {
        let HeldMessage { message, rewritten } = held;
        let Self { policy, config, last_ticket, clients, connections, .. } = self;
        let Some(client) = connections.get(id).and_then(|conn| Self::info(clients, conn)) else { return };
        let mut desk = Desk { now, policy, config, last_ticket, again: false };
        match desk.resume_publish(Origin::Client(client), &message.publication(), rewritten, answer) {
            Verdict::Allow => self.publish_kept(now, id, token, &message),
            Verdict::AllowAs(new) => self.publish_kept(now, id, token, &new),
            Verdict::Deny(reason) => self.refuse(id, token, reason),
            Verdict::Defer(new) => {
                let held = HeldMessage::new(now, &message.publication(), new);
                self.defer(now, Deferred::Publish { connection: id, token, held }, Some(id));
            }
        }
        self.touch(now, id);
    }

    fn publish_kept(&mut self, now: Instant, id: Id, token: AckToken, new: &NewMessage) {
        let origin = self.connections.get(id).and_then(|conn| conn.client());
        self.accept(now, id, token, origin, &new.publication(), Some(new.message.clone()));
    }

    /// A message that may be published is routed and acknowledged. `message` is the kept form, if there is one.
    // Every PUBLISH comes by here: as a call of its own this would be 4% of a message that nobody wants.
    #[inline(always)]
    fn accept(
        &mut self,
        now: Instant,
        id: Id,
        token: AckToken,
        origin: Option<u32>,
        publication: &Publication<'_>,
        message: Option<Message>,
    ) {
        if publication.qos == Qos::ExactlyOnce && !self.can_be_kept(origin, publication) {
            return self.end(now, id, ReasonCode::UNSPECIFIED_ERROR); // it is to come again
        }
        // From here on it is ours: routing may end the connection it came on, and it must not come again.
        if token.is_awaited()
            && let Some(connection) = self.connections.get_mut(id).and_then(|conn| conn.connection_mut())
        {
            connection.take(token);
        }
        let marks = self.ledger.begin();
        let matched = self.route(now, origin, Some(id), publication, message);
        if token.is_awaited() || self.ledger.marks() != marks {
            let reason = if matched == 0 { ReasonCode::NO_MATCHING_SUBSCRIBERS } else { ReasonCode::SUCCESS };
            self.acknowledge_kept(now, id, token, reason, marks);
        }
    }

    /// v4 [MQTT-3.3.5-2]: before 5.0 a refused message is acknowledged like any other, and goes nowhere; at 5.0 the
    /// acknowledgement says why; at QoS 0 it is only counted.
    fn refuse(&mut self, id: Id, token: AckToken, reason: ReasonCode) {
        let client = self.connections.get(id).and_then(|conn| conn.client()).and_then(|index| self.client_id(index));
        self.dropped(client.as_ref(), Drop::Denied(reason));
        self.acknowledge(id, token, ack_code(reason));
    }

    pub(crate) fn acknowledge(&mut self, id: Id, token: AckToken, reason: ReasonCode) {
        if let Some(connection) = self.connections.get_mut(id).and_then(|conn| conn.connection_mut()) {
            connection.acknowledge(token, reason);
        }
    }

    // --- the embedding program ------------------------------------------------------------------------------------

    /// A message of the embedding program.
    pub(crate) fn publish_local(
        &mut self,
        now: Instant,
        from: Option<LocalId>,
        publication: &Publication<'_>,
    ) -> Result<usize, ReasonCode> {
        let Self { policy, config, last_ticket, .. } = self;
        // a client's publication is judged by what its listener offers
        let publication = &Publication { retain: publication.retain && config.server.retain_available, ..*publication };
        match (Desk { now, policy, config, last_ticket, again: false }).publish(Origin::Local, publication) {
            Verdict::Allow => Ok(self.route(now, self.local_origin(from), None, publication, None)),
            Verdict::AllowAs(new) => Ok(self.route_message(now, self.local_origin(from), None, &new)),
            Verdict::Deny(reason) => {
                self.dropped(None, Drop::Denied(reason));
                Err(reason)
            }
            Verdict::Defer(new) => {
                let held = HeldMessage::new(now, publication, new);
                self.defer(now, Deferred::Local { from, held }, None);
                Ok(0)
            }
        }
    }

    /// The policy has spoken on a message of the embedding program.
    pub(crate) fn local_resumed(&mut self, now: Instant, from: Option<LocalId>, held: HeldMessage, answer: Decision) {
        let HeldMessage { message, rewritten } = held;
        let Self { policy, config, last_ticket, .. } = self;
        let mut desk = Desk { now, policy, config, last_ticket, again: false };
        match desk.resume_publish(Origin::Local, &message.publication(), rewritten, answer) {
            Verdict::Allow => {
                self.route_message(now, self.local_origin(from), None, &message);
            }
            Verdict::AllowAs(new) => {
                self.route_message(now, self.local_origin(from), None, &new);
            }
            Verdict::Deny(reason) => self.dropped(None, Drop::Denied(reason)),
            Verdict::Defer(new) => {
                let held = HeldMessage::new(now, &message.publication(), new);
                self.defer(now, Deferred::Local { from, held }, None);
            }
        }
    }

    /// For no local: the client of the program that publishes, if it is still there.
    fn local_origin(&self, from: Option<LocalId>) -> Option<u32> {
        from.filter(|id| self.clients.slots.get(id.0).is_some()).map(|id| id.0.index)
    }
}

/// [X5-PUB-8]: a payload that is said to be text is text.
fn has_its_format(publication: &Publication<'_>) -> bool {
    publication.properties.payload_format_indicator() != Some(true) || core::str::from_utf8(publication.payload).is_ok()
}

/// v5 [MQTT-3.4.2-1] [MQTT-3.5.2-1]: a refusal that PUBACK and PUBREC have no code for is unspecified.
fn ack_code(reason: ReasonCode) -> ReasonCode {
    match reason {
        ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR
        | ReasonCode::NOT_AUTHORIZED
        | ReasonCode::TOPIC_NAME_INVALID
        | ReasonCode::QUOTA_EXCEEDED
        | ReasonCode::PAYLOAD_FORMAT_INVALID => reason,
        _ => ReasonCode::UNSPECIFIED_ERROR,
    }
}
