//! The table of connections: sockets with what the loop has to know of each, by the broker's own index.

use crate::transport::Transport;
use mio::{Registry, Token};
use mqtt_broker_core::{ConnectionId, Instant};
use mqtt_codec::OutBuf;
use std::io::{self, IoSlice};
use std::net::SocketAddr;

/// Pieces of one write. More are seldom there, and the system takes no more than 1,024.
const PIECES: usize = 64;

/// One client's socket.
pub(crate) struct Connection {
    /// What the broker calls it.
    pub(crate) id: ConnectionId,
    /// Where it comes from; a unix socket does not say.
    pub(crate) peer: Option<SocketAddr>,
    /// Which listener took it.
    pub(crate) listener: usize,
    /// What carries its bytes.
    pub(crate) transport: Transport,
    /// Bytes the broker has handed over and the socket has not taken. Seldom any.
    pub(crate) unsent: Option<Box<OutBuf>>,
    /// What is done with it.
    pub(crate) phase: Phase,
    /// Stands in the loop's list of sockets to read.
    pub(crate) to_read: bool,
    /// Stands in the loop's list of sockets to write.
    pub(crate) to_write: bool,
    /// The peer has finished sending: no further event will say so, hence it is read to its end.
    pub(crate) finished: bool,
    /// A proxy stands before it and has not said for whom.
    pub(crate) proxied: bool,
    /// The name in its certificate is its user name, and was not looked at yet.
    pub(crate) unproven: bool,
    /// The name in its certificate is its user name: no password was asked for.
    pub(crate) proven: bool,
    /// The socket took less than it was offered; it will say when it takes more.
    pub(crate) blocked: bool,
    /// The selector was asked to say so.
    writable_watched: bool,
}

/// From open to closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// What comes in goes to the broker.
    Reading,
    /// The broker has enough for now: nothing is read.
    Paused,
    /// The broker is done: nothing is read, the rest is written, at the latest until then.
    Flushing(Instant),
    /// Our side is shut. What still comes is read and thrown away, so that no reset overtakes our last words.
    Draining(Instant),
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The socket took all it was offered.
    All,
    /// The socket is full.
    Blocked,
    /// The connection is broken.
    Failed,
}

impl Connection {
    /// A connection whose socket is watched under `token` for something to read.
    pub(crate) fn new(
        id: ConnectionId,
        peer: Option<SocketAddr>,
        listener: usize,
        mut transport: Transport,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        transport.socket().watch(registry, token)?;
        let (to_read, to_write, finished, blocked, writable_watched) = (false, false, false, false, false);
        Ok(Self {
            id,
            peer,
            listener,
            transport,
            unsent: None,
            phase: Phase::Reading,
            to_read,
            to_write,
            finished,
            proxied: false,
            unproven: false,
            proven: false,
            blocked,
            writable_watched,
        })
    }

    /// One vectored write of what lies in `out`, after what a layer of the transport still had.
    pub(crate) fn write(&mut self, out: &mut OutBuf) -> Sent {
        if self.transport.has_unsent() {
            match self.transport.flush() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Sent::Blocked,
                Err(_) => return Sent::Failed,
            }
        }
        if out.is_empty() {
            return Sent::All;
        }
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let count = out.chunks_vectored(&mut pieces);
        let pieces = pieces.get(..count).unwrap_or_default();
        let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
        match self.transport.write_vectored(pieces) {
            Ok(0) if offered > 0 => Sent::Failed,
            Ok(taken) => {
                out.advance(taken);
                // a layer takes no more than it can hold, and says by what it holds whether the socket is full
                let full = self.transport.has_unsent() || (self.transport.is_plain() && taken < offered);
                if full { Sent::Blocked } else { Sent::All }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Blocked,
            // nothing was taken: the next turn offers it again
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Sent::All,
            Err(_) => Sent::Failed,
        }
    }

    /// Remembers that the socket is full, and asks to be told when it is not. Most sockets never are, and are never watched for it.
    pub(crate) fn wait_until_writable(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.blocked = true;
        if !self.writable_watched {
            self.transport.socket().watch_for_room(registry, token)?;
            self.writable_watched = true;
        }
        Ok(())
    }
}

/// All connections. Index and generation are the broker's: a stale id finds nothing.
#[derive(Default)]
pub(crate) struct Connections {
    places: Vec<Option<Connection>>,
    live: usize,
}

impl Connections {
    /// Takes a connection in.
    pub(crate) fn insert(&mut self, connection: Connection) {
        let index = connection.id.index();
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        if let Some(place) = self.places.get_mut(index) {
            self.live += usize::from(place.is_none());
            *place = Some(connection);
        }
    }

    /// Gives a connection up; dropping it closes the socket.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.places.get_mut(id.index())?.take_if(|connection| connection.id == id)?;
        self.live -= 1;
        Some(connection)
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.places.get(id.index())?.as_ref().filter(|connection| connection.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.places.get_mut(id.index())?.as_mut().filter(|connection| connection.id == id)
    }

    /// By index alone, as the selector names it: an event may be about a connection that lived here before, and then says nothing.
    pub(crate) fn at_mut(&mut self, index: usize) -> Option<&mut Connection> {
        self.places.get_mut(index)?.as_mut()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.live
    }
}
