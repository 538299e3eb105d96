//! Ctrl-c and SIGTERM: the first asks the loop to end, the second ends the program at once.

use mio::{Registry, Token};
use std::io;

#[cfg(unix)]
pub(crate) use unix::Signals;

#[cfg(unix)]
mod unix {
    use super::{Registry, Token, io};
    use mio::Interest;
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::{flag, low_level::pipe};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    /// The reading end of the pipe that the signal handlers write to. There is nothing to read: that it becomes readable is all.
    pub(crate) struct Signals(#[expect(dead_code, reason = "held open")] mio::net::UnixStream);

    impl Signals {
        /// Makes `token` ready when a signal comes.
        pub(crate) fn watch(registry: &Registry, token: Token) -> io::Result<Self> {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            let mut reader = mio::net::UnixStream::from_std(reader);
            registry.register(&mut reader, token, Interest::READABLE)?;
            let seen = Arc::new(AtomicBool::new(false));
            for signal in [SIGINT, SIGTERM] {
                // handlers run in this order: the flag is set only after it was looked at
                flag::register_conditional_shutdown(signal, 1, Arc::clone(&seen))?;
                flag::register(signal, Arc::clone(&seen))?;
                pipe::register(signal, writer.try_clone()?)?;
            }
            Ok(Self(reader))
        }
    }
}

/// Elsewhere the system ends the program.
#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn watch(_: &Registry, _: Token) -> io::Result<Self> {
        Ok(Self)
    }
}
