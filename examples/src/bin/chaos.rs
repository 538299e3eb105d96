//! Two sessions over a pipe whose connection breaks now and then: what was sent, cut, sent again and delivered, and whether each message came as
//! its QoS promises. The same seed gives the same run, to the byte: `chaos --seed 7 --messages 20 --qos 2 --cut-per-mille 100`.
use clap::Parser;
use mqtt_codec::{Connect, OutBuf, Packet, Properties, Property, Qos, Reader, ReasonCode, Role, Utf8, Version};
use mqtt_session::{
    Accept, Connection, Event, Instant, Publication, QueueLimits, ServerConfig, Session, State, Transmit,
};
use mqtt_topic::TopicName;
use std::collections::BTreeMap;
use std::process::ExitCode;

const LIMITS: QueueLimits = QueueLimits { messages: 100, bytes: 100_000 };

/// How many messages are open at once.
const OPEN: usize = 4;

/// A client publishes to a server, in memory, over connections that break.
#[derive(Debug, Parser)]
struct Options {
    /// Names the run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many messages are published.
    #[arg(long, default_value_t = 10)]
    messages: usize,
    /// 0, 1 or 2.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// How often, in a thousand moves of bytes, the connection breaks.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=500))]
    cut_per_mille: u64,
}

/// One end of the pipe.
struct End {
    connection: Connection,
    reader: Reader,
    /// Written, and not yet at the other end.
    wire: Vec<u8>,
}

struct Chaos {
    options: Options,
    random: u64,
    now: Instant,
    client: End,
    server: End,
    /// The server's session while it lives in no connection.
    kept: Option<Session>,
    server_knows: bool,
    published: usize,
    completed: usize,
    delivered: BTreeMap<usize, usize>,
    cuts: usize,
    resent: usize,
}

fn main() -> ExitCode {
    let mut chaos = Chaos::new(Options::parse());
    while !chaos.is_done() {
        chaos.step();
    }
    chaos.verdict()
}

impl Chaos {
    fn new(options: Options) -> Self {
        let now = Instant::ZERO;
        Self {
            random: options.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            client: End::new(client(now, Session::new())),
            server: End::new(Connection::server(now, &ServerConfig::default())),
            options,
            now,
            kept: Some(Session::new()),
            server_knows: false,
            published: 0,
            completed: 0,
            delivered: BTreeMap::new(),
            cuts: 0,
            resent: 0,
        }
    }

    fn is_done(&self) -> bool {
        let is_quiet = |end: &End| end.wire.is_empty() && !end.connection.has_output();
        self.published == self.options.messages
            && (self.completed == self.published || self.options.qos == 0)
            && is_quiet(&self.client)
            && is_quiet(&self.server)
    }

    /// Publishes, writes, and moves some bytes one way; or breaks the connection.
    fn step(&mut self) {
        self.now = self.now.plus_millis(1);
        let open = if self.options.qos == 0 {
            self.client.connection.session().queued()
        } else {
            self.published - self.completed
        };
        if self.published < self.options.messages && open < OPEN {
            self.publish();
        }
        self.write(Role::Client);
        self.write(Role::Server);
        if self.below(1_000) < self.options.cut_per_mille {
            return self.cut();
        }
        let from = if self.below(2) == 0 { Role::Client } else { Role::Server };
        let end = if from == Role::Client { &self.client } else { &self.server };
        let len = self.below(end.wire.len() as u64 + 1) as usize;
        self.carry(from, len);
    }

    fn publish(&mut self) {
        let payload = self.published.to_string();
        let Ok(topic) = TopicName::new("chaos") else { return };
        let mut message = Publication::new(topic, payload.as_bytes());
        message.qos = match self.options.qos {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            _ => Qos::ExactlyOnce,
        };
        if self.client.connection.publish(self.now, &message, &LIMITS).is_ok() {
            self.published += 1;
        }
    }

