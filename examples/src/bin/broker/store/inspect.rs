//! `broker inspect DIR`: what is in a store, for people.

use super::{Disk, StoreError};
use crate::Failure;
use mqtt_broker_core::session::{Change, Epoch, RecordError, Session, Snapshot};
use mqtt_broker_core::store::{Store, StoreKey, Table, describe};
use std::io::{self, Write};
use std::path::Path;

/// Prints what is in the store in `folder`; no broker may be using it.
pub(crate) fn inspect(folder: &Path) -> Result<(), Failure> {
    let mut text = Vec::new();
    let read = Disk::open(folder, false).and_then(|mut disk| print(&mut disk, &mut text));
    read.map_err(|error| Failure::Runtime(error.to_string()))?;
    match io::stdout().write_all(&text) {
        // who reads has seen enough
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Runtime(error.to_string())),
        _ => Ok(()),
    }
}

/// A heading for each table, a line for each name, and the records below it; those of a session together.
fn print(store: &mut impl Store<Error = StoreError>, out: &mut Vec<u8>) -> Result<(), StoreError> {
    for table in Table::ALL {
        let mut names = Vec::new();
        store.names(table, &mut |name| names.push(name.to_vec()))?;
        let _ = writeln!(out, "{table:?}: {}", names.len());
        for name in names {
            let mut records = Vec::new();
            store.load(&StoreKey::new(table, &name), &mut |record| records.push(record.to_vec()))?;
            let bytes: usize = records.iter().map(Vec::len).sum();
            let _ = writeln!(out, "  {}: {bytes} bytes", readable(table, &name));
            let lines = match table {
                Table::Sessions => vec![session(&records)],
                _ => records.iter().map(|record| describe(record, Epoch::default())).collect(),
            };
            for line in lines {
                let _ = writeln!(out, "    {}", line.unwrap_or_else(|error| format!("NOT READABLE: {error}")));
            }
        }
    }
    Ok(())
}

/// Names are the clients' own words: they are printed escaped.
fn readable(table: Table, name: &[u8]) -> String {
    match (table, name) {
        (Table::Wills, name) if name.len() == 8 => {
            name.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte)).to_string()
        }
        (Table::Bans, [0, id @ ..]) => format!("client {:?}", String::from_utf8_lossy(id)),
        (Table::Bans, [1, user @ ..]) => format!("user {:?}", String::from_utf8_lossy(user)),
        (Table::Bans, [2, address @ ..]) => format!("address {}", String::from_utf8_lossy(address)),
        (_, name) => format!("{:?}", String::from_utf8_lossy(name)),
    }
}

/// What the records of a session come to.
fn session(records: &[Vec<u8>]) -> Result<String, RecordError> {
    let Some((snapshot, changes)) = records.split_first() else { return Ok("nothing".into()) };
    let epoch = Epoch::default();
    let mut session = Session::restore(&Snapshot::from_bytes(snapshot.clone())?, epoch)?;
    changes.iter().try_for_each(|change| session.apply(Change::decode(change, epoch)?))?;
    let (queued, inflight, bytes) = (session.queued(), session.inflight(), session.bytes());
    let changes = changes.len();
    Ok(format!("{queued} queued, {inflight} in flight, {bytes} bytes of messages; a snapshot and {changes} changes"))
}
