//! One end of one connection: dispatches packets and commands to its parts, decides nothing itself.
mod authentication;
mod commands;
mod packets;
mod transmit;

use crate::control::Control;
use crate::inbound::Inbound;
use crate::journal::Held;
use crate::keep_alive::{Due, KeepAlive};
use crate::limits::Limits;
use crate::outgoing::Outgoing;
use crate::{
    AckToken, ClientConfig, DropReason, Drops, Event, Instant, Place, ProtocolError, ProtocolErrorKind, Publication,
    PublishToken, Received, ServerConfig, Session, Terms, handshake,
};
use mqtt_codec::{
    AckKind, Connect, DecodeError, EncodeError, Packet, Packets, Publish, Reader, ReasonCode, Role, Version,
};

/// One end of one connection, its session in it.
///
/// The host reads bytes into it ([`read`](Self::read), or [`handle_packet`](Self::handle_packet) with packets of its own
/// [`Reader`]), gives commands, lets it write ([`poll_transmit`](Self::poll_transmit)) and wakes it
/// ([`poll_timeout`](Self::poll_timeout), [`handle_timeout`](Self::handle_timeout)). It never blocks and never reads a clock;
/// a `now` that goes back is taken for the latest one.
///
/// # Examples
///
/// ```
/// use mqtt_session::codec::{Connect, OutBuf, Packet, Properties, Utf8, Version};
/// use mqtt_session::{Connection, Event, Instant, Session, State, Transmit};
///
/// let connect = Connect {
///     version: Version::V311, clean_start: true, keep_alive: 60, properties: Properties::EMPTY,
///     client_id: Utf8::new("sensor").unwrap(), will: None, user_name: None, password: None,
/// };
/// let mut client = Connection::client(Instant::ZERO, &connect, Session::new())?;
/// let mut out = OutBuf::with_limit(65_536);
/// assert_eq!(client.poll_transmit(Instant::ZERO, &mut out), Transmit::Wrote);
/// assert_eq!(out.chunk()[0], 0x10); // CONNECT
///
/// let mut reader = client.reader();
/// let mut input = client.read(Instant::ZERO, &mut reader, &[0x20, 0x02, 0x00, 0x00]); // CONNACK
/// assert!(matches!(input.next().unwrap(), Some(Event::Connected(_))));
/// drop(input);
/// assert_eq!(client.state(), State::Connected);
/// # Ok::<(), mqtt_session::codec::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    state: State,
    /// CONNACK was written, so that others may follow.
    greeted: bool,
    /// The client's end: the server may know the session.
    resumes: bool,
    /// The latest time seen.
    now: Instant,
    limits: Limits,
    keep_alive: KeepAlive,
    control: Control,
    inbound: Inbound,
    drops: Drops,
    session: Session,
}

/// What [`Connection::poll_transmit`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Transmit {
    /// One packet was written; ask again.
    Wrote,
    /// The buffer has no room for the next packet.
    Full,
    /// There is nothing to send now.
    Empty,
    /// The queue has reached this place: fill it or close it, then ask again.
    Place(Place),
}

/// What [`Connection::forward`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Forwarded {
    /// Written to the buffer.
    Wrote,
    /// Others wait before it, or there is no room: make it a [`Message`](crate::Message) and [`deliver`](Connection::deliver) it.
    MustQueue,
    /// Not for this client: over its Maximum Packet Size, or expired. Counted in [`Drops`].
    Dropped,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Server: before CONNECT. Client: before CONNACK.
    Handshake,
    /// Server: CONNECT, or an AUTH that followed it, is with the host.
    Deciding,
    /// Server: the host has challenged the client, whose AUTH is awaited. (A client stays in [`State::Handshake`].)
    Authenticating,
    /// Accepted.
    Connected,
    /// The last packet is queued or written: flush, then close. Nothing is read any more.
    Closing,
}

// --- construction ----------------------------------------------------------------------------------------------------

