//! A client's end with its reading half and owned events: for programs that would rather be told than look.
use crate::{
    AckToken, ClientConfig, Connection, DropReason, Event, Instant, Message, ProtocolError, PublishToken, Redirect,
    RequestToken, Session,
};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use mqtt_codec::{Connect, EncodeError, Properties, Qos, Reader, ReasonCode};

/// A client: its [`Connection`], what reads for it, and its events, each owned.
///
/// Bytes go in by [`handle_input`](Self::handle_input), events come out by [`poll_event`](Self::poll_event); everything else is the
/// connection's. What waits in here is bounded by what was given, and messages made of it by 1 MiB beyond: take the events before giving
/// more. Whoever wants to see messages where they lie, without an allocation for each, uses [`Connection::read`].
///
/// # Examples
///
/// ```
/// use mqtt_session::codec::{Connect, Properties, Utf8, Version};
/// use mqtt_session::{Client, ClientConfig, ClientEvent, Instant, Session};
///
/// let connect = Connect {
///     version: Version::V311, clean_start: true, keep_alive: 60, properties: Properties::EMPTY,
///     client_id: Utf8::new("c").unwrap(), will: None, user_name: None, password: None,
/// };
/// let now = Instant::ZERO;
/// let mut client = Client::new(now, &connect, Session::new(), &ClientConfig::default())?;
/// client.handle_input(now, b"\x20\x02\x00\x00\x30\x04\x00\x01a!")?; // CONNACK, PUBLISH
/// assert!(matches!(client.poll_event(), Some(ClientEvent::Connected { session_present: false })));
/// let Some(ClientEvent::Message(received)) = client.poll_event() else { panic!("a message") };
/// assert_eq!((received.message.topic().as_str(), received.message.payload()), ("a", &b"!"[..]));
/// assert!(client.poll_event().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    reader: Reader,
    events: VecDeque<ClientEvent>,
    /// Bytes of the messages among them.
    bytes: usize,
    /// The time of the last input.
    now: Instant,
    /// Found while events were polled.
    failed: Option<ProtocolError>,
}

/// A few bytes of input make a large message where an alias stands for its topic: with this many bytes of messages the rest of the
/// input waits as it came.
const MOST: usize = 1 << 20;

/// What happened, owned. See [`Event`] for each.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The server let us in; what was agreed on is in [`Connection::terms`].
    Connected {
        /// Whether the server continued the session.
        session_present: bool,
    },
    /// The server did not let us in; close.
    Refused(Farewell),
    /// A message; acknowledged already, unless acknowledgement is manual.
    Message(ReceivedMessage),
    /// The sender of a QoS 2 message has released it; only where acknowledgement is manual.
    Released(AckToken),
    /// A QoS 1 or 2 message of ours has reached the server, or was refused by it (0x80 and above).
    Completed {
        /// What `publish` gave.
        token: PublishToken,
        /// The server's word.
        reason: ReasonCode,
    },
    /// A message of ours was not sent and never will be; its token does not complete. Behind all that came in, and QoS 0 too.
    Dropped {
        /// What `publish` gave.
        token: PublishToken,
        /// Why.
        why: DropReason,
    },
    /// The answer to a SUBSCRIBE: each filter with its code (0x80 and above: refused).
    Subscribed(RequestToken, Vec<(String, ReasonCode)>),
    /// The answer to an UNSUBSCRIBE.
    Unsubscribed(RequestToken, Vec<(String, ReasonCode)>),
    /// A step of the server's in an authentication exchange: its reason and its data.
    Auth(ReasonCode, Option<Vec<u8>>),
    /// The server said goodbye; close.
    Disconnected(Farewell),
}

/// Why the server does not want us.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Farewell {
    /// The reason code.
    pub reason: ReasonCode,
    /// In words, if it said so.
    pub text: Option<String>,
    /// Where to go instead, if that is why, and whether for good.
    pub redirect: Option<(Vec<String>, bool)>,
}

/// A message as it came.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceivedMessage {
    /// Topic, payload, properties and expiry.
    pub message: Message,
    /// Its QoS.
    pub qos: Qos,
    /// Whether it was kept by the server from before we subscribed (or, if we asked for it, as it was published).
    pub retain: bool,
    /// It may have come before.
    pub dup: bool,
    /// The Subscription Identifiers of ours that it matches.
    pub ids: Vec<u32>,
    /// For [`Connection::acknowledge`], where acknowledgement is manual.
    pub token: AckToken,
}

