//! Both ends of an MQTT connection as sans-IO state machines: versions 3.1, 3.1.1 and 5.0, client and server.
//!
//! No sockets, no clock, no threads: bytes and the time go in; bytes, events and one deadline come out. One
//! [`Connection`] is one end; its [`Session`] is what outlives it and moves into the next by value.
//!
//! | | |
//! |---|---|
//! | what comes in | [`Connection::read`], or [`Connection::handle_packet`] with packets of one's own [`Reader`](codec::Reader) |
//! | what it means | [`Event`], borrowed from the bytes |
//! | what is asked | [`Connection::accept`], [`Connection::acknowledge`], [`Connection::publish`], [`Connection::deliver`], .. |
//! | what goes out | [`Connection::poll_transmit`] |
//! | when to come back | [`Connection::poll_timeout`], [`Connection::handle_timeout`] |
//! | what was agreed on | [`Connection::terms`] |
//! | the same for a client, with owned events | [`Client`], [`ClientEvent`] |
//! | what goes on without a connection | [`Session::publish`], [`Session::deliver`], [`Backoff`] |
//!
//! **Acknowledgements are the host's.** A server's end never acknowledges by itself: PUBACK, PUBREC, PUBCOMP, SUBACK and UNSUBACK
//! wait for the host, which may have something to store first; the answers leave in the order of arrival. A client's end
//! acknowledges by itself, unless told otherwise.
//!
//! **Errors say whose fault it is.** [`ProtocolError`] is the peer's, and ends the connection, its goodbye queued;
//! [`PublishError`], [`RequestError`] and [`QueueFull`] are ours, and have changed nothing.
//!
//! **Enhanced authentication** is the host's to serve (v5 [X5-AUTH-4]): it answers a CONNECT with an Authentication Method by
//! [`Connection::challenge`], or turns it away by [`Connection::reject`] with 0x8C.
//!
//! **Topic aliases** of the peer are taken; ours are set by themselves where the configuration allows for any, or by hand
//! ([`Connection::set_topic_alias`]).
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::todo)]

extern crate alloc;
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "std")]
extern crate std;

mod alias;
mod auth;
mod backoff;
mod client;
mod config;
mod connection;
mod control;
mod copies;
mod error;
mod event;
mod frame;
mod handshake;
mod inbound;
mod journal;
mod keep_alive;
mod limits;
mod message;
mod offline;
mod outbound;
mod outgoing;
mod packet_ids;
mod queue;
mod rare;
mod record;
mod requests;
mod session;
mod share;
mod snapshot;
mod terms;
mod time;

pub use backoff::Backoff;
pub use client::{Client, ClientEvent, Farewell, ReceivedMessage};
pub use config::{Accept, ClientConfig, QueueLimits, ServerConfig};
pub use connection::{Connection, Forwarded, Input, State, Transmit};
pub use copies::{Copies, CopyBuf};
pub use error::{AliasError, AuthError, ProtocolError, ProtocolErrorKind, PublishError, QueueFull, RequestError};
pub use event::{AckToken, Answered, Connected, Event, PublishToken, Received, RequestToken};
pub use frame::{RecordError, RecordReader, RecordWriter};
pub use journal::Change;
pub use message::{Delivery, Message, Publication, Topic};
pub use mqtt_codec as codec;
pub use mqtt_topic as topic;
pub use session::{DropReason, Drops, Place, Session};
pub use share::Share;
pub use snapshot::Snapshot;
pub use terms::{Redirect, Terms};
pub use time::{Epoch, Instant};
