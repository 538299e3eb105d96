//! The host's commands: what one end is told to do (C of the engine's contract).
use super::{Connection, Forwarded, State};
use crate::outgoing::{Outgoing, Written};
use crate::{
    Accept, AckToken, AliasError, Change, Copies, Delivery, Instant, Message, Place, Publication, PublishError,
    PublishToken, QueueFull, QueueLimits, Redirect, RequestError, RequestToken, ServerConfig, Session, handshake,
    offline, requests,
};
use mqtt_codec::{OutBuf, Properties, Property, ReasonCode, Role, Subscription, TopicFilter};
use mqtt_topic::TopicName;

// --- C: commands, both ends ------------------------------------------------------------------------------------------

impl Connection {
    /// Answers a message or a release. Answers leave in the order of arrival. A stale token does nothing.
    ///
    /// The acknowledgement passes the message to the host: until then the peer will send it again on its next connection.
    /// A `reason` of 0x80 or above refuses the message (5.0; before, it is acknowledged and the host drops it).
    pub fn acknowledge(&mut self, token: AckToken, reason: ReasonCode) {
        self.inbound.acknowledge(token, reason, &mut self.session, self.limits.version);
    }

    /// Makes a QoS 2 message the host's own before it is answered, for hosts that hand it on first and answer when it is stored: if the
    /// connection ends in between, its repetition is answered and not handed out again. A stale token does nothing.
    pub fn take(&mut self, token: AckToken) {
        self.inbound.take(token, &mut self.session);
    }

    /// Gives a message back that was [taken](Self::take) and cannot be handed on: it is not answered on this connection, which is to be
    /// ended, and its repetition on the next one is a new message. A stale token does nothing.
    pub fn give_back(&mut self, token: AckToken) {
        self.inbound.give_back(token, &mut self.session);
    }

    /// Says goodbye: queues DISCONNECT (5.0, or a client of any version) and goes to [`State::Closing`]. Queued messages stay in the session.
    ///
    /// Acknowledgements that are ready go first. A client may say a Session Expiry Interval, which then holds in the place of the one of
    /// CONNECT; one above 0 is left out if that was 0 (v5 [X5-DISC-2]). Before acceptance a server has no DISCONNECT: it rejects. Before 5.0 a client's
    /// DISCONNECT says that all is well, so with any other `reason` than success nothing is sent.
    pub fn disconnect(&mut self, now: Instant, reason: ReasonCode, properties: &[Property<'_>]) {
        let now = self.clock(now);
        match (self.state, self.limits.role) {
            (State::Closing, _) => return,
            (State::Deciding | State::Authenticating, _) => return self.reject(now, reason, properties),
            (State::Handshake, Role::Server) => {}
            (State::Handshake, Role::Client) | (State::Connected, _) => {
                self.push_answers();
                handshake::disconnect(&mut self.control, &self.limits, reason, properties);
            }
        }
        self.state = State::Closing;
    }

    /// As [`Session::poll_change`]: the next change of what is kept, while changes are recorded.
    pub fn poll_change(&mut self) -> Option<(u64, Change)> {
        self.session.poll_change()
    }

    /// As [`Session::stored`]: what waited for these changes goes out with the next [`poll_transmit`](Self::poll_transmit).
    pub fn stored(&mut self, up_to: u64) {
        self.session.stored(up_to);
    }

    /// What outlives the connection.
    pub fn into_session(self) -> Session {
        let mut session = self.session;
        session.detach();
        session
    }
}

// --- C: commands, server ---------------------------------------------------------------------------------------------

impl Connection {
    /// Lets the client in with `session`; queues CONNACK, then what was in flight is sent again.
    ///
    /// Only while [`State::Deciding`] (in the middle of an authentication exchange as well, when it has come far enough); else `session` is kept for [`into_session`](Self::into_session) and nothing is sent. A
    /// client whose Maximum Packet Size cannot hold the CONNACK is closed.
    pub fn accept(&mut self, now: Instant, session: Session, config: &ServerConfig, accept: &Accept<'_>) {
        let now = self.clock(now);
        self.session = session;
        if self.state != State::Deciding {
            return;
        }
        self.limits.accept(config);
        let Some(keep_alive) = handshake::accept(&mut self.control, &self.limits, config, accept) else {
            self.state = State::Closing;
            return;
        };
        if let Some(exchange) = self.limits.exchange_mut() {
            exchange.accept();
        }
        // v5 [MQTT-3.1.2-5], v5 [MQTT-3.1.2-23], v4 [MQTT-3.1.2-4]: the session goes on.
        self.session.outbound.resume(self.limits.send_maximum);
        self.keep_alive.start(now, keep_alive);
        self.state = State::Connected;
    }

