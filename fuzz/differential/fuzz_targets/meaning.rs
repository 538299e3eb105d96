//! The main fields of a packet, as each crate reads them.
use bytes::BytesMut;
use mqtt_codec::{AckKind, Packet};
use mqtt_protocol_core::mqtt::packet::{Qos, v3_1_1, v5_0};
use std::fmt::Debug;

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Meaning {
    /// The packet type.
    kind: u8,
    /// The packet identifier, or 0.
    id: u16,
    /// The topic name, the filters (each with its QoS in a SUBSCRIBE), the client identifier.
    texts: Vec<String>,
    payload: Vec<u8>,
    /// The flags of a PUBLISH, Keep Alive and Clean Start, Session Present, how many codes.
    number: u32,
}

fn meaning(kind: u8, id: u16) -> Meaning {
    Meaning { kind, id, texts: Vec::new(), payload: Vec::new(), number: 0 }
}

fn publish(id: u16, topic: &str, payload: &[u8], dup: bool, qos: u8, retain: bool) -> Meaning {
    let number = u32::from(dup) << 3 | u32::from(qos) << 1 | u32::from(retain);
    Meaning { texts: vec![topic.to_owned()], payload: payload.to_vec(), number, ..meaning(3, id) }
}

fn filters(kind: u8, id: u16, texts: impl Iterator<Item = String>) -> Meaning {
    Meaning { texts: texts.collect(), ..meaning(kind, id) }
}

fn connect(client_id: &str, keep_alive: u16, clean: bool) -> Meaning {
    let number = u32::from(keep_alive) << 1 | u32::from(clean);
    Meaning { texts: vec![client_id.to_owned()], number, ..meaning(1, 0) }
}

fn counted(kind: u8, id: u16, count: usize) -> Meaning {
    Meaning { number: count as u32, ..meaning(kind, id) }
}

impl Meaning {
    pub(crate) fn of(packet: &Packet<'_>) -> Self {
        match packet {
            Packet::Connect(p) => connect(p.client_id.as_str(), p.keep_alive, p.clean_start),
            Packet::Connack(p) => counted(2, 0, p.session_present.into()),
            Packet::Publish(p) => publish(
                p.packet_id.map_or(0, |id| id.get()),
                p.topic.map_or("", |topic| topic.as_str()),
                p.payload,
                p.dup,
                p.qos as u8,
                p.retain,
            ),
            Packet::Ack(p) => {
                let kind = match p.kind {
                    AckKind::Puback => 4,
                    AckKind::Pubrec => 5,
                    AckKind::Pubrel => 6,
                    AckKind::Pubcomp => 7,
                };
                meaning(kind, p.packet_id.get())
            }
            Packet::Subscribe(p) => filters(
                8,
                p.packet_id.get(),
                p.subscriptions.iter().flatten().map(|one| format!("{} {}", one.filter, one.options.qos as u8)),
            ),
            Packet::Suback(p) => counted(9, p.packet_id.get(), p.codes.len()),
            Packet::Unsubscribe(p) => {
                filters(10, p.packet_id.get(), p.filters.iter().flatten().map(|filter| filter.to_string()))
            }
            Packet::Unsuback(p) => meaning(11, p.packet_id.get()),
            Packet::Pingreq => meaning(12, 0),
            Packet::Pingresp => meaning(13, 0),
            Packet::Disconnect(_) => meaning(14, 0),
            Packet::Auth(_) => meaning(15, 0),
        }
    }
}

fn words(error: impl Debug) -> String {
    format!("{error:?}")
}

pub(crate) fn rumqttc_v4(frame: &mut BytesMut) -> Result<Meaning, String> {
    use rumqttc::mqttbytes::v4::Packet;
    Ok(match Packet::read(frame, usize::MAX).map_err(words)? {
        Packet::Connect(p) => connect(&p.client_id, p.keep_alive, p.clean_session),
        Packet::ConnAck(p) => counted(2, 0, p.session_present.into()),
        Packet::Publish(p) => publish(p.pkid, &p.topic, &p.payload, p.dup, p.qos as u8, p.retain),
        Packet::PubAck(p) => meaning(4, p.pkid),
        Packet::PubRec(p) => meaning(5, p.pkid),
        Packet::PubRel(p) => meaning(6, p.pkid),
        Packet::PubComp(p) => meaning(7, p.pkid),
        Packet::Subscribe(p) => {
            filters(8, p.pkid, p.filters.iter().map(|one| format!("{} {}", one.path, one.qos as u8)))
        }
        Packet::SubAck(p) => counted(9, p.pkid, p.return_codes.len()),
        Packet::Unsubscribe(p) => filters(10, p.pkid, p.topics.into_iter()),
        Packet::UnsubAck(p) => meaning(11, p.pkid),
        Packet::PingReq => meaning(12, 0),
        Packet::PingResp => meaning(13, 0),
        Packet::Disconnect => meaning(14, 0),
    })
}

