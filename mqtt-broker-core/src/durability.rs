//! How durable a session is: a word of the host's, for all, for a listener, or for one client.

/// What becomes of a session and of the messages its client publishes when the process ends.
///
/// The host stores what [`Broker::poll_store`](crate::Broker::poll_store) gives out; this says what is given out, and what waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Durability {
    /// Nothing is recorded: what is kept ends with the process.
    #[default]
    None,
    /// All that has to outlive a connection is recorded, and nothing waits for the host: after a crash the last of it may be gone,
    /// though it was acknowledged.
    Buffered,
    /// The same, and nothing is said that a crash would contradict: CONNACK, SUBACK, UNSUBACK, PUBACK, PUBREC, PUBREL, PUBCOMP and the first
    /// sending of a QoS 2 message leave when the host has said that what they rest on is [stored](crate::Broker::stored).
    Synced,
}

impl Durability {
    pub(crate) const fn number(self) -> u8 {
        self as u8
    }

    pub(crate) const fn numbered(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Buffered),
            2 => Some(Self::Synced),
            _ => None,
        }
    }
}