    /// Turns the client away: CONNACK with `reason` (where the version has one), then [`State::Closing`]. Also while its AUTH is awaited.
    ///
    /// v5 [MQTT-3.2.2-7], v5 [MQTT-4.13.2-1], v4 [MQTT-3.2.2-5]: the host closes after that.
    pub fn reject(&mut self, now: Instant, reason: ReasonCode, properties: &[Property<'_>]) {
        self.clock(now);
        if matches!(self.state, State::Deciding | State::Authenticating) {
            handshake::reject(&mut self.control, &self.limits, reason, properties);
            self.state = State::Closing;
        }
    }

    /// Sends the client elsewhere: CONNACK before acceptance, DISCONNECT after it, with 0x9C or 0x9D and the Server Reference
    /// (5.0, v5 [X5-CACK-10]; before, it is only closed).
    pub fn redirect(&mut self, now: Instant, redirect: Redirect<'_>) {
        self.disconnect(now, redirect.reason(), redirect.property().as_slice());
    }

    /// Answers a SUBSCRIBE: one code per filter (0x00-0x02 granted, 0x80 and above refused; mapped for versions 3 and 4).
    pub fn suback(&mut self, token: RequestToken, codes: &[ReasonCode], properties: Properties<'_>) {
        if self.state == State::Connected
            && !requests::suback(&mut self.control, &self.limits, token.0, codes, properties)
        {
            self.fail_to_answer();
        }
    }

    /// Answers an UNSUBSCRIBE.
    pub fn unsuback(&mut self, token: RequestToken, codes: &[ReasonCode], properties: Properties<'_>) {
        if self.state == State::Connected
            && !requests::unsuback(&mut self.control, &self.limits, token.0, codes, properties)
        {
            self.fail_to_answer();
        }
    }

    /// A client that takes only packets smaller than the answer it must get would wait for ever.
    fn fail_to_answer(&mut self) {
        handshake::disconnect(&mut self.control, &self.limits, ReasonCode::PACKET_TOO_LARGE, &[]);
        self.state = State::Closing;
    }

    /// Whether a QoS 0 message would be written at once, room provided: accepted, and nothing of QoS 0 waits before it.
    ///
    /// v5 [X5-SUB-5]: a SUBACK that waits does not hold it up.
    #[inline]
    pub fn can_forward(&self) -> bool {
        self.state == State::Connected && self.greeted && self.session.outbound.is_free()
    }

    /// Writes a QoS 0 copy of `publication` straight to `out`, with `ids` as subscription identifiers, if nothing waits before it.
    pub fn forward(
        &mut self,
        now: Instant,
        publication: &Publication<'_>,
        retain: bool,
        ids: &[u32],
        out: &mut OutBuf,
    ) -> Forwarded {
        if !self.can_forward() {
            return Forwarded::MustQueue;
        }
        if publication.properties.message_expiry_interval() == Some(0) {
            self.drops.expired = self.drops.expired.saturating_add(1);
            return Forwarded::Dropped;
        }
        match Outgoing::borrowed(publication, retain, ids).write(&mut self.limits, out) {
            Written::Wrote => {
                let now = self.clock(now);
                self.keep_alive.sent(now);
                Forwarded::Wrote
            }
            Written::Full => Forwarded::MustQueue,
            Written::Never => {
                self.drops.too_large = self.drops.too_large.saturating_add(1);
                Forwarded::Dropped
            }
        }
    }

    /// As [`forward`](Self::forward) without identifiers, out of an encoding that others have used; where that does not serve (a topic
    /// alias, a large message, no room ..) it answers `false` and has done nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_session::codec::OutBuf;
    /// use mqtt_session::topic::TopicName;
    /// use mqtt_session::{Connection, CopyBuf, Forwarded, Instant, Publication};
    ///
    /// fn fan_out(now: Instant, connections: &mut [(Connection, OutBuf)], buf: &mut CopyBuf) {
    ///     let publication = Publication::new(TopicName::new("a").unwrap(), b"x");
    ///     let mut copies = buf.copies(&publication);
    ///     for (connection, out) in connections {
    ///         if !connection.forward_copy(now, false, &mut copies, out) {
    ///             let _forwarded: Forwarded = connection.forward(now, &publication, false, &[], out);
    ///         }
    ///     }
    /// }
    /// ```
    #[inline]
    pub fn forward_copy(&mut self, now: Instant, retain: bool, copies: &mut Copies<'_>, out: &mut OutBuf) -> bool {
        if !self.can_forward() || self.limits.gives_aliases() {
            return false;
        }
        let Some(frame) = copies.frame(self.limits.version, retain) else { return false };
        if !self.limits.fits(frame.len()) || !out.has_room(frame.len()) {
            return false;
        }
        out.put_slice(frame);
        let now = self.clock(now);
        self.keep_alive.sent(now);
        true
    }

    /// Queues a delivery.
    ///
    /// # Errors
    /// The session is at one of `limits`; nothing has changed, and the delivery comes back.
    #[allow(clippy::result_large_err)]
    pub fn deliver(&mut self, delivery: Delivery, limits: &QueueLimits) -> Result<(), QueueFull> {
        self.session.deliver(delivery, limits)
    }

    /// Puts a delivery in front of the place the queue has reached.
    pub fn fill_place(&mut self, place: Place, delivery: Delivery) {
        self.session.fill_place(place, delivery);
    }

    /// Lets what waits behind the place go on.
    pub fn close_place(&mut self, place: Place) {
        self.session.close_place(place);
    }
}

// --- C: commands, client ---------------------------------------------------------------------------------------------

impl Connection {
    /// Whether [`Event::Publish`](crate::Event::Publish) waits for [`acknowledge`](Self::acknowledge) on the client's end (default: no).
    pub fn set_manual_acknowledgement(&mut self, manual: bool) {
        self.limits.manual = manual;
    }

