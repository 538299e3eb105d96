//! Packets as the simulated clients send them.
use super::plan::{Connect, Publish};
use mqtt_broker_core::codec::{
    Ack, AckKind, Connect as ConnectPacket, Filters, Packet, PacketId, Properties, Property, Publish as PublishPacket,
    Qos, ReasonCode, Subscribe, SubscribeOptions, Subscription, Subscriptions, TopicFilter, TopicName, Unsubscribe,
    Utf8, Version, Will,
};

/// The number a payload begins with; 0 for an empty one.
pub(super) fn number_of(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// What a message that comes for the so-manieth time is known by.
pub(super) fn again(number: u32, times: u32) -> u32 {
    number | ((times - 1) << 24)
}

/// What its publisher knows a message by.
pub(super) fn as_sent(number: u32) -> u32 {
    number & 0xFF_FFFF
}

pub(super) fn encode(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).expect("a packet of a client");
    bytes
}

pub(super) fn connect(plan: &Connect, name: &str) -> Vec<u8> {
    let v5 = plan.version == Version::V5;
    let mut properties = Vec::new();
    if v5 {
        properties.push(Property::SessionExpiryInterval(plan.expiry));
        properties.extend(plan.receive_maximum.map(Property::ReceiveMaximum));
        properties.extend(plan.aliases.map(Property::TopicAliasMaximum));
        properties.extend(plan.max_packet.map(Property::MaximumPacketSize));
    }
    let mut of_will = Vec::new();
    let mut payload = Vec::new();
    if let Some(will) = &plan.will {
        payload = will.payload();
        if v5 {
            of_will.push(Property::WillDelayInterval(will.delay));
            of_will.extend(will.expiry.map(Property::MessageExpiryInterval));
        }
    }
    let will = plan.will.as_ref().map(|will| Will {
        topic: TopicName::new(will.topic).unwrap(),
        payload: &payload,
        qos: will.qos,
        retain: will.retain,
        properties: Properties::from_slice(&of_will),
    });
    let packet = ConnectPacket {
        version: plan.version,
        clean_start: plan.clean_start,
        keep_alive: plan.keep_alive,
        properties: Properties::from_slice(&properties),
        client_id: Utf8::new(name).unwrap(),
        will,
        user_name: None,
        password: None,
    };
    encode(&Packet::Connect(packet), plan.version)
}

/// `known`: the alias stands for the topic already.
pub(super) fn publish(plan: &Publish, id: u16, dup: bool, known: bool, version: Version) -> Vec<u8> {
    let payload = plan.payload();
    let mut properties = Vec::new();
    if version == Version::V5 {
        properties.extend(plan.expiry.map(Property::MessageExpiryInterval));
        properties.extend(plan.alias.map(Property::TopicAlias));
    }
    let packet = PublishPacket {
        dup,
        qos: plan.qos,
        retain: plan.retain,
        topic: if known { None } else { Some(TopicName::new(plan.topic).unwrap()) },
        packet_id: if plan.qos == Qos::AtMostOnce { None } else { PacketId::new(id) },
        properties: Properties::from_slice(&properties),
        payload: &payload,
    };
    encode(&Packet::Publish(packet), version)
}

pub(super) fn subscribe(
    list: &[(&str, SubscribeOptions)],
    identifier: Option<u32>,
    id: u16,
    version: Version,
) -> Vec<u8> {
    let list: Vec<_> = list
        .iter()
        .map(|(filter, options)| Subscription { filter: TopicFilter::new(filter).unwrap(), options: *options })
        .collect();
    let properties: Vec<_> = identifier.into_iter().map(Property::SubscriptionIdentifier).collect();
    let packet = Subscribe {
        packet_id: PacketId::new(id).unwrap(),
        properties: Properties::from_slice(&properties),
        subscriptions: Subscriptions::from_slice(&list),
    };
    encode(&Packet::Subscribe(packet), version)
}

pub(super) fn unsubscribe(filter: &str, id: u16, version: Version) -> Vec<u8> {
    let list = [TopicFilter::new(filter).unwrap()];
    let packet = Unsubscribe {
        packet_id: PacketId::new(id).unwrap(),
        properties: Properties::EMPTY,
        filters: Filters::from_slice(&list),
    };
    encode(&Packet::Unsubscribe(packet), version)
}

pub(super) fn ack(kind: AckKind, id: u16, version: Version) -> Vec<u8> {
    let packet_id = PacketId::new(id).unwrap();
    encode(&Packet::Ack(Ack { kind, packet_id, reason: ReasonCode::SUCCESS, properties: Properties::EMPTY }), version)
}
