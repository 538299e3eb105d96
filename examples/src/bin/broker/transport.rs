//! What carries a client's bytes: TCP or a unix socket, TLS over it where the listener says so, WebSocket over that.
//!
//! All of them carry an ordered, lossless stream of bytes both ways: v5 [MQTT-4.2.0-1] v4 [MQTT-7.1.1-1]. None ever blocks.

mod socket;
mod tls;
mod websocket;

pub(crate) use socket::Socket;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;
pub(crate) use tls::{Tls, TlsFiles, certificates};
use websocket::WebSocket;

/// How a listener's clients wrap their bytes.
#[derive(Clone)]
pub(crate) struct Wrapping {
    /// Under TLS, with these certificates.
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    /// In WebSocket frames.
    pub(crate) websocket: bool,
}

impl Wrapping {
    /// MQTT as it is.
    pub(crate) const NONE: Self = Self { tls: None, websocket: false };
}

/// A client's stream of bytes.
pub(crate) enum Transport {
    /// As they are.
    Bytes(Channel),
    /// In the frames of a WebSocket.
    WebSocket(Box<WebSocket>),
}

impl Transport {
    /// What a listener makes of a socket. Nothing is read or written yet.
    pub(crate) fn new(socket: Socket, wrapping: &Wrapping) -> io::Result<Self> {
        let channel = match &wrapping.tls {
            None => Channel::Plain(socket),
            Some(config) => Channel::Tls(Box::new(tls::accept(config, socket)?)),
        };
        Ok(if wrapping.websocket { Self::WebSocket(Box::new(WebSocket::new(channel))) } else { Self::Bytes(channel) })
    }

    /// The socket below it all.
    pub(crate) fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Bytes(Channel::Plain(socket)) => socket,
            Self::Bytes(Channel::Tls(tls)) => &mut tls.sock,
            Self::WebSocket(websocket) => websocket.channel().socket(),
        }
    }

    /// Whether a read that does not fill the buffer has emptied the socket: not where records or frames lie between.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Self::Bytes(Channel::Plain(_)))
    }

    /// The name in the client's certificate, once the handshake is over.
    pub(crate) fn certificate_name(&mut self) -> Option<String> {
        match self {
            Self::Bytes(channel) => channel.certificate_name(),
            Self::WebSocket(websocket) => websocket.channel().certificate_name(),
        }
    }

    /// Further bytes of the client; 0 at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bytes(channel) => channel.read(buffer),
            Self::WebSocket(websocket) => websocket.read(buffer),
        }
    }

    /// Takes bytes to the client: how many of them. What TLS and WebSocket made of them may still lie here: [`has_unsent`](Self::has_unsent).
    pub(crate) fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Bytes(channel) => channel.write_vectored(pieces),
            Self::WebSocket(websocket) => websocket.write_vectored(pieces),
        }
    }

    /// Whether bytes lie here that the socket has not taken.
    pub(crate) fn has_unsent(&self) -> bool {
        match self {
            Self::Bytes(channel) => channel.has_unsent(),
            Self::WebSocket(websocket) => websocket.has_unsent(),
        }
    }

    /// Moves on what lies here; `WouldBlock` while the socket takes no more.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Bytes(channel) => channel.flush(),
            Self::WebSocket(websocket) => websocket.flush(),
        }
    }

    /// The client is known: its frames may be as large as the packets it may send.
    pub(crate) fn trust(&mut self, packet_size: usize) {
        if let Self::WebSocket(websocket) = self {
            websocket.trust(packet_size);
        }
    }

    /// Ends our side: a word of goodbye in each layer that has one, then no more bytes.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        // the last words of a layer are a courtesy; who does not take them is closed all the same
        match self {
            Self::Bytes(channel) => channel.finish(),
            Self::WebSocket(websocket) => {
                websocket.finish();
                websocket.channel().finish()
            }
        }
    }
}

/// A socket, or TLS over one.
pub(crate) enum Channel {
    /// The socket itself.
    Plain(Socket),
    /// TLS over it.
    Tls(Box<Tls>),
}

impl Channel {
    fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &mut tls.sock,
        }
    }

    fn certificate_name(&self) -> Option<String> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls::certificate_name(&tls.conn),
        }
    }

    fn has_unsent(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.conn.wants_write(),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        if let Self::Tls(tls) = self {
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
        self.socket().shutdown()
    }
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(tls) => match tls.read(buffer) {
                // it closed without TLS's goodbye, as many clients do; MQTT has its own
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                read => read,
            },
        }
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write_vectored(pieces),
            Self::Tls(tls) => tls.write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }
}
