//! MQTT in words: packets in one line each, reason codes, versions.
use mqtt_codec::{AckKind, Connect, Filters, Packet, Publish, ReasonCode, Subscriptions, Version};
use std::fmt::Write;

/// A packet in one line: its name, its flags and identifier, what it is about, its reason codes. Never a password, never a payload.
pub fn packet(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Connect(connect) => self::connect(connect),
        Packet::Connack(connack) => {
            format!(
                "CONNACK {:?}, session present {}{}",
                connack.reason,
                u8::from(connack.session_present),
                properties(connack.properties)
            )
        }
        Packet::Publish(publish) => self::publish(publish),
        Packet::Ack(ack) => {
            let name = match ack.kind {
                AckKind::Puback => "PUBACK",
                AckKind::Pubrec => "PUBREC",
                AckKind::Pubrel => "PUBREL",
                AckKind::Pubcomp => "PUBCOMP",
            };
            format!("{name} m{} {:?}{}", ack.packet_id.get(), ack.reason, properties(ack.properties))
        }
        Packet::Subscribe(subscribe) => {
            let filters = subscriptions(subscribe.subscriptions);
            format!("SUBSCRIBE m{}{filters}{}", subscribe.packet_id.get(), properties(subscribe.properties))
        }
        Packet::Suback(suback) => {
            format!("SUBACK m{} {:?}{}", suback.packet_id.get(), suback.codes, properties(suback.properties))
        }
        Packet::Unsubscribe(unsubscribe) => {
            let filters = self::filters(unsubscribe.filters);
            format!("UNSUBSCRIBE m{}{filters}{}", unsubscribe.packet_id.get(), properties(unsubscribe.properties))
        }
        Packet::Unsuback(unsuback) => {
            format!("UNSUBACK m{} {:?}{}", unsuback.packet_id.get(), unsuback.codes, properties(unsuback.properties))
        }
        Packet::Pingreq => "PINGREQ".into(),
        Packet::Pingresp => "PINGRESP".into(),
        Packet::Disconnect(disconnect) => {
            format!("DISCONNECT {:?}{}", disconnect.reason, properties(disconnect.properties))
        }
        Packet::Auth(auth) => format!("AUTH {:?}", auth.reason),
    }
}

fn connect(connect: &Connect<'_>) -> String {
    let mut line = format!(
        "CONNECT {} as '{}', clean {}, keep alive {} s",
        version(connect.version),
        connect.client_id,
        u8::from(connect.clean_start),
        connect.keep_alive
    );
    if let Some(user) = connect.user_name {
        let _ = write!(line, ", user '{user}'");
    }
    if let Some(will) = &connect.will {
        let _ = write!(
            line,
            ", will q{} r{} '{}' ({} bytes)",
            will.qos as u8,
            u8::from(will.retain),
            will.topic,
            will.payload.len()
        );
    }
    line + &properties(connect.properties)
}

fn publish(publish: &Publish<'_>) -> String {
    let mut line = format!("PUBLISH d{} q{} r{}", u8::from(publish.dup), publish.qos as u8, u8::from(publish.retain));
    if let Some(id) = publish.packet_id {
        let _ = write!(line, " m{}", id.get());
    }
    match publish.topic {
        Some(topic) => {
            let _ = write!(line, " '{topic}'");
        }
        None => line.push_str(" by topic alias"),
    }
    let _ = write!(line, " ({} bytes)", publish.payload.len());
    line + &properties(publish.properties)
}

fn subscriptions(list: Subscriptions<'_>) -> String {
    let words = list.iter().map(|subscription| match subscription {
        Ok(subscription) => format!(" '{}' q{}", subscription.filter, subscription.options.qos as u8),
        Err(error) => format!(" (a bad filter: {error})"),
    });
    words.collect::<Vec<_>>().join(",")
}

fn filters(list: Filters<'_>) -> String {
    let words = list.iter().map(|filter| match filter {
        Ok(filter) => format!(" '{filter}'"),
        Err(error) => format!(" (a bad filter: {error})"),
    });
    words.collect::<Vec<_>>().join(",")
}

/// Nothing for no properties; but authentication data is nobody's business.
fn properties(list: mqtt_codec::Properties<'_>) -> String {
    let shown: Vec<_> =
        list.iter().filter(|property| !matches!(property, mqtt_codec::Property::AuthenticationData(_))).collect();
    if shown.is_empty() { String::new() } else { format!(" {shown:?}") }
}

/// The number people know a version by.
pub fn version(version: Version) -> &'static str {
    match version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    }
}

/// What a reason code says, with its number.
pub fn reason(reason: ReasonCode) -> String {
    let words = match reason {
        ReasonCode::SUCCESS => "success",
        ReasonCode::NO_MATCHING_SUBSCRIBERS => "no matching subscribers",
        ReasonCode::UNSPECIFIED_ERROR => "unspecified error",
        ReasonCode::MALFORMED_PACKET => "malformed packet",
        ReasonCode::PROTOCOL_ERROR => "protocol error",
        ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR => "implementation specific error",
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => "unsupported protocol version",
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => "client identifier not valid",
        ReasonCode::BAD_USER_NAME_OR_PASSWORD => "bad user name or password",
        ReasonCode::NOT_AUTHORIZED => "not authorized",
        ReasonCode::SERVER_UNAVAILABLE => "server unavailable",
        ReasonCode::SERVER_BUSY => "server busy",
        ReasonCode::BANNED => "banned",
        ReasonCode::SERVER_SHUTTING_DOWN => "server shutting down",
        ReasonCode::BAD_AUTHENTICATION_METHOD => "bad authentication method",
        ReasonCode::KEEP_ALIVE_TIMEOUT => "keep alive timeout",
        ReasonCode::SESSION_TAKEN_OVER => "session taken over",
        ReasonCode::TOPIC_FILTER_INVALID => "topic filter invalid",
        ReasonCode::TOPIC_NAME_INVALID => "topic name invalid",
        ReasonCode::RECEIVE_MAXIMUM_EXCEEDED => "receive maximum exceeded",
        ReasonCode::TOPIC_ALIAS_INVALID => "topic alias invalid",
        ReasonCode::PACKET_TOO_LARGE => "packet too large",
        ReasonCode::MESSAGE_RATE_TOO_HIGH => "message rate too high",
        ReasonCode::QUOTA_EXCEEDED => "quota exceeded",
        ReasonCode::ADMINISTRATIVE_ACTION => "administrative action",
        ReasonCode::PAYLOAD_FORMAT_INVALID => "payload format invalid",
        ReasonCode::RETAIN_NOT_SUPPORTED => "retain not supported",
        ReasonCode::QOS_NOT_SUPPORTED => "QoS not supported",
        ReasonCode::USE_ANOTHER_SERVER => "use another server",
        ReasonCode::SERVER_MOVED => "server moved",
        ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED => "shared subscriptions not supported",
        ReasonCode::CONNECTION_RATE_EXCEEDED => "connection rate exceeded",
        ReasonCode::MAXIMUM_CONNECT_TIME => "maximum connect time",
        ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED => "subscription identifiers not supported",
        ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED => "wildcard subscriptions not supported",
        _ => "",
    };
    if words.is_empty() { format!("reason code {reason:?}") } else { format!("{words} ({reason:?})") }
}
