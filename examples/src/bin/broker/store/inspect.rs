//! `broker inspect DIR`: what is in a store, for people.

use super::{Disk, StoreError};
use crate::Failure;
use mqtt_broker_core::session::{Change, Epoch, Session, Snapshot};
use mqtt_broker_core::store::{Store, StoreKey, Table};
use std::io::{self, Write};
use std::path::Path;

/// Prints what is in the store in `folder`; no broker may be using it.
pub(crate) fn inspect(folder: &Path) -> Result<(), Failure> {
    let mut disk = Disk::open(folder, false).map_err(|error| Failure::Runtime(error.to_string()))?;
    let mut text = Vec::new();
    describe(&mut disk, &mut text).map_err(|error| Failure::Runtime(error.to_string()))?;
    match io::stdout().write_all(&text) {
        // who reads has seen enough
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Runtime(error.to_string())),
        _ => Ok(()),
    }
}

fn describe(store: &mut impl Store<Error = StoreError>, out: &mut Vec<u8>) -> Result<(), StoreError> {
    for table in Table::ALL {
        let mut names = Vec::new();
        store.names(table, &mut |name| names.push(name.to_vec()))?;
        let _ = writeln!(out, "{table:?}: {}", names.len());
        for name in names {
            let mut records = Vec::new();
            store.load(&StoreKey::new(table, &name), &mut |record| records.push(record.to_vec()))?;
            let bytes: usize = records.iter().map(Vec::len).sum();
            let _ = write!(out, "  {:?}, {} records, {bytes} bytes", String::from_utf8_lossy(&name), records.len());
            let _ = match table {
                Table::Sessions => writeln!(out, ": {}", session(&records)),
                _ => writeln!(out),
            };
        }
    }
    Ok(())
}

/// What the records of a session come to.
fn session(records: &[Vec<u8>]) -> String {
    let epoch = Epoch::default();
    let restored = records.split_first().map(|(snapshot, changes)| {
        let mut session = Session::restore(&Snapshot::from_bytes(snapshot.clone())?, epoch)?;
        changes.iter().try_for_each(|change| session.apply(Change::decode(change, epoch)?))?;
        Ok::<_, mqtt_broker_core::session::RecordError>(session)
    });
    match restored {
        Some(Ok(session)) => {
            format!(
                "{} queued, {} in flight, {} bytes of messages",
                session.queued(),
                session.inflight(),
                session.bytes()
            )
        }
        Some(Err(error)) => format!("cannot be restored: {error}"),
        None => "nothing".into(),
    }
}
