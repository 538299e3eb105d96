//! One end of a connection whose other end is a table of bytes.
#![allow(dead_code, unreachable_pub)]

use mqtt_session::codec::{Connect, OutBuf, Properties, Property, Qos, Reader, ReasonCode, Utf8, Version};
use mqtt_session::topic::{TopicFilter, TopicName};
use mqtt_session::{
    Accept, AckToken, Connection, Delivery, Event, Instant, Message, ProtocolError, Publication, PublishToken,
    QueueLimits, RequestToken, ServerConfig, Session, Transmit,
};

pub const LIMITS: QueueLimits = QueueLimits { messages: 10_000, bytes: 10_000_000 };
pub const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// What the host saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Handled,
    Connect,
    Connected {
        session_present: bool,
    },
    Refused(ReasonCode),
    Publish {
        topic: String,
        qos: Qos,
        payload: String,
        token: AckToken,
    },
    Released(AckToken),
    Completed(PublishToken, ReasonCode),
    Subscribe(RequestToken),
    Unsubscribe(RequestToken),
    Suback(RequestToken, Vec<u8>),
    Unsuback(RequestToken, Vec<u8>),
    Disconnect(ReasonCode),
    /// Reason and data.
    Auth(u8, String),
    Broken(ProtocolError),
}

impl Seen {
    pub fn token(&self) -> AckToken {
        match self {
            Self::Publish { token, .. } | Self::Released(token) => *token,
            other => panic!("{other:?} has no token"),
        }
    }

    pub fn request(&self) -> RequestToken {
        match self {
            Self::Subscribe(token) | Self::Unsubscribe(token) => *token,
            other => panic!("{other:?} is no request"),
        }
    }

    /// The reason code that answers what broke.
    pub fn reason(&self) -> u8 {
        match self {
            Self::Broken(error) => error.reason_code().0,
            other => panic!("{other:?} broke nothing"),
        }
    }
}

pub struct End {
    pub connection: Connection,
    pub reader: Reader,
    pub now: Instant,
}

impl End {
    /// A server's end to which `connect` has come and which has decided nothing.
    pub fn deciding(config: &ServerConfig, connect: &Connect<'_>) -> Self {
        let connection = Connection::server(Instant::ZERO, config);
        let mut server = Self { reader: connection.reader(), connection, now: Instant::ZERO };
        assert_eq!(server.gets_bytes(&encoded(connect)), [Seen::Connect]);
        server
    }

    /// A server's end that has accepted; its CONNACK is sent.
    pub fn server_of(config: &ServerConfig, connect: &Connect<'_>, session: Session) -> Self {
        let mut server = Self::deciding(config, connect);
        server.connection.accept(server.now, session, config, &Accept { session_present: true, ..Accept::default() });
        assert!(server.sends().starts_with("20 "));
        server
    }

    pub fn server(version: Version) -> Self {
        Self::server_of(&ServerConfig::default(), &connect(version, &[]), Session::new())
    }

    /// A client's end that was let in with `connack`.
    pub fn client_of(connect: &Connect<'_>, session: Session, connack: &str) -> Self {
        let connection = Connection::client(Instant::ZERO, connect, session).unwrap();
        let mut client = Self { reader: connection.reader(), connection, now: Instant::ZERO };
        assert!(client.sends().starts_with("10 "));
        assert!(matches!(client.gets(connack)[..], [Seen::Connected { .. }]));
        client
    }

    pub fn client(version: Version) -> Self {
        let connack = if version == Version::V5 { "20 03 00 00 00" } else { "20 02 00 00" };
        Self::client_of(&connect(version, &[]), Session::new(), connack)
    }

    /// What the host sees of some bytes.
    pub fn gets(&mut self, hex: &str) -> Vec<Seen> {
        self.gets_bytes(&bytes(hex))
    }

