//! Whatever a store gives back is refused or a broker that works, and what that broker stores is restored as it was (`S20`).
//!
//! The input is records without their checksums: table u8, name (its length u8 before it), record (u16, little-endian); they are given
//! right checksums here, for a fuzzer guesses none.
#![no_main]
use libfuzzer_sys::fuzz_target;
use mqtt_broker_core::session::{Epoch, Publication};
use mqtt_broker_core::store::{
    LoadError, MemoryStore, RestoreError, Store, StoreAction, StoreKey, StoreOp, StoreRecord, Table, restore,
};
use mqtt_broker_core::topic::{HashSeed, TopicFilter, TopicName};
use mqtt_broker_core::{
    Broker, ClientInfo, Config, ConnectRequest, Decision, Durability, Instant, Peer, Policy, PublishRequest,
    ReceiveRequest, SubscribeRequest, UnsubscribeRequest, codec::OutBuf,
};
use std::sync::{Arc, Mutex};

const EPOCH: Epoch = Epoch::from_unix_millis(1_700_000_000_000);

struct Host(Arc<Mutex<MemoryStore>>);

impl Policy for Host {
    fn connect(&mut self, _: &ConnectRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn publish(&mut self, _: &PublishRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn subscribe(&mut self, _: &SubscribeRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn unsubscribe(&mut self, _: &UnsubscribeRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn receives_all(&mut self, _: &ClientInfo<'_>, _: TopicFilter<'_>) -> bool {
        true
    }
    fn receive(&mut self, _: &ReceiveRequest<'_>) -> bool {
        true
    }
    fn load_session(&mut self, client_id: &str, each: &mut dyn FnMut(&[u8])) -> Result<(), LoadError> {
        self.0.lock().unwrap().load(&StoreKey::new(Table::Sessions, client_id.as_bytes()), each).map_err(|_| LoadError)
    }
}

fuzz_target!(|data: &[u8]| {
    let mut store = MemoryStore::new();
    let mut rest = data;
    while let Some((key, record)) = next(&mut rest) {
        let record = StoreRecord::Bytes(checked(record).into());
        let _ = store.write(&[StoreOp { key, action: StoreAction::Append(record) }], EPOCH);
    }
    let now = Instant::from_millis(1_000);
    let store = Arc::new(Mutex::new(store));
    let mut broker = start(&store, now);
    let unrestored = restore(&mut broker, &mut *store.lock().unwrap(), now, EPOCH).unwrap();
    // what cannot be read is in nobody's way: it is told, and goes
    let delete = |key| StoreOp { key, action: StoreAction::Delete };
    let full = unrestored.iter().any(|unrestored| unrestored.error == RestoreError::Full);
    let ops: Vec<StoreOp> = unrestored.into_iter().map(|unrestored| delete(unrestored.key)).collect();
    store.lock().unwrap().write(&ops, EPOCH).unwrap();
    work(&mut broker, &store, now);
    if full {
        return;
    }
    let mut again = start(&store, now);
    let unrestored = restore(&mut again, &mut *store.lock().unwrap(), now, EPOCH).unwrap();
    assert!(unrestored.is_empty(), "{unrestored:?}");
    let kept = |broker: &Broker<Host>| {
        let stats = broker.stats();
        (stats.sessions, stats.subscriptions, stats.retained)
    };
    assert_eq!(kept(&again), kept(&broker));
});

fn start(store: &Arc<Mutex<MemoryStore>>, now: Instant) -> Broker<Host> {
    let mut config = Config::default();
    config.durability = Durability::Synced;
    let mut broker = Broker::new(config, Host(Arc::clone(store)), HashSeed::new(1, 2)).unwrap();
    broker.handle_timeout(now);
    broker
}

/// Everything that is there is used: what is due, a client, messages for all.
fn work(broker: &mut Broker<Host>, store: &Arc<Mutex<MemoryStore>>, now: Instant) {
    broker.handle_timeout(now);
    keep(broker, store, now);
    let id = broker.handle_open(now, Peer::default()).unwrap();
    broker.handle_input(now, id, b"\x10\x0D\x00\x04MQTT\x04\x00\x00\x00\x00\x01c");
    for topic in ["a", "a/b", "b"] {
        let mut publication = Publication::new(TopicName::new(topic).unwrap(), b"1");
        publication.qos = mqtt_broker_core::codec::Qos::ExactlyOnce;
        let _ = broker.publish(now, &publication);
    }
    keep(broker, store, now);
    broker.handle_closed(now, id);
    keep(broker, store, now);
}

fn keep(broker: &mut Broker<Host>, store: &Arc<Mutex<MemoryStore>>, now: Instant) {
    let mut out = OutBuf::default();
    loop {
        let mut batch = Vec::new();
        if let Some(ticket) = broker.poll_store(EPOCH, &mut batch) {
            store.lock().unwrap().write(&batch, EPOCH).unwrap();
            broker.stored(now, ticket);
            continue;
        }
        let Some(ready) = broker.poll_ready() else { return };
        broker.poll_transmit(now, ready.id, &mut out);
        out = OutBuf::default();
    }
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<(StoreKey, &'a [u8])> {
    let (&[table, len], after) = rest.split_first_chunk::<2>()?;
    let (name, after) = after.split_at_checked(usize::from(len))?;
    let (len, after) = after.split_first_chunk::<2>()?;
    let (record, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
    *rest = after;
    Some((StoreKey::new(*Table::ALL.get(usize::from(table) % Table::ALL.len())?, name), record))
}

/// With version and CRC-32 as they must be.
fn checked(record: &[u8]) -> Vec<u8> {
    let mut bytes = [&[1], record].concat();
    let mut crc = u32::MAX;
    for &byte in &bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    bytes.extend_from_slice(&(!crc).to_le_bytes());
    bytes
}
