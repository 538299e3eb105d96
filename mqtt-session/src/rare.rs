//! What few connections need, in one box that the others do not pay for.
use crate::alias::Aliases;
use crate::auth::Exchange;

/// Of one connection; nothing of it outlives it.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// What the peer set.
    pub(crate) aliases: Aliases,
    /// Enhanced authentication.
    pub(crate) exchange: Option<Exchange>,
}

impl Rare {
    /// Heap bytes held, the box included.
    pub(crate) fn memory(this: Option<&Self>) -> usize {
        this.map_or(0, |rare| {
            let method = rare.exchange.as_ref().map_or(0, |exchange| exchange.method().len());
            size_of::<Self>() + rare.aliases.memory() + method
        })
    }
}
