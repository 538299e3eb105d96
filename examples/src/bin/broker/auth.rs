//! The thread that checks passwords, so that the loop never waits for one, and the way back of what other threads decide.

use crate::Failure;
use mio::Waker;
use mqtt_broker_core::{ConnectRequest, Decision, Passwords, Ticket};
use mqtt_codec::ReasonCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};

/// Passwords that may wait to be checked. At tens of milliseconds each, more would be denied as too late anyway.
const WAITING: usize = 128;

/// A request that was decided, on its way back to the loop.
pub(crate) struct Verdict {
    /// Which request.
    pub(crate) ticket: Ticket,
    /// Yes or no.
    pub(crate) decision: Decision,
    /// The edition of the passwords it rests upon, if it does.
    pub(crate) edition: Option<u64>,
}

/// Takes verdicts to the loop, and wakes it.
#[derive(Clone)]
pub(crate) struct Answers {
    verdicts: Sender<Verdict>,
    waker: Arc<Waker>,
}

impl Answers {
    /// The way, and where it ends.
    pub(crate) fn new(waker: Arc<Waker>) -> (Self, Receiver<Verdict>) {
        let (verdicts, taken) = channel();
        (Self { verdicts, waker }, taken)
    }

    /// Whether there is still somebody to tell.
    pub(crate) fn give(&self, verdict: Verdict) -> bool {
        self.verdicts.send(verdict).is_ok() && self.waker.wake().is_ok()
    }
}

/// How questions to other threads have ended, counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    allowed: AtomicU64,
    denied: AtomicU64,
    timed_out: AtomicU64,
    failed: AtomicU64,
    turned_away: AtomicU64,
}

impl Tally {
    /// A yes.
    pub(crate) fn allowed(&self) {
        self.allowed.fetch_add(1, Ordering::Relaxed);
    }

    /// A no.
    pub(crate) fn denied(&self) {
        self.denied.fetch_add(1, Ordering::Relaxed);
    }

    /// No answer in time.
    pub(crate) fn timed_out(&self) {
        self.timed_out.fetch_add(1, Ordering::Relaxed);
    }

    /// No answer, or none that could be understood.
    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Too many were waiting: it was not asked.
    pub(crate) fn turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    /// All counts by their names.
    pub(crate) fn read(&self) -> [(&'static str, u64); 5] {
        let counts = [
            ("allowed", &self.allowed),
            ("denied", &self.denied),
            ("timed_out", &self.timed_out),
            ("failed", &self.failed),
            ("turned_away", &self.turned_away),
        ];
        counts.map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

/// The way to the thread that checks passwords. The thread ends when this is dropped.
pub(crate) struct Checker {
    jobs: SyncSender<Job>,
    tally: Arc<Tally>,
}

struct Job {
    ticket: Ticket,
    passwords: Arc<Passwords>,
    edition: u64,
    user: String,
    password: Vec<u8>,
}

impl Checker {
    /// Starts the thread.
    pub(crate) fn start(answers: Answers) -> Result<Self, Failure> {
        let (jobs, todo) = sync_channel(WAITING);
        let tally = Arc::new(Tally::default());
        let counts = Arc::clone(&tally);
        std::thread::Builder::new()
            .name("passwords".into())
            .spawn(move || check_all(&todo, &answers, &counts))
            .map_err(|error| Failure::Runtime(format!("cannot start the password thread: {error}")))?;
        Ok(Self { jobs, tally })
    }

    /// How its questions have ended.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Puts a CONNECT off until its password was looked up in `passwords`, which are of this edition.
    pub(crate) fn check(
        &self,
        passwords: &Arc<Passwords>,
        edition: u64,
        user: &str,
        request: &ConnectRequest<'_>,
    ) -> Decision {
        let Some(password) = request.connect.password else {
            return Decision::Deny(ReasonCode::BAD_USER_NAME_OR_PASSWORD);
        };
        let (passwords, user, password) = (Arc::clone(passwords), user.to_owned(), password.to_vec());
        match self.jobs.try_send(Job { ticket: request.ticket, passwords, edition, user, password }) {
            Ok(()) => Decision::Defer(request.ticket),
            Err(TrySendError::Full(_)) => {
                self.tally.turned_away();
                Decision::Deny(ReasonCode::SERVER_BUSY)
            }
            Err(TrySendError::Disconnected(_)) => Decision::Deny(ReasonCode::SERVER_UNAVAILABLE),
        }
    }
}

/// The thread: one password after the other, until nobody listens.
fn check_all(todo: &Receiver<Job>, answers: &Answers, tally: &Tally) {
    for Job { ticket, passwords, edition, user, password } in todo {
        // unknown user and wrong password get the same answer after the same work
        let decision = if passwords.matches(&user, &password) {
            tally.allowed();
            Decision::Allow
        } else {
            tally.denied();
            Decision::Deny(ReasonCode::BAD_USER_NAME_OR_PASSWORD)
        };
        if !answers.give(Verdict { ticket, decision, edition: Some(edition) }) {
            return;
        }
    }
}
