//! The differences that are known, each with the statement that decides. Where a peer takes what we refuse, the statement is that of our
//! error; where it refuses or misreads what we take, it stands beside the case.
use crate::Peer::{self, Core, Proto, Rumqttc};
use mqtt_codec::{Packet, Property, Version};

const EVERY: &[Peer] = &[Rumqttc, Proto, Core];

/// What must be refused, who takes it, and what it is.
///
/// None of them is told who sent a packet, so none can refuse what only the other end may send. `rumqttc` does not look at the flags of
/// the fixed header, checks little of a client's packets (it is a client), and leaves alone what is left over behind the last field.
#[rustfmt::skip]
const LENIENT: &[(&str, &[Peer], &str)] = &[
    ("v4 [MQTT-1.5.3-2]", EVERY, "a string holds U+0000"),
    ("v4 [MQTT-2.2.2-2]", &[Rumqttc], "reserved flags of the fixed header are set wrongly"),
    ("v4 [MQTT-2.3.1-1]", &[Rumqttc, Core], "the packet identifier is 0"),
    ("v4 [MQTT-3.1.2-13]", &[Core], "a QoS without a will"),
    ("v4 [MQTT-3.1.2-14]", &[Core], "the will has QoS 3"),
    ("v4 [MQTT-3.1.2-15]", &[Proto, Core], "will retain without a will"),
    ("v4 [MQTT-3.1.2-18]", &[Rumqttc, Proto], "bytes where no flag announces a user name"),
    ("v4 [MQTT-3.1.2-20]", &[Rumqttc, Proto], "bytes where no flag announces a password"),
    ("v4 [MQTT-3.1.2-22]", &[Rumqttc, Proto], "a password without a user name"),
    ("v4 [MQTT-3.1.2-3]", &[Rumqttc, Core], "the reserved flag of CONNECT is set"),
    ("v4 [MQTT-3.10.1-1]", &[Rumqttc], "the flags of UNSUBSCRIBE are not 0010"),
    ("v4 [MQTT-3.10.3-2]", &[Rumqttc], "an UNSUBSCRIBE without a filter"),
    ("v4 [MQTT-3.14.1-1]", &[Rumqttc], "flags of DISCONNECT are set"),
    ("v4 [MQTT-3.3.1-2]", EVERY, "a repetition at QoS 0"),
    ("v4 [MQTT-3.3.2-2]", &[Rumqttc, Core], "a topic name holds a wildcard"),
    ("v4 [MQTT-3.6.1-1]", &[Rumqttc], "the flags of PUBREL are not 0010"),
    ("v4 [MQTT-3.8.1-1]", &[Rumqttc], "the flags of SUBSCRIBE are not 0010"),
    ("v4 [MQTT-3.8.3-4]", &[Rumqttc, Core], "reserved bits of the subscription options are set"),
    ("v4 [MQTT-3.8.4-5]", &[Proto], "a SUBACK without a reason code"),
    ("v4 [MQTT-4.7.1-2]", &[Rumqttc, Core], "a '#' is not the whole last level of its filter"),
    ("v4 [MQTT-4.7.1-3]", EVERY, "a '+' is not a whole level of its filter"),
    ("v4 [MQTT-4.7.3-1]", EVERY, "a topic filter is empty; the will topic is empty"),
    ("v4 [MQTT-4.8.0-1]", EVERY, "this end may not send this packet"),
    ("v4 [X311-ACK-1]", EVERY, "the packet is longer than an identifier"),
    ("v4 [X311-DISC-1]", EVERY, "a server sends DISCONNECT"),
    ("v4 [X311-PUB-1]", EVERY, "neither a topic name nor a topic alias"),
    ("v4 section 3.2.2.1", &[Rumqttc, Core], "reserved acknowledge flags are set"),
    ("v4 section 4.8", &[Rumqttc, Proto], "bytes are left over behind the last field"),
    ("v5 [MQTT-1.5.4-2]", EVERY, "a string holds U+0000"),
    ("v5 [MQTT-1.5.5-1]", EVERY, "a variable byte integer is not in its shortest form"),
    ("v5 [MQTT-2.1.3-1]", &[Rumqttc], "reserved flags of the fixed header are set wrongly"),
    ("v5 [MQTT-2.2.1-3]", &[Rumqttc, Core], "the packet identifier is 0"),
    ("v5 [MQTT-3.1.2-11]", &[Core], "a QoS without a will"),
    ("v5 [MQTT-3.1.2-12]", &[Core], "the will has QoS 3"),
    ("v5 [MQTT-3.1.2-13]", &[Proto, Core], "will retain without a will"),
    ("v5 [MQTT-3.1.2-16]", &[Rumqttc, Proto], "bytes where no flag announces a user name"),
    ("v5 [MQTT-3.1.2-18]", &[Rumqttc, Proto], "bytes where no flag announces a password"),
    ("v5 [MQTT-3.1.2-3]", &[Rumqttc, Core], "the reserved flag of CONNECT is set"),
    ("v5 [MQTT-3.1.3-11]", &[Rumqttc], "the will topic is not well-formed UTF-8"),
    ("v5 [MQTT-3.10.1-1]", &[Rumqttc], "the flags of UNSUBSCRIBE are not 0010"),
    ("v5 [MQTT-3.10.3-2]", &[Rumqttc], "an UNSUBSCRIBE without a filter"),
    ("v5 [MQTT-3.11.3-2]", &[Proto], "an UNSUBACK without a reason code"),
    ("v5 [MQTT-3.14.2-2]", EVERY, "a server changes the Session Expiry Interval"),
    ("v5 [MQTT-3.2.2-1]", &[Rumqttc, Core], "reserved acknowledge flags are set"),
    ("v5 [MQTT-3.3.1-2]", EVERY, "a repetition at QoS 0"),
    ("v5 [MQTT-3.3.2-14]", EVERY, "the Response Topic is not a topic name"),
    ("v5 [MQTT-3.3.2-1]", &[Rumqttc], "the topic name is not well-formed UTF-8"),
    ("v5 [MQTT-3.3.2-2]", &[Rumqttc, Core], "a topic name holds a wildcard"),
    ("v5 [MQTT-3.3.2-8]", &[Rumqttc, Proto], "the Topic Alias is 0"),
    ("v5 [MQTT-3.3.4-6]", EVERY, "a client sends a Subscription Identifier with a message"),
    ("v5 [MQTT-3.6.1-1]", &[Rumqttc], "the flags of PUBREL are not 0010"),
    ("v5 [MQTT-3.8.1-1]", &[Rumqttc], "the flags of SUBSCRIBE are not 0010"),
    ("v5 [MQTT-3.8.3-4]", EVERY, "No Local on a shared subscription"),
    ("v5 [MQTT-3.8.3-5]", &[Rumqttc], "reserved bits of the subscription options are set"),
    ("v5 [MQTT-3.8.4-6]", &[Proto], "a SUBACK without a reason code"),
    ("v5 [MQTT-4.7.1-1]", &[Rumqttc, Core], "a '#' is not the whole last level of its filter"),
    ("v5 [MQTT-4.7.1-2]", EVERY, "a '+' is not a whole level of its filter"),
    ("v5 [MQTT-4.7.3-1]", EVERY, "the will topic is empty; a topic filter is empty"),
    ("v5 [MQTT-4.8.2-1]", &[Rumqttc], "the share name is empty or holds a wildcard"),
    ("v5 [MQTT-4.8.2-2]", &[Rumqttc, Core], "a shared subscription without a filter"),
    ("v5 [X5-AUTH-2]", &[Proto, Core], "AUTH without an Authentication Method"),
    ("v5 [X5-CACK-2]", &[Rumqttc], "the Maximum QoS is neither 0 nor 1"),
    ("v5 [X5-CACK-3]", &[Rumqttc], "what tells of a feature is neither 0 nor 1"),
    ("v5 [X5-CON-2]", &[Rumqttc, Proto], "the Receive Maximum is 0"),
    ("v5 [X5-CON-3]", &[Rumqttc, Proto], "the Maximum Packet Size is 0"),
    ("v5 [X5-CON-5]", &[Rumqttc], "Request Response Information is neither 0 nor 1"),
    ("v5 [X5-CON-6]", &[Rumqttc], "Request Problem Information is neither 0 nor 1"),
    ("v5 [X5-CON-7]", EVERY, "Authentication Data without an Authentication Method"),
    ("v5 [X5-ERR-4]", EVERY, "this end may not send this packet"),
    ("v5 [X5-ERR-5]", &[Rumqttc, Proto], "bytes are left over behind the last field"),
    ("v5 [X5-PROP-1]", &[Rumqttc], "a property is unknown or not one of this packet's"),
    ("v5 [X5-PROP-2]", &[Rumqttc, Core], "a property is there twice"),
    ("v5 [X5-PROP-4]", &[Rumqttc], "a property runs past the end of its section"),
    ("v5 [X5-PUB-1]", EVERY, "neither a topic name nor a topic alias"),
    ("v5 [X5-PUB-7]", &[Rumqttc, Proto], "a Subscription Identifier is 0"),
    ("v5 [X5-VBI-1]", &[Rumqttc], "a variable byte integer is over four bytes"),
    ("v5 section 3.14.2.2.5", EVERY, "a client sends a Server Reference"),
    ("v5 section 3.3.2.3.2", &[Rumqttc], "the Payload Format Indicator is neither 0 nor 1"),
    ("v5 section 4.13", &[Core], "a field runs past the end of the packet"),
];

