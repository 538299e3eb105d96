//! The broker's own records as bytes, beside those of sessions (`mqtt_session::Change`, `Snapshot`), in the same frame.
//!
//! ```text
//! under a client identifier, in Clients
//! 0x40 client        version u8 | durability u8 | listener u32 | expiry u32 | most of it u32 | ends u64 | user name u8 (0, 1) | bytes if 1
//!                    expiry in seconds, all ones: never; ends: Unix milliseconds, all ones: never, 0: it is connected
//! 0x41 subscribed    filter bytes | QoS u8 | options u8 (1 no local, 2 retain as published) | identifier u32, 0: none
//!                    | number of its group u64, 0: none | count u32 | count x (bytes: what its client calls it)
//! 0x42 unsubscribed  filter bytes
//! 0x43 will          delivery | expiry u8 (0, 1) | seconds u32 if 1 | delay in seconds u32 | due u64 (Unix milliseconds, all ones: not yet) | peer
//! 0x44 no will       nothing
//! peer               listener u32 | address u8 (0, 4, 6) | 4 or 16 bytes and port u16 if not 0 | identity u8 (0, 1) | bytes if 1
//!
//! under a topic name, in Retained
//! 0x45 retained      delivery
//!
//! under a number of eight bytes, in Wills
//! 0x46 due           client bytes | user name u8 (0, 1) | bytes if 1 | version u8 | as a will
//!
//! under kind u8 (0 client identifier, 1 user, 2 address) and text, in Bans
//! 0x47 ban           until u64 (Unix milliseconds, all ones: for ever)
//! ```
//!
//! `bytes` has its number before it, u32. A later record of a client replaces what an earlier one said of the same thing.
use crate::wills::{DueWill, Will};
use crate::{Ban, ClientId, Durability, Peer};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use mqtt_session::codec::{Qos, Version};
use mqtt_session::topic::{TopicFilter, TopicFilterBuf};
use mqtt_session::{Delivery, Epoch, Instant, RecordError, RecordReader, RecordWriter};

const CLIENT: u8 = 0x40;
const SUBSCRIBED: u8 = 0x41;
const UNSUBSCRIBED: u8 = 0x42;
const WILL: u8 = 0x43;
const NO_WILL: u8 = 0x44;
const RETAINED: u8 = 0x45;
const DUE: u8 = 0x46;
const BAN: u8 = 0x47;

const NEVER: u64 = u64::MAX;
const CONNECTED: u64 = 0;

/// Who a client is, and how long its session stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) version: Version,
    pub(crate) durability: Durability,
    pub(crate) listener: u32,
    pub(crate) expiry: u32,
    pub(crate) max_expiry: u32,
    pub(crate) stay: Stay,
    pub(crate) user_name: Option<Box<str>>,
}

/// How long a session stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    /// Its client is connected.
    Connected,
    Until(Instant),
    Forever,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscribed {
    pub(crate) filter: TopicFilterBuf,
    pub(crate) qos: Qos,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) identifier: u32,
    /// The number of its group, 0 for none.
    pub(crate) share: u64,
    /// What its client calls it, if that is something else.
    pub(crate) names: Vec<TopicFilterBuf>,
}

/// One record of the broker's own.
#[derive(Debug)]
pub(crate) enum Record {
    Client(Head),
    Subscribed(Subscribed),
    Unsubscribed(TopicFilterBuf),
    Will(Box<Will>),
    NoWill,
    Retained(Delivery),
    Due(Box<DueWill>),
    Ban(Option<Instant>),
}

// --- writing ---------------------------------------------------------------------------------------------------------

