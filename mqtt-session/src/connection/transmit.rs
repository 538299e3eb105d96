//! What goes outside (D of the engine's contract): which packet is next.
use super::{Connection, State, Transmit};
use crate::outgoing::Written;
use crate::{Instant, control};
use mqtt_codec::OutBuf;

impl Connection {
    /// Writes at most one packet.
    ///
    /// In this order: CONNACK and other control packets, acknowledgements, what is sent again after a resume, the queue (as far
    /// as the peer's Receive Maximum allows), QoS 0.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut OutBuf) -> Transmit {
        let now = self.clock(now);
        let done = self.transmit(now, out);
        if done == Transmit::Wrote {
            self.keep_alive.sent(now);
        }
        done
    }

    fn transmit(&mut self, now: Instant, out: &mut OutBuf) -> Transmit {
        if self.session.outbound.has_released() && self.state == State::Connected {
            self.say_released();
        }
        if !self.control.is_empty() {
            match self.control.transmit(out) {
                Written::Wrote => return Transmit::Wrote,
                Written::Full => return Transmit::Full,
                Written::Never => {}
            }
        }
        match self.state {
            // v5 [MQTT-3.14.4-1], v4 [MQTT-3.14.4-2]: nothing follows the goodbye. v5 [MQTT-3.1.2-30]: nor CONNECT, before CONNACK.
            State::Handshake | State::Deciding | State::Authenticating | State::Closing => return Transmit::Empty,
            State::Connected => self.greeted = true,
        }
        while let Some((answer, reason)) = self.inbound.next_answer() {
            // v5 [MQTT-4.3.2-4], v5 [MQTT-4.3.3-8], v5 [MQTT-4.3.3-11], v4 [MQTT-2.3.1-6]: with the identifier of the PUBLISH.
            let written = control::write_ack(answer.kind, answer.id, reason, &self.limits, out);
            match written {
                Written::Full => return Transmit::Full,
                Written::Wrote | Written::Never => self.inbound.sent(),
            }
            if written == Written::Wrote {
                return Transmit::Wrote;
            }
        }
        self.session.outbound.transmit(now, &mut self.limits, &mut self.drops, out)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state == State::Closing { None } else { self.keep_alive.deadline() }
    }
}
