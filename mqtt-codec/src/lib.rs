//! MQTT 3.1, 3.1.1 and 5.0 packets to and from bytes: borrowed, without allocation, strict.
//!
//! - [`Packet`] is any packet of any version. [`Packet::decode`] borrows from the frame, [`Packet::encode`] writes what was decoded
//!   or built by hand; the version is a value. [`OwnedPacket`] is one to keep.
//! - [`Reader`] is the reading half of a connection: bytes in any split, packets out, limits judged from the header alone; a large
//!   PUBLISH in parts, for who asks for it.
//! - [`OutBuf`] is a bounded queue of bytes towards a socket; large payloads are referenced, not copied.
//! - [`Properties`] are validated once and read lazily.
//! - [`DecodeError`] says what is wrong, where, which statement of the standard it breaks, and which reason code answers it.
//! - [`Profile`] holds the switches and limits, for who wants other than the strict ones.
//!
//! Comments cite the standards as `v5 [MQTT-3.3.1-4]`, `v4 [MQTT-3.3.1-4]` (v4 is 3.1.1, v3 is 3.1) and, for rules that have no number
//! there, `[X5-CON-7]`.
#![doc = "\n"]
#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::todo)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

#[cfg(feature = "arbitrary")]
mod arbitrary;
mod error;
mod frame;
#[cfg(feature = "tokio-util")]
mod framed;
#[cfg(test)]
mod linear;
mod names;
mod out_buf;
mod owned;
mod packet;
mod profile;
mod properties;
mod property;
mod read;
mod reader;
mod reason;
mod rules;
#[cfg(feature = "serde")]
mod serde;
mod stream;
mod types;
mod write;

pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub use frame::frame_len;
#[cfg(feature = "tokio-util")]
pub use framed::{CodecError, PacketCodec};
pub use mqtt_topic::{self as topic, FilterError, NameError, TopicFilter, TopicName};
pub use out_buf::{Append, OutBuf};
pub use owned::OwnedPacket;
pub use packet::{
    Ack, AckKind, Auth, Connack, Connect, Disconnect, Filters, Packet, Publish, ReasonCodes, RetainHandling, Suback,
    Subscribe, SubscribeOptions, Subscription, Subscriptions, Unsuback, Unsubscribe, Will,
};
pub use profile::{Level3, Profile};
pub use properties::{Properties, PropertiesIter};
pub use property::{Property, PropertyId};
pub use reader::{Packets, Reader};
pub use reason::ReasonCode;
pub use stream::Part;
pub use types::{PacketId, Qos, Role, Utf8, Version};