impl Connection {
    /// The server's end of a connection that was just opened.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_session::codec::{OutBuf, ReasonCode};
    /// use mqtt_session::{Accept, Connection, Event, Instant, ServerConfig, Session, Transmit};
    ///
    /// let (config, now) = (ServerConfig::default(), Instant::ZERO);
    /// let mut server = Connection::server(now, &config);
    /// let mut reader = server.reader();
    /// let mut input = server.read(now, &mut reader, b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x3C\x00\x01c");
    /// let Some(Event::Connect(connect)) = input.next()? else { panic!("a CONNECT") };
    /// assert_eq!(connect.client_id.as_bytes(), b"c"); // the host decides
    /// drop(input);
    /// server.accept(now, Session::new(), &config, &Accept::default());
    ///
    /// let mut input = server.read(now, &mut reader, b"\x32\x06\x00\x01a\x00\x05x"); // PUBLISH, QoS 1
    /// while let Some(event) = input.next()? {
    ///     if let Event::Publish(received, token) = event {
    ///         assert_eq!(received.payload, b"x");
    ///         input.acknowledge(token, ReasonCode::SUCCESS);
    ///     }
    /// }
    /// drop(input);
    /// let mut out = OutBuf::with_limit(65_536);
    /// while server.poll_transmit(now, &mut out) == Transmit::Wrote {}
    /// assert_eq!(out.chunk(), b"\x20\x02\x00\x00\x40\x02\x00\x05"); // CONNACK, PUBACK
    /// # Ok::<(), mqtt_session::ProtocolError>(())
    /// ```
    pub fn server(now: Instant, config: &ServerConfig) -> Self {
        let keep_alive = KeepAlive::handshake(Role::Server, now, config.connect_timeout);
        Self::new(now, Limits::server(config), keep_alive, Session::new())
    }

    /// The client's end: queues `connect` and takes the session that is to go on ([`Session::new`] for a fresh one).
    ///
    /// With the defaults of [`ClientConfig`].
    ///
    /// # Errors
    /// `connect` cannot be encoded.
    pub fn client(now: Instant, connect: &Connect<'_>, session: Session) -> Result<Self, EncodeError> {
        Self::client_with(now, connect, session, &ClientConfig::default())
    }

    /// As [`client`](Self::client), configured.
    ///
    /// # Errors
    /// `connect` cannot be encoded.
    pub fn client_with(
        now: Instant,
        connect: &Connect<'_>,
        session: Session,
        config: &ClientConfig,
    ) -> Result<Self, EncodeError> {
        let mut keep_alive = KeepAlive::handshake(Role::Client, now, config.connack_timeout);
        keep_alive.set_ping_timeout(config.ping_timeout);
        let mut client = Self::new(now, Limits::client(connect, config), keep_alive, session);
        // v5 [MQTT-3.1.0-1], v4 [MQTT-3.1.0-1]: the first packet of all.
        client.control.try_push(&Packet::Connect(*connect), connect.version)?;
        client.begin_exchange(connect);
        // From now on the server may know the session, even if its CONNACK never comes.
        client.resumes = core::mem::replace(&mut client.session.outbound.known, true);
        Ok(client)
    }

    fn new(now: Instant, limits: Limits, keep_alive: KeepAlive, session: Session) -> Self {
        Self {
            state: State::Handshake,
            greeted: false,
            resumes: false,
            now,
            limits,
            keep_alive,
            control: Control::default(),
            inbound: Inbound::default(),
            drops: Drops::default(),
            session,
        }
    }

    /// The reading half that belongs to this connection: `Reader::of_client` or `Reader::of_server`.
    pub fn reader(&self) -> Reader {
        match self.limits.role {
            Role::Server => Reader::of_client(self.limits.connect_size, self.limits.packet_size),
            Role::Client => Reader::of_server(self.limits.version, self.limits.packet_size),
        }
    }
}

// --- A: getters ------------------------------------------------------------------------------------------------------

impl Connection {
    /// Which end this is.
    pub fn role(&self) -> Role {
        self.limits.role
    }

    /// The version, once known.
    pub fn version(&self) -> Option<Version> {
        self.limits.version_known.then_some(self.limits.version)
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// What was agreed on with the peer; before acceptance, the defaults.
    pub fn terms(&self) -> Terms<'_> {
        self.limits.terms(self.keep_alive.seconds())
    }