/// Whether it is known that `peer` takes this frame, which breaks `statement`.
pub(crate) fn lenient(peer: Peer, statement: &str, frame: &[u8], version: Version) -> bool {
    // miscounting (see below), it does not come to see the properties that are last
    let miscounted = peer == Rumqttc
        && version == Version::V5
        && frame.first().is_some_and(|first| first >> 4 == 3)
        && frame.contains(&0x0B);
    miscounted || LENIENT.iter().any(|(broken, peers, _)| *broken == statement && peers.contains(&peer))
}

/// Whether it is known that `peer` refuses this packet, which is a good one.
pub(crate) fn refused(peer: Peer, packet: &Packet<'_>, version: Version) -> bool {
    match (peer, packet) {
        // v5 [MQTT-3.1.2-19], v4 [MQTT-3.1.2-21]: a password is binary; it wants text.
        (Rumqttc, Packet::Connect(packet)) => packet.password.is_some_and(|password| str::from_utf8(password).is_err()),
        // v5 section 3.14.2: without a reason code it is 0x00, without properties their length goes; it wants both.
        (Rumqttc, Packet::Disconnect(packet)) => version == Version::V5 && packet.properties.is_empty(),
        // v5 section 3.15: it writes AUTH and cannot read it.
        (Rumqttc, Packet::Auth(_)) => true,
        (Rumqttc, Packet::Publish(_)) => counts_wrongly(packet),
        // v4 [X311-SHR-1]: `$share/` is a level like any other at 3.1.1; it holds it to the grammar of 5.0.
        (Proto, Packet::Subscribe(packet)) if version == Version::V311 => {
            packet.subscriptions.iter().flatten().any(|one| one.filter.as_bytes().starts_with(b"$share/"))
        }
        (Proto, Packet::Unsubscribe(packet)) if version == Version::V311 => {
            packet.filters.iter().flatten().any(|filter| filter.as_bytes().starts_with(b"$share/"))
        }
        // v5 section 3.3.2.3.8: a message that several subscriptions match has several identifiers; it takes one.
        // v5 [X5-CON-10]: whether a payload is the text it claims to be may be judged; it is judged by the codec there.
        (Proto, Packet::Publish(packet)) => {
            packet.properties.subscription_identifiers().count() > 1
                || packet.properties.payload_format_indicator() == Some(true) && str::from_utf8(packet.payload).is_err()
        }
        (Proto, Packet::Connect(packet)) => packet.will.is_some_and(|will| {
            will.properties.payload_format_indicator() == Some(true) && str::from_utf8(will.payload).is_err()
        }),
        // v5 section 3.1.2.9: from 5.0 on a password needs no user name.
        (Core, Packet::Connect(packet)) => {
            version == Version::V5 && packet.password.is_some() && packet.user_name.is_none()
        }
        _ => false,
    }
}

/// Whether it is known that `peer` makes something else of this packet.
pub(crate) fn read_otherwise(peer: Peer, packet: &Packet<'_>) -> bool {
    peer == Rumqttc && counts_wrongly(packet)
}

/// v5 section 3.3.2.3.8: `rumqttc` counts one byte too many for each Subscription Identifier, and takes what follows for something else.
fn counts_wrongly(packet: &Packet<'_>) -> bool {
    let Packet::Publish(packet) = packet else { return false };
    packet.properties.iter().any(|property| matches!(property, Property::SubscriptionIdentifier(_)))
}