    /// Lets `alias` stand for `topic` on this connection (5.0): the next message to it says so, those behind it leave the topic out.
    /// What stood for another topic before does so no more.
    ///
    /// # Errors
    /// The alias is 0 or above the server's Topic Alias Maximum, or the connection is not up.
    pub fn set_topic_alias(&mut self, alias: u16, topic: TopicName<'_>) -> Result<(), AliasError> {
        // v5 [MQTT-3.2.2-17], v5 [MQTT-3.3.2-9]: from 1 to what the server has announced.
        if self.state != State::Connected || alias == 0 || alias > self.limits.peer_alias_maximum {
            return Err(AliasError);
        }
        self.limits.rare_mut().given.fix(alias, topic.as_bytes());
        Ok(())
    }

    /// Publishes; QoS 1 and 2 complete with [`Event::Completed`](crate::Event::Completed), on this connection or a later one. Also before
    /// CONNACK and within `limits`; without a connection see [`Session::publish`].
    ///
    /// A message that turns out to be too large, not served or expired when its turn comes is counted in [`Drops`](crate::Drops)
    /// and told by [`poll_dropped`](Self::poll_dropped).
    ///
    /// # Errors
    /// Ours: nothing has changed.
    pub fn publish(
        &mut self,
        now: Instant,
        publication: &Publication<'_>,
        limits: &QueueLimits,
    ) -> Result<PublishToken, PublishError> {
        let now = self.clock(now);
        if self.state == State::Closing {
            return Err(PublishError::NotConnected);
        }
        if !self.limits.may_send(publication.qos, publication.retain) {
            return Err(PublishError::NotSupported);
        }
        offline::check(publication, self.limits.version, |size| self.limits.fits(size))?;
        let delivery = Delivery::new(Message::new(now, publication), publication.qos, publication.retain);
        self.session.outbound.deliver(delivery, limits).map_err(|_| PublishError::Full)
    }

    /// Subscribes; answered by [`Event::Suback`](crate::Event::Suback). Only while connected.
    ///
    /// # Errors
    /// Ours: nothing has changed.
    pub fn subscribe(
        &mut self,
        now: Instant,
        subscriptions: &[Subscription<'_>],
        properties: &[Property<'_>],
    ) -> Result<RequestToken, RequestError> {
        self.clock(now);
        if (self.state, self.limits.role) != (State::Connected, Role::Client) {
            return Err(RequestError::NotConnected);
        }
        requests::subscribe(&mut self.control, &mut self.session.outbound, &mut self.limits, subscriptions, properties)
            .map(RequestToken)
    }

    /// Unsubscribes; answered by [`Event::Unsuback`](crate::Event::Unsuback). Only while connected.
    ///
    /// # Errors
    /// Ours: nothing has changed.
    pub fn unsubscribe(
        &mut self,
        now: Instant,
        filters: &[TopicFilter<'_>],
        properties: &[Property<'_>],
    ) -> Result<RequestToken, RequestError> {
        self.clock(now);
        if (self.state, self.limits.role) != (State::Connected, Role::Client) {
            return Err(RequestError::NotConnected);
        }
        requests::unsubscribe(&mut self.control, &mut self.session.outbound, &mut self.limits, filters, properties)
            .map(RequestToken)
    }
}
