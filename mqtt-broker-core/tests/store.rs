//! The reference store does what a store must, however it crashes; and the suite finds stores that do not.
#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

use mqtt_broker_core::session::{Change, Epoch, QueueLimits, Session, Snapshot};
use mqtt_broker_core::store::conformance::{self, Subject, Violation};
use mqtt_broker_core::store::{
    Fault, MemoryStore, Store, StoreAction, StoreFull, StoreKey, StoreOp, StoreRecord, Table,
};
use mqtt_broker_core::{Delivery, Instant, Message, Publication, codec::Qos, topic::TopicName};

/// Crashes with another fault each time.
struct Crashing(u64);

impl Subject for Crashing {
    type Store = MemoryStore;

    fn open(&mut self) -> MemoryStore {
        MemoryStore::new()
    }

    fn reopen(&mut self, store: MemoryStore) -> MemoryStore {
        self.0 += 1;
        let (bytes, frames) = (store.unsynced_bytes(), store.unsynced());
        let any = |n: usize| (self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) as usize % n.max(1);
        store.crash(match self.0 % 5 {
            0 => Fault::LoseTail,
            1 => Fault::Tear(any(bytes + 1)),
            2 => Fault::Drop(any(frames)),
            3 => Fault::Reorder(self.0),
            _ => Fault::Flip(any(bytes)),
        })
    }
}

// S20: torn, damaged, lost and reordered ends of the log.
#[test]
fn the_reference_store_conforms_however_it_crashes() {
    assert_eq!(conformance::check(&mut Crashing(0), 500), Ok(()));
}

// S20
#[test]
fn a_log_torn_at_every_byte_gives_whole_batches() {
    let epoch = Epoch::default();
    let key = |n: u8| StoreKey::new(Table::Sessions, &[n]);
    let batch = |n: u8| {
        let record = StoreRecord::Bytes([n; 5].as_slice().into());
        [0, 1].map(|which| StoreOp { key: key(which), action: StoreAction::Append(record.clone()) })
    };
    let mut store = MemoryStore::new();
    (1..=4).for_each(|n| store.write(&batch(n), epoch).unwrap());
    let mut last = 0;
    for bytes in 0..=store.unsynced_bytes() {
        let mut torn = store.clone().crash(Fault::Tear(bytes));
        let mut counts = [0, 0];
        for which in [0, 1_u8] {
            torn.load(&key(which), &mut |_| counts[usize::from(which)] += 1).unwrap();
        }
        assert_eq!(counts[0], counts[1], "torn at {bytes}");
        assert!(counts[0] >= last);
        last = counts[0];
    }
    assert_eq!(last, 4);
}

#[test]
fn a_store_at_its_limit_says_so_and_keeps_what_it_has() {
    let key = StoreKey::new(Table::Retained, b"t");
    let put = |len| StoreOp {
        key: key.clone(),
        action: StoreAction::Put(StoreRecord::Bytes(vec![1; len].as_slice().into())),
    };
    let mut store = MemoryStore::with_limit(200);
    store.write(&[put(50)], Epoch::default()).unwrap();
    assert_eq!(store.write(&[put(500)], Epoch::default()), Err(StoreFull));
    let mut lens = Vec::new();
    store.load(&key, &mut |record| lens.push(record.len())).unwrap();
    assert_eq!(lens, [50]);
}

/// A store with one fault.
#[derive(Clone, Copy, PartialEq)]
enum Wrong {
    AppendReplaces,
    DeleteKeeps,
    TablesMixed,
    BatchBackwards,
    SyncedIsLost,
    BatchesComeApart,
    NameTwice,
    EmptyRecordsAreLost,
}

struct WrongStore(MemoryStore, Wrong);

impl Store for WrongStore {
    type Error = StoreFull;

