//! The store against the conformance suite, on files and on a disk that loses, tears and fills up.

mod faults;

use super::*;
use mqtt_broker_core::store::{StoreRecord, conformance};
use redb::StorageBackend;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder that goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("mqttkit-store-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join(FILE)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn append(table: Table, name: &[u8], record: &[u8]) -> StoreOp {
    StoreOp { key: StoreKey::new(table, name), action: StoreAction::Append(StoreRecord::Bytes(record.into())) }
}

fn put(table: Table, name: &[u8], record: &[u8]) -> StoreOp {
    StoreOp { key: StoreKey::new(table, name), action: StoreAction::Put(StoreRecord::Bytes(record.into())) }
}

fn load(store: &mut impl Store, table: Table, name: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    store.load(&StoreKey::new(table, name), &mut |record| records.push(record.to_vec())).unwrap();
    records
}

// --- conformance -----------------------------------------------------------------------------------------------------

/// The process is killed: the file stays as the system has it, and is never closed.
struct Killed(Vec<Folder>);

impl conformance::Subject for Killed {
    type Store = Disk;

    fn open(&mut self) -> Disk {
        self.0.push(Folder::new());
        Disk::open(&self.0.last().unwrap().0, true).unwrap()
    }

    fn reopen(&mut self, store: Disk) -> Disk {
        let (before, after) = (self.0.pop().unwrap(), Folder::new());
        fs::create_dir_all(&after.0).unwrap();
        fs::copy(before.file(), after.file()).unwrap();
        drop(store);
        self.0 = vec![after];
        Disk::open(&self.0[0].0, true).unwrap()
    }
}

#[test]
fn the_file_keeps_every_rule_of_a_store_when_the_process_is_killed() {
    conformance::check(&mut Killed(Vec::new()), 10).unwrap();
}

/// The power fails: of the writes since the last sync some are there, some are torn, some are not.
struct Unplugged(Power, u64);

impl conformance::Subject for Unplugged {
    type Store = Disk;

    fn open(&mut self) -> Disk {
        self.0 = Power::default();
        self.0.open().unwrap()
    }

    fn reopen(&mut self, store: Disk) -> Disk {
        self.1 += 1;
        let after = self.0.fail(self.1);
        drop(store);
        self.0 = after;
        self.0.open().unwrap()
    }
}

#[test]
fn the_file_keeps_every_rule_of_a_store_when_the_power_fails() {
    // S20
    conformance::check(&mut Unplugged(Power::default(), 0), 20).unwrap();
}

// --- failures --------------------------------------------------------------------------------------------------------

#[test]
fn after_a_failed_sync_nothing_is_ever_said_to_be_stored_again() {
    let power = Power::default();
    let mut disk = power.open().unwrap();
    disk.write(&[append(Table::Sessions, b"a", b"1")], Epoch::default()).unwrap();
    disk.sync().unwrap();
    disk.write(&[append(Table::Sessions, b"a", b"2")], Epoch::default()).unwrap();
    power.0.lock().unwrap().syncs_fail = true;
    let error = disk.sync().unwrap_err();
    power.0.lock().unwrap().syncs_fail = false;
    assert_eq!(disk.sync(), Err(error.clone()), "the disk is well again, and nobody knows what it has");
    assert_eq!(disk.write(&[append(Table::Sessions, b"a", b"3")], Epoch::default()), Err(error));
    let mut disk = power.fail(1).open().unwrap();
    assert_eq!(load(&mut disk, Table::Sessions, b"a")[0], b"1");
}

