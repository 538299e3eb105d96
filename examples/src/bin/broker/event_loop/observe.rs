//! What goes on, for those outside: log lines, traces, counters; and what other threads have for the loop.

use super::EventLoop;
use crate::admin::{Counters, Question, StoreHealth, Wish};
use crate::logging;
use mqtt_broker_core::{Event, Instant};
use std::sync::mpsc::Receiver;
use tracing::{info, warn};

impl EventLoop {
    /// Takes what other threads have for it.
    pub(super) fn hear(&mut self, now: Instant) {
        for verdict in self.asked.verdicts.iter().flat_map(Receiver::try_iter) {
            let ticket = verdict.ticket;
            let decision = self.broker.policy().confirm(verdict);
            self.broker.resume(now, ticket, decision);
        }
        while let Some(question) = self.asked.questions.as_ref().and_then(|questions| questions.try_recv().ok()) {
            // who has asked and gone needs no answer
            match question {
                Question::Counters(answer) => drop(answer.send(self.counters(now))),
                Question::Trace(wish, answer) => {
                    if !matches!(wish, Wish::List) {
                        info!("who is followed is changed by the admin listener: {wish:?}");
                    }
                    let answered = wish.grant(&mut self.traces, now);
                    self.broker.set_events(self.traces.mask(self.events));
                    drop(answer.send(answered));
                }
            }
        }
        self.hear_of_the_store(now);
    }

    fn counters(&self, now: Instant) -> Counters {
        let tallies = self.broker.policy().tallies();
        let decisions = tallies.map(|(by, tally)| (by, tally.read())).collect();
        Counters {
            stats: self.broker.stats(),
            transport_errors: self.transport_errors,
            accept_failures: self.listeners.failures(),
            decisions,
            store: self
                .asked
                .keeper
                .as_ref()
                .map(|keeper| StoreHealth { failed: keeper.failure().map(Into::into), silence: keeper.silence(now) }),
        }
    }

    /// Follows those no longer whose time is over.
    pub(super) fn end_traces(&mut self, now: Instant) {
        if self.traces.expire(now) {
            self.broker.set_events(self.traces.mask(self.events));
        }
    }

    /// Logs what has happened.
    pub(super) fn report(&mut self) {
        use Event::{Connected, Disconnected, Refused};
        while let Some(event) = self.broker.poll_event() {
            let peer = match &event {
                Connected { connection, .. } | Refused { connection, .. } | Disconnected { connection, .. } => {
                    self.connections.get(*connection)
                }
                _ => None,
            };
            logging::report(&event, peer.and_then(|connection| connection.peer));
            self.traces.follow(&event);
            if let Connected { connection, .. } = event
                && let Some(connection) = self.connections.get_mut(connection)
            {
                let packet_size = self.packet_sizes.get(connection.listener);
                connection.transport.trust(packet_size.copied().unwrap_or_default());
            }
        }
        if !self.traces.is_empty() {
            self.admit_gaps();
        }
    }

    /// Says when more has happened in a turn than the broker keeps to be reported.
    fn admit_gaps(&mut self) {
        let lost = self.broker.stats().events_lost;
        if lost > self.events_lost {
            warn!("the trace has a gap: {} events were too many for one turn", lost - self.events_lost);
            self.events_lost = lost;
        }
    }
}
