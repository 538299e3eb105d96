//! The rules that bytes from a peer can break: what each is called, how it is answered, and where the standards state it.
use crate::DecodeErrorKind::{self, LimitExceeded, Malformed, NotMqtt, ProtocolError, TooLarge, UnsupportedLevel};
use crate::{DecodeError, ReasonCode, Version};

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    kind: DecodeErrorKind,
    reason: ReasonCode,
    what: &'static str,
    v5: &'static str,
    v4: &'static str,
}

impl Rule {
    /// The error of a packet that breaks this rule at `offset`.
    #[cold]
    pub(crate) fn error(&self, offset: usize, version: Version) -> DecodeError {
        let statement = match version {
            Version::V5 => self.v5,
            Version::V31 | Version::V311 => self.v4,
        };
        DecodeError { kind: self.kind, offset, statement, reason: self.reason, what: self.what }
    }
}

const fn malformed(what: &'static str, v5: &'static str, v4: &'static str) -> Rule {
    Rule { kind: Malformed, reason: ReasonCode::MALFORMED_PACKET, what, v5, v4 }
}

const fn protocol(what: &'static str, v5: &'static str, v4: &'static str) -> Rule {
    Rule { kind: ProtocolError, reason: ReasonCode::PROTOCOL_ERROR, what, v5, v4 }
}

/// A limit of ours: 0x97 is what tells of limits that are not about the size of the packet.
const fn limit(what: &'static str, v4: &'static str) -> Rule {
    Rule { kind: LimitExceeded, reason: ReasonCode::QUOTA_EXCEEDED, what, v5: "v5 section 2.4", v4 }
}

/// What only 5.0 knows has no statement at levels 3 and 4.
const V4: &str = "v4";

// Every packet.
pub(crate) static TYPE: Rule = malformed("the packet type is reserved", "v5 [X5-ERR-3]", "v4 section 2.2.1");
pub(crate) static FLAGS: Rule =
    malformed("reserved flags of the fixed header are set wrongly", "v5 [MQTT-2.1.3-1]", "v4 [MQTT-2.2.2-2]");
pub(crate) static DIRECTION: Rule = protocol("this end may not send this packet", "v5 [X5-ERR-4]", "v4 [MQTT-4.8.0-1]");
pub(crate) static LENGTH_SHORT: Rule =
    malformed("a field runs past the end of the packet", "v5 section 4.13", "v4 section 4.8");
pub(crate) static LENGTH_LONG: Rule =
    malformed("bytes are left over behind the last field", "v5 [X5-ERR-5]", "v4 section 4.8");
pub(crate) static VBI_FIVE: Rule =
    malformed("a variable byte integer is over four bytes", "v5 [X5-VBI-1]", "v4 section 2.2.3");
pub(crate) static VBI_LONG: Rule =
    malformed("a variable byte integer is not in its shortest form", "v5 [MQTT-1.5.5-1]", "v4 section 2.2.3");
pub(crate) static UTF8: Rule = malformed("a string is not well-formed UTF-8", "v5 [MQTT-1.5.4-1]", "v4 [MQTT-1.5.3-1]");
pub(crate) static NUL: Rule = malformed("a string holds U+0000", "v5 [MQTT-1.5.4-2]", "v4 [MQTT-1.5.3-2]");
pub(crate) static TOPIC_WILDCARD: Rule =
    malformed("a topic name holds a wildcard", "v5 [MQTT-3.3.2-2]", "v4 [MQTT-3.3.2-2]");
pub(crate) static PACKET_ID: Rule = protocol("the packet identifier is 0", "v5 [MQTT-2.2.1-3]", "v4 [MQTT-2.3.1-1]");
pub(crate) static TOO_LARGE: Rule = Rule {
    kind: TooLarge,
    reason: ReasonCode::PACKET_TOO_LARGE,
    what: "the packet is larger than was agreed",
    v5: "v5 [MQTT-3.2.2-15]", // and [X5-CACK-6], the same rule for both ends
    v4: "v4 section 2.2.3",
};

pub(crate) static HEAD_TOO_LARGE: Rule = Rule {
    kind: TooLarge,
    reason: ReasonCode::PACKET_TOO_LARGE,
    what: "what is in front of a streamed payload is larger than is taken",
    v5: "v5 section 2.4",
    v4: "v4 section 4.8",
};

// Only with a profile that says so.
pub(crate) static CONTROL_CHARACTER: Rule =
    malformed("a string holds a control character", "v5 [X5-UTF-1]", "v4 [X311-UTF-1]");
pub(crate) static NON_CHARACTER: Rule =
    malformed("a string holds a Unicode non-character", "v5 [X5-UTF-1]", "v4 [X311-UTF-1]");
