//! A client and a server joined in memory, made of each crate, behind one face: publish, carry, acknowledge, to the end of the exchange.
mod ours;
mod protocol_core;

pub use ours::Ours;
pub use protocol_core::ProtocolCore;

/// The protocol versions that both crates speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V311,
    V5,
}

pub const VERSIONS: [(Version, &str); 2] = [(Version::V311, "3.1.1"), (Version::V5, "5.0")];
pub const TOPIC: &str = "site/1/dev/2/temp";
pub const PAYLOAD: [u8; 64] = [0x5A; 64];

/// Messages in one turn.
pub const MESSAGES: u64 = 50;

/// A client and a server that are connected.
pub trait Pair {
    /// What the rows are called.
    const NAME: &'static str;
    fn new(version: Version) -> Self;
    /// The client publishes [`PAYLOAD`] to [`TOPIC`].
    fn publish(&mut self, qos: u8);
    /// Bytes go both ways until there are no more; the server's host acknowledges what comes.
    fn carry(&mut self) -> Carried;
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Messages that the server's host saw, and the bytes of their topics and payloads.
    pub messages: u64,
    pub message_bytes: u64,
    /// Exchanges that came to their end at the client.
    pub completed: u64,
    /// Bytes on the wire, both ways.
    pub wire_bytes: u64,
}

/// [`MESSAGES`] from the client to the server.
pub fn turn<P: Pair>(pair: &mut P, qos: u8) -> Carried {
    for _ in 0..MESSAGES {
        pair.publish(qos);
    }
    pair.carry()
}

/// Both do the same: the same messages, the same completions, as many bytes on the wire.
pub fn check() {
    for (version, name) in VERSIONS {
        for qos in 0..=2 {
            let (mut ours, mut theirs) = (Ours::new(version), ProtocolCore::new(version));
            for _ in 0..3 {
                let carried = turn(&mut ours, qos);
                assert_eq!(carried.messages, MESSAGES, "{name} QoS {qos}");
                assert_eq!(carried.completed, if qos == 0 { 0 } else { MESSAGES }, "{name} QoS {qos}");
                assert_eq!(carried, turn(&mut theirs, qos), "{name} QoS {qos}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_crates_do_the_same_work() {
        super::check();
    }
}
