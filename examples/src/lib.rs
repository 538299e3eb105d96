//! What the client programs of this package share: packets in words, messages in a format, a command line, and a client on a blocking socket.

pub mod client;
pub mod options;
pub mod output;
pub mod properties;
pub mod wire;
pub mod words;
