//! What things are called, for people: versions, roles, properties and reason codes as the standards name them.
use crate::property::Value;
use crate::{PacketId, Property, PropertyId, Qos, ReasonCode, Role, Version};
use core::fmt::{self, Debug, Display, Formatter, Write};

impl Display for Version {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V31 => "3.1",
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}

impl Display for Role {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// Its number.
impl Display for Qos {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&(*self as u8), f)
    }
}

impl Display for PacketId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.get(), f)
    }
}

/// The number and, if it is one of the standard's, the name: `0x87 Not authorized`.
impl Display for ReasonCode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{self:?} {name}"),
            None => write!(f, "{self:?}"),
        }
    }
}

impl ReasonCode {
    /// What the standard calls it (section 2.4; 0x00 has other names in DISCONNECT and SUBACK).
    #[rustfmt::skip]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::SUCCESS => "Success",
            Self::GRANTED_QOS_1 => "Granted QoS 1",
            Self::GRANTED_QOS_2 => "Granted QoS 2",
            Self::DISCONNECT_WITH_WILL => "Disconnect with Will Message",
            Self::NO_MATCHING_SUBSCRIBERS => "No matching subscribers",
            Self::NO_SUBSCRIPTION_EXISTED => "No subscription existed",
            Self::CONTINUE_AUTHENTICATION => "Continue authentication",
            Self::REAUTHENTICATE => "Re-authenticate",
            Self::UNSPECIFIED_ERROR => "Unspecified error",
            Self::MALFORMED_PACKET => "Malformed Packet",
            Self::PROTOCOL_ERROR => "Protocol Error",
            Self::IMPLEMENTATION_SPECIFIC_ERROR => "Implementation specific error",
            Self::UNSUPPORTED_PROTOCOL_VERSION => "Unsupported Protocol Version",
            Self::CLIENT_IDENTIFIER_NOT_VALID => "Client Identifier not valid",
            Self::BAD_USER_NAME_OR_PASSWORD => "Bad User Name or Password",
            Self::NOT_AUTHORIZED => "Not authorized",
            Self::SERVER_UNAVAILABLE => "Server unavailable",
            Self::SERVER_BUSY => "Server busy",
            Self::BANNED => "Banned",
            Self::SERVER_SHUTTING_DOWN => "Server shutting down",
            Self::BAD_AUTHENTICATION_METHOD => "Bad authentication method",
            Self::KEEP_ALIVE_TIMEOUT => "Keep Alive timeout",
            Self::SESSION_TAKEN_OVER => "Session taken over",
            Self::TOPIC_FILTER_INVALID => "Topic Filter invalid",
            Self::TOPIC_NAME_INVALID => "Topic Name invalid",
            Self::PACKET_IDENTIFIER_IN_USE => "Packet Identifier in use",
            Self::PACKET_IDENTIFIER_NOT_FOUND => "Packet Identifier not found",
            Self::RECEIVE_MAXIMUM_EXCEEDED => "Receive Maximum exceeded",
            Self::TOPIC_ALIAS_INVALID => "Topic Alias invalid",
            Self::PACKET_TOO_LARGE => "Packet too large",
            Self::MESSAGE_RATE_TOO_HIGH => "Message rate too high",
            Self::QUOTA_EXCEEDED => "Quota exceeded",
            Self::ADMINISTRATIVE_ACTION => "Administrative action",
            Self::PAYLOAD_FORMAT_INVALID => "Payload format invalid",
            Self::RETAIN_NOT_SUPPORTED => "Retain not supported",
            Self::QOS_NOT_SUPPORTED => "QoS not supported",
            Self::USE_ANOTHER_SERVER => "Use another server",
            Self::SERVER_MOVED => "Server moved",
            Self::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED => "Shared Subscriptions not supported",
            Self::CONNECTION_RATE_EXCEEDED => "Connection rate exceeded",
            Self::MAXIMUM_CONNECT_TIME => "Maximum connect time",
            Self::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED => "Subscription Identifiers not supported",
            Self::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED => "Wildcard Subscriptions not supported",
            _ => return None,
        })
    }
}

impl PropertyId {
    /// What the standard calls it.
    #[rustfmt::skip]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PayloadFormatIndicator => "Payload Format Indicator",
            Self::MessageExpiryInterval => "Message Expiry Interval",
            Self::ContentType => "Content Type",
            Self::ResponseTopic => "Response Topic",
            Self::CorrelationData => "Correlation Data",
            Self::SubscriptionIdentifier => "Subscription Identifier",
            Self::SessionExpiryInterval => "Session Expiry Interval",
            Self::AssignedClientIdentifier => "Assigned Client Identifier",
            Self::ServerKeepAlive => "Server Keep Alive",
            Self::AuthenticationMethod => "Authentication Method",
            Self::AuthenticationData => "Authentication Data",
            Self::RequestProblemInformation => "Request Problem Information",
            Self::WillDelayInterval => "Will Delay Interval",
            Self::RequestResponseInformation => "Request Response Information",
            Self::ResponseInformation => "Response Information",
            Self::ServerReference => "Server Reference",
            Self::ReasonString => "Reason String",
            Self::ReceiveMaximum => "Receive Maximum",
            Self::TopicAliasMaximum => "Topic Alias Maximum",
            Self::TopicAlias => "Topic Alias",
            Self::MaximumQos => "Maximum QoS",
            Self::RetainAvailable => "Retain Available",
            Self::UserProperty => "User Property",
            Self::MaximumPacketSize => "Maximum Packet Size",
            Self::WildcardSubscriptionAvailable => "Wildcard Subscription Available",
            Self::SubscriptionIdentifierAvailable => "Subscription Identifier Available",
            Self::SharedSubscriptionAvailable => "Shared Subscription Available",
        }
    }
}

impl Display for PropertyId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name and the value, on one line: `Topic Alias 5`. Authentication Data are not shown.
impl Display for Property<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.id())?;
        show(self, f)
    }
}

/// `TopicAlias(5)`. Authentication Data are not shown.
impl Debug for Property<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}(", self.id())?;
        show(self, f)?;
        f.write_char(')')
    }
}

fn show(property: &Property<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    match property.value() {
        Value::Flag(value) => Display::fmt(&value, f),
        Value::U16(value) => Display::fmt(&value, f),
        Value::U32(value) | Value::Vbi(value) => Display::fmt(&value, f),
        Value::Bytes(bytes) if property.id() == PropertyId::AuthenticationData => {
            write!(f, "{} bytes, not shown", bytes.len())
        }
        Value::Bytes(bytes) if property.id() == PropertyId::CorrelationData => Debug::fmt(&Octets(bytes), f),
        Value::Bytes(bytes) => text(bytes, f),
        Value::Pair(name, value) => {
            text(name, f)?;
            f.write_str(", ")?;
            text(value, f)
        }
    }
}

fn text(bytes: &[u8], f: &mut Formatter<'_>) -> fmt::Result {
    Debug::fmt(core::str::from_utf8(bytes).unwrap_or_default(), f)
}

/// Bytes as a byte string: `b"\x00 ok"`.
pub(crate) struct Octets<'a>(pub(crate) &'a [u8]);

impl Debug for Octets<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}
