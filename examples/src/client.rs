//! A client on a blocking [wire]: moves bytes between it and [`Connection`], and keeps the time.
use crate::wire::{self, Endpoint, Reading, Writing};
use crate::words;
use mqtt_codec::{Connack, Connect, OutBuf, Packet, Property, Reader, ReasonCode, Role, Version};
use mqtt_session::{Connection, Event, Instant, ProtocolError, Session, Transmit};
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// How long to wait for a connection, for a socket that takes no bytes, and for the end after a goodbye.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many reads wait for the program at most: then the socket waits, and with it the broker.
const READ_AHEAD: usize = 4;

/// A client and its socket.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    reader: Reader,
    /// For writing; a thread of its own reads.
    wire: Writing,
    input: Receiver<Input>,
    waker: Waker,
    version: Version,
    /// The moment that [`Instant::ZERO`] stands for.
    zero: std::time::Instant,
    /// Whether packets are printed.
    debug: bool,
}

/// What ends a wait.
#[derive(Debug)]
enum Input {
    /// What one read brought; nothing: the broker has closed.
    Read(io::Result<Vec<u8>>),
    /// Another thread has something for this one.
    Wake,
}

/// Ends the wait of a [`Client`], from another thread: [`Client::turn`] returns.
#[derive(Clone, Debug)]
pub struct Waker(SyncSender<Input>);

impl Waker {
    /// Ends the present wait, or else the next.
    pub fn wake(&self) {
        // with so much to read the client does not wait
        let _ = self.0.try_send(Input::Wake);
    }
}

/// Why a program ends before its work is done.
#[derive(Debug)]
pub enum Failure {
    /// The broker answered CONNECT with a refusal.
    Refused {
        /// The code as it was on the wire.
        code: u8,
        /// The same in words.
        words: String,
    },
    /// `sub` has waited long enough.
    Timeout,
    /// Anything else.
    Other(String),
}

impl Failure {
    /// What the program exits with: the code of a refusal, 27 for a timeout (as `mosquitto_sub` has it), else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Timeout => 27,
            Self::Other(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { words, .. } => write!(f, "the broker refuses the connection: {words}"),
            Self::Timeout => f.write_str("timed out"),
            Self::Other(words) => f.write_str(words),
        }
    }
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        Self::Other(format!("the broker does not keep to the protocol: {error}"))
    }
}

impl Client {
    /// Connects the socket and says CONNECT; the answer is an event like others.
    ///
    /// # Errors
    /// The host is not found, or nobody listens there.
    pub fn open(endpoint: &Endpoint, connect: &Connect<'_>, debug: bool) -> Result<Self, Failure> {
        let zero = std::time::Instant::now();
        // this process knows nothing of a session that an earlier one may have left with the broker
        let session = if connect.clean_start { Session::new() } else { Session::resumable() };
        let connection = Connection::client(Instant::ZERO, connect, session).map_err(|error| {
            Failure::Other(format!("CONNECT cannot be sent at {}: {error}", words::version(connect.version)))
        })?;
        let (reading, wire) = wire::open(endpoint, PATIENCE)
            .map_err(|error| Failure::Other(format!("cannot connect to {endpoint}: {error}")))?;
        let reader = connection.reader();
        let (sender, input) = sync_channel(READ_AHEAD);
        let waker = Waker(sender.clone());
        thread::spawn(move || read(reading, &sender));
        Ok(Self { connection, reader, wire, input, waker, version: connect.version, zero, debug })
    }

