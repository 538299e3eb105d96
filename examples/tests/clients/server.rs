//! A server of one test: mqtt-broker-core on std sockets, for policies that the example broker has no setting for.
use mqtt_broker_core::topic::HashSeed;
use mqtt_broker_core::{Broker, Config, ConnectionId, Instant, Peer, Policy, Read as Wanted, Refusal};
use mqtt_codec::OutBuf;
use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::spawn;
use std::time::Duration;

/// How long a connection's thread waits for bytes before it looks whether there is something to write.
const TURN: Duration = Duration::from_millis(5);

/// Serves until the test program ends.
pub struct Server<P> {
    address: SocketAddr,
    shared: Arc<Shared<P>>,
}

struct Shared<P> {
    started: std::time::Instant,
    state: Mutex<State<P>>,
}

struct State<P> {
    broker: Broker<P>,
    /// Connections that the broker has ended.
    ended: HashSet<ConnectionId>,
}

impl<P: Policy + Send + 'static> Server<P> {
    pub fn start(policy: P, config: Config) -> Self {
        let broker = Broker::new(config, policy, HashSeed::random()).unwrap();
        let state = Mutex::new(State { broker, ended: HashSet::new() });
        let shared = Arc::new(Shared { started: std::time::Instant::now(), state });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), shared: shared.clone() };
        spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                spawn(move || shared.serve(stream));
            }
        });
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a client elsewhere; whether it was connected.
    pub fn redirect(&self, client_id: &str, word: &Refusal) -> bool {
        let mut state = self.shared.state.lock().unwrap();
        state.broker.redirect(self.shared.now(), client_id, word)
    }
}

impl<P: Policy> Shared<P> {
    fn now(&self) -> Instant {
        Instant::from_millis(self.started.elapsed().as_millis() as u64)
    }

    fn serve(&self, mut stream: TcpStream) {
        stream.set_read_timeout(Some(TURN)).unwrap();
        let id = self.state.lock().unwrap().broker.handle_open(self.now(), Peer::default()).unwrap();
        let (mut out, mut bytes) = (OutBuf::default(), [0; 4096]);
        loop {
            let read = stream.read(&mut bytes);
            let mut state = self.state.lock().unwrap();
            let State { broker, ended } = &mut *state;
            let mut ends = match read {
                Ok(0) => true,
                Ok(read) => {
                    broker.handle_input(self.now(), id, &bytes[..read]);
                    false
                }
                Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            };
            broker.handle_timeout(self.now());
            loop {
                broker.poll_transmit(self.now(), id, &mut out);
                while let Some(ready) = broker.poll_ready() {
                    if ready.read == Wanted::Close {
                        ended.insert(ready.id);
                    }
                }
                let len = out.chunk().len();
                if len == 0 {
                    break;
                }
                ends |= stream.write_all(out.chunk()).is_err();
                out.advance(len);
            }
            if ends || ended.remove(&id) {
                ended.remove(&id);
                return broker.handle_closed(self.now(), id);
            }
        }
    }
}
