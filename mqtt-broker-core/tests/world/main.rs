//! One broker, scripted clients, a virtual clock: the rules of the broker told as stories.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod harness;

mod admin;
mod authenticating;
#[cfg(feature = "store")]
mod blocked;
mod connecting;
#[cfg(feature = "store")]
mod crashes;
mod decisions;
#[cfg(feature = "store")]
mod durable;
mod flow;
mod found;
mod hostile;
mod knobs;
mod limits;
mod local;
mod observing;
mod pitfalls;
mod publishing;
mod rates;
mod retained;
mod rewriting;
mod rights;

mod sessions;
mod shared;
mod shared_choice;
mod shared_handover;
mod shared_storm;
#[cfg(feature = "store")]
mod simulated;
#[cfg(feature = "store")]
mod simulation;
mod storm;
mod subscribing;
mod wills;
