//! The file: records under keys in a redb database, whole batches, one writer and readers that never wait for it.
//!
//! ```text
//! table "mqttkit"   "format" -> 1
//! table "records"   (table of the core u8, name, number u64) -> one or more x (length u32, little-endian | record)
//! ```
//!
//! The records of a key are those of its entries, in the order of their numbers. What one commit appends to a key is one entry, so that
//! a busy session costs one entry for each sync and not one for each message.

use mqtt_broker_core::session::Epoch;
use mqtt_broker_core::store::{Store, StoreAction, StoreKey, StoreOp, Table};
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    WriteTransaction,
};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of the file in its folder.
const FILE: &str = "mqtt.redb";
/// The format written, and the only one read.
const FORMAT: u64 = 1;
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("mqttkit");
const RECORDS: TableDefinition<'_, Key<'static>, &[u8]> = TableDefinition::new("records");
/// Pages kept in memory: bytes.
const CACHE: usize = 32 << 20;
/// An entry that has grown to so many bytes is followed by another.
const ENTRY: usize = 64 << 10;

type Key<'a> = (u8, &'a [u8], u64);

/// What went wrong, with the file it went wrong with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreError(String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

/// The store, for whoever writes it.
pub(crate) struct Disk {
    reader: Reader,
    /// What was written and not synced.
    unsynced: Option<WriteTransaction>,
    /// After one failure nobody knows what is there: nothing is written any more.
    failed: Option<StoreError>,
}

/// Reads what was synced, on any thread, while another writes. Cloning it is cheap.
#[derive(Clone)]
pub(crate) struct Reader {
    database: Arc<Database>,
    path: Arc<Path>,
}

impl Disk {
    /// Opens the store in `folder`. If `make` is set, both are made if they are not there.
    pub(crate) fn open(folder: &Path, make: bool) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        if !make {
            let database = builder().open(&path).map_err(|error| refused(&path, error))?;
            return Self::checked(database, path);
        }
        fs::create_dir_all(folder).map_err(|error| cannot("make", folder, error))?;
        let database = builder().create(&path).map_err(|error| refused(&path, error))?;
        // the file's own name must survive, too
        #[cfg(unix)]
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| cannot("sync", folder, error))?;
        Self::checked(database, path)
    }

    fn checked(database: Database, path: PathBuf) -> Result<Self, StoreError> {
        match format_of(&database).map_err(|error| cannot("read", &path, error))? {
            Format::Known => {}
            Format::Empty => begin(&database).map_err(|error| cannot("write", &path, error))?,
            Format::Other(number) => {
                let path = path.display();
                return Err(StoreError(format!(
                    "{path} has format {number}; this broker reads and writes format {FORMAT}"
                )));
            }
            Format::Foreign => return Err(StoreError(format!("{} is not a store of this broker", path.display()))),
        }
        let reader = Reader { database: Arc::new(database), path: path.into() };
        Ok(Self { reader, unsynced: None, failed: None })
    }

    /// A handle for another thread.
    pub(crate) fn reader(&self) -> Reader {
        self.reader.clone()
    }

    fn add(&mut self, batch: &[StoreOp], epoch: Epoch) -> Result<(), redb::Error> {
        let transaction = match self.unsynced.take() {
            Some(transaction) => transaction,
            None => self.reader.database.begin_write()?,
        };
        {
            let mut records = transaction.open_table(RECORDS)?;
            for (key, edit) in edits(batch, epoch) {
                let (table, name) = (key.table as u8, &*key.name);
                let all = (table, name, 0)..=(table, name, u64::MAX);
                if edit.replaces {
                    records.retain_in::<Key<'_>, _>(all.clone(), |_, _| false)?;
                }
                let last = records.range::<Key<'_>>(all)?.next_back().transpose()?;
                let mut number = last.map_or(0, |(key, _)| key.value().2.saturating_add(1));
                for entry in edit.entries {
                    records.insert((table, name, number), entry.as_slice())?;
                    number = number.saturating_add(1);
                }
            }
        }
        self.unsynced = Some(transaction);
        Ok(())
    }

    /// Does it, unless something has failed before; a failure is remembered, and what was not synced is given up.
    fn attempt(&mut self, what: impl FnOnce(&mut Self) -> Result<(), redb::Error>) -> Result<(), StoreError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        what(self).map_err(|error| {
            let error = cannot("write", &self.reader.path, error);
            self.failed = Some(error.clone());
            self.unsynced = None;
            error
        })
    }
}

impl Store for Disk {
    type Error = StoreError;

    fn write(&mut self, batch: &[StoreOp], epoch: Epoch) -> Result<(), StoreError> {
        self.attempt(|disk| disk.add(batch, epoch))
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.attempt(|disk| disk.unsynced.take().map_or(Ok(()), |transaction| Ok(transaction.commit()?)))
    }

    fn load(&mut self, key: &StoreKey, each: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        let Some(transaction) = &self.unsynced else { return self.reader.load(key, each) };
        let records = transaction.open_table(RECORDS).map_err(redb::Error::from);
        records
            .and_then(|records| records_of(&records, key, each))
            .map_err(|error| cannot("read", &self.reader.path, error))
    }

    fn names(&mut self, table: Table, each: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        let Some(transaction) = &self.unsynced else { return self.reader.names(table, each) };
        let records = transaction.open_table(RECORDS).map_err(redb::Error::from);
        records
            .and_then(|records| names_of(&records, table, each))
            .map_err(|error| cannot("read", &self.reader.path, error))
    }
}

