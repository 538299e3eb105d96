//! Rules of who may publish and receive what, written down in a text (feature `acl`).
use crate::ClientInfo;
use crate::reauthorize::plain;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use mqtt_session::topic::{TopicFilter, TopicName};

/// What users, and clients that name none, may publish and receive.
///
/// The text has a line for each rule, as mosquitto has it:
///
/// ```text
/// # what follows, up to the first `user`, is for clients that name no user
/// topic read news/#
///
/// user ada
/// topic readwrite home/#
/// topic deny home/safe/#
///
/// # for everybody, wherever it stands: %c is the client identifier, %u the user name
/// pattern write devices/%c/state
/// pattern users/%u/#
/// ```
///
/// `read` is to subscribe and receive, `write` to publish, `readwrite` is both and may be left out, `deny` is neither. What no rule
/// allows is denied, and a `deny` outdoes all others. To subscribe it is enough that a filter could bring something that may be
/// received: if it could bring more, each message is judged.
///
/// A pattern that a client's names would widen does not allow it anything (S10): names that are empty, that have `+`, `#` or `/` in
/// them, or that would turn it into a `$` filter. Where such a pattern denies, that client is denied everything.
///
/// A question takes time for the rules of its user and the patterns.
///
/// # Examples
///
/// ```
/// use mqtt_broker_core::{Acl, ClientInfo, Peer, codec::Version, topic::TopicName};
///
/// let mut acl = Acl::parse("pattern write devices/%c/state")?;
/// let peer = Peer::default();
/// let lamp = ClientInfo::new("lamp", None, &peer, Version::V5);
/// let thief = ClientInfo::new("+", None, &peer, Version::V5);
/// let topic = TopicName::new("devices/lamp/state")?;
/// assert!(acl.may_publish(&lamp, topic) && !acl.may_receive(&lamp, topic));
/// assert!(!acl.may_publish(&thief, topic));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Acl {
    /// Nobody is asked anything.
    all: bool,
    anonymous: Vec<Rule>,
    users: BTreeMap<Box<str>, Vec<Rule>>,
    patterns: Vec<Rule>,
    /// The pattern at hand with the client's names in it; kept for its memory.
    scratch: String,
}

/// Why a list of rules or passwords was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// There is nothing in it: nobody could do anything.
    #[error("there is nothing in it")]
    Empty,
    /// A line is not understood. The line itself is not told: there may be a secret in it.
    #[error("line {line}: {what}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    ReadWrite,
    Deny,
}

#[derive(Clone, Debug)]
struct Rule {
    access: Access,
    filter: Box<str>,
    /// Whether names are to be put into it.
    is_pattern: bool,
}

impl Acl {
    /// Everything for everybody who is let in.
    pub const fn allow_all() -> Self {
        Self { all: true, anonymous: Vec::new(), users: BTreeMap::new(), patterns: Vec::new(), scratch: String::new() }
    }

