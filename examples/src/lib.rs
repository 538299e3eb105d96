//! What the client programs of this package share: packets in words, messages in a format, a command line, a client on a blocking socket, and
//! a broker on tokio.

pub mod client;
pub mod options;
pub mod output;
pub mod properties;
pub mod tokio_host;
pub mod wire;
pub mod words;