    /// Lets one end say what it has to say, and prints which messages that are.
    fn write(&mut self, role: Role) {
        let end = if role == Role::Client { &mut self.client } else { &mut self.server };
        loop {
            // a buffer of no size takes one packet: so each can be shown
            let (mut out, start) = (OutBuf::default(), end.wire.len());
            if end.connection.poll_transmit(self.now, &mut out) != Transmit::Wrote {
                return;
            }
            while !out.is_empty() {
                end.wire.extend_from_slice(out.chunk());
                out.advance(out.chunk().len());
            }
            let packet = Packet::decode(end.wire.get(start..).unwrap_or_default(), Version::V5, role);
            if let Ok(Packet::Publish(publish)) = packet {
                self.resent += usize::from(publish.dup);
                let verb = if publish.dup { "resent" } else { "sent" };
                println!("{verb:9} {}", String::from_utf8_lossy(publish.payload));
            }
        }
    }

    /// Some bytes of one end arrive at the other.
    fn carry(&mut self, from: Role, len: usize) {
        let (sender, receiver) = match from {
            Role::Client => (&mut self.client, &mut self.server),
            Role::Server => (&mut self.server, &mut self.client),
        };
        let bytes: Vec<u8> = sender.wire.drain(..len).collect();
        let mut input = receiver.connection.read(self.now, &mut receiver.reader, &bytes);
        loop {
            match input.next() {
                Ok(None) => break,
                // the server's end acknowledges what its host says it has
                Ok(Some(Event::Publish(received, token))) => {
                    let text = String::from_utf8_lossy(received.payload).into_owned();
                    println!("delivered {text}");
                    *self.delivered.entry(text.parse().unwrap_or(usize::MAX)).or_default() += 1;
                    input.acknowledge(token, ReasonCode::SUCCESS);
                }
                Ok(Some(Event::Released(token))) => input.acknowledge(token, ReasonCode::SUCCESS),
                Ok(Some(Event::Completed { .. })) => self.completed += 1,
                Ok(Some(_)) => {}
                Err(error) => {
                    println!("broken    {error}");
                    break;
                }
            }
        }
        drop(input);
        if receiver.connection.state() == State::Deciding {
            let accept = Accept { session_present: self.server_knows, ..Accept::default() };
            let session = self.kept.take().unwrap_or_default();
            receiver.connection.accept(self.now, session, &ServerConfig::default(), &accept);
            self.server_knows = true;
        }
    }

    /// What is on its way is lost; both sessions move into new connections.
    fn cut(&mut self) {
        self.cuts += 1;
        println!(
            "cut       {} bytes of the client and {} of the server are lost",
            self.client.wire.len(),
            self.server.wire.len()
        );
        let server = End::new(Connection::server(self.now, &ServerConfig::default()));
        let ended = std::mem::replace(&mut self.server, server).connection.into_session();
        // before it was let in, the client's session lies where it lay
        self.kept.get_or_insert(ended);
        let none = End::new(client(self.now, Session::new()));
        let session = std::mem::replace(&mut self.client, none).connection.into_session();
        self.client = End::new(client(self.now, session));
    }

    fn verdict(&self) -> ExitCode {
        let (messages, qos) = (self.options.messages, self.options.qos);
        let lost = messages - self.delivered.len();
        let doubled = self.delivered.values().filter(|times| **times > 1).count();
        let (promise, kept) = match qos {
            0 => ("at most once", doubled == 0),
            1 => ("at least once", lost == 0),
            _ => ("exactly once", lost == 0 && doubled == 0),
        };
        let word = if kept { "kept" } else { "BROKEN" };
        println!(
            "verdict   QoS {qos}, {promise}: {word}; {messages} published, {lost} lost, {doubled} doubled, {} resent, {} cuts",
            self.resent, self.cuts
        );
        if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// A number below `n` (xorshift64*).
    fn below(&mut self, n: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n.max(1)
    }
}

impl End {
    fn new(connection: Connection) -> Self {
        Self { reader: connection.reader(), connection, wire: Vec::new() }
    }
}

/// A client about to say CONNECT, with what is left of the connection before.
fn client(now: Instant, session: Session) -> Connection {
    let properties = [Property::SessionExpiryInterval(3600)];
    let connect = Connect {
        version: Version::V5,
        clean_start: false,
        keep_alive: 0,
        properties: Properties::from_slice(&properties),
        client_id: Utf8::new("chaos").unwrap_or_default(),
        will: None,
        user_name: None,
        password: None,
    };
    match Connection::client(now, &connect, session) {
        Ok(client) => client,
        Err(error) => unreachable!("a CONNECT that can be said: {error}"),
    }
}