impl Client {
    /// Queues `connect`, and takes the session that is to go on ([`Session::new`] for a fresh one).
    ///
    /// # Errors
    /// `connect` cannot be encoded.
    pub fn new(
        now: Instant,
        connect: &Connect<'_>,
        session: Session,
        config: &ClientConfig,
    ) -> Result<Self, EncodeError> {
        let connection = Connection::client_with(now, connect, session, config)?;
        Ok(Self { reader: connection.reader(), connection, events: VecDeque::new(), bytes: 0, now, failed: None })
    }

    /// The connection, for commands, for writing and for time.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Takes bytes as they came, split anywhere; an empty slice is harmless.
    ///
    /// # Errors
    /// The server broke a rule: the goodbye is queued, flush it and close. What came before that is still to be polled.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) -> Result<(), ProtocolError> {
        self.now = self.now.max(now);
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut input = self.connection.read(now, &mut self.reader, bytes);
        while self.bytes < MOST
            && let Some(event) = input.next()?
        {
            let event = owned(now, &event);
            self.bytes += event.as_ref().map_or(0, size);
            self.events.extend(event);
        }
        Ok(())
    }

    /// The next event, in the order in which they came. Ask until there is none, then write: what input had to wait is read here. An error
    /// in it is given by the next [`handle_input`](Self::handle_input), its goodbye queued already.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        if self.events.is_empty() && self.reader.buffered() > 0 && self.failed.is_none() {
            self.failed = self.handle_input(self.now, &[]).err();
        }
        let event = self.events.pop_front();
        self.bytes = self.bytes.saturating_sub(event.as_ref().map_or(0, size));
        if event.is_none() {
            self.events = VecDeque::new();
            return self.connection.poll_dropped().map(|(token, why)| ClientEvent::Dropped { token, why });
        }
        event
    }

    /// What outlives the connection, for the next one.
    pub fn into_session(self) -> Session {
        self.connection.into_session()
    }
}

/// Bytes of its message.
fn size(event: &ClientEvent) -> usize {
    if let ClientEvent::Message(received) = event { received.message.size() } else { 0 }
}

/// `None` for what is nothing to a client.
fn owned(now: Instant, event: &Event<'_>) -> Option<ClientEvent> {
    let redirect = event.redirect().map(elsewhere);
    let farewell = |reason, properties: Properties<'_>| {
        let text = properties.reason_string().map(|text| text.as_str().into());
        Farewell { reason, text, redirect }
    };
    Some(match event {
        Event::Connected(connected) => ClientEvent::Connected { session_present: connected.session_present },
        Event::Refused(connack) => ClientEvent::Refused(farewell(connack.reason, connack.properties)),
        Event::Publish(received, token) => ClientEvent::Message(ReceivedMessage {
            message: Message::new(now, &received.publication()),
            qos: received.qos,
            retain: received.retain,
            dup: received.dup,
            ids: received.properties.subscription_identifiers().collect(),
            token: *token,
        }),
        Event::Released(token) => ClientEvent::Released(*token),
        Event::Completed { token, reason, .. } => ClientEvent::Completed { token: *token, reason: *reason },
        Event::Suback(answer) => ClientEvent::Subscribed(answer.token, pairs(answer)),
        Event::Unsuback(answer) => ClientEvent::Unsubscribed(answer.token, pairs(answer)),
        Event::Auth(auth) => ClientEvent::Auth(auth.reason, auth.properties.authentication_data().map(Vec::from)),
        Event::Disconnect(disconnect) => ClientEvent::Disconnected(farewell(disconnect.reason, disconnect.properties)),
        Event::Handled | Event::Connect(_) | Event::Subscribe(..) | Event::Unsubscribe(..) => return None,
    })
}

fn pairs(answer: &crate::Answered<'_>) -> Vec<(String, ReasonCode)> {
    answer.pairs().map(|(filter, code)| (filter.as_str().into(), code)).collect()
}

fn elsewhere(redirect: Redirect<'_>) -> (Vec<String>, bool) {
    (redirect.servers().map(String::from).collect(), redirect.permanent)
}
