//! A ready policy: users with passwords, and rules of who may publish and receive what (feature `acl`).
use crate::{
    Acl, ClientInfo, ConnectRequest, Decision, ListError, Origin, Policy, PublishRequest, ReceiveRequest,
    SubscribeRequest, UnsubscribeRequest,
};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params};
use mqtt_session::codec::ReasonCode;
use mqtt_session::topic::TopicFilter;

/// Whether clients are who they say they are.
pub trait Verify {
    /// Is this client the user it names? Its password is in [`ConnectRequest::connect`]. What takes long is put off
    /// ([`Decision::Defer`]) and done elsewhere, in a thread of the host's say.
    fn verify(&mut self, request: &ConnectRequest<'_>) -> Decision;
}

/// A policy of users, passwords and rules. Clients that name no user are let in where that is written out, and whom the transport
/// has proven ([`Peer::identity`](crate::Peer::identity)) everywhere.
///
/// # Examples
///
/// ```
/// use mqtt_broker_core::{Accounts, Acl, Broker, Config, Passwords, topic::HashSeed};
///
/// let hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$YWJjZGVmZ2hpamtsbW5vcA";
/// let passwords = Passwords::parse(&format!("ada:{hash}"))?;
/// let rules = Acl::parse("user ada\ntopic home/#\n\npattern read news/%u/#")?;
/// let policy = Accounts::new(rules, passwords).allow_anonymous_on(7); // that listener is on loopback
/// let broker = Broker::new(Config::default(), policy, HashSeed::random())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Accounts<V> {
    acl: Acl,
    verify: V,
    /// Listeners on which a client need not name a user.
    anonymous: Vec<u32>,
}

impl<V: Verify> Accounts<V> {
    /// Users whom `verify` knows may do what `acl` says.
    pub const fn new(acl: Acl, verify: V) -> Self {
        Self { acl, verify, anonymous: Vec::new() }
    }

    /// Lets clients in that name no user, if they come by `listener`.
    #[must_use]
    pub fn allow_anonymous_on(mut self, listener: u32) -> Self {
        self.anonymous.push(listener);
        self
    }

    /// Puts other rules in the place of the old ones; [`Broker::reauthorize_all`](crate::Broker::reauthorize_all) makes them count for
    /// what was allowed before.
    pub fn set_acl(&mut self, acl: Acl) {
        self.acl = acl;
    }

    /// Who knows the users.
    pub const fn verify_mut(&mut self) -> &mut V {
        &mut self.verify
    }
}

impl<V: Verify> Policy for Accounts<V> {
    fn connect(&mut self, request: &ConnectRequest<'_>) -> Decision {
        let peer = request.client.peer;
        if peer.identity.is_some() {
            return Decision::Allow;
        }
        match request.client.user_name {
            Some(_) => self.verify.verify(request),
            None => answer(self.anonymous.contains(&peer.listener)),
        }
    }

    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
        match &request.origin {
            Origin::Client(client) | Origin::Will(client) => {
                answer(self.acl.may_publish(client, request.publication.topic))
            }
            Origin::Local => Decision::Allow,
        }
    }

    fn subscribe(&mut self, request: &SubscribeRequest<'_>) -> Decision {
        answer(self.acl.may_subscribe(&request.client, request.filter))
    }

    fn unsubscribe(&mut self, _: &UnsubscribeRequest<'_>) -> Decision {
        Decision::Allow
    }

    fn receives_all(&mut self, client: &ClientInfo<'_>, filter: TopicFilter<'_>) -> bool {
        self.acl.may_receive_all(client, filter)
    }

    fn receive(&mut self, request: &ReceiveRequest<'_>) -> bool {
        self.acl.may_receive(&request.client, request.publication.topic)
    }
}

fn answer(yes: bool) -> Decision {
    if yes { Decision::Allow } else { Decision::Deny(ReasonCode::NOT_AUTHORIZED) }
}

/// Users and the Argon2 hashes of their passwords, lines `user:hash`.
///
/// As a [`Verify`] it hashes at once, which takes tens of milliseconds by design: for small brokers and tests. Others keep it in a
/// thread, put the decision off, and [`resume`](crate::Broker::resume) it with what [`matches`](Self::matches) says.
#[derive(Clone, Debug)]
pub struct Passwords {
    hashes: BTreeMap<Box<str>, PasswordHash>,
    /// The first hash: what an unknown user is checked against, to cost the same as a known one.
    decoy: PasswordHash,
}

impl Passwords {
    /// Reads users and hashes; lines that are empty or begin with `#` are passed over.
    ///
    /// # Errors
    /// A line that is not understood or whose hash cannot be checked, a user twice, or no user at all (S11).
    pub fn parse(text: &str) -> Result<Self, ListError> {
        let (mut hashes, mut decoy) = (BTreeMap::new(), None);
        for (line, number) in text.lines().zip(1..) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |what| ListError::Line { line: number, what };
            let (user, hash) = line.split_once(':').ok_or(bad("no `:` between user name and hash"))?;
            if user.is_empty() {
                return Err(bad("no user name before the `:`"));
            }
            let hash = usable_hash(hash.trim()).ok_or(bad("what follows the user name is no Argon2 hash"))?;
            decoy.get_or_insert_with(|| hash.clone());
            if hashes.insert(user.into(), hash).is_some() {
                return Err(bad("this user name stands in an earlier line already"));
            }
        }
        decoy.map(|decoy| Self { hashes, decoy }).ok_or(ListError::Empty)
    }

    /// Whether this is the user's password. Takes tens of milliseconds and megabytes, known user or not.
    pub fn matches(&self, user: &str, password: &[u8]) -> bool {
        let known = self.hashes.get(user);
        let hash = known.unwrap_or(&self.decoy);
        let matches = Argon2::default().verify_password(password, hash).is_ok();
        matches && known.is_some()
    }

    /// Whether `older` had the same hash for this user, so that whoever had proven to be them still has. O(log n).
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_broker_core::Passwords;
    ///
    /// let hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$YWJjZGVmZ2hpamtsbW5vcA";
    /// let older = Passwords::parse(&format!("ada:{hash}\nbob:{hash}"))?;
    /// let newer = Passwords::parse(&format!("ada:{hash}"))?;
    /// assert!(newer.agrees_with(&older, "ada") && !newer.agrees_with(&older, "bob"));
    /// # Ok::<(), mqtt_broker_core::ListError>(())
    /// ```
    pub fn agrees_with(&self, older: &Self, user: &str) -> bool {
        self.hashes.get(user).is_some_and(|hash| older.hashes.get(user) == Some(hash))
    }
}

impl Verify for Passwords {
    fn verify(&mut self, request: &ConnectRequest<'_>) -> Decision {
        let (user, password) = (request.client.user_name, request.connect.password);
        if user.zip(password).is_some_and(|(user, password)| self.matches(user, password)) {
            Decision::Allow
        } else {
            Decision::Deny(ReasonCode::BAD_USER_NAME_OR_PASSWORD)
        }
    }
}

/// A hash that can be checked, so that a bad one is found at once and not when its user connects.
fn usable_hash(text: &str) -> Option<PasswordHash> {
    let hash = PasswordHash::new(text).ok()?;
    Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    Params::try_from(&hash).ok()?;
    (hash.salt.is_some() && hash.hash.is_some()).then_some(hash)
}