    /// Reads rules.
    ///
    /// # Errors
    /// A line that is not understood, or no rule at all (S11).
    pub fn parse(text: &str) -> Result<Self, ListError> {
        let mut acl = Self { all: false, ..Self::allow_all() };
        let mut user: Option<&str> = None;
        let mut rules = 0;
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |what| ListError::Line { line: number, what };
            let (word, rest) = line.split_once([' ', '\t']).ok_or(bad("a word alone says nothing"))?;
            let rest = rest.trim_start();
            match word {
                "user" => user = Some(rest),
                "topic" => {
                    let rule = Rule::parse(rest, false).map_err(bad)?;
                    let of = match user {
                        Some(user) => acl.users.entry(user.into()).or_default(),
                        None => &mut acl.anonymous,
                    };
                    of.push(rule);
                    rules += 1;
                }
                "pattern" => {
                    acl.patterns.push(Rule::parse(rest, true).map_err(bad)?);
                    rules += 1;
                }
                _ => return Err(bad("a line begins with `user`, `topic` or `pattern`")),
            }
        }
        if rules == 0 { Err(ListError::Empty) } else { Ok(acl) }
    }

    /// May it publish to `topic`?
    pub fn may_publish(&mut self, client: &ClientInfo<'_>, topic: TopicName<'_>) -> bool {
        self.judge(client, Access::Write, |filter| filter.matches(topic), |filter| filter.matches(topic))
    }

    /// Is there anything that it may receive by `filter`, shared or not?
    pub fn may_subscribe(&mut self, client: &ClientInfo<'_>, filter: TopicFilter<'_>) -> bool {
        let asked = plain(filter);
        self.judge(client, Access::Read, |filter| filter.overlaps(asked), |filter| filter.covers(asked))
    }

    /// May it receive all that `filter` could bring? `false` also where only several rules together allow it.
    pub fn may_receive_all(&mut self, client: &ClientInfo<'_>, filter: TopicFilter<'_>) -> bool {
        let asked = plain(filter);
        self.judge(client, Access::Read, |filter| filter.covers(asked), |filter| filter.overlaps(asked))
    }

    /// May it receive what is published to `topic`?
    pub fn may_receive(&mut self, client: &ClientInfo<'_>, topic: TopicName<'_>) -> bool {
        self.judge(client, Access::Read, |filter| filter.matches(topic), |filter| filter.matches(topic))
    }

    fn judge(
        &mut self,
        client: &ClientInfo<'_>,
        asked: Access,
        allows: impl Fn(TopicFilter<'_>) -> bool,
        denies: impl Fn(TopicFilter<'_>) -> bool,
    ) -> bool {
        let Self { all, anonymous, users, patterns, scratch } = self;
        let own = match client.user_name {
            Some(user) => users.get(user).map(Vec::as_slice).unwrap_or_default(),
            None => anonymous,
        };
        let mut allowed = *all;
        for rule in own.iter().chain(patterns.iter()) {
            match (rule.access, rule.for_client(client, scratch)) {
                (Access::Deny, Some(filter)) if denies(filter) => return false,
                // nobody knows what it would deny
                (Access::Deny, None) => return false,
                (Access::Deny, Some(_)) => {}
                (access, Some(filter)) if access == asked || access == Access::ReadWrite => allowed |= allows(filter),
                (Access::Read | Access::Write | Access::ReadWrite, _) => {}
            }
        }
        allowed
    }
}

impl Rule {
    fn parse(text: &str, is_pattern: bool) -> Result<Self, &'static str> {
        let (access, filter) = match text.split_once([' ', '\t']) {
            Some(("read", filter)) => (Access::Read, filter),
            Some(("write", filter)) => (Access::Write, filter),
            Some(("readwrite", filter)) => (Access::ReadWrite, filter),
            Some(("deny", filter)) => (Access::Deny, filter),
            _ => (Access::ReadWrite, text),
        };
        let filter = filter.trim_start();
        if TopicFilter::new(filter).is_err() {
            return Err("this is no topic filter");
        }
        if !is_pattern && (filter.contains("%c") || filter.contains("%u")) {
            return Err("`%c` and `%u` stand for names in a `pattern` only");
        }
        Ok(Self { access, filter: filter.into(), is_pattern })
    }

    /// The rule's filter with the client's names in it; `None` if they do not fit.
    fn for_client<'a>(&'a self, client: &ClientInfo<'_>, scratch: &'a mut String) -> Option<TopicFilter<'a>> {
        if !self.is_pattern {
            return TopicFilter::new(&self.filter).ok();
        }
        scratch.clear();
        let mut rest: &str = &self.filter;
        // once from left to right: what a name brings is not looked at again
        while let Some((before, after)) = rest.split_once('%') {
            scratch.push_str(before);
            let name = match after.as_bytes().first() {
                Some(b'c') => client.client_id,
                Some(b'u') => client.user_name?,
                _ => {
                    scratch.push('%');
                    rest = after;
                    continue;
                }
            };
            // S10: a name is part of one level and nothing more
            if name.is_empty() || name.contains(['+', '#', '/']) {
                return None;
            }
            scratch.push_str(name);
            rest = after.get(1..)?;
        }
        scratch.push_str(rest);
        if scratch.starts_with('$') && !self.filter.starts_with('$') {
            return None;
        }
        TopicFilter::new(scratch).ok()
    }
}
