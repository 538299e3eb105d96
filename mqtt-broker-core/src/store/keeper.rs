//! What can keep a broker's records.
use super::{StoreKey, StoreOp, Table};
use mqtt_session::Epoch;

/// Keeps records under keys, in order, over the end of the process.
///
/// Under a key there is a list of records: [`Put`](super::StoreAction::Put) makes it that one, [`Append`](super::StoreAction::Append) adds one,
/// [`Delete`](super::StoreAction::Delete) leaves none.
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
