//! Which topics cross, and what they are called on the other side.

use mqtt_codec::topic::{TopicFilter, TopicName, TopicNameBuf};

/// Which way a topic crosses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    In,
    Out,
    Both,
}

/// What crosses.
pub(crate) struct Rules {
    local_prefix: String,
    remote_prefix: String,
    /// Filters at our broker.
    pub(crate) outgoing: Vec<String>,
    /// Filters at the remote.
    pub(crate) incoming: Vec<String>,
}

impl Rules {
    pub(crate) fn new(local_prefix: &str, remote_prefix: &str) -> Result<Self, String> {
        for prefix in [local_prefix, remote_prefix].into_iter().filter(|prefix| !prefix.is_empty()) {
            TopicName::new(prefix).map_err(|error| format!("no prefix of a topic: {prefix}: {error}"))?;
        }
        let (local_prefix, remote_prefix) = (local_prefix.to_owned(), remote_prefix.to_owned());
        Ok(Self { local_prefix, remote_prefix, outgoing: Vec::new(), incoming: Vec::new() })
    }

    /// A further filter, as it is without prefixes.
    pub(crate) fn add(&mut self, way: Way, filter: &str) -> Result<(), String> {
        let (local, remote) = (format!("{}{filter}", self.local_prefix), format!("{}{filter}", self.remote_prefix));
        for filter in [&local, &remote] {
            let parsed = TopicFilter::new(filter).map_err(|error| format!("{filter}: {error}"))?;
            if filter.starts_with("$share/") || parsed.shared().is_err() {
                return Err(format!("{filter}: a bridge takes every message, and shares with nobody"));
            }
        }
        if way != Way::In {
            self.outgoing.push(local);
        }
        if way != Way::Out {
            self.incoming.push(remote);
        }
        Ok(())
    }

    /// Refuses rules by which what goes out could come in again.
    pub(crate) fn refuse_echoes(&self) -> Result<(), String> {
        for filter in &self.outgoing {
            let sent = format!("{}{}", self.remote_prefix, filter.get(self.local_prefix.len()..).unwrap_or_default());
            if let Some(heard) = self.incoming.iter().find(|heard| meet(&sent, heard)) {
                return Err(format!("before 5.0 nothing tells what comes back: {sent} goes out, and {heard} comes in"));
            }
        }
        Ok(())
    }

    /// What a topic of the remote is called here; `None`: nothing that could be published.
    pub(crate) fn to_local(&self, topic: TopicName<'_>) -> Option<TopicNameBuf> {
        renamed(topic, &self.remote_prefix, &self.local_prefix)
    }

    /// What a topic of ours is called at the remote.
    pub(crate) fn to_remote(&self, topic: TopicName<'_>) -> Option<TopicNameBuf> {
        renamed(topic, &self.local_prefix, &self.remote_prefix)
    }
}

fn renamed(topic: TopicName<'_>, old: &str, new: &str) -> Option<TopicNameBuf> {
    let name = format!("{new}{}", topic.as_str().strip_prefix(old)?);
    Some(TopicName::new(&name).ok()?.into())
}

/// Whether some topic matches both filters. Those that begin with `$` are taken for others like them.
fn meet(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            // `a/#` matches `a` too
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(one), Some(other)) if one == other || one == "+" || other == "+" => {}
            (Some(_), Some(_)) | (Some(_), None) | (None, Some(_)) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_meet_where_a_topic_matches_both() {
        let rows = [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("a/#", "a", true),
            ("a/#", "b/#", false),
            ("+/b", "a/+", true),
            ("+/b", "a/c", false),
            ("a/+", "a", false),
            ("#", "x/y", true),
        ];
        for (one, other, expected) in rows {
            assert_eq!((meet(one, other), meet(other, one)), (expected, expected), "{one} {other}");
        }
    }

    #[test]
    fn a_topic_changes_its_prefix_on_the_way() {
        let rules = Rules::new("hub/", "site7/").unwrap();
        let topic = TopicName::new("hub/a/b").unwrap();
        let remote = rules.to_remote(topic).unwrap();
        assert_eq!(remote.as_name().as_str(), "site7/a/b");
        assert_eq!(rules.to_local(remote.as_name()).unwrap().as_name(), topic);
        assert!(rules.to_remote(TopicName::new("elsewhere").unwrap()).is_none());
        assert!(rules.to_remote(TopicName::new(&format!("hub/{}", "x".repeat(65_530))).unwrap()).is_none());
    }

    #[test]
    fn rules_that_send_back_what_came_are_refused_where_nothing_marks_it() {
        let refused = |local, remote, rows: &[(Way, &str)]| {
            let mut rules = Rules::new(local, remote).unwrap();
            rows.iter().for_each(|(way, filter)| rules.add(*way, filter).unwrap());
            rules.refuse_echoes().is_err()
        };
        assert!(refused("", "", &[(Way::Both, "a")]));
        assert!(refused("x/", "y/", &[(Way::Out, "#"), (Way::In, "a")]));
        assert!(!refused("", "", &[(Way::Out, "up/#"), (Way::In, "down/#")]));
    }

    #[test]
    fn what_is_no_prefix_or_shares_with_others_is_refused() {
        assert!(Rules::new("a/+/", "").is_err());
        let mut rules = Rules::new("", "").unwrap();
        assert!(rules.add(Way::In, "$share/g/a").is_err());
        assert!(rules.add(Way::Out, "a/#/b").is_err());
    }
}
