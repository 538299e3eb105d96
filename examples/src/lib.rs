//! What the client programs of this package share: packets in words, a command line, and a client on a blocking socket.

pub mod client;
pub mod options;
pub mod words;
