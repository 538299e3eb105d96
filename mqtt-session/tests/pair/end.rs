//! One end, its host, and what both have seen.
use crate::plan::Plan;
use mqtt_session::codec::{OutBuf, Packet, Qos, Reader, Role, Version};
use mqtt_session::{AckToken, Connection, Epoch, Instant, PublishToken, RequestToken, Session, Snapshot, Transmit};
use std::collections::{BTreeMap, BTreeSet};

/// The Unix time of [`Instant::ZERO`].
const EPOCH: Epoch = Epoch::from_unix_millis(1_700_000_000_000);

/// Names a message, over all connections.
pub(crate) type Number = u32;

pub(crate) struct End {
    pub(crate) role: Role,
    pub(crate) connection: Option<Connection>,
    pub(crate) reader: Option<Reader>,
    /// Kept while there is no connection.
    pub(crate) session: Option<Session>,
    /// Written, not yet arrived.
    pub(crate) wire: Vec<u8>,
    /// What its host was given and has not acknowledged; no number where it is the host's own already.
    pub(crate) waiting: Vec<(AckToken, Option<Number>)>,
    /// SUBSCRIBEs (`true`) and UNSUBSCRIBEs to be answered, and how many filters they have.
    pub(crate) requests: Vec<(RequestToken, bool, usize)>,
    /// Those of its own that are not answered.
    pub(crate) asked: BTreeSet<u16>,
    /// All messages that came, in order.
    pub(crate) arrived: Vec<(Number, usize, Qos)>,
    /// How often each was accepted, and which were refused.
    pub(crate) accepted: BTreeMap<Number, u32>,
    pub(crate) refused: BTreeSet<Number>,
    /// What this end published.
    pub(crate) published: Vec<(Number, usize, Qos)>,
    /// Of QoS 1 and 2: how often each was completed.
    pub(crate) completions: BTreeMap<PublishToken, u32>,
    tokens: BTreeMap<Number, PublishToken>,
    /// What was sent on this connection and is not completed.
    pub(crate) unfinished: BTreeSet<PublishToken>,
    /// What was sent on this connection, and on any.
    on_this_connection: BTreeSet<Number>,
    ever_sent: BTreeSet<Number>,
    /// The peer has lost its session.
    pub(crate) may_begin_anew: bool,
    /// All that was ever written.
    pub(crate) written: Vec<u8>,
}

impl End {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            connection: None,
            reader: None,
            session: Some(Session::new()),
            wire: Vec::new(),
            waiting: Vec::new(),
            requests: Vec::new(),
            asked: BTreeSet::new(),
            arrived: Vec::new(),
            accepted: BTreeMap::new(),
            refused: BTreeSet::new(),
            published: Vec::new(),
            completions: BTreeMap::new(),
            tokens: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            on_this_connection: BTreeSet::new(),
            ever_sent: BTreeSet::new(),
            may_begin_anew: false,
            written: Vec::new(),
        }
    }

    pub(crate) fn join(&mut self, connection: Connection) {
        self.reader = Some(connection.reader());
        self.connection = Some(connection);
    }

    /// The connection is gone: what the host did not take is forgotten.
    pub(crate) fn cut(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Before it was accepted, a server's session lies beside its connection still.
            self.session.get_or_insert_with(|| connection.into_session());
        }
        self.reader = None;
        self.wire.clear();
        self.waiting.clear();
        self.requests.clear();
        self.asked.clear();
        self.unfinished.clear();
        self.on_this_connection.clear();
    }

    /// Another process goes on with what was stored.
    pub(crate) fn restart(&mut self) {
        let snapshot = self.session.take().unwrap().snapshot(EPOCH);
        let stored = Snapshot::from_bytes(snapshot.as_bytes()).unwrap();
        self.session = Some(Session::restore(&stored, EPOCH).unwrap());
    }

    pub(crate) fn publishes(&mut self, number: Number, topic: usize, qos: Qos, token: PublishToken) {
        self.published.push((number, topic, qos));
        if qos != Qos::AtMostOnce {
            self.completions.insert(token, 0);
            self.tokens.insert(number, token);
        }
    }

    /// Writes all that it has to say, watched packet by packet.
    pub(crate) fn write(&mut self, now: Instant, plan: &Plan) {
        let Some(mut connection) = self.connection.take() else { return };
        let mut out = OutBuf::with_limit(1 << 20);
        while connection.poll_transmit(now, &mut out) == Transmit::Wrote {
            let start = self.written.len();
            while !out.is_empty() {
                self.written.extend_from_slice(out.chunk());
                out.advance(out.chunk().len());
            }
            let packet = self.written[start..].to_vec();
            self.watch(&Packet::decode(&packet, plan.version, self.role).unwrap(), plan);
            self.wire.extend(packet);
        }
        self.connection = Some(connection);
    }

    fn watch(&mut self, packet: &Packet<'_>, plan: &Plan) {
        let Packet::Publish(publish) = packet else { return };
        let number = Number::from_be_bytes(publish.payload[..4].try_into().unwrap());
        assert!(self.on_this_connection.insert(number), "{number} was sent twice on one connection");
        let again = !self.ever_sent.insert(number);
        // pitfall 4: DUP says that it was sent before, and nothing else
        assert!(publish.dup == again || (again && self.may_begin_anew), "DUP of {number} at {:?}", publish.qos);
        if publish.qos == Qos::AtMostOnce {
            return;
        }
        self.unfinished.insert(self.tokens[&number]);
        // pitfall 5: the quota never rises above where it began. Before 5.0 only the server's own window holds.
        let start = match (plan.version, self.role) {
            (Version::V5, Role::Client) => plan.receive_maximum,
            (Version::V5, Role::Server) => plan.receive_maximum.min(plan.maximum_inflight),
            (_, Role::Client) => u16::MAX,
            (_, Role::Server) => plan.maximum_inflight,
        };
        assert!(self.unfinished.len() <= usize::from(start), "more than {start} unfinished");
    }
}
