//! The broker's policy: who comes in by which listener, and what they may do then.
//!
//! Passwords and rules come from files. Each is read once however many listeners name it, and again when the program is told to.

use crate::Failure;
use crate::auth::{Answers, Checker, Tally, Verdict};
use crate::config::{HookEvent, Listener, Settings};
use crate::hook::Hook;
use crate::passwords;
use crate::store::Reader;
use mqtt_broker_core::store::{LoadError, StoreKey, Table};
use mqtt_broker_core::{
    Acl, ClientInfo, ConnectRequest, Decision, Origin, Passwords, Policy, PublishRequest, ReceiveRequest,
    SubscribeRequest, UnsubscribeRequest,
};
use mqtt_codec::ReasonCode;
use mqtt_topic::TopicFilter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::{error, info};

/// The policy.
pub(crate) struct Gate {
    /// By number of the listener.
    doors: Vec<Door>,
    passwords: Vec<FromFile<Arc<Passwords>>>,
    rules: Vec<FromFile<Acl>>,
    /// There is one when there are passwords.
    checker: Option<Checker>,
    /// How often passwords were read again.
    edition: u64,
    /// The program that is asked, if there is one.
    hook: Option<Hook>,
    /// Where the sessions of an earlier process are.
    sessions: Option<Reader>,
}

/// What a listener asks of its clients.
struct Door {
    /// Whether those who name no user come in; and whatever user they name, where there are no passwords.
    anonymous: bool,
    /// Which passwords.
    passwords: Option<usize>,
    /// Which rules; none: everything is allowed.
    rules: Option<usize>,
    /// Whether the hook is asked about its clients.
    hook: bool,
}

/// A file and what it says.
struct FromFile<T> {
    path: PathBuf,
    says: T,
}

impl<T> FromFile<T> {
    /// The number of the file among `all`, where it is read unless it was before.
    fn among(all: &mut Vec<Self>, path: &Path, read: fn(&Path) -> Result<T, Failure>) -> Result<usize, Failure> {
        if let Some(number) = all.iter().position(|file| file.path == path) {
            return Ok(number);
        }
        all.push(Self { path: path.to_owned(), says: read(path)? });
        Ok(all.len() - 1)
    }

    /// Reads it again; what it said before, or nothing if it cannot be read: then that stays in force.
    fn again(&mut self, read: fn(&Path) -> Result<T, Failure>) -> Option<T> {
        match read(&self.path) {
            Ok(says) => {
                info!("{} was read again", self.path.display());
                Some(std::mem::replace(&mut self.says, says))
            }
            Err(failure) => {
                error!("{failure}; what was read before stays in force");
                None
            }
        }
    }
}

/// What has changed with the files.
pub(crate) struct Reloaded {
    /// Rules were read: what was allowed is to be judged anew.
    pub(crate) rules: bool,
    /// By number of the file: the passwords as they were, if they were read again.
    older: Vec<Option<Arc<Passwords>>>,
}

impl Reloaded {
    /// Whether there are other passwords now.
    pub(crate) fn passwords(&self) -> bool {
        self.older.iter().any(Option::is_some)
    }
}

impl Gate {
    /// Reads the files that `settings` name, and starts what checks passwords; its `answers` go to the loop.
    pub(crate) fn open(settings: &Settings, answers: &Answers, sessions: Option<Reader>) -> Result<Self, Failure> {
        let (mut passwords, mut rules) = (Vec::new(), Vec::new());
        let mut doors = Vec::new();
        for listener in &settings.listeners {
            doors.push(Door::of(listener, settings, &mut passwords, &mut rules)?);
        }
        let checker = if passwords.is_empty() { None } else { Some(Checker::start(answers.clone())?) };
        let hook = settings.hook.clone().map(|hook| Hook::start(hook, answers)).transpose()?;
        Ok(Self { doors, passwords, rules, checker, edition: 0, hook, sessions })
    }

