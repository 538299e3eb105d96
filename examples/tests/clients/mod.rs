//! What the tests with real clients are made of: a broker, a wire that can be cut, and one face for every client.
//!
//! Settings, all optional, from the environment:
//!
//! - `MQTT_TEST_BROKER=host:port`: judge this broker instead of ours. It must let anybody in, and take packets up to 1 MiB and no larger
//!   (mosquitto: `allow_anonymous true`, `max_packet_size 1048576`).
//!   mosquitto 2.0.11 passes all tests but the one about takeover: it sends no DISCONNECT.
//!   (Of the stories in `stories.rs` that is not known.)
//! - `MQTT_TEST_BROKER_AUTH=host:port`: the same with passwords; it must know user `alice` with password `secret`, and nobody else.
//!   Without it the tests about passwords pass over a foreign broker.
//! - `MQTT_PAHO_1`, `MQTT_PAHO_2`: a python interpreter that has paho-mqtt 1.6.1, one that has 2.x.
//! - `MQTT_NPM`: a directory in whose `node_modules` the npm package `mqtt` 5.x lies; `node` is the one on the path.
//! - `MQTT_REQUIRE_CLIENTS=1`: a client that is not installed fails the tests; else it is named on standard error and passed over.

mod agent;
mod broker;
mod client;
mod process;
mod raw;
mod rumqtt;
mod server;
mod wire;

pub use broker::Broker;
pub use client::{Kind, Message, Options, Row, Version, everyone, everyone_at, rows};
pub use process::{Process, script};
pub use raw::{Raw, packet};
pub use server::Server;
pub use wire::{Way, Wire};

use std::time::Duration;

/// No single wait is longer: on a machine that is busy with other tests nothing here takes a tenth of it.
pub const PATIENCE: Duration = Duration::from_secs(30);
