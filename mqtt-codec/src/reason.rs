//! Reason codes (section 2.4): one open set for all packets and versions, and the one table of which packets each is for.
use crate::packet::kind::*;

/// What happened. Below 0x80 success, from 0x80 failure.
///
/// Levels 3 and 4 know fewer codes; the codec maps CONNACK return codes (section 3.2.2.3 of 3.1.1) and SUBACK codes to and from these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReasonCode(pub u8);

#[rustfmt::skip]
#[allow(missing_docs)]
impl ReasonCode {
    pub const SUCCESS: Self = Self(0x00);
    pub const GRANTED_QOS_1: Self = Self(0x01);
    pub const GRANTED_QOS_2: Self = Self(0x02);
    pub const DISCONNECT_WITH_WILL: Self = Self(0x04);
    pub const NO_MATCHING_SUBSCRIBERS: Self = Self(0x10);
    pub const NO_SUBSCRIPTION_EXISTED: Self = Self(0x11);
    pub const CONTINUE_AUTHENTICATION: Self = Self(0x18);
    pub const REAUTHENTICATE: Self = Self(0x19);
    pub const UNSPECIFIED_ERROR: Self = Self(0x80);
    pub const MALFORMED_PACKET: Self = Self(0x81);
    pub const PROTOCOL_ERROR: Self = Self(0x82);
    pub const IMPLEMENTATION_SPECIFIC_ERROR: Self = Self(0x83);
    pub const UNSUPPORTED_PROTOCOL_VERSION: Self = Self(0x84);
    pub const CLIENT_IDENTIFIER_NOT_VALID: Self = Self(0x85);
    pub const BAD_USER_NAME_OR_PASSWORD: Self = Self(0x86);
    pub const NOT_AUTHORIZED: Self = Self(0x87);
    pub const SERVER_UNAVAILABLE: Self = Self(0x88);
    pub const SERVER_BUSY: Self = Self(0x89);
    pub const BANNED: Self = Self(0x8A);
    pub const SERVER_SHUTTING_DOWN: Self = Self(0x8B);
    pub const BAD_AUTHENTICATION_METHOD: Self = Self(0x8C);
    pub const KEEP_ALIVE_TIMEOUT: Self = Self(0x8D);
    pub const SESSION_TAKEN_OVER: Self = Self(0x8E);
    pub const TOPIC_FILTER_INVALID: Self = Self(0x8F);
    pub const TOPIC_NAME_INVALID: Self = Self(0x90);
    pub const PACKET_IDENTIFIER_IN_USE: Self = Self(0x91);
    pub const PACKET_IDENTIFIER_NOT_FOUND: Self = Self(0x92);
    pub const RECEIVE_MAXIMUM_EXCEEDED: Self = Self(0x93);
    pub const TOPIC_ALIAS_INVALID: Self = Self(0x94);
    pub const PACKET_TOO_LARGE: Self = Self(0x95);
    pub const MESSAGE_RATE_TOO_HIGH: Self = Self(0x96);
    pub const QUOTA_EXCEEDED: Self = Self(0x97);
    pub const ADMINISTRATIVE_ACTION: Self = Self(0x98);
    pub const PAYLOAD_FORMAT_INVALID: Self = Self(0x99);
    pub const RETAIN_NOT_SUPPORTED: Self = Self(0x9A);
    pub const QOS_NOT_SUPPORTED: Self = Self(0x9B);
    pub const USE_ANOTHER_SERVER: Self = Self(0x9C);
    pub const SERVER_MOVED: Self = Self(0x9D);
    pub const SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: Self = Self(0x9E);
    pub const CONNECTION_RATE_EXCEEDED: Self = Self(0x9F);
    pub const MAXIMUM_CONNECT_TIME: Self = Self(0xA0);
    pub const SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: Self = Self(0xA1);
    pub const WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: Self = Self(0xA2);
}

impl ReasonCode {
    /// Whether it tells of a failure.
    pub const fn is_error(self) -> bool {
        self.0 >= 0x80
    }
    /// The return code that levels 3 and 4 put in CONNACK for it; `None` where none fits (v4 [MQTT-3.2.2-6]: close without CONNACK).
    pub const fn to_connack_return_code(self) -> Option<u8> {
        match self {
            Self::SUCCESS => Some(0),
            Self::UNSUPPORTED_PROTOCOL_VERSION => Some(1),
            Self::CLIENT_IDENTIFIER_NOT_VALID => Some(2),
            Self::SERVER_UNAVAILABLE | Self::SERVER_BUSY | Self::QUOTA_EXCEEDED | Self::CONNECTION_RATE_EXCEEDED => {
                Some(3)
            }
            Self::BAD_USER_NAME_OR_PASSWORD => Some(4),
            Self::NOT_AUTHORIZED | Self::BANNED | Self::BAD_AUTHENTICATION_METHOD => Some(5),
            _ => None,
        }
    }
    /// The reason code that stands for the return code of a CONNACK at levels 3 and 4; the reserved ones (from 6) are unspecified errors.
    pub const fn from_connack_return_code(code: u8) -> Self {
        match code {
            0 => Self::SUCCESS,
            1 => Self::UNSUPPORTED_PROTOCOL_VERSION,
            2 => Self::CLIENT_IDENTIFIER_NOT_VALID,
            3 => Self::SERVER_UNAVAILABLE,
            4 => Self::BAD_USER_NAME_OR_PASSWORD,
            5 => Self::NOT_AUTHORIZED,
            _ => Self::UNSPECIFIED_ERROR,
        }
    }
    /// Whether it is one of the reason codes of `packets` at level 5.
    #[inline]
    pub(crate) fn is_of(self, packets: Kinds) -> bool {
        PACKETS_OF.get(usize::from(self.0)).is_some_and(|&of| of & packets != 0)
    }
}

