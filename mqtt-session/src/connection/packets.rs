//! What came from outside (B of the engine's contract): which part each packet is for.
use super::{Connection, State};
use crate::auth::Exchange;
use crate::error::Broken;
use crate::inbound::Arrival;
use crate::outbound::{Request, Step};
use crate::{
    AckToken, Answered, Connected, DropReason, Event, Instant, RequestToken, Topic, alias, handshake, requests,
};
use mqtt_codec::{
    Ack, AckKind, Auth, Connack, Connect, Disconnect, Packet, PacketId, Properties, Publish, ReasonCode, ReasonCodes,
    Role, Suback, Unsuback, Version,
};

impl Connection {
    /// Server: the first packet.
    pub(super) fn handle_connect<'p>(&mut self, connect: &Connect<'p>) -> Result<Event<'p>, Broken> {
        self.limits.take_connect(connect);
        self.state = State::Deciding;
        self.keep_alive.decide();
        self.begin_exchange(connect);
        handshake::judge_will(connect, &self.limits)?;
        Ok(Event::Connect(*connect))
    }

    /// Client: the answer.
    pub(super) fn handle_connack<'p>(&mut self, now: Instant, connack: &Connack<'p>) -> Result<Event<'p>, Broken> {
        if connack.reason != ReasonCode::SUCCESS {
            self.say_nothing_more();
            return Ok(Event::Refused(*connack));
        }
        match self.limits.exchange_mut() {
            Some(exchange) => exchange.take_connack(connack.properties.authentication_method())?,
            None if connack.properties.authentication_method().is_some() => {
                return Err(("v5 [MQTT-4.12.0-6]", ReasonCode::PROTOCOL_ERROR));
            }
            None => {}
        }
        let (version, clean) = (self.limits.version, self.limits.asked.clean_start);
        // v5 [MQTT-3.2.2-4]: a session that we know nothing of cannot go on.
        if connack.session_present && (clean || (version == Version::V5 && !self.resumes)) {
            return Err(("v5 [MQTT-3.2.2-4]", ReasonCode::PROTOCOL_ERROR));
        }
        // 3.1 cannot say it: what we know is taken to go on, which its server survives if it does not.
        let session_present = connack.session_present || (version == Version::V31 && !clean && self.resumes);
        if !session_present {
            for token in self.session.outbound.released() {
                self.limits.note_dropped(token, DropReason::SessionLost);
            }
            self.session.restart();
        }
        self.limits.take_connack(connack);
        self.session.outbound.resume(self.limits.send_maximum);
        // v5 [MQTT-3.1.2-21], v5 [MQTT-3.2.2-21]: the server's word on keep alive wins.
        self.keep_alive.start(now, connack.properties.server_keep_alive().unwrap_or(self.limits.asked.keep_alive));
        self.state = State::Connected;
        Ok(Event::Connected(Connected { session_present, properties: connack.properties }))
    }

    pub(super) fn handle_connected<'p>(&mut self, packet: &Packet<'p>) -> Result<Event<'p>, Broken> {
        match (packet, self.limits.role) {
            // admitted before
            (Packet::Publish(_), _) => Ok(Event::Handled),
            (Packet::Ack(ack), _) => self.handle_ack(ack),
            (Packet::Subscribe(subscribe), Role::Server) => {
                requests::judge_subscribe(subscribe, &self.limits)?;
                Ok(Event::Subscribe(*subscribe, RequestToken(subscribe.packet_id)))
            }
            (Packet::Unsubscribe(unsubscribe), Role::Server) => {
                requests::judge_unsubscribe(unsubscribe)?;
                Ok(Event::Unsubscribe(*unsubscribe, RequestToken(unsubscribe.packet_id)))
            }
            (Packet::Pingreq, Role::Server) => {
                // v5 [MQTT-3.12.4-1], v4 [MQTT-3.12.4-1].
                self.control.push(&Packet::Pingresp, &self.limits);
                Ok(Event::Handled)
            }
            (Packet::Suback(Suback { packet_id, properties, codes }), Role::Client) => {
                self.take_answer(Request::Subscribe, *packet_id, *codes, *properties).map(Event::Suback)
            }
            (Packet::Unsuback(Unsuback { packet_id, properties, codes }), Role::Client) => {
                self.take_answer(Request::Unsubscribe, *packet_id, *codes, *properties).map(Event::Unsuback)
            }
            (Packet::Pingresp, Role::Client) => {
                self.keep_alive.heard_pingresp();
                Ok(Event::Handled)
            }
            (Packet::Disconnect(disconnect), _) => self.handle_disconnect(disconnect),
            // v5 [MQTT-3.1.0-2], v4 [MQTT-3.1.0-2]: once.
            (Packet::Connect(_), _) => Err(("v5 [MQTT-3.1.0-2]", ReasonCode::PROTOCOL_ERROR)),
            // v5 [X5-AUTH-3]: what else comes meanwhile goes its way, on the old terms.
            (Packet::Auth(auth), _) => self.handle_auth(auth),
            // v5 [MQTT-3.2.0-2] and v5 [X5-ERR-4]: a second CONNACK, or a packet of the other direction.
            (Packet::Connack(_), _)
            | (Packet::Suback(_) | Packet::Unsuback(_) | Packet::Pingresp, Role::Server)
            | (Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::Pingreq, Role::Client) => {
                Err(("v5 [X5-ERR-4]", ReasonCode::PROTOCOL_ERROR))
            }
        }
    }

    fn take_answer<'p>(
        &mut self,
        request: Request,
        id: PacketId,
        codes: ReasonCodes<'p>,
        properties: Properties<'p>,
    ) -> Result<Answered<'p>, Broken> {
        requests::answered(&mut self.session.outbound, &mut self.limits, request, id, codes, properties)
    }

    pub(super) fn handle_disconnect<'p>(&mut self, disconnect: &Disconnect<'p>) -> Result<Event<'p>, Broken> {
        handshake::judge_disconnect(disconnect, &self.limits)?;
        self.say_nothing_more();
        Ok(Event::Disconnect(*disconnect))
    }

    /// A step of the peer's in an authentication exchange.
    pub(super) fn handle_auth<'p>(&mut self, auth: &Auth<'p>) -> Result<Event<'p>, Broken> {
        let (role, accepted) = (self.limits.role, self.state == State::Connected);
        // v5 [X5-AUTH-1]: without a method in CONNECT there is no exchange.
        let exchange = self.limits.exchange_mut();
        exchange.ok_or(("v5 [X5-AUTH-1]", ReasonCode::PROTOCOL_ERROR))?.take(auth, role, accepted)?;
        if !accepted {
            self.keep_alive.decide();
        }
        if self.state == State::Authenticating {
            self.state = State::Deciding;
        }
        Ok(Event::Auth(*auth))
    }

    /// Either end: what an Authentication Method in CONNECT begins.
    pub(super) fn begin_exchange(&mut self, connect: &Connect<'_>) {
        if let Some(exchange) = Exchange::of(connect) {
            self.limits.rare_mut().exchange = Some(exchange);
        }
    }

    /// Takes a message in; `None` if it is nothing for the host.
    pub(super) fn admit<'p>(&mut self, publish: &Publish<'p>) -> Result<Option<(Topic<'p>, AckToken)>, Broken> {
        let Publish { qos, retain, topic, packet_id, properties, .. } = *publish;
        if self.limits.role == Role::Server {
            // v5 [X5-CACK-4]; before 5.0 it could not be announced, and closes.
            if qos > self.limits.offer.maximum_qos {
                return Err(("v5 [X5-CACK-4]", ReasonCode::QOS_NOT_SUPPORTED));
            }
            // v5 [X5-CACK-5]; before 5.0 the host forwards it and keeps nothing.
            if retain && !self.limits.offer.retain && self.limits.version == Version::V5 {
                return Err(("v5 [X5-CACK-5]", ReasonCode::RETAIN_NOT_SUPPORTED));
            }
        }
        let topic = match properties.topic_alias() {
            None => alias::plain(topic)?,
            Some(alias) => {
                let maximum = self.limits.alias_maximum;
                self.limits.rare_mut().taken.resolve(topic, alias, maximum)?
            }
        };
        Ok(match self.inbound.publish(qos, packet_id, &mut self.session, &self.limits)? {
            Arrival::New(token) => Some((topic, self.acknowledge_for_client(token))),
            Arrival::Repeated => None,
        })
    }

    fn handle_ack<'p>(&mut self, ack: &Ack<'p>) -> Result<Event<'p>, Broken> {
        if ack.kind == AckKind::Pubrel {
            return Ok(match self.inbound.release(ack.packet_id, &mut self.session, self.limits.version)? {
                Arrival::New(token) => match self.acknowledge_for_client(token) {
                    AckToken(None) => Event::Handled,
                    token => Event::Released(token),
                },
                Arrival::Repeated => Event::Handled,
            });
        }
        let step = self.session.outbound.handle_ack(ack, self.limits.version);
        match step.map_err(|_| ("v5 [MQTT-2.2.1-5]", ReasonCode::PROTOCOL_ERROR))? {
            Step::Nothing => Ok(Event::Handled),
            // v5 [X5-ACK-2]: a refusal is of the message, not of the connection.
            Step::Completed(token, reason) => Ok(Event::Completed { token, reason, properties: ack.properties }),
            Step::Release(id, reason) => {
                // v5 [MQTT-4.6.0-4], v4 [MQTT-4.6.0-4]: in the order of the PUBRECs, so in that of this queue.
                self.control.push_ack(AckKind::Pubrel, id, reason, &self.limits);
                Ok(Event::Handled)
            }
        }
    }

    /// v5 [MQTT-4.5.0-2], v4 [MQTT-4.5.0-2]: a client acknowledges whatever the application does with the message.
    fn acknowledge_for_client(&mut self, token: AckToken) -> AckToken {
        if self.limits.role == Role::Server || self.limits.manual {
            return token;
        }
        self.acknowledge(token, ReasonCode::SUCCESS);
        AckToken(None)
    }
}
