//! Which sessions want a message: the subscription trie, and the merging of overlapping subscriptions.
use crate::Overlap;
use crate::retained::Wanted;
use crate::slots::grow;
use alloc::vec::Vec;
use mqtt_session::codec::{Qos, SubscribeOptions};
use mqtt_session::topic::{Full, HashSeed, SubscriptionTrie, TopicFilter, TopicName};

/// What one session asked of one filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscription {
    /// The granted QoS.
    pub(crate) qos: Qos,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    /// Whether the policy is asked about each message.
    pub(crate) each: bool,
    /// Subscription Identifier, 0 for none.
    pub(crate) id: u32,
}

impl Subscription {
    pub(crate) fn new(options: SubscribeOptions, wanted: Wanted) -> Self {
        let SubscribeOptions { no_local, retain_as_published, .. } = options;
        let Wanted { qos, each, id } = wanted;
        Self { qos, no_local, retain_as_published, each, id }
    }
}

/// One session that gets one copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) client: u32,
    pub(crate) qos: Qos,
    pub(crate) retain_as_published: bool,
    /// Whether the policy is asked about this copy: none of its subscriptions may receive all.
    pub(crate) each: bool,
    id: u32,
    /// Whether further identifiers of this target are in [`Targets::more`].
    has_more: bool,
}

impl Target {
    /// Whether subscription identifiers go with its copy.
    #[inline]
    pub(crate) fn has_ids(&self) -> bool {
        self.id != 0
    }

    /// A member of a group, for that alone.
    pub(crate) fn only(client: u32, subscription: &Subscription) -> Self {
        let Subscription { qos, retain_as_published, id, .. } = *subscription;
        Self { client, qos, retain_as_published, each: false, id, has_more: false }
    }
}

/// The copies of one message. Kept between messages, so that routing allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    pub(crate) list: Vec<Target>,
    /// The groups of which one member gets a copy.
    pub(crate) groups: Vec<u32>,
    /// Identifiers beyond the first: (client, identifier), sorted by client.
    more: Vec<(u32, u32)>,
    ids: Vec<u32>,
}

impl Targets {
    /// All subscription identifiers that go with the copy for `target`.
    #[inline]
    pub(crate) fn ids(&mut self, target: &Target) -> &[u32] {
        if target.has_ids() { self.collect_ids(target) } else { &[] }
    }

    fn collect_ids(&mut self, target: &Target) -> &[u32] {
        self.ids.clear();
        self.ids.push(target.id);
        if target.has_more {
            let first = self.more.partition_point(|(client, _)| *client < target.client);
            let own = self.more.iter().skip(first).take_while(|(client, _)| *client == target.client);
            self.ids.extend(own.map(|(_, id)| *id));
        }
        &self.ids
    }

    fn clear(&mut self) {
        self.list.clear();
        self.groups.clear();
        self.more.clear();
    }
}

pub(crate) struct Routes {
    trie: SubscriptionTrie<u32, Subscription>,
    /// By client: the serial of the last message that reached it and its place in the target list, so that a second
    /// matching subscription is merged without a search.
    marks: Vec<(u32, u32)>,
    serial: u32,
    /// How many entries are groups.
    groups: usize,
}

/// The bit that tells the entry of a group from that of a client.
const GROUP: u32 = 1 << 31;

impl Routes {
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self { trie: SubscriptionTrie::new(seed), marks: Vec::new(), serial: 0, groups: 0 }
    }

    /// Subscriptions that are not shared.
    pub(crate) fn len(&self) -> usize {
        self.trie.len().saturating_sub(self.groups)
    }

    /// Adds or replaces; the subscription that was there comes back.
    pub(crate) fn insert(
        &mut self,
        filter: TopicFilter<'_>,
        client: u32,
        subscription: Subscription,
    ) -> Result<Option<Subscription>, Full> {
        if client >= GROUP {
            return Err(Full);
        }
        let places = client as usize + 1;
        if self.marks.len() < places {
            grow(&mut self.marks, places);
            self.marks.resize(places, (0, 0));
        }
        // v5 [MQTT-3.8.4-3] v4 [MQTT-3.8.4-3]: an identical filter replaces what was there.
        self.trie.insert(filter, client, subscription)
    }

    pub(crate) fn get_mut(&mut self, filter: TopicFilter<'_>, client: u32) -> Option<&mut Subscription> {
        self.trie.get_mut(filter, client)
    }

    pub(crate) fn get(&self, filter: TopicFilter<'_>, client: u32) -> Option<&Subscription> {
        self.trie.get(filter, client)
    }

    // v5 [MQTT-3.10.4-1] v4 [MQTT-3.10.4-1]: only the subscription with the very same text goes.
    pub(crate) fn remove(&mut self, filter: TopicFilter<'_>, client: u32) -> Option<Subscription> {
        self.trie.remove(filter, client)
    }

    /// One entry for a whole group.
    pub(crate) fn insert_group(&mut self, filter: TopicFilter<'_>, group: u32) -> Result<(), Full> {
        if group >= GROUP {
            return Err(Full);
        }
        let all =
            Subscription { qos: Qos::ExactlyOnce, no_local: false, retain_as_published: false, each: false, id: 0 };
        self.groups += usize::from(self.trie.insert(filter, group | GROUP, all)?.is_none());
        Ok(())
    }

    pub(crate) fn remove_group(&mut self, filter: TopicFilter<'_>, group: u32) {
        self.groups = self.groups.saturating_sub(usize::from(self.trie.remove(filter, group | GROUP).is_some()));
    }

    /// Finds who gets a copy of a message on `name` that `origin` published: one copy per session, or per subscription.
    pub(crate) fn find(&mut self, name: TopicName<'_>, origin: Option<u32>, overlap: Overlap, targets: &mut Targets) {
        targets.clear();
        self.serial = self.serial.wrapping_add(1);
        if self.serial == 0 {
            // once in 4,294,967,296 messages
            (self.serial, self.marks) = (1, alloc::vec![(0, 0); self.marks.len()]);
        }
        let (serial, marks) = (self.serial, &mut self.marks);
        self.trie.lookup(name, |client, subscription| {
            // v5 [MQTT-3.8.3-3]: no local is by client, whichever connection it had when it published.
            if subscription.no_local && origin == Some(client) {
                return;
            }
            // no client has such an index
            let Some(mark) = marks.get_mut(client as usize) else { return targets.groups.push(client & !GROUP) };
            if mark.0 != serial || overlap == Overlap::Each {
                *mark = (serial, u32::try_from(targets.list.len()).unwrap_or(u32::MAX));
                let Subscription { qos, retain_as_published, each, id, .. } = *subscription;
                targets.list.push(Target { client, qos, retain_as_published, each, id, has_more: false });
                return;
            }
            let Some(target) = targets.list.get_mut(mark.1 as usize) else { return };
            // v5 [MQTT-3.3.4-2] v4 [MQTT-3.3.5-1]: one copy, at the highest QoS granted.
            target.qos = target.qos.max(subscription.qos);
            target.retain_as_published |= subscription.retain_as_published;
            target.each &= subscription.each;
            // v5 [MQTT-3.3.4-4] [X5-PUB-9]: the copy lists the identifier of every matching subscription, repeats included.
            match (target.id, subscription.id) {
                (_, 0) => {}
                (0, id) => target.id = id,
                (_, id) => {
                    target.has_more = true;
                    targets.more.push((client, id));
                }
            }
        });
        if targets.more.len() > 1 {
            targets.more.sort_by_key(|(client, _)| *client);
        }
    }
}
