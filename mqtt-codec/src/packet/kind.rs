//! Sets of packet types: how the tables of properties and reason codes say where something may be.

/// One bit for each packet type.
pub(crate) type Kinds = u16;

/// The will inside a CONNECT has properties of its own.
pub(crate) const WILL: Kinds = 1 << 0;
pub(crate) const CONNECT: Kinds = 1 << 1;
pub(crate) const CONNACK: Kinds = 1 << 2;
pub(crate) const PUBLISH: Kinds = 1 << 3;
pub(crate) const PUBACK: Kinds = 1 << 4;
pub(crate) const PUBREC: Kinds = 1 << 5;
pub(crate) const PUBREL: Kinds = 1 << 6;
pub(crate) const PUBCOMP: Kinds = 1 << 7;
pub(crate) const SUBSCRIBE: Kinds = 1 << 8;
pub(crate) const SUBACK: Kinds = 1 << 9;
pub(crate) const UNSUBSCRIBE: Kinds = 1 << 10;
pub(crate) const UNSUBACK: Kinds = 1 << 11;
pub(crate) const DISCONNECT: Kinds = 1 << 14;
pub(crate) const AUTH: Kinds = 1 << 15;