fn record(kind: u8, fill: impl FnOnce(&mut RecordWriter<'_>)) -> Arc<[u8]> {
    let mut bytes = Vec::new();
    let mut writer = RecordWriter::new(&mut bytes, kind);
    fill(&mut writer);
    writer.finish();
    bytes.into()
}

impl Head {
    pub(crate) fn write(&self, epoch: Epoch) -> Arc<[u8]> {
        record(CLIENT, |writer| {
            writer.u8(version_number(self.version));
            writer.u8(self.durability.number());
            writer.u32(self.listener);
            writer.u32(self.expiry);
            writer.u32(self.max_expiry);
            writer.u64(match self.stay {
                Stay::Connected => CONNECTED,
                Stay::Until(at) => epoch.to_unix_millis(at).clamp(CONNECTED + 1, NEVER - 1),
                Stay::Forever => NEVER,
            });
            text(writer, self.user_name.as_deref());
        })
    }
}

impl Subscribed {
    pub(crate) fn write(&self) -> Arc<[u8]> {
        record(SUBSCRIBED, |writer| {
            writer.bytes(self.filter.as_filter().as_bytes());
            writer.u8(self.qos as u8);
            writer.u8(u8::from(self.no_local) | u8::from(self.retain_as_published) << 1);
            writer.u32(self.identifier);
            writer.u64(self.share);
            writer.count(self.names.len());
            self.names.iter().for_each(|name| writer.bytes(name.as_filter().as_bytes()));
        })
    }
}

pub(crate) fn unsubscribed(filter: TopicFilter<'_>) -> Arc<[u8]> {
    record(UNSUBSCRIBED, |writer| writer.bytes(filter.as_bytes()))
}

pub(crate) fn no_will() -> Arc<[u8]> {
    record(NO_WILL, |_| {})
}

pub(crate) fn retained(delivery: &Delivery, epoch: Epoch) -> Arc<[u8]> {
    record(RETAINED, |writer| writer.delivery(delivery, epoch))
}

pub(crate) fn ban(until: Option<Instant>, epoch: Epoch) -> Arc<[u8]> {
    record(BAN, |writer| writer.u64(until.map_or(NEVER, |at| epoch.to_unix_millis(at).min(NEVER - 1))))
}

impl Will {
    pub(crate) fn record(&self, epoch: Epoch) -> Arc<[u8]> {
        record(WILL, |writer| self.write(writer, epoch))
    }

    fn write(&self, writer: &mut RecordWriter<'_>, epoch: Epoch) {
        writer.delivery(&Delivery::new(self.message.clone(), self.qos, self.retain), epoch);
        writer.u8(u8::from(self.expiry.is_some()));
        self.expiry.into_iter().for_each(|seconds| writer.u32(seconds));
        writer.u32(self.delay);
        writer.u64(self.due.map_or(NEVER, |at| epoch.to_unix_millis(at).min(NEVER - 1)));
        let Peer { address, listener, identity } = &self.peer;
        writer.u32(*listener);
        match address.map(|address| (address.ip(), address.port())) {
            None => writer.u8(0),
            Some((IpAddr::V4(ip), port)) => {
                writer.u8(4);
                ip.octets().into_iter().for_each(|byte| writer.u8(byte));
                writer.u16(port);
            }
            Some((IpAddr::V6(ip), port)) => {
                writer.u8(6);
                ip.octets().into_iter().for_each(|byte| writer.u8(byte));
                writer.u16(port);
            }
        }
        text(writer, identity.as_deref());
    }
}

impl DueWill {
    pub(crate) fn record(&self, epoch: Epoch) -> Arc<[u8]> {
        record(DUE, |writer| {
            writer.bytes(self.client.as_str().as_bytes());
            text(writer, self.user_name.as_deref());
            writer.u8(version_number(self.version));
            self.will.write(writer, epoch);
        })
    }
}

fn text(writer: &mut RecordWriter<'_>, text: Option<&str>) {
    writer.u8(u8::from(text.is_some()));
    text.into_iter().for_each(|text| writer.bytes(text.as_bytes()));
}

const fn version_number(version: Version) -> u8 {
    match version {
        Version::V31 => 3,
        Version::V311 => 4,
        Version::V5 => 5,
    }
}

// --- reading ---------------------------------------------------------------------------------------------------------

impl Record {
    pub(crate) fn read(bytes: &[u8], epoch: Epoch) -> Result<Self, RecordError> {
        let (kind, mut reader) = RecordReader::open(bytes)?;
        let record = match kind {
            CLIENT => Self::Client(Head {
                version: read_version(&mut reader)?,
                durability: Durability::numbered(reader.u8()?).ok_or(RecordError::Malformed)?,
                listener: reader.u32()?,
                expiry: reader.u32()?,
                max_expiry: reader.u32()?,
                stay: match reader.u64()? {
                    CONNECTED => Stay::Connected,
                    NEVER => Stay::Forever,
                    at => Stay::Until(epoch.from_unix(at)),
                },
                user_name: read_text(&mut reader)?.map(Into::into),
            }),
            SUBSCRIBED => {
                let filter = read_filter(&mut reader)?;
                let qos = match reader.u8()? {
                    0 => Qos::AtMostOnce,
                    1 => Qos::AtLeastOnce,
                    2 => Qos::ExactlyOnce,
                    _ => return Err(RecordError::Malformed),
                };
                let options = reader.u8()?;
                if options > 3 {
                    return Err(RecordError::Malformed);
                }
                let (identifier, share) = (reader.u32()?, reader.u64()?);
                let mut names = Vec::new();
                for _ in 0..reader.u32()? {
                    names.push(read_filter(&mut reader)?);
                }
                let (no_local, retain_as_published) = (options & 1 != 0, options & 2 != 0);
                Self::Subscribed(Subscribed { filter, qos, no_local, retain_as_published, identifier, share, names })
            }
            UNSUBSCRIBED => Self::Unsubscribed(read_filter(&mut reader)?),
            WILL => Self::Will(Box::new(read_will(&mut reader, epoch)?)),
            NO_WILL => Self::NoWill,
            RETAINED => Self::Retained(reader.delivery(epoch)?),
            DUE => Self::Due(Box::new(DueWill {
                client: ClientId::new(as_text(reader.bytes()?)?),
                user_name: read_text(&mut reader)?.map(Into::into),
                version: read_version(&mut reader)?,
                number: None,
                will: Box::new(read_will(&mut reader, epoch)?),
            })),
            BAN => Self::Ban(match reader.u64()? {
                NEVER => None,
                at => Some(epoch.from_unix(at)),
            }),
            _ => return Err(RecordError::Malformed),
        };
        reader.finish()?;
        Ok(record)
    }
}

fn read_will(reader: &mut RecordReader<'_>, epoch: Epoch) -> Result<Will, RecordError> {
    let Delivery { message, qos, retain, .. } = reader.delivery(epoch)?;
    let expiry = if read_flag(reader)? { Some(reader.u32()?) } else { None };
    let delay = reader.u32()?;
    let due = match reader.u64()? {
        NEVER => None,
        at => Some(epoch.from_unix(at)),
    };
    let listener = reader.u32()?;
    let ip = match reader.u8()? {
        0 => None,
        4 => Some(IpAddr::V4(Ipv4Addr::from(octets::<4>(reader)?))),
        6 => Some(IpAddr::V6(Ipv6Addr::from(octets::<16>(reader)?))),
        _ => return Err(RecordError::Malformed),
    };
    let address = match ip {
        Some(ip) => Some(SocketAddr::new(ip, reader.u16()?)),
        None => None,
    };
    let identity = read_text(reader)?.map(Into::into);
    Ok(Will { message, expiry, qos, retain, delay, due, peer: Peer { address, listener, identity } })
}

fn octets<const N: usize>(reader: &mut RecordReader<'_>) -> Result<[u8; N], RecordError> {
    let mut octets = [0; N];
    for octet in &mut octets {
        *octet = reader.u8()?;
    }
    Ok(octets)
}

fn read_version(reader: &mut RecordReader<'_>) -> Result<Version, RecordError> {
    match reader.u8()? {
        3 => Ok(Version::V31),
        4 => Ok(Version::V311),
        5 => Ok(Version::V5),
        _ => Err(RecordError::Malformed),
    }
}

fn read_filter(reader: &mut RecordReader<'_>) -> Result<TopicFilterBuf, RecordError> {
    TopicFilter::from_bytes(reader.bytes()?).map(Into::into).map_err(|_| RecordError::Malformed)
}

fn read_text<'a>(reader: &mut RecordReader<'a>) -> Result<Option<&'a str>, RecordError> {
    if read_flag(reader)? { as_text(reader.bytes()?).map(Some) } else { Ok(None) }
}

