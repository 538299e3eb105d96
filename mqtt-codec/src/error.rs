//! What can be wrong with bytes from a peer, and with packets of our own.
use crate::ReasonCode;
use crate::rules::Rule;
use core::fmt;

/// The peer's bytes are not a packet it may send.
///
/// The connection cannot go on: v5 section 4.13, v4 section 4.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeError {
    /// What was wrong.
    pub kind: DecodeErrorKind,
    /// Where, in bytes from the start of the packet.
    pub offset: usize,
    /// The statement it breaks, such as `v5 [MQTT-2.1.3-1]`, or the section where the standard does not number the rule (of a limit:
    /// the section that lets a receiver have it).
    ///
    /// 3.1 numbers none: its packets are judged by the statements of 3.1.1.
    pub statement: &'static str,
    /// The reason code that answers it.
    pub reason: ReasonCode,
    /// The same fault in words.
    pub(crate) what: &'static str,
}

/// The kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// Cannot be parsed as specified.
    Malformed,
    /// Parses, and is not allowed.
    ProtocolError,
    /// Larger than the limit; judged from the header alone.
    TooLarge,
    /// More of something than a limit of the [`Profile`](crate::Profile) allows.
    LimitExceeded,
    /// The first packet is not a CONNECT, or its protocol name is none of ours: close without an answer.
    NotMqtt,
    /// A CONNECT of a level that is not served; the level is inside, so that the right CONNACK can be sent.
    UnsupportedLevel(u8),
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("malformed packet"),
            Self::ProtocolError => f.write_str("protocol error"),
            Self::TooLarge => f.write_str("packet too large"),
            Self::LimitExceeded => f.write_str("limit exceeded"),
            Self::NotMqtt => f.write_str("not MQTT"),
            Self::UnsupportedLevel(level) => write!(f, "unsupported protocol level {level}"),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, offset, statement, reason, what } = self;
        write!(f, "{kind}: {what} (byte {offset}, {statement}, reason code {reason:?})")
    }
}

impl core::error::Error for DecodeError {}

/// Where decoding stopped: the rule that is broken, and how many bytes of the frame were left. Two words, so that the hot path stays light.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) rule: &'static Rule,
    pub(crate) left: usize,
}

impl Fault {
    /// The same fault under a better name, if it is that the bytes ran out.
    #[cold]
    pub(crate) fn or_missing(self, rule: &'static Rule) -> Self {
        if core::ptr::eq(self.rule, &raw const crate::rules::LENGTH_SHORT) { Self { rule, ..self } } else { self }
    }

    /// The public error of a fault in `frame`.
    #[cold]
    pub(crate) fn in_frame(self, frame: &[u8], version: crate::Version) -> DecodeError {
        let offset = frame.len().saturating_sub(self.left);
        let mut error = self.rule.error(offset, version);
        if let DecodeErrorKind::UnsupportedLevel(level) = &mut error.kind {
            *level = frame.get(offset).copied().unwrap_or_default();
        }
        error
    }
}

/// A packet that was built cannot be sent in this version. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary field is over 65,535 bytes.
    #[error("a string or binary field is over 65,535 bytes")]
    StringTooLong,
    /// The packet is over 268,435,455 bytes, not counting its fixed header.
    #[error("the packet is over 268,435,455 bytes")]
    PacketTooLarge,
    /// The reason code is not one of this packet's.
    #[error("reason code {0:?} is not one of this packet's")]
    ReasonCode(ReasonCode),
    /// A property is not one of this packet's, is there twice, has a value that is not allowed, or one that must be there is missing.
    #[error("a property is not allowed in this packet, repeated, out of range or missing")]
    Property,
    /// Fields contradict each other or the version (QoS 0 with an identifier, no filter, password without user name at level 4, AUTH before 5.0 ...).
    #[error("fields contradict each other or the protocol version")]
    Invalid,
    /// The buffer is of a fixed size, and the packet does not fit into what is left of it.
    #[error("the packet does not fit into the buffer")]
    NoRoom,
}
