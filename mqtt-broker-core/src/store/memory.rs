//! The reference store: a log of bytes in memory that can crash the way disks do.
//!
//! ```text
//! frame   length u32 of what follows | number u64, one more than the last | operations | FNV-1a of number and operations, u64
//! operation   table u8 | action u8: 1 put, 2 append, 3 delete | length u32, name | length u32, record (put and append)
//! ```
//!
//! What is read back ends before the first frame that is torn, damaged or out of its order: a batch is whole or not there.
use super::{Store, StoreAction, StoreKey, StoreOp, Table};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;
use mqtt_session::Epoch;
use thiserror::Error;

/// A store in memory, for tests: it forgets with the process, and crashes when asked to.
///
/// # Examples
///
/// ```
/// use mqtt_broker_core::session::{Epoch, Session, Snapshot};
/// use mqtt_broker_core::store::{Fault, MemoryStore, Store, StoreAction, StoreKey, StoreOp, StoreRecord, Table};
///
/// let (epoch, key) = (Epoch::default(), StoreKey::new(Table::Sessions, b"client"));
/// let snapshot = StoreRecord::Snapshot(Session::new().snapshot(epoch));
/// let mut store = MemoryStore::new();
/// store.write(&[StoreOp { key: key.clone(), action: StoreAction::Put(snapshot) }], epoch)?;
/// store.sync()?;
/// let mut store = store.crash(Fault::LoseTail);
/// let mut records = Vec::new();
/// store.load(&key, &mut |record| records.push(record.to_vec()))?;
/// assert!(Snapshot::from_bytes(records.remove(0)).is_ok());
/// # Ok::<(), mqtt_broker_core::store::StoreFull>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStore {
    log: Vec<u8>,
    /// Bytes of the log that survive.
    synced: usize,
    /// Where the frames behind those lie.
    tail: Vec<Range<usize>>,
    /// The number of the last frame.
    last: u64,
    max_bytes: usize,
    records: BTreeMap<StoreKey, Vec<Vec<u8>>>,
}

/// What a crash does to what was written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// All of it is lost.
    LoseTail,
    /// So many bytes of it are there, wherever that tears a frame.
    Tear(usize),
    /// The frame with this number, from 0, never got there; those behind it did.
    Drop(usize),
    /// Its frames lie in another order, which the number decides.
    Reorder(u64),
    /// The byte with this number is another, in what was not synced.
    Flip(usize),
}

/// The log is at its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the log of the store is at its limit")]
pub struct StoreFull;

const PUT: u8 = 1;
const APPEND: u8 = 2;
const DELETE: u8 = 3;

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty one, for 64 MiB of log.
    pub fn new() -> Self {
        Self::with_limit(1 << 26)
    }

    /// An empty one, for so many bytes of log.
    pub fn with_limit(max_bytes: usize) -> Self {
        Self { log: Vec::new(), synced: 0, tail: Vec::new(), last: 0, max_bytes, records: BTreeMap::new() }
    }

    /// Frames that were written and not synced.
    pub fn unsynced(&self) -> usize {
        self.tail.len()
    }

    /// Bytes of those.
    pub fn unsynced_bytes(&self) -> usize {
        self.log.len().saturating_sub(self.synced)
    }

    /// The process dies and comes back: what of the log can be read is the store.
    pub fn crash(mut self, fault: Fault) -> Self {
        let frame = |range: &Range<usize>| self.log.get(range.clone()).unwrap_or_default();
        let tail: Vec<u8> = match fault {
            Fault::LoseTail => Vec::new(),
            Fault::Tear(bytes) => {
                let tail = self.log.get(self.synced..).unwrap_or_default();
                tail.get(..bytes).unwrap_or(tail).to_vec()
            }
            Fault::Drop(lost) => {
                let kept = self.tail.iter().enumerate().filter(|(at, _)| *at != lost);
                kept.flat_map(|(_, range)| frame(range)).copied().collect()
            }
            Fault::Reorder(seed) => {
                let mut order: Vec<_> = self.tail.iter().enumerate().collect();
                let rank = |at: usize| seed.wrapping_add(at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
                order.sort_by_key(|&(at, _)| rank(at));
                order.into_iter().flat_map(|(_, range)| frame(range)).copied().collect()
            }
            Fault::Flip(at) => {
                let mut tail = self.log.get(self.synced..).unwrap_or_default().to_vec();
                if let Some(byte) = tail.get_mut(at) {
                    *byte = !*byte;
                }
                tail
            }
        };
        self.log.truncate(self.synced);
        self.log.extend(tail);
        Self::recover(self.log, self.max_bytes)
    }

    fn recover(log: Vec<u8>, max_bytes: usize) -> Self {
        let mut store = Self::with_limit(max_bytes);
        let mut rest = log.as_slice();
        while let Some((number, operations, behind)) = read_frame(rest) {
            if number != store.last.wrapping_add(1) || !store.replay(operations) {
                break;
            }
            (store.last, rest) = (number, behind);
        }
        store.synced = log.len().saturating_sub(rest.len());
        store.log = log;
        store.log.truncate(store.synced);
        store
    }

    /// Does what a frame says; `false` if it says nothing that can be.
    fn replay(&mut self, mut operations: &[u8]) -> bool {
        let mut batch = Vec::new();
        while !operations.is_empty() {
            let Some((operation, behind)) = read_operation(operations) else { return false };
            batch.push(operation);
            operations = behind;
        }
        for (key, action, record) in batch {
            self.apply(key, action, record);
        }
        true
    }

    fn apply(&mut self, key: StoreKey, action: u8, record: &[u8]) {
        match action {
            PUT => {
                self.records.insert(key, Vec::from([record.to_vec()]));
            }
            APPEND => self.records.entry(key).or_default().push(record.to_vec()),
            _ => {
                self.records.remove(&key);
            }
        }
    }
}

