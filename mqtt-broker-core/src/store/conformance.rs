//! Whether a [`Store`] does what it says, to be run in the tests of whoever wrote one.
use super::{Store, StoreAction, StoreKey, StoreOp, StoreRecord, Table};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use mqtt_session::Epoch;
use thiserror::Error;

/// How the suite comes by stores.
pub trait Subject {
    /// What is checked.
    type Store: Store;

    /// A new one with nothing in it.
    fn open(&mut self) -> Self::Store;

    /// What is there when the process died and came back: as cruel as the host can make it. To close a file and open it again
    /// is the least.
    fn reopen(&mut self, store: Self::Store) -> Self::Store;
}

/// What a store does wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// It returned an error.
    #[error("the store failed: {0}")]
    Failed(String),
    /// It broke a rule.
    #[error("the store breaks a rule: {0}")]
    Broken(String),
}

/// Checks a store: single operations first, then `runs` random histories with crashes, the same ones each time.
///
/// # Errors
/// The first rule that is broken.
///
/// # Examples
///
/// ```
/// use mqtt_broker_core::store::{Fault, MemoryStore, conformance};
///
/// struct Tearing(usize);
///
/// impl conformance::Subject for Tearing {
///     type Store = MemoryStore;
///     fn open(&mut self) -> MemoryStore {
///         MemoryStore::new()
///     }
///     fn reopen(&mut self, store: MemoryStore) -> MemoryStore {
///         self.0 += 1;
///         store.crash(Fault::Tear(self.0 % 100))
///     }
/// }
///
/// conformance::check(&mut Tearing(0), 10)?;
/// # Ok::<(), conformance::Violation>(())
/// ```
pub fn check<S: Subject>(subject: &mut S, runs: u64) -> Result<(), Violation> {
    single_operations(subject)?;
    any_bytes(subject)?;
    what_was_synced_survives(subject)?;
    (1..=runs).try_for_each(|seed| random_history(subject, seed))
}

// --- the rules -------------------------------------------------------------------------------------------------------

fn single_operations<S: Subject>(subject: &mut S) -> Result<(), Violation> {
    let mut store = subject.open();
    let mut model = Model::new();
    model.is(&mut store, "a new store is empty")?;
    let (a, b) = (key(Table::Sessions, b"a"), key(Table::Sessions, b"b"));
    let other = key(Table::Clients, b"a");
    for (batch, rule) in [
        (vec![append(&a, b"1")], "the first record of a key may be appended"),
        (vec![append(&a, b"2"), append(&a, b"3")], "records are kept in order"),
        (vec![put(&b, b"x"), put(&other, b"y")], "keys and tables are apart"),
        (vec![put(&a, b"4")], "put replaces all records of its key"),
        (vec![append(&a, b"4")], "records may be alike"),
        (vec![delete(&b)], "delete leaves none, and no name"),
        (vec![delete(&b)], "to delete what is not there is no error"),
        (
            vec![put(&b, b"1"), delete(&b), append(&b, b"2"), append(&b, b"3")],
            "the operations of a batch are done in order",
        ),
        (vec![], "a batch may be empty"),
    ] {
        model.apply(&batch);
        write(&mut store, &batch)?;
        model.is(&mut store, rule)?;
    }
    Ok(())
}

fn any_bytes<S: Subject>(subject: &mut S) -> Result<(), Violation> {
    let mut store = subject.open();
    let mut model = Model::new();
    let all: Vec<u8> = (0..=255).collect();
    let large = vec![0xA5; 300_000];
    let batch = [
        put(&key(Table::Retained, &all), &all),
        put(&key(Table::Retained, b"/"), b""),
        append(&key(Table::Retained, b"/"), b""),
        put(&key(Table::Retained, b"../x\0\r\n"), b"\n"),
        put(&key(Table::Retained, b""), b"no name"),
        put(&key(Table::Sessions, &[0xFF; 60_000]), &large),
    ];
    model.apply(&batch);
    write(&mut store, &batch)?;
    model.is(&mut store, "names and records are any bytes, of any length")?;
    store.sync().map_err(failed)?;
    model.is(&mut subject.reopen(store), "names and records are any bytes, after a restart too")
}

fn what_was_synced_survives<S: Subject>(subject: &mut S) -> Result<(), Violation> {
    let mut store = subject.open();
    let mut model = Model::new();
    for round in 0..20_u8 {
        let key = key(Table::Sessions, &[round % 3]);
        let batch = [append(&key, &[round]), append(&key, &[round, 0])];
        model.apply(&batch);
        write(&mut store, &batch)?;
        store.sync().map_err(failed)?;
        store = subject.reopen(store);
        model.is(&mut store, "what was synced survives")?;
    }
    Ok(())
}

