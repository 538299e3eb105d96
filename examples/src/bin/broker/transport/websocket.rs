//! MQTT in WebSocket frames: section 6 of the standard.

use super::Channel;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::http::HeaderValue;
use tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Bytes, Error, Message};

/// The largest upgrade request, in bytes.
const REQUEST: usize = 16 << 10;
/// The largest frame of a client that is not known yet: more than a CONNECT needs.
const FIRST_FRAME: usize = 64 << 10;
/// The largest frame of ours.
const LARGEST: usize = 64 << 10;
/// What is read from the channel at a time, and held for it.
const READ: usize = 4 << 10;
/// The names of MQTT among WebSocket subprotocols, the first of 3.1.1 and 5.0, the second of 3.1.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// A WebSocket that carries MQTT.
pub(crate) struct WebSocket {
    channel: Channel,
    phase: Phase,
    /// What came in a frame and was not asked for yet.
    pending: Bytes,
    /// The channel has not taken all that was written.
    unsent: bool,
}

enum Phase {
    /// What has come of the request to change from HTTP.
    Upgrade(Vec<u8>),
    /// Frames.
    Open(Box<WebSocketContext>),
}

impl WebSocket {
    /// The server's end, before the upgrade.
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel, phase: Phase::Upgrade(Vec::new()), pending: Bytes::new(), unsent: false }
    }

    pub(super) fn channel(&mut self) -> &mut Channel {
        &mut self.channel
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.unsent || self.channel.has_unsent()
    }

    pub(super) fn trust(&mut self, packet_size: usize) {
        if let Phase::Open(context) = &mut self.phase {
            let size = Some(packet_size.max(FIRST_FRAME));
            context.set_config(|config| (config.max_frame_size, config.max_message_size) = (size, size));
        }
    }

    /// Bytes of MQTT. v5 [MQTT-6.0.0-2] v4 [MQTT-6.0.0-2]: packets lie in frames as they like, several in one or one in several.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.pending.is_empty() {
            let context = match &mut self.phase {
                Phase::Open(context) => context,
                Phase::Upgrade(received) => {
                    if read_request(&mut self.channel, received)? == 0 {
                        return Ok(0);
                    }
                    self.upgrade()?;
                    continue;
                }
            };
            self.pending = match context.read(&mut self.channel) {
                Ok(Message::Binary(bytes)) => bytes,
                // v5 [MQTT-6.0.0-1] v4 [MQTT-6.0.0-1]: only binary frames carry MQTT; any other closes the connection.
                Ok(Message::Text(_)) => return Err(self.refuse(CloseCode::Unsupported, "not a binary frame")),
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(0),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                // it went without the closing frame: MQTT has its own goodbye
                Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return Ok(0),
                Err(Error::Io(error)) => return Err(error),
                Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => {
                    return Err(self.refuse(CloseCode::Size, "too large a frame"));
                }
                Err(error) => return Err(self.refuse(CloseCode::Protocol, &error.to_string())),
            };
        }
        let length = self.pending.len().min(buffer.len());
        let taken = self.pending.split_to(length);
        if let Some(room) = buffer.get_mut(..length) {
            room.copy_from_slice(&taken);
        }
        Ok(length)
    }

    /// Answers the upgrade request, once it is whole.
    fn upgrade(&mut self) -> io::Result<()> {
        let Phase::Upgrade(received) = &mut self.phase else { return Ok(()) };
        let (length, request) = match Request::try_parse(received) {
            Ok(Some(parsed)) => parsed,
            Ok(None) if received.len() < REQUEST => return Ok(()),
            Ok(None) => return Err(self.answer_no("431 Request Header Fields Too Large", "too long a request")),
            Err(error) => return Err(self.answer_no("400 Bad Request", &error.to_string())),
        };
        let tail = received.split_off(length.min(received.len()));
        let (mut response, chosen) = match (create_response(&request), subprotocol(&request)) {
            (Ok(response), Some(chosen)) => (response, chosen),
            (Ok(_), None) => return Err(self.answer_no("400 Bad Request", "no subprotocol `mqtt`")),
            (Err(error), _) => {
                return Err(self.answer_no("426 Upgrade Required\r\nUpgrade: websocket", &error.to_string()));
            }
        };
        // v5 [MQTT-6.0.0-4] v4 [MQTT-6.0.0-4]: the server answers with the name it has chosen.
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen));
        let mut answer = Vec::new();
        write_response(&mut answer, &response).map_err(io::Error::other)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            .max_write_buffer_size(2 * LARGEST)
            .max_message_size(Some(FIRST_FRAME))
            .max_frame_size(Some(FIRST_FRAME));
        self.phase = Phase::Open(Box::new(WebSocketContext::from_partially_read(tail, Role::Server, Some(config))));
        self.say(&answer)
    }

    /// Refuses the upgrade in the words of HTTP.
    fn answer_no(&mut self, status: &str, why: &str) -> io::Error {
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain\r\n");
        let _ = self.say(format!("{head}Content-Length: {}\r\n\r\n{why}\n", why.len() + 1).as_bytes());
        io::Error::new(ErrorKind::InvalidData, format!("WebSocket: {why}"))
    }

    /// Ends an open WebSocket.
    fn refuse(&mut self, code: CloseCode, why: &str) -> io::Error {
        if let Phase::Open(context) = &mut self.phase {
            let _ = context.close(&mut self.channel, Some(CloseFrame { code, reason: why.into() }));
        }
        io::Error::new(ErrorKind::InvalidData, format!("WebSocket: {why}"))
    }

    /// A few bytes before there are frames: nothing was ever written to this channel, so there is room for them.
    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.channel.write_all(bytes)?;
        match self.channel.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            flushed => flushed,
        }
    }

    /// One frame of what is offered.
    pub(super) fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.unsent {
            self.flush()?;
        }
        let Phase::Open(context) = &mut self.phase else { return Err(ErrorKind::WouldBlock.into()) };
        let mut frame = Vec::with_capacity(pieces.iter().map(|piece| piece.len()).sum::<usize>().min(LARGEST));
        for piece in pieces {
            let room = LARGEST - frame.len();
            frame.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
        let length = frame.len();
        let written = context.write(&mut self.channel, Message::Binary(frame.into()));
        self.note(written)?;
        match self.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(length),
            flushed => flushed.map(|()| length),
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        let flushed = match &mut self.phase {
            Phase::Upgrade(_) => return self.channel.flush(),
            Phase::Open(context) => context.flush(&mut self.channel),
        };
        self.note(flushed)?;
        if self.unsent { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }

    /// Keeps what a write left behind. That a frame waits for room is no failure: it was taken.
    fn note(&mut self, written: tungstenite::Result<()>) -> io::Result<()> {
        self.unsent = false;
        match written {
            Ok(()) => Ok(()),
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                self.unsent = true;
                Ok(())
            }
            Err(Error::Io(error)) => Err(error),
            Err(error) => Err(io::Error::new(ErrorKind::BrokenPipe, error.to_string())),
        }
    }

    pub(super) fn finish(&mut self) {
        if let Phase::Open(context) = &mut self.phase {
            let _ = context.close(&mut self.channel, Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }));
        }
    }
}

/// Further bytes of the request; 0 at the end.
fn read_request(channel: &mut Channel, received: &mut Vec<u8>) -> io::Result<usize> {
    let mut chunk = [0; 1024];
    let length = channel.read(&mut chunk)?;
    received.extend_from_slice(chunk.get(..length).unwrap_or_default());
    Ok(length)
}

/// The first of the client's subprotocols that is MQTT. v5 [MQTT-6.0.0-3] v4 [MQTT-6.0.0-3]: it must name one.
fn subprotocol(request: &Request) -> Option<&'static str> {
    let offers = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let mut names = offers.iter().filter_map(|offer| offer.to_str().ok()).flat_map(|offer| offer.split(','));
    names.find_map(|name| SUBPROTOCOLS.into_iter().find(|known| *known == name.trim()))
}