pub(crate) static FILTER_EMPTY: Rule = malformed("a topic filter is empty", "v5 [MQTT-4.7.3-1]", "v4 [MQTT-4.7.3-1]");
pub(crate) static FILTER_UTF8: Rule =
    malformed("a topic filter is not well-formed UTF-8", "v5 [MQTT-3.8.3-1]", "v4 [MQTT-3.8.3-1]");
pub(crate) static FILTER_HASH: Rule =
    malformed("a '#' is not the whole last level of its filter", "v5 [MQTT-4.7.1-1]", "v4 [MQTT-4.7.1-2]");
pub(crate) static FILTER_PLUS: Rule =
    malformed("a '+' is not a whole level of its filter", "v5 [MQTT-4.7.1-2]", "v4 [MQTT-4.7.1-3]");
pub(crate) static SHARE_NAME: Rule = malformed("the share name is empty or holds a wildcard", "v5 [MQTT-4.8.2-1]", V4);
pub(crate) static SHARE_FILTER: Rule = malformed("a shared subscription without a filter", "v5 [MQTT-4.8.2-2]", V4);
pub(crate) static USER_PROPERTIES: Rule = limit("more User Properties than are taken", V4);
pub(crate) static USER_PROPERTY_BYTES: Rule = limit("User Properties of more bytes than are taken", V4);
pub(crate) static FILTERS: Rule = limit("more filters than are taken in one packet", "v4 section 4.8");

// Properties.
pub(crate) static PROPERTY_LENGTH: Rule =
    malformed("a property runs past the end of its section", "v5 [X5-PROP-4]", V4);
pub(crate) static PROPERTY_PACKET: Rule =
    malformed("a property is unknown or not one of this packet's", "v5 [X5-PROP-1]", V4);
pub(crate) static PROPERTY_TWICE: Rule = protocol("a property is there twice", "v5 [X5-PROP-2]", V4);
pub(crate) static PAYLOAD_FORMAT: Rule =
    protocol("the Payload Format Indicator is neither 0 nor 1", "v5 section 3.3.2.3.2", V4);
pub(crate) static REQUEST_RESPONSE: Rule =
    protocol("Request Response Information is neither 0 nor 1", "v5 [X5-CON-5]", V4);
pub(crate) static REQUEST_PROBLEM: Rule =
    protocol("Request Problem Information is neither 0 nor 1", "v5 [X5-CON-6]", V4);
pub(crate) static MAXIMUM_QOS: Rule = protocol("the Maximum QoS is neither 0 nor 1", "v5 [X5-CACK-2]", V4);
pub(crate) static AVAILABLE: Rule = protocol("what tells of a feature is neither 0 nor 1", "v5 [X5-CACK-3]", V4);
pub(crate) static RECEIVE_MAXIMUM: Rule = protocol("the Receive Maximum is 0", "v5 [X5-CON-2]", V4);
pub(crate) static MAXIMUM_PACKET_SIZE: Rule = protocol("the Maximum Packet Size is 0", "v5 [X5-CON-3]", V4);
pub(crate) static SUBSCRIPTION_ID: Rule = protocol("a Subscription Identifier is 0", "v5 [X5-PUB-7]", V4);
pub(crate) static SUBSCRIPTION_ID_CLIENT: Rule =
    protocol("a client sends a Subscription Identifier with a message", "v5 [MQTT-3.3.4-6]", V4);
pub(crate) static SESSION_EXPIRY_SERVER: Rule =
    protocol("a server changes the Session Expiry Interval", "v5 [MQTT-3.14.2-2]", V4);
pub(crate) static SERVER_REFERENCE_CLIENT: Rule =
    protocol("a client sends a Server Reference", "v5 section 3.14.2.2.5", V4);
pub(crate) static RESPONSE_TOPIC: Rule = protocol("the Response Topic is not a topic name", "v5 [MQTT-3.3.2-14]", V4);
pub(crate) static AUTH_DATA: Rule =
    protocol("Authentication Data without an Authentication Method", "v5 [X5-CON-7]", V4);
pub(crate) static AUTH_METHOD: Rule = protocol("AUTH without an Authentication Method", "v5 [X5-AUTH-2]", V4);
pub(crate) static TOPIC_ALIAS: Rule = Rule {
    kind: ProtocolError,
    reason: ReasonCode::TOPIC_ALIAS_INVALID,
    what: "the Topic Alias is 0",
    v5: "v5 [MQTT-3.3.2-8]",
    v4: V4,
};

