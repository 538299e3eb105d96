//! The two clients of a bridge: one at the remote broker, over a connection that comes and goes, one in our own.

use crate::path::{BEEN_HERE, Once, cross};
use crate::topics::Rules;
use mqtt_broker_core::{Delivery, Instant, LocalId, Publication};
use mqtt_codec::{
    Connect, OutBuf, Properties, Property, Qos, ReasonCode, RetainHandling, SubscribeOptions, Subscription, Utf8,
    Version,
};
use mqtt_examples::client::Failure;
use mqtt_examples::tokio_host::Host;
use mqtt_session::{
    Backoff, Client, ClientConfig, ClientEvent, QueueLimits, ReceivedMessage, Session, State, Transmit,
};
use mqtt_topic::TopicFilter;
use rustls::ClientConfig as TlsConfig;
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::TcpStream;
use tokio::select;
use tokio::time::{sleep, sleep_until, timeout};

/// What waits for the remote while it is away.
pub(crate) const WAITING: QueueLimits = QueueLimits { messages: 10_000, bytes: 16 << 20 };
/// What is with the session: what the remote has not acknowledged. The rest waits at our broker.
const WITH_SESSION: QueueLimits = QueueLimits { messages: 1_000, bytes: 1 << 20 };
/// How long the remote keeps our session, seconds.
const EXPIRY: u32 = 24 * 3600;
/// How long a connection, and TLS over it, may take to come about.
const PATIENCE: Duration = Duration::from_secs(10);

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The other broker.
pub(crate) struct Remote {
    /// What messages that leave it are marked with.
    pub(crate) name: String,
    /// Host and port.
    pub(crate) address: String,
    pub(crate) tls: Option<Arc<TlsConfig>>,
    pub(crate) version: Version,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<String>,
}

/// Both ends, and what crosses between them.
pub(crate) struct Link {
    host: Rc<Host<Once>>,
    local: LocalId,
    name: String,
    remote: Remote,
    rules: Rules,
    qos: Qos,
    /// Connections in a row that came to nothing.
    attempt: u32,
    /// The remote knows what we want.
    subscribed: bool,
    /// Messages that our broker had no room to keep for the remote, as told last.
    dropped: u64,
}

impl Link {
    /// Subscribes at our broker: from now on what is to cross waits.
    pub(crate) fn new(
        host: Rc<Host<Once>>,
        name: String,
        remote: Remote,
        rules: Rules,
        qos: Qos,
    ) -> Result<Self, Failure> {
        let local = host.with(|broker, now| {
            let local = broker.local_open(WAITING)?;
            for filter in rules.outgoing.iter().filter_map(|filter| TopicFilter::new(filter).ok()) {
                broker.local_subscribe(now, local, filter, options(qos))?;
            }
            Ok::<_, mqtt_broker_core::LocalError>(local)
        });
        let local = local.map_err(|error| Failure::Other(error.to_string()))?;
        Ok(Self { host, local, name, remote, rules, qos, attempt: 0, subscribed: false, dropped: 0 })
    }

    /// Keeps the connection to the remote up, for ever.
    pub(crate) async fn keep(mut self) {
        // an earlier process of this name may have left the other half of a session with the remote
        let mut session = Session::resumable();
        let mut backoff = Backoff::new(u64::from(std::process::id()));
        backoff.first = Duration::from_millis(200);
        loop {
            let ended = match timeout(PATIENCE, TcpStream::connect(&self.remote.address)).await {
                Ok(Ok(stream)) => self.converse(stream, &mut session).await,
                Ok(Err(error)) => Err(error.into()),
                Err(late) => Err(late.into()),
            };
            if let Err(error) = ended {
                eprintln!("bridge to {}: {error}", self.remote.address);
            }
            sleep(backoff.delay(self.attempt)).await;
            self.attempt = self.attempt.saturating_add(1);
        }
    }

    /// One connection, to its end; the session goes in and comes out.
    async fn converse(&mut self, stream: TcpStream, session: &mut Session) -> Outcome<()> {
        stream.set_nodelay(true)?;
        let Some(tls) = self.remote.tls.clone() else { return self.talk(stream, session).await };
        let host = self.remote.address.rsplit_once(':').map_or(&*self.remote.address, |(host, _)| host).to_owned();
        let name = rustls::pki_types::ServerName::try_from(host)?;
        let stream = timeout(PATIENCE, tokio_rustls::TlsConnector::from(tls).connect(name, stream)).await??;
        self.talk(stream, session).await
    }

