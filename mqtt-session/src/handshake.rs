//! CONNECT and CONNACK (sections 3.1 and 3.2): who is let in, on which terms, and how a connection is ended.
use crate::config::{Accept, ServerConfig};
use crate::control::Control;
use crate::error::Broken;
use crate::limits::Limits;
use alloc::vec::Vec;
use mqtt_codec::{
    Connack, Connect, DecodeError, DecodeErrorKind, Disconnect, Packet, Properties, Property, Qos, ReasonCode, Role,
    Utf8, Version,
};

/// Judges a will by what this server serves.
pub(crate) fn judge_will(connect: &Connect<'_>, limits: &Limits) -> Result<(), Broken> {
    match &connect.will {
        // Before 5.0 nothing was announced, and the host publishes it as it serves it.
        Some(will) if connect.version == Version::V5 => {
            if will.qos > limits.offer.maximum_qos {
                return Err(("v5 [MQTT-3.2.2-12]", ReasonCode::QOS_NOT_SUPPORTED));
            }
            if will.retain && !limits.offer.retain {
                return Err(("v5 [MQTT-3.2.2-13]", ReasonCode::RETAIN_NOT_SUPPORTED));
            }
            Ok(())
        }
        Some(_) | None => Ok(()),
    }
}

/// Queues the CONNACK that lets the client in, and gives the keep alive in force; `None` if the client cannot take it.
pub(crate) fn accept(
    control: &mut Control,
    limits: &Limits,
    config: &ServerConfig,
    accept: &Accept<'_>,
) -> Option<u16> {
    let asked = limits.asked;
    let granted = match config.maximum_keep_alive {
        // Before 5.0 the client cannot be told, so its own value stands.
        Some(most) if limits.version == Version::V5 && (asked.keep_alive == 0 || asked.keep_alive > most) => most,
        // Before 5.0 the client cannot be told, but nothing keeps us from waiting longer.
        Some(_) | None if asked.keep_alive > 0 && asked.keep_alive < config.minimum_keep_alive => {
            config.minimum_keep_alive
        }
        // v5 [MQTT-3.2.2-22].
        Some(_) | None => asked.keep_alive,
    };
    let connack = Connack {
        // v5 [MQTT-3.1.2-4], v4 [MQTT-3.1.2-6], v5 [MQTT-3.2.2-2], v5 [MQTT-3.2.2-3], v4 [MQTT-3.2.2-1], v4 [MQTT-3.2.2-2], v4 [MQTT-3.2.2-3]: only if the client
        // wanted it and it was found; 3.1 has no word for it.
        session_present: accept.session_present && !asked.clean_start && limits.version != Version::V31,
        reason: ReasonCode::SUCCESS,
        properties: Properties::EMPTY,
    };
    let mut list = Vec::new();
    if limits.version == Version::V5 {
        announce(&mut list, limits, config);
        if granted != asked.keep_alive {
            list.push(Property::ServerKeepAlive(granted));
        }
        if let Some(id) = accept.assigned_client_id {
            list.push(Property::AssignedClientIdentifier(id));
        }
        // v5 [X5-CACK-1]: only if it is not what the client asked for.
        if let Some(seconds) = accept.session_expiry_interval {
            list.push(Property::SessionExpiryInterval(seconds));
        }
        // v5 [MQTT-4.12.0-5], v5 [MQTT-4.12.0-6]: the method of CONNECT, and none if that had none.
        if let Some(method) = limits.exchange().and_then(|exchange| Utf8::new(exchange.method())) {
            list.push(Property::AuthenticationMethod(method));
            list.extend(accept.authentication_data.map(Property::AuthenticationData));
        }
        list.extend(accept.properties.iter().filter(|property| may_answer(property, limits)));
    }
    // v5 [MQTT-3.1.4-5], v5 [MQTT-3.2.0-1], v4 [MQTT-3.1.4-4], v4 [MQTT-3.2.0-1]: the first packet of all.
    let connack = Connack { properties: Properties::from_slice(&list), ..connack };
    control.push(&Packet::Connack(connack), limits).then_some(granted)
}

/// What differs from the defaults of 5.0.
fn announce(list: &mut Vec<Property<'_>>, limits: &Limits, config: &ServerConfig) {
    if config.receive_maximum != u16::MAX {
        list.push(Property::ReceiveMaximum(config.receive_maximum.max(1)));
    }
    // v5 [MQTT-3.2.2-9].
    match limits.offer.maximum_qos {
        Qos::AtMostOnce => list.push(Property::MaximumQos(false)),
        Qos::AtLeastOnce => list.push(Property::MaximumQos(true)),
        Qos::ExactlyOnce => {}
    }
    if config.maximum_packet_size != u32::MAX {
        list.push(Property::MaximumPacketSize(config.maximum_packet_size.max(1)));
    }
    if limits.alias_maximum > 0 {
        list.push(Property::TopicAliasMaximum(limits.alias_maximum));
    }
    let offer = limits.offer;
    let unserved = [
        (offer.retain, Property::RetainAvailable(false)),
        (offer.wildcards, Property::WildcardSubscriptionAvailable(false)),
        (offer.subscription_ids, Property::SubscriptionIdentifierAvailable(false)),
        (offer.shared, Property::SharedSubscriptionAvailable(false)),
    ];
    list.extend(unserved.into_iter().filter(|(served, _)| !served).map(|(_, property)| property));
}

/// Whether the host's property may stand in this CONNACK.
fn may_answer(property: &Property<'_>, limits: &Limits) -> bool {
    match property {
        // v5 [MQTT-3.1.2-28]: only to whom asked.
        Property::ResponseInformation(_) => limits.asked.response_information,
        Property::AuthenticationMethod(_) | Property::AuthenticationData(_) => false,
        _ => true,
    }
}