    fn write(&mut self, batch: &[StoreOp], epoch: Epoch) -> Result<(), StoreFull> {
        let mut batch = batch.to_vec();
        for op in &mut batch {
            match (self.1, &op.action) {
                (Wrong::AppendReplaces, StoreAction::Append(record)) => op.action = StoreAction::Put(record.clone()),
                (Wrong::DeleteKeeps, StoreAction::Delete) => {
                    op.action = StoreAction::Put(StoreRecord::Bytes([].as_slice().into()));
                }
                (Wrong::TablesMixed, _) => op.key.table = Table::Sessions,
                _ => {}
            }
        }
        match self.1 {
            Wrong::BatchBackwards => batch.reverse(),
            Wrong::EmptyRecordsAreLost => batch
                .retain(|op| !matches!(&op.action, StoreAction::Append(StoreRecord::Bytes(bytes)) if bytes.is_empty())),
            Wrong::BatchesComeApart => {
                return batch.into_iter().try_for_each(|op| self.0.write(&[op], epoch));
            }
            _ => {}
        }
        self.0.write(&batch, epoch)
    }

    fn sync(&mut self) -> Result<(), StoreFull> {
        if self.1 == Wrong::SyncedIsLost { Ok(()) } else { self.0.sync() }
    }

    fn load(&mut self, key: &StoreKey, each: &mut dyn FnMut(&[u8])) -> Result<(), StoreFull> {
        self.0.load(key, each)
    }

    fn names(&mut self, table: Table, each: &mut dyn FnMut(&[u8])) -> Result<(), StoreFull> {
        if self.1 == Wrong::NameTwice {
            self.0.names(table, each)?;
        }
        self.0.names(table, each)
    }
}

struct WrongSubject(Crashing, Wrong);

impl Subject for WrongSubject {
    type Store = WrongStore;

    fn open(&mut self) -> WrongStore {
        WrongStore(self.0.open(), self.1)
    }

    fn reopen(&mut self, store: WrongStore) -> WrongStore {
        WrongStore(self.0.reopen(store.0), self.1)
    }
}

#[test]
fn the_suite_finds_stores_that_are_wrong() {
    for (number, wrong) in [
        Wrong::AppendReplaces,
        Wrong::DeleteKeeps,
        Wrong::TablesMixed,
        Wrong::BatchBackwards,
        Wrong::SyncedIsLost,
        Wrong::BatchesComeApart,
        Wrong::NameTwice,
        Wrong::EmptyRecordsAreLost,
    ]
    .into_iter()
    .enumerate()
    {
        let found = conformance::check(&mut WrongSubject(Crashing(0), wrong), 200);
        assert!(matches!(found, Err(Violation::Broken(_))), "fault {number}: {found:?}");
    }
}

#[test]
fn a_session_comes_back_from_its_snapshot_and_the_changes_that_were_synced() {
    let (epoch, key) = (Epoch::from_unix_millis(1_700_000_000_000), StoreKey::new(Table::Sessions, b"client"));
    let limits = QueueLimits { messages: 10, bytes: 10_000 };
    let mut session = Session::new();
    session.record_changes();
    let mut store = MemoryStore::new();
    let base = StoreRecord::Snapshot(session.snapshot(epoch));
    store.write(&[StoreOp { key: key.clone(), action: StoreAction::Put(base) }], epoch).unwrap();
    let deliver = |session: &mut Session, store: &mut MemoryStore, payload: &[u8]| {
        let message = Message::new(Instant::ZERO, &Publication::new(TopicName::new("a").unwrap(), payload));
        session.deliver(Delivery::new(message, Qos::ExactlyOnce, false), &limits).unwrap();
        let changes = std::iter::from_fn(|| session.poll_change());
        let batch: Vec<_> = changes
            .map(|(_, change)| StoreOp { key: key.clone(), action: StoreAction::Append(StoreRecord::Change(change)) })
            .collect();
        store.write(&batch, epoch).unwrap();
    };
    deliver(&mut session, &mut store, b"1");
    deliver(&mut session, &mut store, b"2");
    store.sync().unwrap();
    session.stored(session.last_change());
    let then = session.snapshot(epoch);
    deliver(&mut session, &mut store, b"3");

    let mut store = store.crash(Fault::Tear(20));
    let mut records = Vec::new();
    store.load(&key, &mut |record| records.push(record.to_vec())).unwrap();
    let mut records = records.into_iter();
    let mut restored = Session::restore(&Snapshot::from_bytes(records.next().unwrap()).unwrap(), epoch).unwrap();
    records.for_each(|record| restored.apply(Change::decode(&record, epoch).unwrap()).unwrap());
    assert_eq!(restored.snapshot(epoch), then);
}
