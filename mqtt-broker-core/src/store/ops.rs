//! What a broker gives out to be stored: operations on lists of records under keys.
use crate::records::Record;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use mqtt_session::{Change, Epoch, RecordError, Session, Snapshot};

/// One operation. Cloning shares its records.
#[derive(Clone, Debug)]
pub struct StoreOp {
    /// Under what.
    pub key: StoreKey,
    /// What becomes of the records there.
    pub action: StoreAction,
}

/// What a list of records is kept under. Cloning shares the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey {
    /// Of what kind it is.
    pub table: Table,
    /// Any bytes: a client identifier, a topic name.
    pub name: Arc<[u8]>,
}

/// What kind of things are kept: each has names of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Table {
    /// By client identifier: whose session it is, when it ends, its subscriptions, its will. All are read at the start.
    Clients = 1,
    /// By client identifier: the session's snapshot and its changes. Read when somebody needs it.
    Sessions = 2,
    /// By topic name: the retained message. All are read at the start.
    Retained = 3,
    /// By number: a will that fires and waits for the policy. All are read at the start.
    Wills = 4,
    /// By whom it keeps out: a ban. All are read at the start.
    Bans = 5,
}

impl Table {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Clients, Self::Sessions, Self::Retained, Self::Wills, Self::Bans];
}

/// What becomes of the records under a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreAction {
    /// They are replaced by this one.
    Put(StoreRecord),
    /// This one comes behind them, or is the first.
    Append(StoreRecord),
    /// They are gone.
    Delete,
}

/// A record, not yet bytes: it shares what it is made of until the store writes it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreRecord {
    /// A whole session.
    Snapshot(Snapshot),
    /// A change of a session.
    Change(Change),
    /// Something of the broker's own.
    Bytes(Arc<[u8]>),
}

impl StoreKey {
    /// The key `name` of `table`.
    pub fn new(table: Table, name: &[u8]) -> Self {
        Self { table, name: name.into() }
    }
}

impl StoreRecord {
    /// Appends its bytes, version and checksum included, to `out`.
    pub fn encode(&self, epoch: Epoch, out: &mut Vec<u8>) {
        match self {
            Self::Snapshot(snapshot) => out.extend_from_slice(snapshot.as_bytes()),
            Self::Change(change) => change.encode(epoch, out),
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
        }
    }
}

/// A line about a record, for people who look into a store.
///
/// # Errors
/// It is no record of this broker, or of another version, torn or damaged.
pub fn describe(record: &[u8], epoch: Epoch) -> Result<String, RecordError> {
    if let Ok(snapshot) = Snapshot::from_bytes(record) {
        let session = Session::restore(&snapshot, epoch)?;
        return Ok(alloc::format!("session: {} queued, {} in flight", session.queued(), session.inflight()));
    }
    if let Ok(change) = Change::decode(record, epoch) {
        return Ok(match change {
            Change::Queued { id, delivery, .. } => {
                let id = id.map_or_else(String::new, |id| alloc::format!(" as {}", id.get()));
                alloc::format!(
                    "queued{id}: {} at QoS {}, {} bytes",
                    delivery.message.topic(),
                    delivery.qos as u8,
                    delivery.message.payload().len()
                )
            }
            Change::Begun { id, .. } => alloc::format!("begun as {}", id.get()),
            Change::Released { id } => alloc::format!("released {}", id.get()),
            Change::Finished { id } => alloc::format!("finished {}", id.get()),
            Change::Dropped { .. } => "dropped".to_string(),
            Change::Received { id } => alloc::format!("received {}", id.get()),
            Change::Forgotten { id } => alloc::format!("forgotten {}", id.get()),
            _ => "restarted".to_string(),
        });
    }
    Record::read(record, epoch).map(|record| record.describe(epoch))
}
