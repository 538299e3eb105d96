//! Keep alive and the limits on waiting for CONNECT, AUTH, CONNACK and PINGRESP (section 3.1.2.10).
use crate::Instant;
use core::time::Duration;
use mqtt_codec::Role;

/// When silence is too long. Noting a packet is O(1): the deadline is worked out when it is asked for.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    role: Role,
    /// While the host does not read.
    paused: bool,
    /// Milliseconds between packets; 0: off.
    period: u32,
    /// Milliseconds that each step of the handshake may take.
    step: u32,
    /// Milliseconds that PINGRESP may take; 0: as long as the period.
    ping: u32,
    /// The server's end: when the last packet came. The client's: when the last was sent.
    last: Instant,
    /// By when CONNECT, AUTH, CONNACK or PINGRESP is due; [`Instant::MAX`] while none is.
    answer_by: Instant,
}

/// What a deadline that has come means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// A PINGREQ is to be sent.
    Ping,
    /// The peer was silent too long.
    Lost,
}

impl KeepAlive {
    /// Waits for CONNECT, or CONNACK, and no longer than `step` for this and each further step of the handshake.
    pub(crate) fn handshake(role: Role, now: Instant, step: Duration) -> Self {
        let step = millis(step);
        Self { role, paused: false, period: 0, step, ping: 0, last: now, answer_by: now.plus_millis(step.into()) }
    }

    /// The client's end: how long a PINGRESP may take.
    pub(crate) fn set_ping_timeout(&mut self, within: Option<Duration>) {
        self.ping = within.map_or(0, |within| millis(within).max(1));
    }

    /// The peer has done its step: the host decides, and nothing is waited for.
    pub(crate) fn decide(&mut self) {
        self.answer_by = Instant::MAX;
    }

    /// The host has done its step: it is the peer's turn again.
    pub(crate) fn await_step(&mut self, now: Instant) {
        self.answer_by = now.plus_millis(self.step.into());
    }

    /// The connection is accepted with a keep alive of `seconds`.
    pub(crate) fn start(&mut self, now: Instant, seconds: u16) {
        self.period = u32::from(seconds) * 1000;
        self.answer_by = Instant::MAX;
        self.last = now;
    }

    /// What is in force, in seconds.
    pub(crate) fn seconds(&self) -> u16 {
        u16::try_from(self.period / 1000).unwrap_or(u16::MAX)
    }

    pub(crate) fn heard(&mut self, now: Instant) {
        match self.role {
            // v5 [MQTT-3.1.2-22]: any packet; what is sent does not count.
            Role::Server => self.last = now,
            // Anything shows that the server is there; its PINGRESP is on the way.
            Role::Client if self.period > 0 && self.answer_by < Instant::MAX => {
                self.answer_by = now.plus_millis(self.ping_within())
            }
            Role::Client => {}
        }
    }

    pub(crate) fn heard_pingresp(&mut self) {
        self.answer_by = Instant::MAX;
    }

    pub(crate) fn sent(&mut self, now: Instant) {
        if self.role == Role::Client {
            self.last = now;
        }
    }

    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    pub(crate) fn resume(&mut self, now: Instant) {
        self.paused = false;
        self.last = now;
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let silence = (self.period > 0 && !self.paused).then(|| self.last.plus_millis(self.patience()));
        Some(silence.unwrap_or(Instant::MAX).min(self.answer_by)).filter(|&at| at < Instant::MAX)
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Due {
        if self.answer_by <= now && self.answer_by < Instant::MAX {
            return Due::Lost;
        }
        if self.period == 0 || self.paused || now < self.last.plus_millis(self.patience()) {
            return Due::Nothing;
        }
        match self.role {
            Role::Server => Due::Lost,
            Role::Client => {
                self.last = now;
                if self.answer_by == Instant::MAX {
                    self.answer_by = now.plus_millis(self.ping_within());
                }
                Due::Ping
            }
        }
    }

    /// How long a PINGRESP may take, in milliseconds.
    fn ping_within(&self) -> u64 {
        u64::from(if self.ping == 0 { self.period } else { self.ping })
    }

    /// The silence that is borne, in milliseconds.
    fn patience(&self) -> u64 {
        let period = u64::from(self.period);
        match self.role {
            // v5 [MQTT-3.1.2-22], v4 [MQTT-3.1.2-24]: one and a half times the keep alive.
            Role::Server => period + period / 2,
            // v5 [MQTT-3.1.2-20], v4 [MQTT-3.1.2-23]: within the keep alive, so a little earlier.
            Role::Client => period - (period / 8).min(1000),
        }
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn a_server_bears_one_and_a_half_periods_of_silence() {
        let mut server = KeepAlive::handshake(Role::Server, at(0), Duration::from_secs(10));
        server.start(at(0), 10);
        server.heard(at(5_000));
        server.sent(at(9_000));
        assert_eq!(server.deadline(), Some(at(20_000)), "what is sent does not count");
        assert_eq!(server.handle_timeout(at(19_999)), Due::Nothing);
        assert_eq!(server.handle_timeout(at(20_000)), Due::Lost);
    }

    #[test]
    fn a_client_pings_within_the_period_and_gives_up_without_an_answer() {
        let mut client = KeepAlive::handshake(Role::Client, at(0), Duration::from_secs(10));
        client.start(at(0), 10);
        assert_eq!(client.handle_timeout(at(9_000)), Due::Ping);
        assert_eq!(client.handle_timeout(at(9_001)), Due::Nothing, "a repeated call is harmless");
        assert_eq!(client.deadline(), Some(at(18_000)));
        assert_eq!(client.handle_timeout(at(18_000)), Due::Ping, "the period holds while an answer is awaited");
        assert_eq!(client.handle_timeout(at(19_000)), Due::Lost);
    }

    #[test]
    fn a_keep_alive_of_zero_is_off() {
        let mut server = KeepAlive::handshake(Role::Server, at(0), Duration::from_secs(10));
        server.start(at(0), 0);
        assert_eq!(server.deadline(), None);
        assert_eq!(server.handle_timeout(Instant::MAX), Due::Nothing);
    }
}
