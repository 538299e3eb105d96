//! MQTT packets to and from bytes.
#![no_std]
#![forbid(unsafe_code)]
#![warn(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::todo
)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod error;
mod frame;
mod out_buf;
mod packet;
mod properties;
mod property;
mod read;
mod reason;
mod rules;
mod types;
mod write;

pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub use frame::{Packets, Reader, frame_len};
pub use mqtt_topic::{self as topic, FilterError, NameError, TopicFilter, TopicName};
pub use out_buf::{Append, OutBuf};
pub use packet::{
    Ack, AckKind, Auth, Connack, Connect, Disconnect, Filters, Packet, Publish, ReasonCodes,
    RetainHandling, Suback, Subscribe, SubscribeOptions, Subscription, Subscriptions, Unsuback,
    Unsubscribe, Will,
};
pub use properties::{Properties, PropertiesIter};
pub use property::{Property, PropertyId};
pub use reason::ReasonCode;
pub use types::{PacketId, Qos, Role, Utf8, Version};
