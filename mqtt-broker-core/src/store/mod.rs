//! What a host keeps for a broker: an ordered stream of small operations in, records out.
//!
//! The broker does no I/O. It says what to keep in batches of [`StoreOp`]s ([`Broker::poll_store`](crate::Broker::poll_store)) and waits for the
//! host's word that they survive ([`Broker::stored`](crate::Broker::stored)); a host puts them into whatever it has that can be a `Store`:
//! a log, a table. With the feature `store`:
//!
//! - `Store` is what to implement, `conformance::check` says whether it is right, `restore` reads all of it into a new broker.
//! - `MemoryStore` is the reference: it keeps a log of bytes, can crash (`Fault`), and is itself checked so.
#[cfg(feature = "store")]
pub mod conformance;
#[cfg(feature = "store")]
mod keeper;
#[cfg(feature = "store")]
mod memory;
mod ops;
#[cfg(feature = "store")]
mod restore;

pub use crate::ledger::StoreTicket;
pub use crate::restoring::{LoadError, RestoreError};
#[cfg(feature = "store")]
pub use keeper::Store;
#[cfg(feature = "store")]
pub use memory::{Fault, MemoryStore, StoreFull};
pub use ops::{StoreAction, StoreKey, StoreOp, StoreRecord, Table, describe};
#[cfg(feature = "store")]
pub use restore::{Unrestored, restore};
