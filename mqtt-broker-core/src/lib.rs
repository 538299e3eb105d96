#![doc = include_str!("../README.md")]
#![doc = include_str!("../FEATURES.md")]
#![no_std]
#![forbid(unsafe_code)]
#![warn(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::todo
)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "acl")]
mod accounts;
#[cfg(feature = "acl")]
mod acl;
mod admin;
mod admission;
mod authenticate;
mod authorize;
mod bans;
mod broker;
mod clients;
mod config;
mod connections;
mod core_state;
mod deadlines;
mod decision;
mod deferred;
mod delivery;
mod departure;
mod durability;
mod event;
mod keeping;
mod ledger;
mod limits;
mod local;
mod policy;
mod publish;
mod rates;
mod reauthorize;
mod records;
mod requests;
mod restoring;
mod retained;
mod routes;
mod shared;
mod sharing;
mod slots;
mod stats;
pub mod store;
mod strategy;
mod sys;
mod wills;

#[cfg(feature = "acl")]
pub use accounts::{Accounts, Passwords, Verify};
#[cfg(feature = "acl")]
pub use acl::{Acl, ListError};
pub use admin::{ClientRecord, Page, RetainedCursor, RetainedRecord, SubscriptionRecord};
pub use bans::{Ban, BansFull};
pub use broker::Broker;
pub use clients::ClientId;
pub use config::{Config, ConfigError, ListenerConfig, Overflow, Overlap, Versions};
pub use connections::{ConnectionId, OpenError, Read, Ready};
pub use decision::{Decision, NewMessage, NewSubscription, Refusal, Terms};
pub use durability::Durability;
pub use event::{Cause, Drop, Event, EventMask};
pub use limits::Limit;
pub use local::{LocalError, LocalId};
pub use mqtt_session::{self as session, Delivery, Instant, Message, Publication, codec, topic};
pub use policy::{
    AllowAll, AuthRequest, AuthStep, ClientInfo, ConnectRequest, DenyAll, Origin, Peer, Policy, PublishRequest,
    ReceiveRequest, SubscribeRequest, Ticket, UnsubscribeRequest,
};
pub use rates::{Flapping, OverRate, PublishRates, Rate};
pub use stats::Stats;
pub use strategy::{SharedConfig, SharedRule, Strategy};