impl Store for MemoryStore {
    type Error = StoreFull;

    fn write(&mut self, batch: &[StoreOp], epoch: Epoch) -> Result<(), StoreFull> {
        let number = self.last.wrapping_add(1);
        let mut content = number.to_le_bytes().to_vec();
        for StoreOp { key, action } in batch {
            let (action, record) = match action {
                StoreAction::Put(record) => (PUT, Some(record)),
                StoreAction::Append(record) => (APPEND, Some(record)),
                StoreAction::Delete => (DELETE, None),
            };
            content.extend_from_slice(&[key.table as u8, action]);
            put_bytes(&mut content, &key.name);
            if let Some(record) = record {
                let mut bytes = Vec::new();
                record.encode(epoch, &mut bytes);
                put_bytes(&mut content, &bytes);
            }
        }
        content.extend_from_slice(&fnv(&content).to_le_bytes());
        let len = u32::try_from(content.len()).map_err(|_| StoreFull)?;
        let start = self.log.len();
        let end = start.saturating_add(size_of::<u32>()).saturating_add(content.len());
        if end > self.max_bytes {
            return Err(StoreFull);
        }
        self.log.extend_from_slice(&len.to_le_bytes());
        self.log.extend_from_slice(&content);
        self.tail.push(start..end);
        self.last = number;
        let operations = content.get(NUMBER..content.len().saturating_sub(CHECKSUM)).unwrap_or_default();
        self.replay(operations);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreFull> {
        self.synced = self.log.len();
        self.tail.clear();
        Ok(())
    }

    fn load(&mut self, key: &StoreKey, each: &mut dyn FnMut(&[u8])) -> Result<(), StoreFull> {
        self.records.get(key).into_iter().flatten().for_each(|record| each(record));
        Ok(())
    }

    fn names(&mut self, table: Table, each: &mut dyn FnMut(&[u8])) -> Result<(), StoreFull> {
        self.records.keys().filter(|key| key.table == table).for_each(|key| each(&key.name));
        Ok(())
    }
}

const NUMBER: usize = 8;
const CHECKSUM: usize = 8;

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take_bytes(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)
}

/// Its number, its operations, and what comes behind it.
fn read_frame(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (content, behind) = take_bytes(bytes)?;
    let (content, checksum) = content.split_last_chunk::<CHECKSUM>()?;
    if fnv(content) != u64::from_le_bytes(*checksum) {
        return None;
    }
    let (number, operations) = content.split_first_chunk::<NUMBER>()?;
    Some((u64::from_le_bytes(*number), operations, behind))
}

type Operation<'a> = (StoreKey, u8, &'a [u8]);

fn read_operation(bytes: &[u8]) -> Option<(Operation<'_>, &[u8])> {
    let (&[table, action], rest) = bytes.split_first_chunk()?;
    let table = Table::ALL.into_iter().find(|known| *known as u8 == table)?;
    let (name, rest) = take_bytes(rest)?;
    let (record, rest) = match action {
        PUT | APPEND => take_bytes(rest)?,
        DELETE => (&[][..], rest),
        _ => return None,
    };
    Some(((StoreKey::new(table, name), action, record), rest))
}

/// FNV-1a, 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}