    async fn talk(&mut self, stream: impl AsyncRead + AsyncWrite, session: &mut Session) -> Outcome<()> {
        let mut config = ClientConfig::default();
        config.manual_acknowledgement = true;
        let mut client = Client::new(self.host.now(), &self.connect()?, std::mem::take(session), &config)?;
        let ended = self.exchange(stream, &mut client).await;
        *session = client.into_session();
        ended
    }

    fn connect(&self) -> Outcome<Connect<'_>> {
        const KEPT: [Property<'static>; 1] = [Property::SessionExpiryInterval(EXPIRY)];
        let text = |text| Utf8::new(text).ok_or("a text with U+0000");
        Ok(Connect {
            version: self.remote.version,
            clean_start: false,
            keep_alive: 30,
            properties: if self.remote.version == Version::V5 {
                Properties::from_slice(&KEPT)
            } else {
                Properties::EMPTY
            },
            client_id: text(&self.name)?,
            will: None,
            user_name: self.remote.user_name.as_deref().map(text).transpose()?,
            password: self.remote.password.as_deref().map(str::as_bytes),
        })
    }

    /// Moves bytes, messages and time, until the connection ends.
    async fn exchange(&mut self, stream: impl AsyncRead + AsyncWrite, client: &mut Client) -> Outcome<()> {
        let (mut reader, mut writer) = split(stream);
        let (mut out, mut flushed, mut buffer) = (OutBuf::with_limit(1 << 16), true, vec![0; 1 << 14]);
        loop {
            self.send_what_waits(client);
            while client.connection().poll_transmit(self.host.now(), &mut out) == Transmit::Wrote {}
            flushed &= out.is_empty();
            if client.connection().state() == State::Closing && flushed {
                return Err("the remote has broken the protocol".into());
            }
            let wake = client.connection().poll_timeout();
            select! {
                read = reader.read(&mut buffer) => match read? {
                    0 => return Err("the remote has closed it".into()),
                    len => self.hear(client, &buffer[..len])?,
                },
                written = send(&mut writer, out.chunk()), if !flushed => match written? {
                    0 => flushed = out.is_empty(),
                    len => out.advance(len),
                },
                () = self.host.local.notified() => {}
                () = sleep_until(self.host.moment(wake.unwrap_or(Instant::ZERO))), if wake.is_some() => {
                    // that the remote is silent ends the connection too, when our goodbye is sent
                    let _ = client.connection().handle_timeout(self.host.now());
                }
            }
        }
    }