fn read_flag(reader: &mut RecordReader<'_>) -> Result<bool, RecordError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(RecordError::Malformed),
    }
}

pub(crate) fn as_text(bytes: &[u8]) -> Result<&str, RecordError> {
    core::str::from_utf8(bytes).map_err(|_| RecordError::Malformed)
}

// --- names of bans ---------------------------------------------------------------------------------------------------

pub(crate) fn ban_name(ban: &Ban) -> Vec<u8> {
    let (kind, text) = match ban {
        Ban::ClientId(id) => (0, id.to_string()),
        Ban::User(name) => (1, name.to_string()),
        Ban::Address(address) => (2, address.to_string()),
    };
    core::iter::once(kind).chain(text.into_bytes()).collect()
}

pub(crate) fn named_ban(name: &[u8]) -> Result<Ban, RecordError> {
    let (kind, text) = name.split_first().ok_or(RecordError::Malformed)?;
    let text = as_text(text)?;
    match kind {
        0 => Ok(Ban::ClientId(text.into())),
        1 => Ok(Ban::User(text.into())),
        2 => text.parse().map(Ban::Address).map_err(|_| RecordError::Malformed),
        _ => Err(RecordError::Malformed),
    }
}

// --- for people ------------------------------------------------------------------------------------------------------

impl Record {
    /// A line about it.
    pub(crate) fn describe(&self, epoch: Epoch) -> String {
        match self {
            Self::Client(head) => {
                let stays = match head.stay {
                    Stay::Connected => "connected".to_string(),
                    Stay::Until(at) => format!("until {} (Unix ms)", epoch.to_unix_millis(at)),
                    Stay::Forever => "for ever".to_string(),
                };
                let user = head.user_name.as_deref().map(|name| format!(", user {name:?}")).unwrap_or_default();
                format!(
                    "client{user}, MQTT {:?}, {:?}, expiry {} s, {stays}",
                    head.version, head.durability, head.expiry
                )
            }
            Self::Subscribed(subscribed) => {
                format!("subscribed to {} at QoS {}", subscribed.filter.as_filter(), subscribed.qos as u8)
            }
            Self::Unsubscribed(filter) => format!("unsubscribed from {}", filter.as_filter()),
            Self::Will(will) => describe_will(will, epoch),
            Self::NoWill => "no will".to_string(),
            Self::Retained(Delivery { message, qos, .. }) => {
                format!("retained at QoS {}, {} bytes", *qos as u8, message.payload().len())
            }
            Self::Due(due) => format!(
                "of client {:?}, waits for the policy: {}",
                due.client.as_str(),
                describe_will(&due.will, epoch)
            ),
            Self::Ban(None) => "banned for ever".to_string(),
            Self::Ban(Some(at)) => format!("banned until {} (Unix ms)", epoch.to_unix_millis(*at)),
        }
    }
}

fn describe_will(will: &Will, epoch: Epoch) -> String {
    let (topic, bytes) = (will.message.topic(), will.message.payload().len());
    let due = will.due.map(|at| format!(", due at {} (Unix ms)", epoch.to_unix_millis(at))).unwrap_or_default();
    format!("will on {topic} at QoS {}, {bytes} bytes, delay {} s{due}", will.qos as u8, will.delay)
}