pub(crate) fn rumqttc_v5(frame: &mut BytesMut) -> Result<Meaning, String> {
    use rumqttc::v5::mqttbytes::v5::Packet;
    Ok(match Packet::read(frame, None).map_err(words)? {
        Packet::Connect(p, _, _) => connect(&p.client_id, p.keep_alive, p.clean_start),
        Packet::ConnAck(p) => counted(2, 0, p.session_present.into()),
        Packet::Publish(p) => {
            publish(p.pkid, &String::from_utf8_lossy(&p.topic), &p.payload, p.dup, p.qos as u8, p.retain)
        }
        Packet::PubAck(p) => meaning(4, p.pkid),
        Packet::PubRec(p) => meaning(5, p.pkid),
        Packet::PubRel(p) => meaning(6, p.pkid),
        Packet::PubComp(p) => meaning(7, p.pkid),
        Packet::Subscribe(p) => {
            filters(8, p.pkid, p.filters.iter().map(|one| format!("{} {}", one.path, one.qos as u8)))
        }
        Packet::SubAck(p) => counted(9, p.pkid, p.return_codes.len()),
        Packet::Unsubscribe(p) => filters(10, p.pkid, p.filters.into_iter()),
        Packet::UnsubAck(p) => meaning(11, p.pkid),
        Packet::PingReq(_) => meaning(12, 0),
        Packet::PingResp(_) => meaning(13, 0),
        Packet::Disconnect(_) => meaning(14, 0),
        Packet::Auth(_) => meaning(15, 0),
    })
}

fn qos_pid(qos_pid: mqtt_proto::QosPid) -> (u8, u16) {
    (qos_pid.qos() as u8, qos_pid.pid().map_or(0, |id| id.value()))
}

pub(crate) fn proto_v4(frame: &[u8]) -> Result<Meaning, String> {
    use mqtt_proto::v3::Packet;
    Ok(match Packet::decode(frame).map_err(words)?.ok_or("wants more")? {
        Packet::Connect(p) => connect(&p.client_id, p.keep_alive, p.clean_session),
        Packet::Connack(p) => counted(2, 0, p.session_present.into()),
        Packet::Publish(p) => {
            let (qos, id) = qos_pid(p.qos_pid);
            publish(id, &p.topic_name, &p.payload, p.dup, qos, p.retain)
        }
        Packet::Puback(id) => meaning(4, id.value()),
        Packet::Pubrec(id) => meaning(5, id.value()),
        Packet::Pubrel(id) => meaning(6, id.value()),
        Packet::Pubcomp(id) => meaning(7, id.value()),
        Packet::Subscribe(p) => {
            filters(8, p.pid.value(), p.topics.iter().map(|(filter, qos)| format!("{} {}", &**filter, *qos as u8)))
        }
        Packet::Suback(p) => counted(9, p.pid.value(), p.topics.len()),
        Packet::Unsubscribe(p) => filters(10, p.pid.value(), p.topics.iter().map(|filter| filter.to_string())),
        Packet::Unsuback(id) => meaning(11, id.value()),
        Packet::Pingreq => meaning(12, 0),
        Packet::Pingresp => meaning(13, 0),
        Packet::Disconnect => meaning(14, 0),
    })
}

