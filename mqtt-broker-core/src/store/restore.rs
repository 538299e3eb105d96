//! A whole store into a new broker.
use super::{RestoreError, Store, StoreKey, Table};
use crate::{Broker, Policy};
use alloc::vec::Vec;
use mqtt_session::{Epoch, Instant};

/// What could not be read into the broker; all else was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unrestored {
    /// Under what it stands.
    pub key: StoreKey,
    /// Why.
    pub error: RestoreError,
}

/// Reads all that must be there before the first client comes into `broker`: clients and their subscriptions, retained messages, wills,
/// bans. Sessions are read when somebody needs them ([`Policy::load_session`]). What is damaged is left out, and told.
///
/// # Errors
/// The store's own: it cannot be read.
pub fn restore<P: Policy, S: Store>(
    broker: &mut Broker<P>,
    store: &mut S,
    now: Instant,
    epoch: Epoch,
) -> Result<Vec<Unrestored>, S::Error> {
    let mut unrestored = Vec::new();
    for table in [Table::Clients, Table::Retained, Table::Wills, Table::Bans] {
        let mut names: Vec<Vec<u8>> = Vec::new();
        store.names(table, &mut |name| names.push(name.into()))?;
        for name in names {
            let key = StoreKey::new(table, &name);
            let mut records: Vec<Vec<u8>> = Vec::new();
            store.load(&key, &mut |record| records.push(record.into()))?;
            if let Err(error) = broker.restore(now, epoch, &key, &records) {
                unrestored.push(Unrestored { key, error });
            }
        }
    }
    Ok(unrestored)
}
