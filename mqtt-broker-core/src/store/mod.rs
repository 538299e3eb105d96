//! What a host keeps for a broker: an ordered stream of small operations in, records out (feature `store`).
//!
//! The broker does no I/O. It will say what to keep in batches of [`StoreOp`]s and will wait for the host's word that they survive; a host
//! puts them into whatever it has that can be a [`Store`]: a log, a table. **The broker gives out no operations yet**; what is here is for
//! sessions of one's own ([`Session::poll_change`](mqtt_session::Session::poll_change)), and for stores to be built and checked against.
//!
//! - [`Store`] is what to implement, [`conformance::check`] says whether it is right.
//! - [`MemoryStore`] is the reference: it keeps a log of bytes, can crash ([`Fault`]), and is itself checked so.
pub mod conformance;
mod memory;

pub use memory::{Fault, MemoryStore, StoreFull};

use alloc::sync::Arc;
use alloc::vec::Vec;
use mqtt_session::{Change, Epoch, Snapshot};

/// Keeps records under keys, in order, over the end of the process.
///
/// Under a key there is a list of records: [`Put`](StoreAction::Put) makes it that one, [`Append`](StoreAction::Append) adds one,
/// [`Delete`](StoreAction::Delete) leaves none.
///
/// **Batches are whole.** After a crash a batch is there with all its operations or with none, and none is there without all before it:
/// what a message did to its publisher and to its subscribers must not come apart.
pub trait Store {
    /// What can go wrong.
    type Error: core::error::Error;

    /// Takes one batch: from here on [`load`](Self::load) sees it. It need not survive a crash yet.
    ///
    /// # Errors
    /// It cannot; nothing has changed.
    fn write(&mut self, batch: &[StoreOp], epoch: Epoch) -> Result<(), Self::Error>;

    /// The barrier: what was written before survives a crash when this returns. Hosts call it once for many batches.
    ///
    /// # Errors
    /// Nobody knows what survives; the host must not tell the broker that anything does.
    fn sync(&mut self) -> Result<(), Self::Error>;

    /// Hands the records under `key` to `each`, in order.
    ///
    /// # Errors
    /// They cannot be read.
    fn load(&mut self, key: &StoreKey, each: &mut dyn FnMut(&[u8])) -> Result<(), Self::Error>;

    /// Hands the names of a table that have records to `each`, once each, in any order.
    ///
    /// # Errors
    /// They cannot be read.
    fn names(&mut self, table: Table, each: &mut dyn FnMut(&[u8])) -> Result<(), Self::Error>;
}

/// One operation. Cloning shares its records.
#[derive(Clone, Debug)]
pub struct StoreOp {
    /// Under what.
    pub key: StoreKey,
    /// What becomes of the records there.
    pub action: StoreAction,
}

/// What a list of records is kept under. Cloning shares the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey {
    /// Of what kind it is.
    pub table: Table,
    /// Any bytes: a client identifier, a topic name.
    pub name: Arc<[u8]>,
}

/// What kind of things are kept: each has names of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Table {
    /// By client identifier: whose session it is, when it ends, its subscriptions, its will. All are read at the start.
    Clients = 1,
    /// By client identifier: the session's snapshot and its changes. Read when somebody needs it.
    Sessions = 2,
    /// By topic name: the retained message.
    Retained = 3,
}

impl Table {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Clients, Self::Sessions, Self::Retained];
}

/// What becomes of the records under a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreAction {
    /// They are replaced by this one.
    Put(StoreRecord),
    /// This one comes behind them, or is the first.
    Append(StoreRecord),
    /// They are gone.
    Delete,
}

/// A record, not yet bytes: it shares what it is made of until the store writes it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreRecord {
    /// A whole session.
    Snapshot(Snapshot),
    /// A change of a session.
    Change(Change),
    /// Something of the broker's own.
    Bytes(Arc<[u8]>),
}

impl StoreKey {
    /// The key `name` of `table`.
    pub fn new(table: Table, name: &[u8]) -> Self {
        Self { table, name: name.into() }
    }
}

impl StoreRecord {
    /// Appends its bytes, version and checksum included, to `out`.
    pub fn encode(&self, epoch: Epoch, out: &mut Vec<u8>) {
        match self {
            Self::Snapshot(snapshot) => out.extend_from_slice(snapshot.as_bytes()),
            Self::Change(change) => change.encode(epoch, out),
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
        }
    }
}
