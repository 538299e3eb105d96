//! What few connections need, in one box that the others do not pay for.
use crate::alias::{Given, Taken};
use crate::auth::Exchange;

/// Of one connection; nothing of it outlives it.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// The aliases that the peer set.
    pub(crate) taken: Taken,
    /// The aliases that we set.
    pub(crate) given: Given,
    /// Enhanced authentication.
    pub(crate) exchange: Option<Exchange>,
}

impl Rare {
    /// Heap bytes held, the box included.
    pub(crate) fn memory(&self) -> usize {
        let method = self.exchange.as_ref().map_or(0, |exchange| exchange.method().len());
        size_of::<Self>() + self.taken.memory() + self.given.memory() + method
    }
}
