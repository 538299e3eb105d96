//! Packets for people: `Display` is one readable line for a log, which shows topics and client identifiers and never a payload or a
//! password; `Debug` is everything but passwords and authentication data.
use super::{Ack, Auth, Connack, Connect, Disconnect, Packet, Publish, Suback, Subscribe, Unsuback, Unsubscribe, Will};
use crate::names::Octets;
use crate::{AckKind, Properties, Utf8};
use core::fmt::{self, Debug, Display, Formatter};

impl Display for Packet<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(packet) => Display::fmt(packet, f),
            Self::Connack(packet) => Display::fmt(packet, f),
            Self::Publish(packet) => Display::fmt(packet, f),
            Self::Ack(packet) => Display::fmt(packet, f),
            Self::Subscribe(packet) => Display::fmt(packet, f),
            Self::Suback(packet) => Display::fmt(packet, f),
            Self::Unsubscribe(packet) => Display::fmt(packet, f),
            Self::Unsuback(packet) => Display::fmt(packet, f),
            Self::Pingreq => f.write_str("PINGREQ"),
            Self::Pingresp => f.write_str("PINGRESP"),
            Self::Disconnect(packet) => Display::fmt(packet, f),
            Self::Auth(packet) => Display::fmt(packet, f),
        }
    }
}

impl Display for Connect<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (version, clean, keep_alive) = (self.version, u8::from(self.clean_start), self.keep_alive);
        write!(f, "CONNECT {version} clean {clean} keep-alive {keep_alive} client ")?;
        line(f, self.client_id.as_str())?;
        if let Some(will) = &self.will {
            write!(f, " will {will}")?;
        }
        if let Some(name) = self.user_name {
            f.write_str(" user ")?;
            line(f, name.as_str())?;
        }
        if self.password.is_some() {
            f.write_str(" password")?;
        }
        diagnostics(f, self.properties)
    }
}

impl Display for Will<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "q{} r{} ", self.qos as u8, u8::from(self.retain))?;
        line(f, self.topic.as_str())?;
        write!(f, " {} bytes", self.payload.len())
    }
}

impl Display for Connack<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "CONNACK {:?} present {}", self.reason, u8::from(self.session_present))?;
        diagnostics(f, self.properties)
    }
}

impl Display for Publish<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "PUBLISH q{} r{} d{}", self.qos as u8, u8::from(self.retain), u8::from(self.dup))?;
        if let Some(id) = self.packet_id {
            write!(f, " id {id}")?;
        }
        f.write_str(" ")?;
        if let Some(alias) = self.properties.topic_alias() {
            write!(f, "alias {alias} ")?;
        }
        if let Some(topic) = self.topic {
            line(f, topic.as_str())?;
            f.write_str(" ")?;
        }
        write!(f, "{} bytes", self.payload.len())
    }
}

impl Display for Ack<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} id {} {:?}", self.kind, self.packet_id, self.reason)?;
        diagnostics(f, self.properties)
    }
}

impl Display for AckKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Puback => "PUBACK",
            Self::Pubrec => "PUBREC",
            Self::Pubrel => "PUBREL",
            Self::Pubcomp => "PUBCOMP",
        })
    }
}

impl Display for Subscribe<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "SUBSCRIBE id {}", self.packet_id)?;
        self.subscriptions.iter().try_for_each(|subscription| match subscription {
            Ok(subscription) => {
                f.write_str(" ")?;
                line(f, subscription.filter.as_str())?;
                write!(f, " q{}", subscription.options.qos as u8)
            }
            Err(_) => f.write_str(" (bad filter)"),
        })
    }
}

impl Display for Suback<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "SUBACK id {}", self.packet_id)?;
        self.codes.iter().try_for_each(|code| write!(f, " {code:?}"))?;
        diagnostics(f, self.properties)
    }
}

impl Display for Unsubscribe<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "UNSUBSCRIBE id {}", self.packet_id)?;
        self.filters.iter().try_for_each(|filter| {
            f.write_str(" ")?;
            line(f, filter.map_or("(bad filter)", |filter| filter.as_str()))
        })
    }
}

impl Display for Unsuback<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "UNSUBACK id {}", self.packet_id)?;
        self.codes.iter().try_for_each(|code| write!(f, " {code:?}"))?;
        diagnostics(f, self.properties)
    }
}

impl Display for Disconnect<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "DISCONNECT {:?}", self.reason)?;
        diagnostics(f, self.properties)
    }
}

impl Display for Auth<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "AUTH {:?}", self.reason)?;
        diagnostics(f, self.properties)
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

impl Debug for Connect<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("properties", &self.properties)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("password", &self.password.map(|_| format_args!("(not shown)")))
            .finish()
    }
}

impl Debug for Will<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Will")
            .field("topic", &self.topic)
            .field("payload", &Octets(self.payload))
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("properties", &self.properties)
            .finish()
    }
}

impl Debug for Publish<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("dup", &self.dup)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("topic", &self.topic)
            .field("packet_id", &self.packet_id)
            .field("properties", &self.properties)
            .field("payload", &Octets(self.payload))
            .finish()
    }
}
