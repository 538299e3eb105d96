//! A broker driven by tokio: one task for each connection, one for time, on one thread.
//!
//! ```text
//!  a connection's task:  read --bytes--> handle_input        poll_transmit --bytes--> write
//!  the timer's task:     handle_timeout
//! ```
//!
//! The tasks share the broker by a `RefCell`, which nobody holds while awaiting anything. Who has called the broker notes what
//! it wants of each connection (`poll_ready`) and rings that connection's bell.

use mqtt_broker_core::{Broker, ConnectionId, Instant, Peer, Policy, Read};
use mqtt_codec::OutBuf;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{sleep, sleep_until, timeout};

/// How long a client may take to read our last words, and how long it may then take to close.
const LINGER: Duration = Duration::from_secs(1);

/// What the tasks share.
pub struct Host<P> {
    broker: RefCell<Broker<P>>,
    lines: RefCell<HashMap<ConnectionId, Rc<Line>>>,
    /// Rung when there is an earlier deadline.
    timer: Notify,
    /// Rung when a connection has ended.
    gone: Notify,
    /// Rung when there is something for a client of this program (`Broker::local_receive`), and sometimes when there is not.
    pub local: Notify,
    /// The moment that [`Instant::ZERO`] stands for.
    zero: tokio::time::Instant,
}

/// What the broker wants of a connection.
#[derive(Default)]
struct Line {
    wanted: Cell<Read>,
    /// Rung when that changes, and when there is something to send.
    bell: Notify,
}

impl<P: Policy + 'static> Host<P> {
    /// A host of `broker`; nobody is served yet.
    pub fn new(broker: Broker<P>) -> Rc<Self> {
        Rc::new(Self {
            broker: RefCell::new(broker),
            lines: RefCell::default(),
            timer: Notify::new(),
            gone: Notify::new(),
            local: Notify::new(),
            zero: tokio::time::Instant::now(),
        })
    }

    /// Serves those who connect until `stop` is done, then tells every client and ends. Within a [`LocalSet`](tokio::task::LocalSet).
    pub async fn serve(self: Rc<Self>, listener: TcpListener, stop: impl Future<Output = ()>) {
        select! {
            () = self.accept(listener) => {}
            () = self.keep_time() => {}
            () = stop => {}
        }
        self.with(|broker, now| broker.shutdown(now));
        let end = tokio::time::Instant::now() + 5 * LINGER;
        while !self.lines.borrow().is_empty() && tokio::time::Instant::now() < end {
            select! {
                () = self.gone.notified() => {}
                () = self.keep_time() => {}
                () = sleep_until(end) => {}
            }
        }
    }

    /// The time, as the broker counts it.
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.zero.elapsed()
    }

    /// A time of the broker's, as tokio counts it.
    pub fn moment(&self, at: Instant) -> tokio::time::Instant {
        self.zero + at.since(Instant::ZERO)
    }

    /// Calls the broker and passes on what it wants then.
    pub fn with<T>(&self, call: impl FnOnce(&mut Broker<P>, Instant) -> T) -> T {
        let mut broker = self.broker.borrow_mut();
        let deadline = broker.poll_timeout();
        let answer = call(&mut broker, self.now());
        while let Some(ready) = broker.poll_ready() {
            if let Some(line) = self.lines.borrow().get(&ready.id) {
                line.wanted.set(ready.read);
                line.bell.notify_one();
            }
        }
        while broker.poll_local().is_some() {
            self.local.notify_one();
        }
        while broker.poll_event().is_some() {} // a larger program logs them
        if broker.poll_timeout().is_some_and(|at| deadline.is_none_or(|before| at < before)) {
            self.timer.notify_one();
        }
        answer
    }

    async fn accept(self: &Rc<Self>, listener: TcpListener) {
        loop {
            let Ok((socket, peer)) = listener.accept().await else {
                sleep(LINGER).await; // no more file descriptors: some may be given back
                continue;
            };
            let host = self.clone();
            spawn_local(async move { host.attend(socket, peer).await });
        }
    }

    /// The timer's task: sleeps until the broker's next deadline, or an earlier one.
    async fn keep_time(&self) {
        loop {
            let deadline = self.broker.borrow().poll_timeout();
            let wake = self.moment(deadline.unwrap_or(Instant::ZERO));
            select! {
                () = self.timer.notified() => {}
                () = sleep_until(wake), if deadline.is_some() => self.with(|broker, now| broker.handle_timeout(now)),
            }
        }
    }

    /// A connection's task, from its beginning to its end.
    async fn attend(&self, mut socket: TcpStream, peer: SocketAddr) {
        let line = Rc::new(Line::default());
        let opened = self.with(|broker, now| {
            let id = broker.handle_open(now, Peer::new(Some(peer), 0)).ok()?;
            self.lines.borrow_mut().insert(id, line.clone());
            Some(id)
        });
        let Some(id) = opened else { return }; // there are too many, or we are stopping: dropped is closed
        let mut out = OutBuf::default();
        if self.talk(id, &line, &mut socket, &mut out).await.is_ok() {
            let _ = timeout(LINGER, self.hang_up(id, &mut socket, &mut out)).await;
            let _ = timeout(LINGER, drain(&mut socket)).await;
        }
        self.lines.borrow_mut().remove(&id);
        self.with(|broker, now| broker.handle_closed(now, id));
        self.gone.notify_one();
    }

    /// Moves bytes both ways, until the broker wants an end of it or the client sends no more.
    async fn talk(&self, id: ConnectionId, line: &Line, socket: &mut TcpStream, out: &mut OutBuf) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let (mut reader, mut writer) = socket.split();
        let mut buffer = vec![0; 8 << 10];
        while line.wanted.get() != Read::Close {
            // says also what the socket has not taken: so the broker knows who keeps up
            self.with(|broker, now| broker.poll_transmit(now, id, out));
            select! {
                () = line.bell.notified() => {}
                // while the broker wants a pause nothing is read: the socket fills, and the client waits
                read = reader.read(&mut buffer), if line.wanted.get() == Read::Read => match read? {
                    0 => return Ok(()),
                    length => self.with(|broker, now| broker.handle_input(now, id, &buffer[..length])),
                },
                written = writer.write(out.chunk()), if !out.is_empty() => match written? {
                    0 => return Err(ErrorKind::WriteZero.into()),
                    length => out.advance(length),
                },
            }
        }
        Ok(())
    }

    /// Everything that is still to be said, and no more from us.
    async fn hang_up(&self, id: ConnectionId, socket: &mut TcpStream, out: &mut OutBuf) -> io::Result<()> {
        loop {
            self.with(|broker, now| broker.poll_transmit(now, id, out));
            if out.is_empty() {
                return socket.shutdown().await;
            }
            match socket.write(out.chunk()).await? {
                0 => return Err(ErrorKind::WriteZero.into()),
                length => out.advance(length),
            }
        }
    }
}

/// Throws away what the client still sends, until it closes: so no reset overtakes our last words.
async fn drain(socket: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1 << 10];
    while socket.read(&mut buffer).await? > 0 {}
    Ok(())
}
