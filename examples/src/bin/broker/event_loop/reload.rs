//! SIGHUP: certificates, passwords and rules are read again, and those who lost their account or their rights feel it.

use super::EventLoop;
use crate::gate::Reloaded;
use mqtt_broker_core::{ClientRecord, Instant};
use mqtt_codec::ReasonCode;
use tracing::info;

/// Clients looked at between two looks at their connections: what the list of them may take in memory.
const PAGE: usize = 1024;

impl EventLoop {
    /// Reads the files again. What cannot be read leaves all as it was.
    pub(super) fn reload(&mut self, now: Instant) {
        self.listeners.reload();
        let reloaded = self.broker.policy_mut().reload();
        if reloaded.passwords() {
            self.dismiss(now, &reloaded);
        }
        if reloaded.rules {
            self.broker.reauthorize_all(now);
        }
    }

    /// Disconnects those whose password is not the one they came in with. Nobody does this often, so it is done at once.
    fn dismiss(&mut self, now: Instant, reloaded: &Reloaded) {
        let (mut from, mut dismissed) = (Some(0), 0);
        while let Some(place) = from {
            let page = self.broker.clients(place, PAGE);
            for client in &page.items {
                let goes = !self.still_knows(reloaded, client)
                    && self.broker.kick(now, client.id.as_str(), ReasonCode::NOT_AUTHORIZED);
                dismissed += usize::from(goes);
            }
            from = page.next;
        }
        if dismissed > 0 {
            info!("clients disconnected because their password is gone or changed: {dismissed}");
        }
    }

    /// Whether a client may stay: it is not connected, has shown no password, or the same would still do.
    fn still_knows(&self, reloaded: &Reloaded, client: &ClientRecord) -> bool {
        let connection = client.connection.and_then(|id| self.connections.get(id));
        let (Some(connection), Some(user)) = (connection, &client.user_name) else { return true };
        connection.proven || self.broker.policy().still_knows(reloaded, connection.listener, user)
    }
}