    /// The state machine, for commands; the next [`turn`](Self::turn) sends what they queue.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// The time, as [`Connection`] counts it.
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.zero.elapsed()
    }

    /// What ends a wait in [`turn`](Self::turn), for another thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Sends what waits to be sent, then reads once and hands each event to `on`; returns by `until` at the latest, and when
    /// [woken](Waker::wake).
    ///
    /// # Errors
    /// What ends the connection, and what `on` says.
    pub fn turn(
        &mut self,
        until: Option<Instant>,
        mut on: impl FnMut(Event<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.flush()?;
        match self.wait(until) {
            Ok(Some(bytes)) if bytes.is_empty() => {
                return Err(Failure::Other("the broker has closed the connection".into()));
            }
            Ok(Some(bytes)) => self.take(&bytes, &mut on)?,
            Ok(None) => {}
            Err(error) => return Err(lost(&error)),
        }
        let now = self.now();
        self.connection.handle_timeout(now).inspect_err(|_| self.last_words())?;
        Ok(())
    }

    /// Says goodbye, at once, and waits, not for long, until the broker has closed: so that everything sent before has reached it.
    ///
    /// # Errors
    /// The goodbye could not be sent.
    pub fn disconnect(mut self, properties: &[Property<'_>]) -> Result<(), Failure> {
        let now = self.now();
        self.connection.disconnect(now, ReasonCode::SUCCESS, properties);
        self.flush()?;
        let end = self.now() + PATIENCE;
        // v4 [MQTT-3.14.4-1]: after DISCONNECT our side closes.
        self.wire.finish();
        while self.now() < end {
            match self.wait(Some(end)) {
                Ok(Some(bytes)) if bytes.is_empty() => break,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Waits for bytes, until the connection or the caller has something else to do; no bytes are the end of the connection.
    fn wait(&self, until: Option<Instant>) -> io::Result<Option<Vec<u8>>> {
        let wake = self.connection.poll_timeout().into_iter().chain(until).min();
        let input = match wake {
            Some(wake) => match self.input.recv_timeout(wake.since(self.now())) {
                Err(RecvTimeoutError::Timeout) => Input::Wake,
                Ok(input) => input,
                Err(RecvTimeoutError::Disconnected) => Input::Read(Ok(Vec::new())),
            },
            None => self.input.recv().unwrap_or(Input::Read(Ok(Vec::new()))),
        };
        match input {
            Input::Read(result) => result.map(Some),
            Input::Wake => Ok(None),
        }
    }

    /// Takes what was read: packet by packet, so that each can be shown.
    fn take(&mut self, bytes: &[u8], on: &mut impl FnMut(Event<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
        let now = self.now();
        let mut packets = self.reader.read(bytes);
        let error = loop {
            let event = match packets.next() {
                Ok(None) => return Ok(()),
                Ok(Some(packet)) => {
                    if self.debug {
                        eprintln!("<- {}", words::packet(&packet));
                    }
                    self.connection.handle_packet(now, &packet)
                }
                Err(error) => Err(self.connection.handle_decode_error(now, error)),
            };
            match event {
                Ok(Event::Refused(connack)) => return Err(refused(&connack, self.version)),
                Ok(Event::Disconnect(disconnect)) => {
                    return Err(Failure::Other(format!(
                        "the broker disconnects: {}",
                        words::reason(disconnect.reason)
                    )));
                }
                Ok(event) => on(event)?,
                Err(error) => break error,
            }
        };
        drop(packets);
        self.last_words();
        Err(error.into())
    }

    /// Tells the broker what it did wrong, where the version has words for that.
    fn last_words(&mut self) {
        // that the connection ends is what matters; the reason is known already
        let _ = self.flush();
    }

    /// Sends what waits to be sent.
    ///
    /// # Errors
    /// The socket takes no more.
    pub fn flush(&mut self) -> Result<(), Failure> {
        let now = self.now();
        let mut bytes = Vec::new();
        loop {
            // a buffer of no size takes one packet: so each can be shown
            let mut one = OutBuf::default();
            match self.connection.poll_transmit(now, &mut one) {
                Transmit::Wrote => {}
                // places are a server's
                Transmit::Full | Transmit::Empty | Transmit::Place(_) => break,
            }
            let start = bytes.len();
            while !one.is_empty() {
                let chunk = one.chunk();
                let len = chunk.len();
                bytes.extend_from_slice(chunk);
                one.advance(len);
            }
            let packet = Packet::decode(bytes.get(start..).unwrap_or_default(), self.version, Role::Client);
            if let (true, Ok(packet)) = (self.debug, packet) {
                eprintln!("-> {}", words::packet(&packet));
            }
        }
        self.wire.write_all(&bytes).map_err(|error| lost(&error))
    }
}

/// Reads until the connection ends, or nobody is there any more to take what is read.
fn read(mut wire: Reading, input: &SyncSender<Input>) {
    loop {
        let read = match wire.read() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read,
        };
        let ended = !matches!(&read, Ok(bytes) if !bytes.is_empty());
        if input.send(Input::Read(read)).is_err() || ended {
            return;
        }
    }
}

fn refused(connack: &Connack<'_>, version: Version) -> Failure {
    let code = match version {
        Version::V31 | Version::V311 => connack.reason.to_connack_return_code(),
        Version::V5 => None,
    };
    Failure::Refused { code: code.unwrap_or(connack.reason.0), words: words::reason(connack.reason) }
}

fn lost(error: &io::Error) -> Failure {
    Failure::Other(format!("the connection to the broker is lost: {error}"))
}