pub(crate) fn proto_v5(frame: &[u8]) -> Result<Meaning, String> {
    use mqtt_proto::v5::Packet;
    Ok(match Packet::decode(frame).map_err(words)?.ok_or("wants more")? {
        Packet::Connect(p) => connect(&p.client_id, p.keep_alive, p.clean_start),
        Packet::Connack(p) => counted(2, 0, p.session_present.into()),
        Packet::Publish(p) => {
            let (qos, id) = qos_pid(p.qos_pid);
            publish(id, &p.topic_name, &p.payload, p.dup, qos, p.retain)
        }
        Packet::Puback(p) => meaning(4, p.pid.value()),
        Packet::Pubrec(p) => meaning(5, p.pid.value()),
        Packet::Pubrel(p) => meaning(6, p.pid.value()),
        Packet::Pubcomp(p) => meaning(7, p.pid.value()),
        Packet::Subscribe(p) => {
            let texts = p.topics.iter().map(|(filter, options)| format!("{} {}", &**filter, options.max_qos as u8));
            filters(8, p.pid.value(), texts)
        }
        Packet::Suback(p) => counted(9, p.pid.value(), p.topics.len()),
        Packet::Unsubscribe(p) => filters(10, p.pid.value(), p.topics.iter().map(|filter| filter.to_string())),
        Packet::Unsuback(p) => meaning(11, p.pid.value()),
        Packet::Pingreq => meaning(12, 0),
        Packet::Pingresp => meaning(13, 0),
        Packet::Disconnect(_) => meaning(14, 0),
        Packet::Auth(_) => meaning(15, 0),
    })
}

/// First byte, and what stands behind the fixed header; `mqtt-protocol-core` takes the two apart in its connection.
fn split(frame: &[u8]) -> Result<(u8, &[u8]), String> {
    let (first, rest) = frame.split_first().ok_or("empty")?;
    let end = rest.iter().position(|byte| *byte < 0x80).ok_or("no length")?;
    Ok((*first, &rest[end + 1..]))
}

/// A parser that leaves nothing over: its connection checks that.
fn whole<T, E: Debug>(body: &[u8], parsed: Result<(T, usize), E>) -> Result<T, String> {
    let (packet, taken) = parsed.map_err(words)?;
    if taken == body.len() { Ok(packet) } else { Err("bytes are left over".into()) }
}

fn level(qos: Qos) -> u8 {
    qos as u8
}

macro_rules! core {
    ($name:ident, $version:ident, $clean:ident, $codes:ident $(, $auth:ident)?) => {
        pub(crate) fn $name(frame: &[u8]) -> Result<Meaning, String> {
            use $version as v;
            let (first, body) = split(frame)?;
            // flags are judged by its connection, not by its packets
            let fixed = if matches!(first >> 4, 6 | 8 | 10) { 2 } else { 0 };
            if first >> 4 != 3 && first & 0x0F != fixed {
                return Err("flags".into());
            }
            Ok(match first >> 4 {
                1 => {
                    let p = whole(body, v::Connect::parse(body))?;
                    connect(p.client_id(), p.keep_alive(), p.$clean())
                }
                2 => counted(2, 0, whole(body, v::Connack::parse(body))?.session_present().into()),
                3 => {
                    let p = whole(body, v::Publish::parse(first & 0x0F, body.into()))?;
                    publish(p.packet_id().unwrap_or(0), p.topic_name(), p.payload().as_slice(), p.dup(), level(p.qos()), p.retain())
                }
                4 => meaning(4, whole(body, v::Puback::parse(body))?.packet_id()),
                5 => meaning(5, whole(body, v::Pubrec::parse(body))?.packet_id()),
                6 => meaning(6, whole(body, v::Pubrel::parse(body))?.packet_id()),
                7 => meaning(7, whole(body, v::Pubcomp::parse(body))?.packet_id()),
                8 => {
                    let p = whole(body, v::Subscribe::parse(body))?;
                    let texts = p.entries().iter().map(|one| format!("{} {}", one.topic_filter(), level(one.sub_opts().qos())));
                    filters(8, p.packet_id(), texts)
                }
                9 => {
                    let p = whole(body, v::Suback::parse(body))?;
                    counted(9, p.packet_id(), p.$codes().len())
                }
                10 => {
                    let p = whole(body, v::Unsubscribe::parse(body))?;
                    filters(10, p.packet_id(), p.entries().iter().map(|filter| filter.as_str().to_owned()))
                }
                11 => meaning(11, whole(body, v::Unsuback::parse(body))?.packet_id()),
                12 => whole(body, v::Pingreq::parse(body)).map(|_| meaning(12, 0))?,
                13 => whole(body, v::Pingresp::parse(body)).map(|_| meaning(13, 0))?,
                14 => whole(body, v::Disconnect::parse(body)).map(|_| meaning(14, 0))?,
                $(15 => whole(body, v::$auth::parse(body)).map(|_| meaning(15, 0))?,)?
                _ => return Err("type".into()),
            })
        }
    };
}

core!(core_v4, v3_1_1, clean_session, return_codes);
core!(core_v5, v5_0, clean_start, reason_codes, Auth);
