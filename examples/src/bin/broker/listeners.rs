//! The sockets that take new connections: fairly among each other, and calmly when the system has no more to give.

use crate::Failure;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use mqtt_broker_core::Instant;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tracing::{error, info};

/// How long to wait after the system has refused (no more file descriptors, no memory).
const PAUSE: Duration = Duration::from_millis(500);

/// All listeners; their numbers count from 0 in the order they were opened.
#[derive(Default)]
pub(crate) struct Listeners {
    doors: Vec<Door>,
    /// Which one is asked first.
    next: usize,
    /// When to try again after a refusal.
    retry: Option<Instant>,
}

struct Door {
    socket: TcpListener,
    /// Somebody may be waiting: the selector has said so, and no accept since has found nobody.
    waiting: bool,
}

/// Somebody who came in.
pub(crate) struct Accepted {
    /// The socket, not blocking.
    pub(crate) stream: TcpStream,
    /// Where it comes from.
    pub(crate) peer: SocketAddr,
    /// The number of the listener.
    pub(crate) listener: u32,
}

impl Listeners {
    /// Opens a further listener, watched under `token`; returns the address it really has.
    pub(crate) fn open(
        &mut self,
        address: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> Result<SocketAddr, Failure> {
        let failed = |error| Failure::Runtime(format!("cannot listen on {address}: {error}"));
        let mut socket = TcpListener::bind(address).map_err(failed)?;
        registry.register(&mut socket, token, Interest::READABLE).map_err(failed)?;
        let bound = socket.local_addr().map_err(failed)?;
        self.doors.push(Door { socket, waiting: false });
        Ok(bound)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.doors.len()
    }

    /// The selector says that somebody waits at this listener.
    pub(crate) fn somebody_waits(&mut self, listener: usize) {
        if let Some(door) = self.doors.get_mut(listener) {
            door.waiting = true;
        }
    }

    /// When to call [`accept`](Self::accept) next; `None`: when the selector says so.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.doors.iter().any(|door| door.waiting);
        waiting.then(|| self.retry.unwrap_or(Instant::ZERO))
    }

    /// Takes one waiting connection, of each listener in turn.
    pub(crate) fn accept(&mut self, now: Instant) -> Option<Accepted> {
        if self.retry.is_some_and(|retry| now < retry) {
            return None;
        }
        let count = self.doors.len();
        for number in (0..count).map(|step| (self.next + step) % count) {
            let Some(door) = self.doors.get_mut(number).filter(|door| door.waiting) else {
                continue;
            };
            match door.socket.accept() {
                Ok((stream, peer)) => {
                    self.next = number + 1;
                    if self.retry.take().is_some() {
                        info!("taking connections again");
                    }
                    return Some(Accepted { stream, peer, listener: u32::try_from(number).unwrap_or(u32::MAX) });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => door.waiting = false,
                // it went before it was let in: the next turn asks again
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => {
                    if self.retry.replace(now + PAUSE).is_none() {
                        error!("cannot take connections: {error}; trying again every {PAUSE:?}");
                    }
                    return None;
                }
            }
        }
        None
    }

    /// Closes them all: nobody comes in any more.
    pub(crate) fn close(&mut self) {
        self.doors.clear();
    }
}
