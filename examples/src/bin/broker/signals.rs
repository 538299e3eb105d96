//! Ctrl-c and SIGTERM: the first asks the loop to end, the second ends the program at once. SIGHUP: read the files again.

use mio::{Registry, Token};
use std::io;

#[cfg(unix)]
pub(crate) use unix::Signals;

#[cfg(unix)]
mod unix {
    use super::{Registry, Token, io};
    use mio::Interest;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::{flag, low_level::pipe};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    /// The reading ends of the pipes that the signal handlers write to. There is nothing to read: that they become readable is all.
    pub(crate) struct Signals(#[expect(dead_code, reason = "held open")] [mio::net::UnixStream; 2]);

    impl Signals {
        /// Makes `stop` ready when the program is asked to end, `reload` when it is to read its files again.
        pub(crate) fn watch(registry: &Registry, stop: Token, reload: Token) -> io::Result<Self> {
            let (stopped, writer) = pipe(registry, stop)?;
            let (reloaded, hang_up) = pipe(registry, reload)?;
            pipe::register(SIGHUP, hang_up)?;
            let seen = Arc::new(AtomicBool::new(false));
            for signal in [SIGINT, SIGTERM] {
                // handlers run in this order: the flag is set only after it was looked at
                flag::register_conditional_shutdown(signal, 1, Arc::clone(&seen))?;
                flag::register(signal, Arc::clone(&seen))?;
                pipe::register(signal, writer.try_clone()?)?;
            }
            Ok(Self([stopped, reloaded]))
        }
    }

    fn pipe(registry: &Registry, token: Token) -> io::Result<(mio::net::UnixStream, UnixStream)> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        let mut reader = mio::net::UnixStream::from_std(reader);
        registry.register(&mut reader, token, Interest::READABLE)?;
        Ok((reader, writer))
    }
}

/// Elsewhere the system ends the program.
#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn watch(_: &Registry, _: Token, _: Token) -> io::Result<Self> {
        Ok(Self)
    }
}
