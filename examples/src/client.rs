//! A client on a blocking socket: moves bytes between [`Connection`] and [`TcpStream`] and keeps the time for it.
use crate::words;
use mqtt_codec::{Connack, Connect, OutBuf, Packet, Reader, ReasonCode, Role, Version};
use mqtt_session::{Connection, Event, Instant, ProtocolError, Session, Transmit};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long to wait for a connection, for a socket that takes no bytes, and for the end after a goodbye.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client and its socket.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    reader: Reader,
    stream: TcpStream,
    version: Version,
    /// The moment that [`Instant::ZERO`] stands for.
    zero: std::time::Instant,
    /// Whether packets are printed.
    debug: bool,
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
    pub fn open(host: &str, port: u16, connect: &Connect<'_>, debug: bool) -> Result<Self, Failure> {
        let zero = std::time::Instant::now();
        // this process knows nothing of a session that an earlier one may have left with the broker
        let session = if connect.clean_start { Session::new() } else { Session::resumable() };
        let connection = Connection::client(Instant::ZERO, connect, session).map_err(|error| {
            Failure::Other(format!("CONNECT cannot be sent at {}: {error}", words::version(connect.version)))
        })?;
        let stream =
            open(host, port).map_err(|error| Failure::Other(format!("cannot connect to {host}:{port}: {error}")))?;
        let reader = connection.reader();
        Ok(Self { connection, reader, stream, version: connect.version, zero, debug })
    }

    /// The state machine, for commands; the next [`turn`](Self::turn) sends what they queue.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// The time, as [`Connection`] counts it.
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.zero.elapsed()
    }

    /// A second handle to the socket, by which another thread can end a wait: shut down its reading half.
    ///
    /// # Errors
    /// As the system has it.
    pub fn socket(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// Sends what waits to be sent, then reads once and hands each event to `on`; returns by `until` at the latest.
    ///
    /// # Errors
    /// What ends the connection, and what `on` says.
    pub fn turn(
        &mut self,
        until: Option<Instant>,
        mut on: impl FnMut(Event<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.flush()?;
        let mut bytes = [0; 16 << 10];
        match self.read(until, &mut bytes) {
            Ok(0) => return Err(Failure::Other("the broker has closed the connection".into())),
            Ok(count) => self.take(bytes.get(..count).unwrap_or_default(), &mut on)?,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
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
    pub fn disconnect(mut self) -> Result<(), Failure> {
        let now = self.now();
        self.connection.disconnect(now, ReasonCode::SUCCESS, &[]);
        self.flush()?;
        let end = self.now() + PATIENCE;
        let _ = self.stream.shutdown(Shutdown::Write);
        let mut bytes = [0; 4096];
        while self.now() < end && matches!(self.read(Some(end), &mut bytes), Ok(1..)) {}
        Ok(())
    }

    /// Reads, until the connection or the caller has something else to do.
    fn read(&self, until: Option<Instant>, bytes: &mut [u8]) -> io::Result<usize> {
        let now = self.now();
        let wake = self.connection.poll_timeout().into_iter().chain(until).min();
        // a timeout of zero would mean none
        let patience = wake.map(|wake| wake.since(now).max(Duration::from_millis(1)));
        self.stream.set_read_timeout(patience)?;
        (&self.stream).read(bytes)
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
        self.stream.write_all(&bytes).map_err(|error| lost(&error))
    }
}

fn open(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = ErrorKind::NotFound.into();
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
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
