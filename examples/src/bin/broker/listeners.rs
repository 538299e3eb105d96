//! The sockets that take new connections: fairly among each other, and calmly when the system has no more to give.

use crate::Failure;
use crate::config::{Address, Listener};
use crate::transport::{Socket, TlsFiles, Wrapping};
use mio::net::TcpListener;
#[cfg(unix)]
use mio::net::UnixListener;
use mio::{Interest, Registry, Token};
use mqtt_broker_core::Instant;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::{Path, PathBuf};
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
    /// Refusals of the system's.
    failures: u64,
}

struct Door {
    socket: Knocker,
    address: Address,
    wrapping: Wrapping,
    /// Where its certificates come from.
    tls_files: Option<TlsFiles>,
    /// Its clients come through a proxy that says so.
    proxied: bool,
    /// Somebody may be waiting: the selector has said so, and no accept since has found nobody.
    waiting: bool,
}

/// A socket that takes connections.
enum Knocker {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix {
        socket: UnixListener,
        _file: RemovedOnDrop,
    },
}

/// The file of a unix socket, which goes with it.
#[cfg(unix)]
struct RemovedOnDrop(PathBuf);

#[cfg(unix)]
impl Drop for RemovedOnDrop {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Knocker {
    fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => TcpListener::bind(*address).map(Self::Tcp),
            #[cfg(unix)]
            Address::Unix(path) => {
                remove_stale(path)?;
                Ok(Self::Unix { socket: UnixListener::bind(path)?, _file: RemovedOnDrop(path.clone()) })
            }
            #[cfg(not(unix))]
            Address::Unix(_) => Err(ErrorKind::Unsupported.into()),
        }
    }

    fn watch(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => registry.register(socket, token, Interest::READABLE),
            #[cfg(unix)]
            Self::Unix { socket, .. } => registry.register(socket, token, Interest::READABLE),
        }
    }

    fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(socket) => socket.accept().map(|(stream, peer)| (Socket::Tcp(stream), Some(peer))),
            #[cfg(unix)]
            Self::Unix { socket, .. } => socket.accept().map(|(stream, _)| (Socket::Unix(stream), None)),
        }
    }
}

/// Removes the file of a socket that nobody listens on any more, as a broker that was killed leaves behind.
#[cfg(unix)]
fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(refused) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// Somebody who came in.
pub(crate) struct Accepted {
    /// The socket, not blocking.
    pub(crate) socket: Socket,
    /// Where it comes from; a unix socket does not say.
    pub(crate) peer: Option<SocketAddr>,
    /// The number of the listener.
    pub(crate) listener: usize,
}

impl Listeners {
    /// Opens a further listener, watched under `token`; returns the address it really has.
    pub(crate) fn open(&mut self, listener: &Listener, registry: &Registry, token: Token) -> Result<Address, Failure> {
        let failed = |error| Failure::Runtime(format!("cannot listen on {}: {error}", listener.address));
        let tls = listener.tls.as_ref().map(TlsFiles::load).transpose()?;
        let mut socket = Knocker::bind(&listener.address).map_err(failed)?;
        socket.watch(registry, token).map_err(failed)?;
        let address = match &socket {
            Knocker::Tcp(socket) => Address::Tcp(socket.local_addr().map_err(failed)?),
            #[cfg(unix)]
            Knocker::Unix { .. } => listener.address.clone(),
        };
        self.doors.push(Door {
            socket,
            address: address.clone(),
            wrapping: Wrapping { tls, websocket: listener.websocket },
            tls_files: listener.tls.clone(),
            proxied: listener.proxy_protocol,
            waiting: false,
        });
        Ok(address)
    }

    /// How the clients of a listener wrap their bytes.
    pub(crate) fn wrapping(&self, listener: usize) -> &Wrapping {
        self.doors.get(listener).map_or(&Wrapping::NONE, |door| &door.wrapping)
    }

    /// Whether the clients of a listener come through a proxy that says so.
    pub(crate) fn is_proxied(&self, listener: usize) -> bool {
        self.doors.get(listener).is_some_and(|door| door.proxied)
    }

    /// Whether a name in a client's certificate is its user name.
    pub(crate) fn takes_certificate_names(&self, listener: usize) -> bool {
        let files = self.doors.get(listener).and_then(|door| door.tls_files.as_ref());
        files.is_some_and(|files| files.user_name_from_certificate)
    }

    /// Reads certificates and keys again, for connections to come; what cannot be read leaves all as it was.
    pub(crate) fn reload(&mut self) {
        for door in &mut self.doors {
            match door.tls_files.as_ref().map(TlsFiles::load) {
                None => {}
                Some(Ok(config)) => {
                    info!("{}: certificate and key were read again", door.address);
                    door.wrapping.tls = Some(config);
                }
                Some(Err(failure)) => error!("{}: certificate and key stay as they were: {failure}", door.address),
            }
        }
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
                Ok((socket, peer)) => {
                    self.next = number + 1;
                    if self.retry.take().is_some() {
                        info!("taking connections again");
                    }
                    return Some(Accepted { socket, peer, listener: number });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => door.waiting = false,
                // it went before it was let in: the next turn asks again
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => {
                    self.failures += 1;
                    if self.retry.replace(now + PAUSE).is_none() {
                        error!("cannot take connections: {error}; trying again every {PAUSE:?}");
                    }
                    return None;
                }
            }
        }
        None
    }

    /// How often the system had no further connection to give.
    pub(crate) fn failures(&self) -> u64 {
        self.failures
    }

    /// Closes them all: nobody comes in any more.
    pub(crate) fn close(&mut self) {
        self.doors.clear();
    }
}