    fn hear(&mut self, client: &mut Client, bytes: &[u8]) -> Outcome<()> {
        // that the remote breaks a rule ends the connection when our goodbye is sent; what came before counts
        let _ = client.handle_input(self.host.now(), bytes);
        while let Some(event) = client.poll_event() {
            match event {
                ClientEvent::Connected { session_present } => {
                    self.attempt = 0;
                    self.subscribed &= session_present;
                    self.subscribe(client)?;
                }
                ClientEvent::Refused(word) | ClientEvent::Disconnected(word) => {
                    return Err(format!("the remote does not want us: {}", word.reason).into());
                }
                ClientEvent::Subscribed(_, answers) => {
                    self.subscribed = true;
                    println!("joined to {}", self.remote.address);
                    for (filter, reason) in answers.iter().filter(|(_, reason)| reason.is_error()) {
                        eprintln!("bridge to {}: no subscription to {filter}: {reason}", self.remote.address);
                    }
                }
                ClientEvent::Message(received) => {
                    let reason = self.take_in(&received);
                    client.connection().acknowledge(received.token, reason);
                }
                ClientEvent::Released(token) => client.connection().acknowledge(token, ReasonCode::SUCCESS),
                ClientEvent::Completed { reason, .. } if reason.is_error() && reason != BEEN_HERE => {
                    eprintln!("bridge to {}: a message was refused: {reason}", self.remote.address);
                }
                ClientEvent::Dropped { why, .. } => {
                    eprintln!("bridge to {}: a message was not sent: {why:?}", self.remote.address);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Asks for what is to come in, unless the remote still knows.
    fn subscribe(&self, client: &mut Client) -> Outcome<()> {
        let options = match self.remote.version {
            Version::V5 => options(self.qos),
            Version::V31 | Version::V311 => SubscribeOptions { qos: self.qos, ..SubscribeOptions::default() },
        };
        let filters = self.rules.incoming.iter().filter_map(|filter| TopicFilter::new(filter).ok());
        let wanted: Vec<_> = filters.map(|filter| Subscription { filter, options }).collect();
        if self.subscribed || wanted.is_empty() {
            println!("joined to {}", self.remote.address);
        } else {
            client.connection().subscribe(self.host.now(), &wanted, &[])?;
        }
        Ok(())
    }

    /// A message of the remote becomes one of ours. What is answered here is what the remote is told: from then on it is ours.
    fn take_in(&self, received: &ReceivedMessage) -> ReasonCode {
        let message = &received.message;
        let Some(mut properties) = cross(message.properties(), &self.remote.name, &self.name) else {
            return ReasonCode::SUCCESS; // it has been here, and that is all that was wanted
        };
        let Some(topic) = self.rules.to_local(message.topic()) else { return ReasonCode::TOPIC_NAME_INVALID };
        let published = self.host.with(|broker, now| {
            properties.extend(message.expires().map(|at| Property::MessageExpiryInterval(seconds(at.since(now)))));
            let publication = Publication {
                topic: topic.as_name(),
                payload: message.payload(),
                qos: received.qos,
                retain: received.retain,
                properties: Properties::from_slice(&properties),
            };
            broker.local_publish(now, self.local, &publication)
        });
        published.err().unwrap_or(ReasonCode::SUCCESS)
    }

    /// Hands over what waits at our broker, as far as the session has room; the rest waits on.
    fn send_what_waits(&mut self, client: &mut Client) {
        let has_room = |client: &mut Client| {
            let connection = client.connection();
            let session = connection.session();
            connection.state() == State::Connected
                && session.queued() + session.inflight() < WITH_SESSION.messages
                && session.bytes() < WITH_SESSION.bytes
        };
        while has_room(client)
            && let Some(delivery) = self.host.with(|broker, now| broker.local_receive(now, self.local))
        {
            self.send_out(client, &delivery);
        }
        let dropped = self.host.with(|broker, _| broker.local_dropped(self.local));
        if dropped > std::mem::replace(&mut self.dropped, dropped) {
            eprintln!("bridge to {}: {dropped} messages had no room to wait, and are lost", self.remote.address);
        }
    }

    /// A message of ours becomes one of the remote's, as far as the remote has such.
    fn send_out(&self, client: &mut Client, delivery: &Delivery) {
        const ANY: QueueLimits = QueueLimits { messages: usize::MAX, bytes: usize::MAX };
        let publication = delivery.publication();
        let Some(mut properties) = cross(publication.properties, &self.name, &self.remote.name) else { return };
        let (now, terms) = (self.host.now(), client.connection().terms());
        properties.extend(delivery.message.expires().map(|at| Property::MessageExpiryInterval(seconds(at.since(now)))));
        let (qos, retain) = (publication.qos.min(terms.maximum_qos), publication.retain && terms.retain_available);
        let sent = self.rules.to_remote(publication.topic).ok_or("its topic is too long").and_then(|topic| {
            let properties = Properties::from_slice(&properties);
            let publication = Publication { topic: topic.as_name(), qos, retain, properties, ..publication };
            client.connection().publish(now, &publication, &ANY).map_err(|_| "the remote does not take it")
        });
        if let Err(why) = sent {
            eprintln!("bridge to {}: a message was not sent: {why}", self.remote.address);
        }
    }
}

/// How a bridge subscribes, on both sides.
fn options(qos: Qos) -> SubscribeOptions {
    // v5 [MQTT-3.8.3-3]: what it publishes itself does not come back; a retained message is one on the other side too
    let retain_handling = RetainHandling::IfNew;
    SubscribeOptions { qos, no_local: true, retain_as_published: true, retain_handling }
}

fn seconds(left: Duration) -> u32 {
    u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// Some of `bytes`, or, where there are none, what a layer below still holds: then 0.
async fn send(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return writer.flush().await.map(|()| 0);
    }
    match writer.write(bytes).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        len => Ok(len),
    }
}