#[test]
fn a_full_disk_is_an_error_and_what_was_there_stays() {
    let power = Power::default();
    let mut disk = power.open().unwrap();
    disk.write(&[put(Table::Retained, b"a", b"kept")], Epoch::default()).unwrap();
    disk.sync().unwrap();
    let size = power.0.lock().unwrap().image.len();
    power.0.lock().unwrap().room = Some(size);
    let large = vec![7; 4 << 20];
    let wrote = disk.write(&[put(Table::Retained, b"b", &large)], Epoch::default()).and_then(|()| disk.sync());
    assert!(wrote.unwrap_err().to_string().contains("no space"));
    let mut disk = power.fail(3).open().unwrap();
    assert_eq!(load(&mut disk, Table::Retained, b"a"), [b"kept"]);
    assert!(load(&mut disk, Table::Retained, b"b").is_empty());
}

// --- refusals --------------------------------------------------------------------------------------------------------

fn refusal(folder: &Folder) -> String {
    Disk::open(&folder.0, true).err().expect("it should be refused").to_string()
}

#[test]
fn a_second_broker_on_one_folder_is_refused_while_the_first_lives() {
    let folder = Folder::new();
    let first = Disk::open(&folder.0, true).unwrap();
    assert_eq!(refusal(&folder), format!("{} is in use by another broker", folder.file().display()));
    drop(first);
    assert!(Disk::open(&folder.0, true).is_ok());
}

#[test]
fn a_file_of_another_format_is_refused_by_name_and_number() {
    let folder = Folder::new();
    drop(Disk::open(&folder.0, true).unwrap());
    let database = Database::open(folder.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(ABOUT).unwrap().insert("format", 9).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let expected = format!("{} has format 9; this broker reads and writes format 1", folder.file().display());
    assert_eq!(refusal(&folder), expected);
}

#[test]
fn a_file_of_somebody_else_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    fs::create_dir_all(&folder.0).unwrap();
    fs::write(folder.file(), "dear diary").unwrap();
    assert!(refusal(&folder).starts_with(&format!("cannot open {}", folder.file().display())));
    assert_eq!(fs::read(folder.file()).unwrap(), b"dear diary");

    fs::remove_file(folder.file()).unwrap();
    let database = Database::create(folder.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("their table")).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert_eq!(refusal(&folder), format!("{} is not a store of this broker", folder.file().display()));
}

#[test]
fn a_damaged_file_is_refused_or_read_as_it_was() {
    // S20: a byte anywhere in what is in use
    let folder = Folder::new();
    let mut disk = Disk::open(&folder.0, true).unwrap();
    let names: Vec<_> = (0..200_u32).map(u32::to_be_bytes).collect();
    for name in &names {
        disk.write(&[append(Table::Sessions, name, &[name[3]; 300])], Epoch::default()).unwrap();
    }
    disk.sync().unwrap();
    drop(disk);
    let whole = fs::read(folder.file()).unwrap();
    let (mut refused, mut read) = (0, 0);
    for at in (0..whole.len()).step_by(whole.len() / 150) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        fs::write(folder.file(), &damaged).unwrap();
        match Disk::open(&folder.0, true) {
            Err(_) => refused += 1,
            Ok(mut disk) => {
                for name in &names {
                    assert_eq!(load(&mut disk, Table::Sessions, name), [[name[3]; 300]], "byte {at}");
                }
                read += 1;
            }
        }
    }
    assert!(refused > 0 && read > 0, "{refused} refused, {read} read");
}

// --- growth ----------------------------------------------------------------------------------------------------------

#[test]
fn lists_that_are_replaced_again_and_again_do_not_make_the_file_grow() {
    let folder = Folder::new();
    let mut disk = Disk::open(&folder.0, true).unwrap();
    let mut sizes = Vec::new();
    for round in 0..40 {
        for _ in 0..30 {
            disk.write(&[append(Table::Sessions, b"a", &[round; 2_000])], Epoch::default()).unwrap();
            disk.sync().unwrap();
        }
        disk.write(&[put(Table::Sessions, b"a", &[round])], Epoch::default()).unwrap();
        disk.sync().unwrap();
        sizes.push(fs::metadata(folder.file()).unwrap().len());
    }
    assert_eq!(sizes[39], sizes[9], "{sizes:?}");
    assert_eq!(load(&mut disk, Table::Sessions, b"a"), [[39]]);
}