/// Batches, syncs and restarts in any order: what is there after a restart is what was there after one of the batches since the last sync.
fn random_history<S: Subject>(subject: &mut S, seed: u64) -> Result<(), Violation> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut store = subject.open();
    // the states since the last sync
    let mut states = vec![Model::new()];
    for _ in 0..60 {
        match random.below(10) {
            0 => {
                store.sync().map_err(failed)?;
                states = states.split_off(states.len().saturating_sub(1));
            }
            1 => {
                store = subject.reopen(store);
                let now = Model::of(&mut store)?;
                let found = states.iter().position(|state| *state == now);
                let rule =
                    format!("after a crash whole batches are there, and none without those before it (run {seed})");
                let at = found.ok_or(Violation::Broken(rule))?;
                states = states.into_iter().skip(at).take(1).collect();
            }
            _ => {
                let batch: Vec<_> = (0..random.below(5)).map(|_| random.operation()).collect();
                write(&mut store, &batch)?;
                let mut state = states.last().cloned().unwrap_or_default();
                state.apply(&batch);
                state.is(&mut store, "what was written can be read at once")?;
                states.push(state);
            }
        }
    }
    Ok(())
}

// --- the obvious store -----------------------------------------------------------------------------------------------

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model(BTreeMap<StoreKey, Vec<Vec<u8>>>);

impl Model {
    fn new() -> Self {
        Self::default()
    }

    fn apply(&mut self, batch: &[StoreOp]) {
        for StoreOp { key, action } in batch {
            match action {
                StoreAction::Put(record) => {
                    self.0.insert(key.clone(), vec![bytes(record)]);
                }
                StoreAction::Append(record) => self.0.entry(key.clone()).or_default().push(bytes(record)),
                StoreAction::Delete => {
                    self.0.remove(key);
                }
            }
        }
    }

    fn of(store: &mut impl Store) -> Result<Self, Violation> {
        let mut model = Self::new();
        for table in Table::ALL {
            let mut names = Vec::new();
            store.names(table, &mut |name| names.push(name.to_vec())).map_err(failed)?;
            for name in names {
                let key = StoreKey::new(table, &name);
                let mut records = Vec::new();
                store.load(&key, &mut |record| records.push(record.to_vec())).map_err(failed)?;
                if model.0.insert(key, records).is_some() {
                    return Err(Violation::Broken("each name comes once".to_string()));
                }
            }
        }
        Ok(model)
    }

    fn is(&self, store: &mut impl Store, rule: &str) -> Result<(), Violation> {
        let mut nothing = true;
        store.load(&StoreKey::new(Table::Clients, b"nobody"), &mut |_| nothing = false).map_err(failed)?;
        if nothing && *self == Self::of(store)? { Ok(()) } else { Err(Violation::Broken(rule.to_string())) }
    }
}

fn bytes(record: &StoreRecord) -> Vec<u8> {
    let mut bytes = Vec::new();
    record.encode(Epoch::default(), &mut bytes);
    bytes
}

fn key(table: Table, name: &[u8]) -> StoreKey {
    StoreKey::new(table, name)
}

fn put(key: &StoreKey, record: &[u8]) -> StoreOp {
    StoreOp { key: key.clone(), action: StoreAction::Put(StoreRecord::Bytes(record.into())) }
}

fn append(key: &StoreKey, record: &[u8]) -> StoreOp {
    StoreOp { key: key.clone(), action: StoreAction::Append(StoreRecord::Bytes(record.into())) }
}

fn delete(key: &StoreKey) -> StoreOp {
    StoreOp { key: key.clone(), action: StoreAction::Delete }
}

fn write(store: &mut impl Store, batch: &[StoreOp]) -> Result<(), Violation> {
    store.write(batch, Epoch::default()).map_err(failed)
}

fn failed(error: impl core::error::Error) -> Violation {
    Violation::Failed(error.to_string())
}

/// A small generator (xorshift64*), so that a run is a number.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n.max(1)
    }

    fn operation(&mut self) -> StoreOp {
        let table = Table::ALL.into_iter().nth(usize::from(self.below(3) > 1)).unwrap_or(Table::Clients);
        let key = StoreKey::new(table, &[b'a'.saturating_add(u8::try_from(self.below(4)).unwrap_or_default())]);
        let record = self.below(1 << 30).to_le_bytes();
        match self.below(6) {
            0 => delete(&key),
            1 => put(&key, &record),
            _ => append(&key, &record),
        }
    }
}
