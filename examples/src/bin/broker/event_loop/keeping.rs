//! What is to outlive the process: on its way to the store, and the word that it is there.

use super::EventLoop;
use mqtt_broker_core::Instant;
use mqtt_broker_core::session::Epoch;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::error;

/// The Unix time of [`Instant::ZERO`] by the clocks of this moment.
pub(crate) fn epoch(now: Instant) -> Epoch {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let passed = now.since(Instant::ZERO);
    Epoch::from_unix_millis(u64::try_from(unix.saturating_sub(passed).as_millis()).unwrap_or(u64::MAX))
}

impl EventLoop {
    /// Hands on what has changed since the last time.
    pub(super) fn keep(&mut self, now: Instant) {
        let Some(keeper) = &mut self.asked.keeper else { return };
        let (mut batch, epoch) = (Vec::new(), epoch(now));
        if let Some(ticket) = self.broker.poll_store(epoch, &mut batch) {
            keeper.keep(now, ticket, batch, epoch);
        }
    }

    /// Tells the broker what is stored.
    pub(super) fn hear_of_the_store(&mut self, now: Instant) {
        while let Some(outcome) = self.asked.keeper.as_mut().and_then(|keeper| keeper.poll(now)) {
            match outcome {
                Ok(ticket) => self.broker.stored(now, ticket),
                // what waits for it waits for ever: nobody is told what a restart might contradict
                Err(why) => error!(
                    "NOTHING IS STORED ANY MORE: {why}. What was not acknowledged will not be. Mend the disk and start again"
                ),
            }
        }
    }
}