    pub fn gets_bytes(&mut self, bytes: &[u8]) -> Vec<Seen> {
        let mut seen = Vec::new();
        let mut input = self.connection.read(self.now, &mut self.reader, bytes);
        loop {
            seen.push(match input.next() {
                Ok(None) => return seen,
                Err(error) => Seen::Broken(error),
                Ok(Some(event)) => match event {
                    Event::Handled => Seen::Handled,
                    Event::Connect(_) => Seen::Connect,
                    Event::Connected(connected) => Seen::Connected { session_present: connected.session_present },
                    Event::Refused(connack) => Seen::Refused(connack.reason),
                    Event::Publish(received, token) => Seen::Publish {
                        topic: received.topic.as_name().as_str().to_owned(),
                        qos: received.qos,
                        payload: String::from_utf8(received.payload.to_vec()).unwrap(),
                        token,
                    },
                    Event::Released(token) => Seen::Released(token),
                    Event::Completed { token, reason, .. } => Seen::Completed(token, reason),
                    Event::Subscribe(_, token) => Seen::Subscribe(token),
                    Event::Unsubscribe(_, token) => Seen::Unsubscribe(token),
                    Event::Suback(answer) => {
                        Seen::Suback(answer.token, answer.codes.iter().map(|code| code.0).collect())
                    }
                    Event::Unsuback(answer) => {
                        Seen::Unsuback(answer.token, answer.codes.iter().map(|code| code.0).collect())
                    }
                    Event::Disconnect(disconnect) => Seen::Disconnect(disconnect.reason),
                    Event::Auth(auth) => {
                        let data = auth.properties.authentication_data().unwrap_or_default();
                        Seen::Auth(auth.reason.0, String::from_utf8(data.to_vec()).unwrap())
                    }
                    other => panic!("{other:?}"),
                },
            });
        }
    }

    /// Of one packet.
    pub fn gets_one(&mut self, hex: &str) -> Seen {
        let mut seen = self.gets(hex);
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    /// All that it sends, in hex.
    pub fn sends(&mut self) -> String {
        let mut out = OutBuf::with_limit(1 << 20);
        while self.connection.poll_transmit(self.now, &mut out) == Transmit::Wrote {}
        let mut sent = Vec::new();
        while !out.is_empty() {
            sent.extend_from_slice(out.chunk());
            out.advance(out.chunk().len());
        }
        hex(&sent)
    }

    pub fn ack(&mut self, seen: &Seen, reason: u8) {
        self.connection.acknowledge(seen.token(), ReasonCode(reason));
    }

    pub fn delivers(&mut self, topic: &str, payload: &str, qos: Qos) {
        self.connection.deliver(delivery(topic, payload, qos), &LIMITS).unwrap();
    }

    pub fn publishes(&mut self, topic: &str, payload: &str, qos: Qos) -> PublishToken {
        let mut publication = Publication::new(TopicName::new(topic).unwrap(), payload.as_bytes());
        publication.qos = qos;
        self.connection.publish(self.now, &publication, &LIMITS).unwrap()
    }

    /// Time passes; the error if the deadline that came ended it.
    pub fn waits(&mut self, ms: u64) -> Option<ProtocolError> {
        self.now = self.now.plus_millis(ms);
        self.connection.handle_timeout(self.now).err()
    }
}

pub fn delivery(topic: &str, payload: &str, qos: Qos) -> Delivery {
    let publication = Publication::new(TopicName::new(topic).unwrap(), payload.as_bytes());
    Delivery::new(Message::new(Instant::ZERO, &publication), qos, false)
}

pub fn connect<'a>(version: Version, properties: &'a [Property<'a>]) -> Connect<'a> {
    let client_id = Utf8::new("c").unwrap();
    let properties = Properties::from_slice(properties);
    Connect {
        version,
        clean_start: false,
        keep_alive: 10,
        properties,
        client_id,
        will: None,
        user_name: None,
        password: None,
    }
}

pub fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

pub fn encoded(connect: &Connect<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    mqtt_session::codec::Packet::Connect(*connect).encode(connect.version, &mut bytes).unwrap();
    bytes
}

/// `30 03 'a'`: hex, and text in quotes.
pub fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        match word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')) {
            Some(text) => bytes.extend_from_slice(text.as_bytes()),
            None => bytes.push(u8::from_str_radix(word, 16).unwrap()),
        }
    }
    bytes
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
}

/// Bytes with text in them, as [`End::sends`] gives them.
pub fn wire(text: &str) -> String {
    hex(&bytes(text))
}
