//! Errors by whose fault: [`ProtocolError`] is the peer's, the others are ours and change nothing.
use mqtt_codec::{DecodeError, ReasonCode};
use thiserror::Error;

/// The peer broke a rule; the goodbye is queued: flush, then close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{kind} (reason code {:?})", self.reason_code())]
pub struct ProtocolError {
    /// What it did.
    pub kind: ProtocolErrorKind,
}

/// What the peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolErrorKind {
    /// Its bytes are no packet it may send.
    #[error(transparent)]
    Decode(DecodeError),
    /// Silence for one and a half keep-alive periods (server), or no PINGRESP (client).
    #[error("the peer was silent for longer than the keep alive allows")]
    KeepAlive,
    /// No CONNECT, or no CONNACK, in time.
    #[error("no CONNECT or CONNACK in time")]
    ConnectTimeout,
    /// A rule, by its statement, and the reason code that answers it.
    #[error("the peer broke {0}")]
    Rule(&'static str, ReasonCode),
}

/// A rule that was broken, and the reason code that answers it.
pub(crate) type Broken = (&'static str, ReasonCode);

impl ProtocolError {
    /// The reason code that answers it.
    pub fn reason_code(&self) -> ReasonCode {
        match self.kind {
            ProtocolErrorKind::Decode(error) => error.reason,
            ProtocolErrorKind::KeepAlive => ReasonCode::KEEP_ALIVE_TIMEOUT,
            ProtocolErrorKind::ConnectTimeout => ReasonCode::UNSPECIFIED_ERROR,
            ProtocolErrorKind::Rule(_, reason) => reason,
        }
    }
}

/// A publication was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The queue is at its limit.
    #[error("the queue is at its limit")]
    Full,
    /// Over the peer's Maximum Packet Size, or over what a packet can hold.
    #[error("the message is larger than the peer takes or a packet can hold")]
    TooLarge,
    /// The server does not offer this QoS or retain (5.0).
    #[error("the server does not serve this QoS or retain")]
    NotSupported,
    /// After DISCONNECT, or the connection has failed.
    #[error("the connection is over")]
    NotConnected,
}

/// A SUBSCRIBE or UNSUBSCRIBE was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Too many unfinished requests and messages.
    #[error("too many requests and messages are unfinished")]
    Full,
    /// Over the peer's Maximum Packet Size.
    #[error("the request is larger than the peer takes")]
    TooLarge,
    /// No filter, or one that this version or server does not have.
    #[error("no filter, or something this version or server does not have")]
    Invalid,
    /// Not connected.
    #[error("not connected")]
    NotConnected,
}

/// An AUTH was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthError {
    /// CONNECT had no Authentication Method, it is the peer's turn, or the connection is not where this step belongs.
    #[error("no such step of authentication is due")]
    NotExpected,
    /// Data over 65,535 bytes, or a property that AUTH does not have.
    #[error("the data is too long, or a property is none of AUTH's")]
    Invalid,
    /// Over the peer's Maximum Packet Size.
    #[error("the packet is larger than the peer takes")]
    TooLarge,
}

/// A topic alias was not taken: it is 0, or over what the server takes, or the connection is not up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the server takes no such topic alias, or the connection is not up")]
pub struct AliasError;

/// A session's queue is at its limit; the delivery comes back.
#[derive(Clone, Debug, Error)]
#[error("the queue of the session is at its limit")]
pub struct QueueFull(pub crate::Delivery);