    /// The session that is lived in here.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The session that is lived in here.
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Bytes of control packets (acknowledgements, PINGRESP, SUBACK ..) that wait to be sent, or to be [`stored`](Self::stored): a
    /// host that sees this grow stops reading from the peer.
    pub fn control_backlog(&self) -> usize {
        const ANSWER: usize = 4;
        self.control.len() + (self.inbound.ready() + self.session.outbound.held()) * ANSWER
    }

    /// Bytes of queued messages that wait for room alone, not for acknowledgements: QoS 0 only while the window is full.
    pub fn sendable_bytes(&self) -> usize {
        self.session.outbound.sendable_bytes()
    }

    /// How many more QoS 1 and 2 messages could be delivered now and sent without waiting for an acknowledgement.
    pub fn send_quota(&self) -> usize {
        self.session.outbound.send_quota()
    }

    /// How many QoS 1 and 2 messages may be in flight on this connection: its Receive Maximum, and what the host allows.
    pub fn send_window(&self) -> usize {
        self.session.outbound.send_window()
    }

    /// Whether the peer's Maximum Packet Size allows for `publication` with one subscription identifier (v5 [X5-SUB-11]).
    pub fn fits(&self, publication: &Publication<'_>) -> bool {
        /// The longest subscription identifier and packet identifier.
        const IDS: usize = 5 + 2;
        let size = || Outgoing::borrowed(publication, publication.retain, &[]).size(self.limits.version);
        self.limits.takes_all() || size().is_some_and(|size| self.limits.fits(size.saturating_add(IDS)))
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) may have something to write.
    #[inline]
    pub fn has_output(&self) -> bool {
        !self.control.is_empty() || self.inbound.ready() > 0 || self.session.outbound.has_output()
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) would find nothing at all: accepted, and there is neither a packet to write nor a
    /// place in the queue.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.state == State::Connected
            && self.greeted
            && self.control.is_empty()
            && self.inbound.ready() == 0
            && self.session.outbound.is_quiet()
    }

    /// Incoming QoS 1 and 2 messages and releases that the host has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.inbound.waiting_len()
    }

    /// Heap bytes held, messages not counted.
    pub fn memory(&self) -> usize {
        self.control.memory() + self.inbound.memory() + self.limits.memory() + self.session.memory()
    }

    /// Client: the next message of ours that was dropped instead of sent, and why; its token does not complete. QoS 0 among them.
    ///
    /// Asked for after [`Event::Connected`] and after [`poll_transmit`](Self::poll_transmit). Up to 1,024 wait to be asked for, and
    /// are forgotten with the connection; further ones are only counted ([`take_drops`](Self::take_drops)). O(1).
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_session::codec::{Connect, OutBuf, Properties, Property, Utf8, Version};
    /// use mqtt_session::{Connection, DropReason, Instant, Publication, QueueLimits, Session, Transmit, topic::TopicName};
    ///
    /// let limits = QueueLimits { messages: 100, bytes: 100_000 };
    /// let brief = [Property::MessageExpiryInterval(1)];
    /// let message = Publication {
    ///     properties: Properties::from_slice(&brief),
    ///     ..Publication::new(TopicName::new("a").unwrap(), b"1")
    /// };
    /// let mut session = Session::new();
    /// let token = session.publish(Instant::ZERO, &message, &limits)?; // nobody is connected, for too long
    ///
    /// let connect = Connect {
    ///     version: Version::V5, clean_start: false, keep_alive: 60, properties: Properties::EMPTY,
    ///     client_id: Utf8::new("c").unwrap(), will: None, user_name: None, password: None,
    /// };
    /// let now = Instant::from_millis(1000);
    /// let mut client = Connection::client(now, &connect, session)?;
    /// let (mut reader, mut out) = (client.reader(), OutBuf::with_limit(1000));
    /// client.read(now, &mut reader, &[0x20, 3, 0, 0, 0]).next()?; // CONNACK
    /// while client.poll_transmit(now, &mut out) == Transmit::Wrote {}
    /// assert_eq!(client.poll_dropped(), Some((token, DropReason::Expired)));
    /// assert_eq!(client.poll_dropped(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_dropped(&mut self) -> Option<(PublishToken, DropReason)> {
        self.limits.pop_dropped()
    }

    /// What was dropped since last asked.
    pub fn take_drops(&mut self) -> Drops {
        core::mem::take(&mut self.drops)
    }
}

