//! Who may connect: the broker's policy, and the thread that checks passwords so that the loop never waits for one.

use crate::Failure;
use mio::Waker;
use mqtt_broker_core::{Acl, ConnectRequest, Decision, Passwords, Ticket, Verify};
use mqtt_codec::ReasonCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};

/// Passwords that may wait to be checked. At tens of milliseconds each, more would be denied as too late anyway.
const WAITING: usize = 128;

/// The policy: whoever is let in may do what the rules say.
pub(crate) type Accounts = mqtt_broker_core::Accounts<Door>;

/// Who looks at those that name a user.
pub(crate) struct Door {
    /// By number of the listener: whether anybody is let in.
    anonymous: Vec<bool>,
    /// There is one when there is a password file.
    verifier: Option<Verifier>,
}

/// Lets in those who name no user on the listeners that `anonymous` says, and those whom the verifier knows.
pub(crate) fn accounts(acl: Acl, anonymous: Vec<bool>, verifier: Option<Verifier>) -> Accounts {
    let open: Vec<u32> = (0..).zip(&anonymous).filter(|(_, open)| **open).map(|(listener, _)| listener).collect();
    let accounts = Accounts::new(acl, Door { anonymous, verifier });
    open.into_iter().fold(accounts, Accounts::allow_anonymous_on)
}

impl Verify for Door {
    fn verify(&mut self, request: &ConnectRequest<'_>) -> Decision {
        let listener = request.client.peer.listener as usize;
        match (request.client.user_name, &self.verifier) {
            (Some(user), Some(verifier)) => verifier.check(user, request),
            // there is nothing to check a user against
            _ if self.anonymous.get(listener) == Some(&true) => Decision::Allow,
            _ => Decision::Deny(ReasonCode::NOT_AUTHORIZED),
        }
    }
}

/// A request that was decided, on its way back to the loop.
pub(crate) struct Verdict {
    /// Which request.
    pub(crate) ticket: Ticket,
    /// Yes or no.
    pub(crate) decision: Decision,
}

/// The way to the thread that checks passwords. The thread ends when this is dropped.
pub(crate) struct Verifier {
    jobs: SyncSender<Job>,
}

struct Job {
    ticket: Ticket,
    user: String,
    password: Vec<u8>,
}

impl Verifier {
    /// Starts the thread. Verdicts come out of the receiver; `waker` says that there is one.
    pub(crate) fn start(passwords: Passwords, waker: Arc<Waker>) -> Result<(Self, Receiver<Verdict>), Failure> {
        let (jobs, todo) = sync_channel(WAITING);
        let (done, verdicts) = channel();
        std::thread::Builder::new()
            .name("passwords".into())
            .spawn(move || check_all(&passwords, &todo, &done, &waker))
            .map_err(|error| Failure::Runtime(format!("cannot start the password thread: {error}")))?;
        Ok((Self { jobs }, verdicts))
    }

    fn check(&self, user: &str, request: &ConnectRequest<'_>) -> Decision {
        let Some(password) = request.connect.password else {
            return Decision::Deny(ReasonCode::BAD_USER_NAME_OR_PASSWORD);
        };
        let job = Job { ticket: request.ticket, user: user.to_owned(), password: password.to_vec() };
        match self.jobs.try_send(job) {
            Ok(()) => Decision::Defer(request.ticket),
            Err(TrySendError::Full(_)) => Decision::Deny(ReasonCode::SERVER_BUSY),
            Err(TrySendError::Disconnected(_)) => Decision::Deny(ReasonCode::SERVER_UNAVAILABLE),
        }
    }
}

/// The thread: one password after the other, until nobody listens.
fn check_all(passwords: &Passwords, todo: &Receiver<Job>, done: &Sender<Verdict>, waker: &Waker) {
    for Job { ticket, user, password } in todo {
        // unknown user and wrong password get the same answer after the same work
        let decision = match passwords.matches(&user, &password) {
            true => Decision::Allow,
            false => Decision::Deny(ReasonCode::BAD_USER_NAME_OR_PASSWORD),
        };
        if done.send(Verdict { ticket, decision }).is_err() || waker.wake().is_err() {
            return;
        }
    }
}