/// v5 [X5-CACK-10]: the reasons that a Server Reference goes with.
fn redirects(reason: ReasonCode) -> bool {
    matches!(reason, ReasonCode::USE_ANOTHER_SERVER | ReasonCode::SERVER_MOVED)
}

/// Queues the CONNACK that turns the client away, where its version has a word for `reason`.
///
/// v5 [MQTT-3.1.3-8], v5 [MQTT-3.1.4-2], v5 [MQTT-4.12.0-1], v5 [MQTT-4.12.0-4], v4 [MQTT-3.1.3-9]: whatever the host's reason is.
pub(crate) fn reject(control: &mut Control, limits: &Limits, reason: ReasonCode, properties: &[Property<'_>]) {
    let reason = match reason {
        // CONNACK has no such code; it is the same news.
        ReasonCode::SERVER_SHUTTING_DOWN => ReasonCode::SERVER_UNAVAILABLE,
        reason if reason.is_error() => reason,
        _ => ReasonCode::UNSPECIFIED_ERROR,
    };
    let may_stand = |property: &&Property<'_>| !matches!(property, Property::ServerReference(_)) || redirects(reason);
    let list: Vec<_> = properties.iter().filter(may_stand).copied().collect();
    // v5 [MQTT-3.2.2-6], v4 [MQTT-3.2.2-4]: never with Session Present.
    let connack = Connack { session_present: false, reason, properties: Properties::from_slice(&list) };
    match limits.version {
        // v4 [MQTT-3.2.2-6]: where no return code fits, there is no CONNACK.
        Version::V31 | Version::V311 => {
            control.push(&Packet::Connack(Connack { properties: Properties::EMPTY, ..connack }), limits);
        }
        Version::V5 => {
            let plain = Connack { properties: Properties::EMPTY, ..connack };
            let unspecified = Connack { reason: ReasonCode::UNSPECIFIED_ERROR, ..plain };
            let mut said = [connack, plain, unspecified].into_iter();
            said.any(|connack| control.push(&Packet::Connack(connack), limits));
        }
    }
}

/// Answers a CONNECT that could not be read, where the standard has an answer.
pub(crate) fn refuse_unread(control: &mut Control, limits: &Limits, error: &DecodeError) {
    match error.kind {
        // v5 [X5-ERR-1]: in the form of the newest version for what is newer, else in the oldest.
        DecodeErrorKind::UnsupportedLevel(6..) => control.push_raw(&[0x20, 0x03, 0x00, 0x84, 0x00]),
        DecodeErrorKind::UnsupportedLevel(_) => control.push_raw(&[0x20, 0x02, 0x00, 0x01]),
        // v5 [MQTT-3.1.4-1]: a code for whom 5.0 is spoken with; v4 [MQTT-3.1.4-1]: no CONNACK.
        DecodeErrorKind::Malformed | DecodeErrorKind::ProtocolError if error.statement.starts_with("v5") => {
            reject(control, limits, error.reason, &[]);
        }
        _ => {}
    }
}

/// Queues a DISCONNECT. At 3.1 and 3.1.1 only clients have one, and it says that all is well.
pub(crate) fn disconnect(control: &mut Control, limits: &Limits, reason: ReasonCode, properties: &[Property<'_>]) {
    if limits.version != Version::V5 {
        if limits.role == Role::Client && reason == ReasonCode::SUCCESS {
            let plain = Disconnect { reason, properties: Properties::EMPTY };
            control.push(&Packet::Disconnect(plain), limits);
        }
        return;
    }
    let may_stand = |property: &&Property<'_>| match property {
        // v5 [MQTT-3.14.2-2]: never from a server. v5 [X5-DISC-2]: a client cannot raise it from 0.
        Property::SessionExpiryInterval(seconds) => {
            limits.role == Role::Client && (*seconds == 0 || !limits.asked.no_expiry)
        }
        // v5 [X5-CACK-10]: never from a client, and only where the client is sent elsewhere.
        Property::ServerReference(_) => limits.role == Role::Server && redirects(reason),
        _ => true,
    };
    let list: Vec<_> = properties.iter().filter(may_stand).copied().collect();
    let disconnect = Disconnect { reason, properties: Properties::from_slice(&list) };
    let plain = Disconnect { properties: Properties::EMPTY, ..disconnect };
    let unspecified = Disconnect { reason: ReasonCode::UNSPECIFIED_ERROR, ..plain };
    let mut said = [disconnect, plain, unspecified].into_iter();
    said.any(|disconnect| control.push(&Packet::Disconnect(disconnect), limits));
}

/// Judges the DISCONNECT of the peer. v5 [X5-DISC-3]: a Session Expiry Interval in it is news for the host.
pub(crate) fn judge_disconnect(disconnect: &Disconnect<'_>, limits: &Limits) -> Result<(), Broken> {
    let expiry = disconnect.properties.session_expiry_interval();
    match limits.role {
        // v5 [X5-DISC-2]: from 0 it cannot be raised, and this is no proper DISCONNECT.
        Role::Server if limits.asked.no_expiry && expiry.is_some_and(|seconds| seconds > 0) => {
            Err(("v5 [X5-DISC-2]", ReasonCode::PROTOCOL_ERROR))
        }
        Role::Client if expiry.is_some() => Err(("v5 [MQTT-3.14.2-2]", ReasonCode::PROTOCOL_ERROR)),
        // v4 [X311-DISC-1]: only clients say it.
        Role::Client if limits.version != Version::V5 => Err(("v4 [X311-DISC-1]", ReasonCode::PROTOCOL_ERROR)),
        Role::Server | Role::Client => Ok(()),
    }
}
