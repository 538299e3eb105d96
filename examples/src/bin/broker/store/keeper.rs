//! Group commit: a thread of its own owns the store, writes all that waits, syncs once, and says up to where.
//!
//! ```text
//! the loop  -- keep(ticket, batch) -->  the thread: write all that waits, sync  -- poll() -->  the loop
//! ```
//!
//! The channel there has no bound of its own: what is on the way is counted by the broker, which stops reading those who publish when it is
//! more than `max_unstored_bytes`, and each connection has a limit of answers that wait.

use mqtt_broker_core::Instant;
use mqtt_broker_core::session::Epoch;
use mqtt_broker_core::store::{Store, StoreOp, StoreTicket};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

/// Operations of one commit, about: what waits beyond them is the next one's, so that no answer waits for everybody's.
const COMMIT: usize = 16 << 10;

/// The loop's end of it.
pub(crate) struct Keeper<T = StoreTicket> {
    jobs: Sender<Job<T>>,
    outcomes: Receiver<Outcome<T>>,
    thread: JoinHandle<()>,
    /// The last that was given, while it is not stored, and when the store spoke last, or began to have something to do.
    waits: Option<(T, Instant)>,
    /// Why nothing is stored any more.
    failed: Option<String>,
}

struct Job<T> {
    ticket: T,
    batch: Vec<StoreOp>,
    epoch: Epoch,
}

type Outcome<T> = Result<T, String>;

impl<T: Copy + PartialEq + Send + 'static> Keeper<T> {
    /// Starts the thread. `wake` is called on it whenever there is something to [`poll`](Self::poll).
    pub(crate) fn start(store: impl Store + Send + 'static, wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (jobs, todo) = channel();
        let (done, outcomes) = channel();
        let thread = thread::Builder::new().name("store".into()).spawn(move || {
            // who waits hears of it even if the thread ends as it should not
            let wake = OnDrop(wake);
            keep_all(store, &todo, done, &wake.0);
        })?;
        Ok(Self { jobs, outcomes, thread, waits: None, failed: None })
    }

    /// Has a batch stored, after all those before it.
    pub(crate) fn keep(&mut self, now: Instant, ticket: T, batch: Vec<StoreOp>, epoch: Epoch) {
        self.waits = Some((ticket, self.waits.map_or(now, |(_, since)| since)));
        // a thread that has ended has said why: nothing is stored any more, so the batch is of no use
        let _ = self.jobs.send(Job { ticket, batch, epoch });
    }

    /// Up to where all is stored now, if that is news; or why nothing will be from here on, said once.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Outcome<T>> {
        if self.failed.is_some() {
            return None;
        }
        let outcome = match self.outcomes.try_recv() {
            Ok(outcome) => outcome,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err("the thread of the store has ended".into()),
        };
        self.failed = outcome.as_ref().err().cloned();
        let stored = outcome.as_ref().ok();
        self.waits = self.waits.filter(|(last, _)| Some(last) != stored).map(|(last, _)| (last, now));
        Some(outcome)
    }

    /// For how long the store has had something to do and has not said a word.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        self.waits.map_or(Duration::ZERO, |(_, since)| now.since(since))
    }

    /// Why nothing is stored any more.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Waits until all is stored that was given, or cannot be: in that case the reason.
    pub(crate) fn finish(self) -> Result<(), String> {
        drop(self.jobs);
        let ended = self.thread.join();
        let failed = self.failed.into_iter().chain(self.outcomes.try_iter().filter_map(Result::err)).next();
        match (failed, ended) {
            (Some(why), _) => Err(why),
            (None, Err(_)) => Err("the thread of the store has ended".into()),
            (None, Ok(())) => Ok(()),
        }
    }
}