#[test]
fn what_one_commit_appends_to_a_key_is_one_entry() {
    let folder = Folder::new();
    let mut disk = Disk::open(&folder.0, true).unwrap();
    let batch: Vec<_> = (0..100).map(|n| append(Table::Sessions, b"a", &[n; 50])).collect();
    disk.write(&batch, Epoch::default()).unwrap();
    disk.sync().unwrap();
    let transaction = disk.reader.database.begin_read().unwrap();
    assert_eq!(redb::ReadableTableMetadata::len(&transaction.open_table(RECORDS).unwrap()).unwrap(), 1);
    assert_eq!(load(&mut disk, Table::Sessions, b"a").len(), 100);
}

#[test]
fn a_reader_sees_what_was_synced_while_another_writes() {
    let folder = Folder::new();
    let mut disk = Disk::open(&folder.0, true).unwrap();
    let reader = disk.reader();
    let seen = || {
        let mut records = 0;
        reader.load(&StoreKey::new(Table::Clients, b"a"), &mut |_| records += 1).unwrap();
        records
    };
    disk.write(&[append(Table::Clients, b"a", b"1")], Epoch::default()).unwrap();
    assert_eq!((load(&mut disk, Table::Clients, b"a").len(), seen()), (1, 0));
    disk.sync().unwrap();
    assert_eq!(seen(), 1);
}

// --- a disk in memory ------------------------------------------------------------------------------------------------

/// A disk whose power can fail, whose syncs can, and that can be full.
#[derive(Clone, Debug, Default)]
struct Power(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What the system sees.
    image: Vec<u8>,
    /// What survives.
    synced: Vec<u8>,
    /// The writes since then.
    writes: Vec<(usize, Vec<u8>)>,
    syncs_fail: bool,
    /// Bytes the file may have; none at all: what it has is full of holes that cannot be filled.
    room: Option<usize>,
}

impl Power {
    fn open(&self) -> Result<Disk, StoreError> {
        let database = builder().create_with_backend(self.clone());
        let path = PathBuf::from("memory");
        Disk::checked(database.map_err(|error| refused(&path, error))?, path)
    }

    /// What is on the disk when it comes back: of each write since the last sync all, the first half, or nothing.
    fn fail(&self, seed: u64) -> Self {
        let state = self.0.lock().unwrap();
        let mut image = state.synced.clone();
        image.resize(state.image.len().max(image.len()), 0);
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        for (at, bytes) in &state.writes {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let there = [bytes.len(), bytes.len() / 2, 0][usize::try_from(random % 3).unwrap()];
            image[*at..at + there].copy_from_slice(&bytes[..there]);
        }
        let state = State { synced: image.clone(), image, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl StorageBackend for Power {
    fn len(&self) -> Result<u64, std::io::Error> {
        Ok(self.0.lock().unwrap().image.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        let at = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.0.lock().unwrap().image[at..at + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        let mut state = self.0.lock().unwrap();
        let len = usize::try_from(len).unwrap();
        if state.room.is_some_and(|room| len > room) {
            return Err(std::io::Error::new(std::io::ErrorKind::StorageFull, "no space left"));
        }
        state.image.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        let mut state = self.0.lock().unwrap();
        if state.syncs_fail {
            return Err(std::io::Error::other("the disk does not answer"));
        }
        state.synced = state.image.clone();
        state.writes.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        let mut state = self.0.lock().unwrap();
        let at = usize::try_from(offset).unwrap();
        if state.room == Some(0) {
            return Err(std::io::Error::new(std::io::ErrorKind::StorageFull, "no space left"));
        }
        state.image[at..at + data.len()].copy_from_slice(data);
        state.writes.push((at, data.to_vec()));
        Ok(())
    }
}