// CONNECT.
pub(crate) static NOT_CONNECT: Rule = Rule {
    kind: NotMqtt,
    reason: ReasonCode::PROTOCOL_ERROR,
    what: "the first packet is not a CONNECT",
    v5: "v5 [MQTT-3.1.0-1]",
    v4: "v4 [MQTT-3.1.0-1]",
};
pub(crate) static PROTOCOL_NAME: Rule = Rule {
    kind: NotMqtt,
    reason: ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
    what: "the protocol name is not that of MQTT",
    v5: "v5 [MQTT-3.1.2-1]",
    v4: "v4 [MQTT-3.1.2-1]",
};
pub(crate) static LEVEL: Rule = Rule {
    kind: UnsupportedLevel(0), // the level itself is filled in from the packet
    reason: ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
    what: "the protocol level is not one of this protocol name's",
    v5: "v5 [MQTT-3.1.2-2]",
    v4: "v4 [MQTT-3.1.2-2]",
};
pub(crate) static CONNECT_RESERVED: Rule =
    malformed("the reserved flag of CONNECT is set", "v5 [MQTT-3.1.2-3]", "v4 [MQTT-3.1.2-3]");
pub(crate) static WILL_QOS: Rule = malformed("the will has QoS 3", "v5 [MQTT-3.1.2-12]", "v4 [MQTT-3.1.2-14]");
pub(crate) static NO_WILL_QOS: Rule = malformed("a QoS without a will", "v5 [MQTT-3.1.2-11]", "v4 [MQTT-3.1.2-13]");
pub(crate) static NO_WILL_RETAIN: Rule =
    malformed("will retain without a will", "v5 [MQTT-3.1.2-13]", "v4 [MQTT-3.1.2-15]");
pub(crate) static WILL_TOPIC_EMPTY: Rule =
    malformed("the will topic is empty", "v5 [MQTT-4.7.3-1]", "v4 [MQTT-4.7.3-1]");
pub(crate) static CLIENT_ID: Rule =
    malformed("the client identifier is missing", "v5 [MQTT-3.1.3-3]", "v4 [MQTT-3.1.3-3]");
pub(crate) static CLIENT_ID_UTF8: Rule =
    malformed("the client identifier is not well-formed UTF-8", "v5 [MQTT-3.1.3-4]", "v4 [MQTT-3.1.3-4]");
pub(crate) static WILL_MISSING: Rule =
    malformed("the will flag is set and there is no will", "v5 [MQTT-3.1.2-9]", "v4 [MQTT-3.1.2-9]");
pub(crate) static WILL_TOPIC_UTF8: Rule =
    malformed("the will topic is not well-formed UTF-8", "v5 [MQTT-3.1.3-11]", "v4 [MQTT-3.1.3-10]");
pub(crate) static USER_NAME: Rule = malformed("the user name is missing", "v5 [MQTT-3.1.2-17]", "v4 [MQTT-3.1.2-19]");
pub(crate) static USER_NAME_UTF8: Rule =
    malformed("the user name is not well-formed UTF-8", "v5 [MQTT-3.1.3-12]", "v4 [MQTT-3.1.3-11]");
pub(crate) static PASSWORD: Rule = malformed("the password is missing", "v5 [MQTT-3.1.2-19]", "v4 [MQTT-3.1.2-21]");
pub(crate) static PASSWORD_ALONE: Rule = malformed("a password without a user name", V5, "v4 [MQTT-3.1.2-22]");
pub(crate) static NO_USER_NAME: Rule =
    malformed("bytes where no flag announces a user name", "v5 [MQTT-3.1.2-16]", "v4 [MQTT-3.1.2-18]");
pub(crate) static NO_PASSWORD: Rule =
    malformed("bytes where no flag announces a password", "v5 [MQTT-3.1.2-18]", "v4 [MQTT-3.1.2-20]");
/// What only the older versions refuse.
const V5: &str = "v5";

// CONNACK.
pub(crate) static CONNACK_FLAGS: Rule =
    malformed("reserved acknowledge flags are set", "v5 [MQTT-3.2.2-1]", "v4 section 3.2.2.1");
pub(crate) static CONNACK_CODE: Rule =
    protocol("the reason code is not one of CONNACK's", "v5 [MQTT-3.2.2-8]", "v4 section 3.2.2.3");

// PUBLISH and what acknowledges it.
pub(crate) static QOS_3: Rule = malformed("a PUBLISH of QoS 3", "v5 [MQTT-3.3.1-4]", "v4 [MQTT-3.3.1-4]");
pub(crate) static DUP_QOS_0: Rule = malformed("a repetition at QoS 0", "v5 [MQTT-3.3.1-2]", "v4 [MQTT-3.3.1-2]");
pub(crate) static TOPIC_UTF8: Rule =
    malformed("the topic name is not well-formed UTF-8", "v5 [MQTT-3.3.2-1]", "v4 [MQTT-3.3.2-1]");