impl Reader {
    /// Hands the records under `key` to `each`, in order.
    pub(crate) fn load(&self, key: &StoreKey, each: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        self.read(|transaction| records_of(&transaction.open_table(RECORDS)?, key, each))
    }

    /// Hands the names of a table that have records to `each`.
    pub(crate) fn names(&self, table: Table, each: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        self.read(|transaction| names_of(&transaction.open_table(RECORDS)?, table, each))
    }

    fn read(&self, read: impl FnOnce(&ReadTransaction) -> Result<(), redb::Error>) -> Result<(), StoreError> {
        let transaction = self.database.begin_read().map_err(redb::Error::from);
        transaction.and_then(|transaction| read(&transaction)).map_err(|error| cannot("read", &self.path, error))
    }
}

// --- what a batch comes to -------------------------------------------------------------------------------------------

/// What becomes of the records under one key.
#[derive(Default)]
struct Edit {
    /// Those that are there go.
    replaces: bool,
    /// These come behind them.
    entries: Vec<Vec<u8>>,
}

/// The operations by key: in the order of keys, which is the order in the file.
fn edits(batch: &[StoreOp], epoch: Epoch) -> BTreeMap<&StoreKey, Edit> {
    let mut edits = BTreeMap::<&StoreKey, Edit>::new();
    for StoreOp { key, action } in batch {
        let edit = edits.entry(key).or_default();
        let record = match action {
            StoreAction::Append(record) => Some(record),
            StoreAction::Put(record) => {
                *edit = Edit { replaces: true, entries: Vec::new() };
                Some(record)
            }
            // there is nothing else that can become of them
            _ => {
                *edit = Edit { replaces: true, entries: Vec::new() };
                None
            }
        };
        if let Some(record) = record {
            let mut entry = edit.entries.pop_if(|entry| entry.len() < ENTRY).unwrap_or_default();
            let start = entry.len();
            entry.extend_from_slice(&[0; 4]);
            record.encode(epoch, &mut entry);
            let length = u32::try_from(entry.len() - start - 4).unwrap_or(u32::MAX);
            if let Some(place) = entry.get_mut(start..start + 4) {
                place.copy_from_slice(&length.to_le_bytes());
            }
            edit.entries.push(entry);
        }
    }
    edits
}

// --- reading ---------------------------------------------------------------------------------------------------------

fn records_of(
    records: &impl ReadableTable<Key<'static>, &'static [u8]>,
    key: &StoreKey,
    each: &mut dyn FnMut(&[u8]),
) -> Result<(), redb::Error> {
    let (table, name) = (key.table as u8, &*key.name);
    for entry in records.range::<Key<'_>>((table, name, 0)..=(table, name, u64::MAX))? {
        let (_, entry) = entry?;
        let mut rest = entry.value();
        while let Some((record, behind)) = split_record(rest) {
            each(record);
            rest = behind;
        }
        if !rest.is_empty() {
            return Err(redb::Error::Corrupted("an entry does not end where its last record does".into()));
        }
    }
    Ok(())
}

fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

/// From name to name: what lies under a name is not read.
fn names_of(
    records: &impl ReadableTable<Key<'static>, &'static [u8]>,
    table: Table,
    each: &mut dyn FnMut(&[u8]),
) -> Result<(), redb::Error> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let table = table as u8;
    let mut found = records.range::<Key<'_>>((Included((table, &[][..], 0)), Unbounded))?.next().transpose()?;
    while let Some((key, _)) = found {
        let (of, name, _) = key.value();
        if of != table {
            break;
        }
        each(name);
        found = records.range::<Key<'_>>((Excluded((table, name, u64::MAX)), Unbounded))?.next().transpose()?;
    }
    Ok(())
}

// --- formats ---------------------------------------------------------------------------------------------------------

/// What a file is.
enum Format {
    /// Ours.
    Known,
    /// New.
    Empty,
    /// Ours, of another time.
    Other(u64),
    /// Somebody else's.
    Foreign,
}

/// What is on the disk is not trusted: every page's checksum is looked at when a file is opened, about a second for 400 MB.
fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder
}

fn format_of(database: &Database) -> Result<Format, redb::Error> {
    let transaction = database.begin_read()?;
    let format = match transaction.open_table(ABOUT) {
        Ok(about) => about.get("format")?.map(|number| number.value()),
        Err(TableError::TableDoesNotExist(_)) if transaction.list_tables()?.next().is_none() => {
            return Ok(Format::Empty);
        }
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => None,
    };
    Ok(match format {
        Some(FORMAT) => Format::Known,
        Some(other) => Format::Other(other),
        None => Format::Foreign,
    })
}

fn begin(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(ABOUT)?.insert("format", FORMAT)?;
    transaction.open_table(RECORDS)?;
    Ok(transaction.commit()?)
}

fn refused(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError(format!("{} is in use by another broker", path.display())),
        DatabaseError::UpgradeRequired(version) => {
            StoreError(format!("{} has file format {version} of redb, which is not read any more", path.display()))
        }
        error => cannot("open", path, error),
    }
}

fn cannot(what: &str, path: &Path, error: impl fmt::Display) -> StoreError {
    StoreError(format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
