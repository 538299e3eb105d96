//! The indexes to be compared, behind one face.
use mqtt_topic::{HashSeed, SubscriptionTrie, TopicFilter, TopicName};
use mqtt_topic_engine::{CacheStrategy, QoS, SubscriptionId, TopicPath, TopicPatternPath, TopicRouter};
use std::collections::HashMap;

/// Who subscribed to what: `id` is the subscriber, one for each filter.
pub trait Index: Default {
    /// What the rows are called.
    const NAME: &'static str;
    /// Adds one.
    fn insert(&mut self, filter: &str, id: u64);
    /// Removes one.
    fn remove(&mut self, filter: &str, id: u64);
    /// Appends the subscribers of `name`; parsing the name is part of the work.
    fn lookup(&self, name: &str, found: &mut Vec<u64>);
}

/// This crate.
pub struct Ours(SubscriptionTrie<u64, u64>);

impl Default for Ours {
    fn default() -> Self {
        Self(SubscriptionTrie::new(HashSeed::random()))
    }
}

impl Index for Ours {
    const NAME: &'static str = "mqtt-topic";

    fn insert(&mut self, filter: &str, id: u64) {
        self.0.insert(TopicFilter::new(filter).unwrap(), id, 0).unwrap();
    }

    fn remove(&mut self, filter: &str, id: u64) {
        self.0.remove(TopicFilter::new(filter).unwrap(), id);
    }

    fn lookup(&self, name: &str, found: &mut Vec<u64>) {
        self.0.lookup(TopicName::new(name).unwrap(), |id, _| found.push(id));
    }
}

/// `quill-pubsub`.
#[derive(Default)]
pub struct Quill(quill::Registry<u64>);

impl Index for Quill {
    const NAME: &'static str = "quill-pubsub";

    fn insert(&mut self, filter: &str, id: u64) {
        self.0.subscribe(quill::Pattern::parse(filter).unwrap(), id);
    }

    fn remove(&mut self, filter: &str, id: u64) {
        self.0.unsubscribe(&quill::Pattern::parse(filter).unwrap(), &id);
    }

    fn lookup(&self, name: &str, found: &mut Vec<u64>) {
        found.append(&mut self.0.matching(&quill::Topic::parse(name).unwrap()));
    }
}

/// `rmqtt`.
#[derive(Default)]
pub struct Rmqtt(rmqtt::trie::TopicTree<u64>);

impl Index for Rmqtt {
    const NAME: &'static str = "rmqtt";

    fn insert(&mut self, filter: &str, id: u64) {
        self.0.insert(&filter.parse().unwrap(), id);
    }

    fn remove(&mut self, filter: &str, id: u64) {
        self.0.remove(&filter.parse().unwrap(), &id);
    }

    fn lookup(&self, name: &str, found: &mut Vec<u64>) {
        let topic = name.parse().unwrap();
        for (_, ids) in self.0.matches(&topic).iter() {
            found.extend(ids);
        }
    }
}

/// `mqtt-topic-engine`, which names subscriptions itself.
#[derive(Default)]
pub struct Engine {
    router: TopicRouter<u64>,
    ids: HashMap<u64, SubscriptionId>,
}

impl Index for Engine {
    const NAME: &'static str = "mqtt-topic-engine";

    fn insert(&mut self, filter: &str, id: u64) {
        let pattern = TopicPatternPath::new_from_string(filter, CacheStrategy::NoCache).unwrap();
        self.ids.insert(id, self.router.add_subscription(pattern, QoS::AtMostOnce, id).1);
    }

    fn remove(&mut self, filter: &str, id: u64) {
        let _ = filter;
        if let Some(id) = self.ids.remove(&id) {
            self.router.unsubscribe(&id).unwrap();
        }
    }

    fn lookup(&self, name: &str, found: &mut Vec<u64>) {
        found.extend(self.router.get_subscribers(&TopicPath::new(name).unwrap()).iter().map(|(_, _, id)| **id));
    }
}
