//! A packet as one readable line.
use super::Packet;
use crate::{AckKind, Properties, Utf8, Version};
use core::fmt::{self, Formatter};

impl fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(packet) => {
                let version = match packet.version {
                    Version::V31 => "3.1",
                    Version::V311 => "3.1.1",
                    Version::V5 => "5.0",
                };
                write!(
                    f,
                    "CONNECT {version} clean {} keep-alive {} client ",
                    u8::from(packet.clean_start),
                    packet.keep_alive
                )?;
                line(f, packet.client_id.as_str())?;
                if let Some(will) = &packet.will {
                    write!(f, " will q{} r{} ", will.qos as u8, u8::from(will.retain))?;
                    line(f, will.topic.as_str())?;
                    write!(f, " {} bytes", will.payload.len())?;
                }
                if let Some(name) = packet.user_name {
                    f.write_str(" user ")?;
                    line(f, name.as_str())?;
                }
                if packet.password.is_some() {
                    f.write_str(" password")?;
                }
                diagnostics(f, packet.properties)
            }
            Self::Connack(packet) => {
                write!(f, "CONNACK {:?} present {}", packet.reason, u8::from(packet.session_present))?;
                diagnostics(f, packet.properties)
            }
            Self::Publish(packet) => {
                write!(f, "PUBLISH q{} r{} d{}", packet.qos as u8, u8::from(packet.retain), u8::from(packet.dup))?;
                if let Some(id) = packet.packet_id {
                    write!(f, " id {}", id.get())?;
                }
                f.write_str(" ")?;
                if let Some(alias) = packet.properties.topic_alias() {
                    write!(f, "alias {alias} ")?;
                }
                if let Some(topic) = packet.topic {
                    line(f, topic.as_str())?;
                    f.write_str(" ")?;
                }
                write!(f, "{} bytes", packet.payload.len())
            }
            Self::Ack(packet) => {
                let name = match packet.kind {
                    AckKind::Puback => "PUBACK",
                    AckKind::Pubrec => "PUBREC",
                    AckKind::Pubrel => "PUBREL",
                    AckKind::Pubcomp => "PUBCOMP",
                };
                write!(f, "{name} id {} {:?}", packet.packet_id.get(), packet.reason)?;
                diagnostics(f, packet.properties)
            }
            Self::Subscribe(packet) => {
                write!(f, "SUBSCRIBE id {}", packet.packet_id.get())?;
                packet.subscriptions.iter().try_for_each(|subscription| match subscription {
                    Ok(subscription) => {
                        f.write_str(" ")?;
                        line(f, subscription.filter.as_str())?;
                        write!(f, " q{}", subscription.options.qos as u8)
                    }
                    Err(_) => f.write_str(" (bad filter)"),
                })
            }
            Self::Suback(packet) => {
                write!(f, "SUBACK id {}", packet.packet_id.get())?;
                packet.codes.iter().try_for_each(|code| write!(f, " {code:?}"))?;
                diagnostics(f, packet.properties)
            }
            Self::Unsubscribe(packet) => {
                write!(f, "UNSUBSCRIBE id {}", packet.packet_id.get())?;
                packet.filters.iter().try_for_each(|filter| {
                    f.write_str(" ")?;
                    line(f, filter.map_or("(bad filter)", |filter| filter.as_str()))
                })
            }
            Self::Unsuback(packet) => {
                write!(f, "UNSUBACK id {}", packet.packet_id.get())?;
                packet.codes.iter().try_for_each(|code| write!(f, " {code:?}"))?;
                diagnostics(f, packet.properties)
            }
            Self::Pingreq => f.write_str("PINGREQ"),
            Self::Pingresp => f.write_str("PINGRESP"),
            Self::Disconnect(packet) => {
                write!(f, "DISCONNECT {:?}", packet.reason)?;
                diagnostics(f, packet.properties)
            }
            Self::Auth(packet) => {
                write!(f, "AUTH {:?}", packet.reason)?;
                diagnostics(f, packet.properties)
            }
        }
    }
}

/// Text of the peer's, which stays on its line whatever is in it.
fn line(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    write!(f, "{}", text.escape_debug())
}

/// What the peer has to say about it.
fn diagnostics(f: &mut Formatter<'_>, properties: Properties<'_>) -> fmt::Result {
    match properties.reason_string().map(Utf8::as_str) {
        Some(reason) => write!(f, " ({})", reason.escape_debug()),
        None => Ok(()),
    }
}
