//! The durable store: what the broker must not forget, in one file of a folder.

mod disk;
mod inspect;

pub(crate) use disk::{Disk, StoreError};
pub(crate) use inspect::inspect;