pub(crate) static TOPIC_EMPTY: Rule =
    protocol("neither a topic name nor a topic alias", "v5 [X5-PUB-1]", "v4 [X311-PUB-1]");
pub(crate) static ACK_LENGTH: Rule =
    malformed("the packet is longer than an identifier", "v5 [X5-ERR-5]", "v4 [X311-ACK-1]");
pub(crate) static PUBACK_CODE: Rule = protocol("the reason code is not one of PUBACK's", "v5 [MQTT-3.4.2-1]", V4);
pub(crate) static PUBREC_CODE: Rule = protocol("the reason code is not one of PUBREC's", "v5 [MQTT-3.5.2-1]", V4);
pub(crate) static PUBREL_CODE: Rule = protocol("the reason code is not one of PUBREL's", "v5 [MQTT-3.6.2-1]", V4);
pub(crate) static PUBCOMP_CODE: Rule = protocol("the reason code is not one of PUBCOMP's", "v5 [MQTT-3.7.2-1]", V4);
pub(crate) static PUBREL_FLAGS: Rule =
    malformed("the flags of PUBREL are not 0010", "v5 [MQTT-3.6.1-1]", "v4 [MQTT-3.6.1-1]");

// SUBSCRIBE, UNSUBSCRIBE and what answers them.
pub(crate) static SUBSCRIBE_FLAGS: Rule =
    malformed("the flags of SUBSCRIBE are not 0010", "v5 [MQTT-3.8.1-1]", "v4 [MQTT-3.8.1-1]");
pub(crate) static NO_SUBSCRIPTION: Rule =
    protocol("a SUBSCRIBE without a filter", "v5 [MQTT-3.8.3-2]", "v4 [MQTT-3.8.3-3]");
pub(crate) static SUBSCRIBE_QOS: Rule = protocol("a subscription of QoS 3", "v5 [X5-SUB-1]", "v4 [MQTT-3.8.3-4]");
pub(crate) static RETAIN_HANDLING: Rule = protocol("Retain Handling is 3", "v5 [X5-SUB-2]", V4);
pub(crate) static OPTIONS: Rule =
    malformed("reserved bits of the subscription options are set", "v5 [MQTT-3.8.3-5]", "v4 [MQTT-3.8.3-4]");
pub(crate) static SHARED_NO_LOCAL: Rule = protocol("No Local on a shared subscription", "v5 [MQTT-3.8.3-4]", V4);
pub(crate) static SUBACK_CODE: Rule =
    protocol("a reason code is not one of SUBACK's", "v5 [MQTT-3.9.3-2]", "v4 [MQTT-3.9.3-2]");
pub(crate) static SUBACK_EMPTY: Rule =
    protocol("a SUBACK without a reason code", "v5 [MQTT-3.8.4-6]", "v4 [MQTT-3.8.4-5]");
pub(crate) static UNSUBSCRIBE_FLAGS: Rule =
    malformed("the flags of UNSUBSCRIBE are not 0010", "v5 [MQTT-3.10.1-1]", "v4 [MQTT-3.10.1-1]");
pub(crate) static NO_FILTER: Rule =
    protocol("an UNSUBSCRIBE without a filter", "v5 [MQTT-3.10.3-2]", "v4 [MQTT-3.10.3-2]");
pub(crate) static UNSUBACK_CODE: Rule = protocol("a reason code is not one of UNSUBACK's", "v5 [MQTT-3.11.3-2]", V4);
pub(crate) static UNSUBACK_EMPTY: Rule = protocol("an UNSUBACK without a reason code", "v5 [MQTT-3.11.3-2]", V4);

// DISCONNECT and AUTH.
pub(crate) static DISCONNECT_FLAGS: Rule =
    malformed("flags of DISCONNECT are set", "v5 [MQTT-3.14.1-1]", "v4 [MQTT-3.14.1-1]");
pub(crate) static DISCONNECT_SERVER: Rule = protocol("a server sends DISCONNECT", "v5", "v4 [X311-DISC-1]");
pub(crate) static DISCONNECT_CODE: Rule =
    protocol("the reason code is not one of DISCONNECT's", "v5 [MQTT-3.14.2-1]", V4);
pub(crate) static AUTH_FLAGS: Rule = malformed("flags of AUTH are set", "v5 [MQTT-3.15.1-1]", V4);
pub(crate) static AUTH_CODE: Rule = protocol("the reason code is not one of AUTH's", "v5 [MQTT-3.15.2-1]", V4);
