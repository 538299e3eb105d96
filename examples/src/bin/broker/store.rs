//! The durable store: what the broker must not forget, in one file of a folder.

mod disk;
mod inspect;
mod keeper;

pub(crate) use disk::{Disk, Reader, StoreError};
pub(crate) use inspect::inspect;
pub(crate) use keeper::Keeper;
pub(crate) use mqtt_broker_core::store::restore;
