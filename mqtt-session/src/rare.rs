//! What few connections need, in one box that the others do not pay for.
use crate::alias::{Given, Taken};
use crate::auth::Exchange;
use crate::requests::Filters;
use crate::terms::Words;
use crate::{DropReason, PublishToken};
use alloc::collections::VecDeque;

/// Of one connection; nothing of it outlives it.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// The aliases that the peer set.
    pub(crate) taken: Taken,
    /// The aliases that we set.
    pub(crate) given: Given,
    /// Enhanced authentication.
    pub(crate) exchange: Option<Exchange>,
    /// The client's end: what CONNACK said.
    pub(crate) words: Words,
    /// The client's end: what was asked for.
    pub(crate) requested: Filters,
    /// The client's end: what was dropped and not asked about.
    pub(crate) dropped: VecDeque<(PublishToken, DropReason)>,
}

impl Rare {
    /// Heap bytes held, the box included.
    pub(crate) fn memory(&self) -> usize {
        let method = self.exchange.as_ref().map_or(0, |exchange| exchange.method().len());
        size_of::<Self>()
            + self.taken.memory()
            + self.given.memory()
            + method
            + self.words.memory()
            + self.requested.memory()
            + self.dropped.capacity() * size_of::<(PublishToken, DropReason)>()
    }
}
