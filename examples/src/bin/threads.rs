//! The smallest broker: std alone, one lock, two threads per connection. `threads [ADDR]`
//!
//! ```text
//!  reader thread:  read --bytes--> [ lock: handle_input ]
//!  writer thread:                  [ lock: poll_transmit ] --bytes--> write
//!  timer thread:                   [ lock: handle_timeout ]
//! ```
//!
//! The lock is held while the broker thinks, never while a socket is read or written. Who has called
//! the broker notes what it wants of each connection (`poll_ready`) and rings that connection's bell.
//! Everybody may do everything, so it listens on loopback.

use mqtt_broker_core::{AllowAll, Broker, Config, ConnectionId, Instant, Peer, Read as Wanted};
use mqtt_codec::OutBuf;
use mqtt_topic::HashSeed;
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// How long a client may take to read our last words, and how long it may then take to close.
const LINGER: Duration = Duration::from_secs(1);
/// How long to wait where there is nothing to wait for. Looking up then is harmless.
const HOUR: Duration = Duration::from_secs(3600);
/// What systems call it when a socket takes no bytes for so long.
const TIMED_OUT: [ErrorKind; 2] = [ErrorKind::WouldBlock, ErrorKind::TimedOut];

/// What the threads share.
struct Host {
    state: Mutex<State>,
    /// Rung when there is an earlier deadline.
    timer: Condvar,
    started: std::time::Instant,
}

struct State {
    broker: Broker<AllowAll>,
    /// What the broker wants of each connection.
    lines: HashMap<ConnectionId, Line>,
}

#[derive(Default)]
struct Line {
    /// It has something to send.
    transmit: bool,
    /// What is to be done about reading.
    wanted: Wanted,
    /// Rung when one of these changes.
    bell: Arc<Condvar>,
}

impl Host {
    fn now(&self) -> Instant {
        Instant::from_millis(self.started.elapsed().as_millis() as u64)
    }

    /// Calls the broker and passes on what it wants then.
    fn with<T>(&self, call: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        let deadline = state.broker.poll_timeout();
        let answer = call(&mut state, self.now());
        while let Some(ready) = state.broker.poll_ready() {
            if let Some(line) = state.lines.get_mut(&ready.id) {
                line.transmit |= ready.transmit;
                line.wanted = ready.read;
                line.bell.notify_all();
            }
        }
        while state.broker.poll_event().is_some() {} // a larger program logs them
        let earlier = |at| deadline.is_none_or(|before| at < before);
        if state.broker.poll_timeout().is_some_and(earlier) {
            self.timer.notify_one();
        }
        answer
    }

    /// Waits while the connection lives and `what` is true of it, `most` at the longest.
    fn wait_while(&self, id: ConnectionId, bell: &Condvar, most: Duration, what: fn(&Line) -> bool) {
        let state = self.state.lock().unwrap();
        let goes_on = |state: &mut State| state.lines.get(&id).is_some_and(what);
        drop(bell.wait_timeout_while(state, most, goes_on).unwrap());
    }

    /// The timer thread: sleeps until the broker's next deadline.
    fn keep_time(&self) {
        loop {
            let state = self.state.lock().unwrap();
            let deadline = state.broker.poll_timeout();
            let wait = deadline.map_or(HOUR, |at| at.since(self.now()));
            drop(self.timer.wait_timeout(state, wait).unwrap());
            self.with(|state, now| state.broker.handle_timeout(now)); // harmless if it is early
        }
    }

    /// Serves one client. The calling thread becomes its reader.
    fn serve(self: &Arc<Self>, socket: &TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(LINGER))?; // so that a writer looks up now and then
        let (writing, peer) = (socket.try_clone()?, Peer::new(Some(socket.peer_addr()?), 0));
        let bell = Arc::new(Condvar::new());
        let opened = self.with(|state, now| {
            let id = state.broker.handle_open(now, peer).ok()?;
            state.lines.insert(id, Line { bell: bell.clone(), ..Line::default() });
            Some(id)
        });
        let id = opened.ok_or(ErrorKind::ConnectionRefused)?;

        let (host, writer_bell) = (self.clone(), bell.clone());
        let write = move || host.write_all(id, &writing, &writer_bell);
        let writer = thread::Builder::new().spawn(write);
        if writer.is_ok() {
            self.read_all(id, socket, &bell);
        }
        self.with(|state, now| {
            state.lines.remove(&id); // the writer finds nothing, and ends
            state.broker.handle_closed(now, id);
        });
        bell.notify_all();
        writer.map(drop)
    }

    /// The reader thread, until the client has closed or the writer has hung up.
    fn read_all(&self, id: ConnectionId, mut socket: &TcpStream, bell: &Condvar) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(length @ 1..) = socket.read(&mut buffer) {
            self.with(|state, now| {
                // what comes after the broker has closed is thrown away
                if state.lines[&id].wanted != Wanted::Close {
                    state.broker.handle_input(now, id, &buffer[..length]);
                }
            });
            self.wait_while(id, bell, HOUR, |line| line.wanted == Wanted::Pause);
        }
    }

    /// The writer thread, until the connection is gone.
    fn write_all(&self, id: ConnectionId, mut socket: &TcpStream, bell: &Condvar) {
        let mut out = OutBuf::default();
        loop {
            let wanted = self.with(|state, now| {
                state.broker.poll_transmit(now, id, &mut out);
                let line = state.lines.get_mut(&id)?;
                line.transmit = false;
                Some(line.wanted)
            });
            let Some(wanted) = wanted else { return };
            if out.is_empty() && wanted == Wanted::Close {
                return self.hang_up(id, socket, bell);
            }
            if out.is_empty() {
                let idle = |line: &Line| !line.transmit && line.wanted != Wanted::Close;
                self.wait_while(id, bell, HOUR, idle);
                continue;
            }
            match socket.write(out.chunk()) {
                Ok(taken) => out.advance(taken),
                // the client reads nothing: that is its affair, unless the connection is to end
                Err(error) if TIMED_OUT.contains(&error.kind()) && wanted != Wanted::Close => {}
                Err(_) => return drop(socket.shutdown(Shutdown::Both)), // the reader ends
            }
        }
    }

    /// Everything is said: the reader ends when the client closes, or after a while without that.
    fn hang_up(&self, id: ConnectionId, socket: &TcpStream, bell: &Condvar) {
        let _ = socket.shutdown(Shutdown::Write);
        self.wait_while(id, bell, LINGER, |_| true);
        let _ = socket.shutdown(Shutdown::Both);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:1883".into());
    let listener = TcpListener::bind(&address)?;
    let broker = Broker::new(Config::default(), AllowAll, HashSeed::random())?;
    let lines = HashMap::new();
    let (state, timer) = (Mutex::new(State { broker, lines }), Condvar::new());
    let started = std::time::Instant::now();
    let host = Arc::new(Host { state, timer, started });
    println!("listening on {}", listener.local_addr()?);

    let timekeeper = host.clone();
    thread::spawn(move || timekeeper.keep_time());
    loop {
        let Ok((socket, _)) = listener.accept() else {
            thread::sleep(LINGER); // no more file descriptors: some may be given back
            continue;
        };
        let host = host.clone();
        // a client that cannot be served is dropped, the others go on
        let _ = thread::Builder::new().spawn(move || host.serve(&socket));
    }
}
