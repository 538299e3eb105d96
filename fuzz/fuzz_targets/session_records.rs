//! Whatever bytes a store gives back are an error or a session that works (`S20`): a snapshot, then changes.
//!
//! The input is records without their checksums, each behind its length in two bytes, little-endian; they are given right ones here,
//! for a fuzzer guesses none.
#![no_main]
use libfuzzer_sys::fuzz_target;
use mqtt_session::codec::{OutBuf, Qos};
use mqtt_session::topic::TopicName;
use mqtt_session::{
    Accept, Change, Connection, Delivery, Epoch, Instant, Message, Publication, QueueLimits, ServerConfig, Session,
    Snapshot, Transmit,
};

const EPOCH: Epoch = Epoch::from_unix_millis(1_700_000_000_000);

fuzz_target!(|data: &[u8]| {
    let _ = (Snapshot::from_bytes(data), Change::decode(data, EPOCH));
    let mut records = Records(data);
    let Some(first) = records.next() else { return };
    let mut session = match Snapshot::from_bytes(first).and_then(|snapshot| Session::restore(&snapshot, EPOCH)) {
        Ok(session) => session,
        Err(_) => Session::new(),
    };
    check(&session);
    for record in records {
        let Ok(change) = Change::decode(&record, EPOCH) else { continue };
        let mut again = Vec::new();
        change.encode(EPOCH, &mut again);
        assert_eq!(Change::decode(&again, EPOCH).map(|again| format!("{again:?}")), Ok(format!("{change:?}")));
        let before = session.snapshot(EPOCH);
        if session.apply(change).is_err() {
            assert_eq!(session.snapshot(EPOCH), before);
        }
    }
    check(&session);
    live(session);
});

/// A session's snapshot is its own.
fn check(session: &Session) {
    let snapshot = session.snapshot(EPOCH);
    let again = Session::restore(&snapshot, EPOCH).expect("our own");
    assert_eq!(again.snapshot(EPOCH), snapshot);
    // one that has its identifier and waits to be sent counts as sent once it is read back
    let held = |session: &Session| (session.queued() + session.inflight(), session.bytes());
    assert_eq!(held(&again), held(session));
}

/// It is sent, and takes more.
fn live(mut session: Session) {
    let (now, config) = (Instant::ZERO, ServerConfig::default());
    session.record_changes();
    let mut server = Connection::server(now, &config);
    let mut reader = server.reader();
    let mut input = server.read(now, &mut reader, b"\x10\x0D\x00\x04MQTT\x04\x00\x00\x00\x00\x01c");
    input.next().expect("a CONNECT");
    drop(input);
    server.accept(now, session, &config, &Accept::default());
    let message = Message::new(now, &Publication::new(TopicName::new("a").expect("a name"), b"1"));
    let limits = QueueLimits { messages: usize::MAX, bytes: usize::MAX };
    server.deliver(Delivery::new(message, Qos::ExactlyOnce, false), &limits).expect("no limits");
    server.stored(u64::MAX);
    let mut out = OutBuf::with_limit(1 << 24);
    while server.poll_transmit(now, &mut out) == Transmit::Wrote {}
    check(&server.into_session());
}

/// Records with right checksums.
struct Records<'a>(&'a [u8]);

impl Iterator for Records<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let (&len, rest) = self.0.split_first_chunk::<2>()?;
        let (content, rest) = rest.split_at(usize::from(u16::from_le_bytes(len)).min(rest.len()));
        self.0 = rest;
        let mut crc = u32::MAX;
        for byte in content {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0xEDB8_8320 * (crc & 1));
            }
        }
        Some([content, &(!crc).to_le_bytes()].concat())
    }
}