    /// How questions to other threads have ended, by whom was asked.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = (&'static str, &Tally)> {
        let passwords = self.checker.as_ref().map(|checker| ("passwords", checker.tally()));
        passwords.into_iter().chain(self.hook.as_ref().map(|hook| ("hook", hook.tally())))
    }

    /// The hook, if it is to be asked about this at that listener.
    fn hook_for(&self, listener: u32, event: HookEvent) -> Option<&Hook> {
        let is_asked = self.doors.get(listener as usize).is_some_and(|door| door.hook);
        self.hook.as_ref().filter(|hook| is_asked && hook.asks(event))
    }

    /// Reads the files again.
    pub(crate) fn reload(&mut self) -> Reloaded {
        let older: Vec<_> = self.passwords.iter_mut().map(|file| file.again(passwords::load)).collect();
        self.edition += u64::from(older.iter().any(Option::is_some));
        let mut rules = false;
        for file in &mut self.rules {
            rules |= file.again(passwords::load_rules).is_some();
        }
        Reloaded { rules, older }
    }

    /// Whether a user that came in by `listener` with a password would still do so.
    pub(crate) fn still_knows(&self, reloaded: &Reloaded, listener: usize, user: &str) -> bool {
        let Some(number) = self.doors.get(listener).and_then(|door| door.passwords) else { return true };
        let Some(Some(older)) = reloaded.older.get(number) else { return true };
        self.passwords.get(number).is_none_or(|file| file.says.agrees_with(older, user))
    }

    /// The decision of another thread, unless the passwords it looked at are not the ones that count any more.
    pub(crate) fn confirm(&self, verdict: Verdict) -> Decision {
        match verdict.edition {
            Some(edition) if edition != self.edition => Decision::Deny(ReasonCode::SERVER_BUSY),
            _ => verdict.decision,
        }
    }

    fn rules_for(&mut self, listener: u32) -> Option<&mut Acl> {
        let number = self.doors.get(listener as usize)?.rules?;
        self.rules.get_mut(number).map(|file| &mut file.says)
    }

    fn allows(&mut self, client: &ClientInfo<'_>, judge: impl FnOnce(&mut Acl) -> bool) -> bool {
        // S11: of a listener that is not there nobody may do anything
        let is_known = self.doors.len() > client.peer.listener as usize;
        is_known && self.rules_for(client.peer.listener).is_none_or(judge)
    }
}

impl Door {
    fn of(
        listener: &Listener,
        settings: &Settings,
        passwords: &mut Vec<FromFile<Arc<Passwords>>>,
        rules: &mut Vec<FromFile<Acl>>,
    ) -> Result<Self, Failure> {
        // whoever the hook knows needs no line in a file
        let password_file = settings.password_file_of(listener).filter(|_| !settings.hook_admits(listener));
        let acl_file = settings.acl_file_of(listener);
        Ok(Self {
            anonymous: settings.lets_anybody_in(listener),
            passwords: password_file.map(|path| FromFile::among(passwords, path, passwords::load)).transpose()?,
            rules: acl_file.map(|path| FromFile::among(rules, path, passwords::load_rules)).transpose()?,
            hook: listener.asks_hook(),
        })
    }
}

impl Policy for Gate {
    fn connect(&mut self, request: &ConnectRequest<'_>) -> Decision {
        let peer = request.client.peer;
        if let Some(hook) = self.hook_for(peer.listener, HookEvent::Connect) {
            return hook.connect(request);
        }
        let Some(door) = self.doors.get(peer.listener as usize) else { return answer(false) };
        let passwords = door.passwords.and_then(|number| self.passwords.get(number));
        match (request.client.user_name, passwords, &self.checker) {
            // it has proven to its transport who it is
            _ if peer.identity.is_some() => Decision::Allow,
            (Some(user), Some(passwords), Some(checker)) => checker.check(&passwords.says, self.edition, user, request),
            // there is nothing to check a user against
            _ => answer(door.anonymous),
        }
    }

    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
        let topic = request.publication.topic;
        let client = match &request.origin {
            Origin::Client(client) | Origin::Will(client) => client,
            Origin::Local => return Decision::Allow,
            _ => return answer(false),
        };
        match (
            self.allows(client, |rules| rules.may_publish(client, topic)),
            self.hook_for(client.peer.listener, HookEvent::Publish),
        ) {
            (true, Some(hook)) => hook.publish(request),
            (yes, _) => answer(yes),
        }
    }

    fn subscribe(&mut self, request: &SubscribeRequest<'_>) -> Decision {
        let (client, filter) = (&request.client, request.filter);
        match (
            self.allows(client, |rules| rules.may_subscribe(client, filter)),
            self.hook_for(client.peer.listener, HookEvent::Subscribe),
        ) {
            // what it has said once it is not asked again: rules were read again, and it has nothing to do with them
            (true, Some(hook)) if !request.again => hook.subscribe(request),
            (yes, _) => answer(yes),
        }
    }

    fn unsubscribe(&mut self, _: &UnsubscribeRequest<'_>) -> Decision {
        Decision::Allow
    }

    fn receives_all(&mut self, client: &ClientInfo<'_>, filter: TopicFilter<'_>) -> bool {
        self.allows(client, |rules| rules.may_receive_all(client, filter))
    }

    fn receive(&mut self, request: &ReceiveRequest<'_>) -> bool {
        let (client, topic) = (&request.client, request.publication.topic);
        self.allows(client, |rules| rules.may_receive(client, topic))
    }

    fn load_session(&mut self, client_id: &str, each: &mut dyn FnMut(&[u8])) -> Result<(), LoadError> {
        let Some(sessions) = &self.sessions else { return Ok(()) };
        sessions.load(&StoreKey::new(Table::Sessions, client_id.as_bytes()), each).map_err(|why| {
            error!("the session of {client_id:?} is not there: {why}");
            LoadError
        })
    }
}

fn answer(yes: bool) -> Decision {
    if yes { Decision::Allow } else { Decision::Deny(ReasonCode::NOT_AUTHORIZED) }
}