/// The thread: until nobody has jobs any more, or one fails.
fn keep_all<T, S: Store>(mut store: S, todo: &Receiver<Job<T>>, done: Sender<Outcome<T>>, wake: &impl Fn()) {
    while let Ok(Job { mut ticket, mut batch, mut epoch }) = todo.recv() {
        while batch.len() < COMMIT
            && let Ok(next) = todo.try_recv()
        {
            (ticket, epoch) = (next.ticket, next.epoch);
            batch.extend(next.batch);
        }
        let stored = store.write(&batch, epoch).and_then(|()| store.sync());
        let outcome = stored.map(|()| ticket).map_err(|error| error.to_string());
        let failed = outcome.is_err();
        if done.send(outcome).is_err() || failed {
            return;
        }
        wake();
    }
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_broker_core::store::{MemoryStore, StoreAction, StoreFull, StoreKey, StoreRecord, Table};
    use std::sync::mpsc::sync_channel;
    use std::sync::{Arc, Mutex};

    fn op(record: u8) -> StoreOp {
        let action = StoreAction::Append(StoreRecord::Bytes([record][..].into()));
        StoreOp { key: StoreKey::new(Table::Sessions, b"a"), action }
    }

    /// Counts what is done, syncs only when the test lets it, and fails or panics at one of the syncs.
    struct Slow {
        store: MemoryStore,
        seen: Arc<Mutex<(usize, usize)>>,
        gate: Receiver<()>,
        fails_at: usize,
        panics: bool,
    }

    impl Store for Slow {
        type Error = StoreFull;
        fn write(&mut self, batch: &[StoreOp], epoch: Epoch) -> Result<(), StoreFull> {
            self.seen.lock().unwrap().0 += 1;
            self.store.write(batch, epoch)
        }
        fn sync(&mut self) -> Result<(), StoreFull> {
            let _ = self.gate.recv();
            let mut seen = self.seen.lock().unwrap();
            seen.1 += 1;
            assert!(!self.panics, "as it was told");
            if seen.1 == self.fails_at { Err(StoreFull) } else { self.store.sync() }
        }
        fn load(&mut self, key: &StoreKey, each: &mut dyn FnMut(&[u8])) -> Result<(), StoreFull> {
            self.store.load(key, each)
        }
        fn names(&mut self, table: Table, each: &mut dyn FnMut(&[u8])) -> Result<(), StoreFull> {
            self.store.names(table, each)
        }
    }

    type Seen = Arc<Mutex<(usize, usize)>>;

    fn slow(fails_at: usize, panics: bool) -> (Keeper<u64>, Seen, Sender<()>, Receiver<()>) {
        let (open, gate) = channel();
        let (wake, woken) = sync_channel(100);
        let seen = Seen::default();
        let store = Slow { store: MemoryStore::new(), seen: seen.clone(), gate, fails_at, panics };
        let keeper = Keeper::start(store, move || {
            let _ = wake.try_send(());
        });
        let keeper = keeper.unwrap();
        (keeper, seen, open, woken)
    }

    #[test]
    fn all_that_waits_is_stored_with_one_sync_and_said_with_its_last_ticket() {
        let (mut keeper, seen, open, woken) = slow(0, false);
        keeper.keep(Instant::ZERO, 1, vec![op(1)], Epoch::default());
        // the first is being synced, or waits to be: what comes meanwhile is one more group at most
        while seen.lock().unwrap().0 == 0 {
            thread::yield_now();
        }
        for ticket in 2..=50 {
            keeper.keep(Instant::ZERO, ticket, vec![op(0)], Epoch::default());
        }
        assert_eq!(keeper.poll(Instant::ZERO), None, "nothing is synced yet");
        open.send(()).unwrap();
        woken.recv().unwrap();
        assert_eq!(keeper.poll(Instant::ZERO), Some(Ok(1)));
        open.send(()).unwrap();
        woken.recv().unwrap();
        assert_eq!((keeper.poll(Instant::ZERO), keeper.poll(Instant::ZERO)), (Some(Ok(50)), None));
        assert_eq!(*seen.lock().unwrap(), (2, 2));
        drop(open);
        assert_eq!(keeper.finish(), Ok(()));
    }

    #[test]
    fn from_a_failure_on_nothing_is_said_to_be_stored() {
        let (mut keeper, seen, open, woken) = slow(2, false);
        for ticket in 1..=3 {
            keeper.keep(Instant::ZERO, ticket, vec![op(1)], Epoch::default());
            let _ = open.send(());
            let _ = woken.recv();
            let expected = (ticket < 3).then(|| if ticket == 1 { Ok(1) } else { Err(StoreFull.to_string()) });
            assert_eq!(keeper.poll(Instant::ZERO), expected);
        }
        assert_eq!(keeper.failure(), Some(&*StoreFull.to_string()));
        assert_eq!(seen.lock().unwrap().1, 2, "the third was not tried");
        assert!(keeper.finish().is_err());
    }

    #[test]
    fn a_store_that_panics_is_a_store_that_failed() {
        let (mut keeper, _, open, woken) = slow(0, true);
        keeper.keep(Instant::ZERO, 1, vec![op(1)], Epoch::default());
        open.send(()).unwrap();
        woken.recv().unwrap();
        while keeper.failure().is_none() {
            assert!(!matches!(keeper.poll(Instant::ZERO), Some(Ok(_))));
        }
        assert!(keeper.finish().is_err());
    }

    #[test]
    fn a_disk_that_does_not_answer_is_noticed_by_its_silence() {
        let (mut keeper, _, open, woken) = slow(0, false);
        let at = |seconds| Instant::ZERO.plus_secs(seconds);
        assert_eq!(keeper.silence(at(100)), Duration::ZERO, "it has nothing to do");
        keeper.keep(at(100), 1, vec![op(1)], Epoch::default());
        keeper.keep(at(103), 2, vec![op(1)], Epoch::default());
        assert_eq!(keeper.silence(at(105)), Duration::from_secs(5));
        for now in [106, 107] {
            let _ = open.send(());
            let _ = woken.recv();
            let stored = keeper.poll(at(now));
            let rest = if stored == Some(Ok(2)) { 0 } else { 4 };
            assert_eq!(keeper.silence(at(now + 4)), Duration::from_secs(rest));
            if rest == 0 {
                break;
            }
        }
        assert_eq!(keeper.silence(at(200)), Duration::ZERO);
    }

    #[test]
    fn what_was_given_is_stored_before_the_end() {
        let (mut keeper, seen, open, _woken) = slow(0, false);
        for ticket in 1..=50 {
            keeper.keep(Instant::ZERO, ticket, vec![op(1)], Epoch::default());
        }
        drop(open);
        assert_eq!(keeper.finish(), Ok(()));
        let (writes, syncs) = *seen.lock().unwrap();
        assert!(writes == syncs && syncs > 0);
    }
}