// --- B: what came from outside ---------------------------------------------------------------------------------------

impl Connection {
    /// The borrowed pull: reads `bytes` through `reader` and lends one event after the other.
    ///
    /// What was not read when the result is dropped is kept in `reader` for the next call. After [`Event::Connect`] nothing
    /// is lent until the connection is accepted: drop the input, accept, and read on with no bytes.
    pub fn read<'c>(&'c mut self, now: Instant, reader: &'c mut Reader, bytes: &'c [u8]) -> Input<'c> {
        Input { connection: self, packets: reader.read(bytes), now }
    }

    /// Takes one packet.
    ///
    /// # Errors
    /// The peer's fault: it broke a rule. The goodbye is queued.
    pub fn handle_packet<'p>(&mut self, now: Instant, packet: &Packet<'p>) -> Result<Event<'p>, ProtocolError> {
        let now = self.clock(now);
        self.keep_alive.heard(now);
        let handled = match (self.state, self.limits.role, packet) {
            // v5 [MQTT-3.1.4-6], v4 [MQTT-3.1.4-5]: what follows a refusal is not processed.
            (State::Closing, _, _) => Ok(Event::Handled),
            // Made in its place: the largest part of the work on a small message would be to move it.
            (State::Connected, _, Packet::Publish(publish)) => match self.admit(publish) {
                Ok(Some((topic, token))) => {
                    let Publish { dup, qos, retain, properties, payload, .. } = *publish;
                    return Ok(Event::Publish(Received { topic, payload, qos, retain, dup, properties }, token));
                }
                Ok(None) => return Ok(Event::Handled),
                Err(broken) => Err(broken),
            },
            (State::Connected, _, _) => self.handle_connected(packet),
            (State::Handshake, Role::Server, Packet::Connect(connect)) => self.handle_connect(connect),
            (State::Handshake, Role::Client, Packet::Connack(connack)) => self.handle_connack(now, connack),
            (State::Handshake, Role::Client, Packet::Auth(auth)) | (State::Authenticating, _, Packet::Auth(auth)) => {
                self.handle_auth(auth)
            }
            (State::Authenticating, _, Packet::Disconnect(disconnect)) => self.handle_disconnect(disconnect),
            // v5 [MQTT-3.1.2-30]: nothing else comes before CONNACK.
            (State::Authenticating, _, _) => Err(("v5 [MQTT-3.1.2-30]", ReasonCode::PROTOCOL_ERROR)),
            // v5 [MQTT-3.1.0-1], v5 [MQTT-3.2.0-1], v4 [MQTT-3.2.0-1]: nothing comes before these two.
            (State::Handshake, _, _) => Err(("v5 [MQTT-3.2.0-1]", ReasonCode::PROTOCOL_ERROR)),
            // v5 [MQTT-3.1.0-2]: the host does not read while it decides.
            (State::Deciding, _, _) => Err(("v5 [MQTT-3.1.0-2]", ReasonCode::PROTOCOL_ERROR)),
        };
        handled.map_err(|(statement, reason)| self.fail(ProtocolErrorKind::Rule(statement, reason)))
    }

    /// Takes what the reader could not read; the goodbye is queued.
    pub fn handle_decode_error(&mut self, now: Instant, error: DecodeError) -> ProtocolError {
        self.clock(now);
        if (self.state, self.limits.role) == (State::Handshake, Role::Server) {
            handshake::refuse_unread(&mut self.control, &self.limits, &error);
            self.state = State::Closing;
        }
        self.fail(ProtocolErrorKind::Decode(error))
    }

    /// Takes the time; early and repeated calls are harmless.
    ///
    /// # Errors
    /// The peer was silent too long; the goodbye is queued.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        let now = self.clock(now);
        if self.state == State::Closing {
            return Ok(());
        }
        match self.keep_alive.handle_timeout(now) {
            Due::Nothing => {}
            Due::Ping => {
                self.control.push(&Packet::Pingreq, &self.limits);
            }
            Due::Lost if self.state == State::Connected => return Err(self.fail(ProtocolErrorKind::KeepAlive)),
            Due::Lost => return Err(self.fail(ProtocolErrorKind::ConnectTimeout)),
        }
        // A deadline is a quiet moment: what nobody needs is given back.
        self.control.shrink();
        self.inbound.shrink();
        self.session.shrink();
        Ok(())
    }

    /// While the host does not read from this connection, silence is not the peer's.
    pub fn pause_keep_alive(&mut self, now: Instant) {
        self.clock(now);
        self.keep_alive.pause();
    }

    /// The host reads again.
    pub fn resume_keep_alive(&mut self, now: Instant) {
        let now = self.clock(now);
        self.keep_alive.resume(now);
    }

    /// Ends the connection by the peer's fault.
    fn fail(&mut self, kind: ProtocolErrorKind) -> ProtocolError {
        let error = ProtocolError { kind };
        if self.state == State::Connected {
            // what was taken is taken: the peer need not send it again
            self.push_answers();
        }
        let silence = matches!(kind, ProtocolErrorKind::KeepAlive | ProtocolErrorKind::ConnectTimeout);
        match (self.state, self.limits.role) {
            // v5 [MQTT-3.14.0-1]: before acceptance the reason goes into CONNACK; without a CONNECT nobody is told.
            (State::Deciding | State::Authenticating, _) if self.limits.version == Version::V5 => {
                handshake::reject(&mut self.control, &self.limits, error.reason_code(), &[]);
            }
            (State::Closing | State::Deciding | State::Authenticating, _) | (State::Handshake, Role::Server) => {}
            (State::Handshake | State::Connected, Role::Client) if silence => {}
            // v5 [X5-ERR-1], v5 [MQTT-4.13.1-1]: the reason in DISCONNECT, then close; before 5.0 only close (v4 [MQTT-4.8.0-1]).
            (State::Handshake | State::Connected, _) if self.limits.version == Version::V5 => {
                handshake::disconnect(&mut self.control, &self.limits, error.reason_code(), &[]);
            }
            (State::Handshake | State::Connected, _) => {}
        }
        self.state = State::Closing;
        error
    }

    /// Puts the answers that are ready in front of a goodbye.
    fn push_answers(&mut self) {
        self.say_released();
        while let Some((answer, reason)) = self.inbound.next_answer() {
            self.control.push_ack(answer.kind, answer.id, reason, &self.limits);
            self.inbound.sent();
        }
    }

    /// What was held until it is stored, as far as it is.
    #[cold]
    fn say_released(&mut self) {
        while let Some(held) = self.session.outbound.journal.as_mut().and_then(|journal| journal.pop_released()) {
            match held {
                Held::Answer(token) => self.inbound.give_held(token),
                Held::Release(id, reason) => {
                    self.control.push_ack(AckKind::Pubrel, id, reason, &self.limits);
                }
            }
        }
    }

    /// The peer ended it: it listens no more.
    fn say_nothing_more(&mut self) {
        self.control.clear();
        self.state = State::Closing;
    }

    /// v5 and v4 know no time that goes back.
    #[inline]
    fn clock(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }
}

/// A read in progress; lends events.
#[derive(Debug)]
pub struct Input<'c> {
    connection: &'c mut Connection,
    packets: Packets<'c>,
    now: Instant,
}

impl Input<'_> {
    /// The next event; `None` when the bytes are used up, while CONNECT is with the host, and after the end.
    ///
    /// # Errors
    /// The peer's fault: flush what is queued, then close.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, ProtocolError> {
        match self.connection.state {
            // v5 [X5-CON-9]: what follows CONNECT waits in the reader.
            State::Deciding | State::Closing => return Ok(None),
            State::Handshake | State::Authenticating | State::Connected => {}
        }
        match self.packets.next() {
            Ok(Some(packet)) => self.connection.handle_packet(self.now, &packet).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(self.connection.handle_decode_error(self.now, error)),
        }
    }

    /// As [`Connection::acknowledge`].
    pub fn acknowledge(&mut self, token: AckToken, reason: ReasonCode) {
        self.connection.acknowledge(token, reason);
    }
}