impl core::fmt::Debug for ReasonCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "0x{:02X}", self.0)
    }
}

/// PUBACK and PUBREC know the same codes.
const PUB_ACKED: Kinds = PUBACK | PUBREC;
/// PUBREL and PUBCOMP know the same codes.
const PUB_RELEASED: Kinds = PUBREL | PUBCOMP;

/// Which code belongs to which packets (table 2-6, and the table of each packet where they differ: 0x8C is not in that of DISCONNECT).
#[rustfmt::skip]
const CODES: [(ReasonCode, Kinds); 43] = [
    (ReasonCode::SUCCESS, CONNACK | PUB_ACKED | PUB_RELEASED | SUBACK | UNSUBACK | DISCONNECT | AUTH),
    (ReasonCode::GRANTED_QOS_1, SUBACK),
    (ReasonCode::GRANTED_QOS_2, SUBACK),
    (ReasonCode::DISCONNECT_WITH_WILL, DISCONNECT),
    (ReasonCode::NO_MATCHING_SUBSCRIBERS, PUB_ACKED),
    (ReasonCode::NO_SUBSCRIPTION_EXISTED, UNSUBACK),
    (ReasonCode::CONTINUE_AUTHENTICATION, AUTH),
    (ReasonCode::REAUTHENTICATE, AUTH),
    (ReasonCode::UNSPECIFIED_ERROR, CONNACK | PUB_ACKED | SUBACK | UNSUBACK | DISCONNECT),
    (ReasonCode::MALFORMED_PACKET, CONNACK | DISCONNECT),
    (ReasonCode::PROTOCOL_ERROR, CONNACK | DISCONNECT),
    (ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR, CONNACK | PUB_ACKED | SUBACK | UNSUBACK | DISCONNECT),
    (ReasonCode::UNSUPPORTED_PROTOCOL_VERSION, CONNACK),
    (ReasonCode::CLIENT_IDENTIFIER_NOT_VALID, CONNACK),
    (ReasonCode::BAD_USER_NAME_OR_PASSWORD, CONNACK),
    (ReasonCode::NOT_AUTHORIZED, CONNACK | PUB_ACKED | SUBACK | UNSUBACK | DISCONNECT),
    (ReasonCode::SERVER_UNAVAILABLE, CONNACK),
    (ReasonCode::SERVER_BUSY, CONNACK | DISCONNECT),
    (ReasonCode::BANNED, CONNACK),
    (ReasonCode::SERVER_SHUTTING_DOWN, DISCONNECT),
    (ReasonCode::BAD_AUTHENTICATION_METHOD, CONNACK),
    (ReasonCode::KEEP_ALIVE_TIMEOUT, DISCONNECT),
    (ReasonCode::SESSION_TAKEN_OVER, DISCONNECT),
    (ReasonCode::TOPIC_FILTER_INVALID, SUBACK | UNSUBACK | DISCONNECT),
    (ReasonCode::TOPIC_NAME_INVALID, CONNACK | PUB_ACKED | DISCONNECT),
    (ReasonCode::PACKET_IDENTIFIER_IN_USE, PUB_ACKED | SUBACK | UNSUBACK),
    (ReasonCode::PACKET_IDENTIFIER_NOT_FOUND, PUB_RELEASED),
    (ReasonCode::RECEIVE_MAXIMUM_EXCEEDED, DISCONNECT),
    (ReasonCode::TOPIC_ALIAS_INVALID, DISCONNECT),
    (ReasonCode::PACKET_TOO_LARGE, CONNACK | DISCONNECT),
    (ReasonCode::MESSAGE_RATE_TOO_HIGH, DISCONNECT),
    (ReasonCode::QUOTA_EXCEEDED, CONNACK | PUB_ACKED | SUBACK | DISCONNECT),
    (ReasonCode::ADMINISTRATIVE_ACTION, DISCONNECT),
    (ReasonCode::PAYLOAD_FORMAT_INVALID, CONNACK | PUB_ACKED | DISCONNECT),
    (ReasonCode::RETAIN_NOT_SUPPORTED, CONNACK | DISCONNECT),
    (ReasonCode::QOS_NOT_SUPPORTED, CONNACK | DISCONNECT),
    (ReasonCode::USE_ANOTHER_SERVER, CONNACK | DISCONNECT),
    (ReasonCode::SERVER_MOVED, CONNACK | DISCONNECT),
    (ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED, SUBACK | DISCONNECT),
    (ReasonCode::CONNECTION_RATE_EXCEEDED, CONNACK | DISCONNECT),
    (ReasonCode::MAXIMUM_CONNECT_TIME, DISCONNECT),
    (ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, SUBACK | DISCONNECT),
    (ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED, SUBACK | DISCONNECT),
];

/// The table by code.
static PACKETS_OF: [Kinds; 256] = by_code();

#[expect(clippy::indexing_slicing, reason = "runs at compile time, where it cannot panic unseen")]
const fn by_code() -> [Kinds; 256] {
    let mut packets = [0; 256];
    let mut i = 0;
    while i < CODES.len() {
        packets[CODES[i].0.0 as usize] = CODES[i].1;
        i += 1;
    }
    packets
}
