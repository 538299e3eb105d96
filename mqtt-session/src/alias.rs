//! Topic aliases (section 3.3.2.3.4): those that the peer sets and those that we set. They live and die with the connection, and
//! never in the session: what is sent again on another connection has its whole topic again.
//!
//! v5 [MQTT-3.3.2-7], v5 [X5-PUB-5]: one table for each connection and direction.
use crate::Topic;
use crate::error::Broken;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use mqtt_codec::ReasonCode;
use mqtt_topic::{TopicName, TopicNameBuf};

/// Bytes of topic names that a peer may have us keep, for each alias it may set.
const BYTES_EACH: usize = 4096;

/// What the peer set.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Alias 1 comes first.
    names: Vec<Option<TopicNameBuf>>,
    /// Of all names.
    bytes: usize,
}

/// The topic of a PUBLISH without an alias.
pub(crate) fn plain(topic: Option<TopicName<'_>>) -> Result<Topic<'_>, Broken> {
    topic.map(Topic::Borrowed).ok_or(("v5 [X5-PUB-3]", ReasonCode::PROTOCOL_ERROR))
}

impl Taken {
    /// The topic of a PUBLISH, its alias set or looked up.
    pub(crate) fn resolve<'p>(
        &mut self,
        topic: Option<TopicName<'p>>,
        alias: u16,
        maximum: u16,
    ) -> Result<Topic<'p>, Broken> {
        // v5 [X5-PUB-2], v5 [MQTT-3.3.2-8], v5 [MQTT-3.2.2-17], v5 [MQTT-3.2.2-18], v5 [MQTT-3.3.2-9], v5 [MQTT-3.3.2-11].
        if alias == 0 || alias > maximum {
            return Err(("v5 [X5-PUB-2]", ReasonCode::TOPIC_ALIAS_INVALID));
        }
        let at = usize::from(alias) - 1;
        match topic {
            // v5 [X5-PUB-4]: it sets the alias, and goes where it says itself.
            Some(topic) => {
                self.set(at, topic, usize::from(maximum) * BYTES_EACH)?;
                Ok(Topic::Borrowed(topic))
            }
            None => match self.get(at) {
                Some(name) => Ok(Topic::Aliased(name.clone())),
                None => Err(("v5 [X5-PUB-3]", ReasonCode::PROTOCOL_ERROR)),
            },
        }
    }

    fn get(&self, at: usize) -> Option<&TopicNameBuf> {
        self.names.get(at)?.as_ref()
    }

    fn set(&mut self, at: usize, topic: TopicName<'_>, most: usize) -> Result<(), Broken> {
        if self.get(at).is_some_and(|name| name.as_name() == topic) {
            return Ok(()); // said again: nothing to copy
        }
        let old = self.get(at).map_or(0, |name| name.as_name().as_bytes().len());
        let bytes = self.bytes.saturating_sub(old).saturating_add(topic.as_bytes().len());
        if bytes > most {
            return Err(("v5 section 4.13.2", ReasonCode::QUOTA_EXCEEDED));
        }
        self.bytes = bytes;
        if self.names.len() <= at {
            self.names.resize(at + 1, None);
        }
        if let Some(slot) = self.names.get_mut(at) {
            *slot = Some(topic.into());
        }
        Ok(())
    }

    /// Heap bytes held, names included.
    pub(crate) fn memory(&self) -> usize {
        self.names.capacity() * size_of::<Option<TopicNameBuf>>() + self.bytes
    }
}

/// What we set. Topics may be chosen by strangers, so they are found in an ordered map, which no choice of names can slow down.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// The alias of each topic that has one.
    of: BTreeMap<Arc<[u8]>, u16>,
    /// Alias 1 comes first.
    entries: Vec<Option<Entry>>,
    /// Where the search for an alias to be reused goes on.
    hand: usize,
}

#[derive(Debug)]
struct Entry {
    topic: Arc<[u8]>,
    /// The peer was told what it stands for.
    told: bool,
    /// Since the hand last passed.
    used: bool,
    /// Set by hand: not reused for another topic.
    fixed: bool,
}

/// The alias that a PUBLISH is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) alias: u16,
    /// The peer knows what it stands for, so that the topic can be left out.
    pub(crate) told: bool,
}

/// An alias takes three bytes: it saves nothing on a topic of no more.
const WORTH_IT: usize = 4;

impl Given {
    /// The alias for `topic`, of up to `automatic` that are given without being asked for: its own, a free one, or one that was
    /// not used for long (second chance). Nothing is set until it is [`told`](Self::tell).
    pub(crate) fn choose(&mut self, topic: &[u8], automatic: u16) -> Option<Choice> {
        if let Some(&alias) = self.of.get(topic) {
            let entry = self.entries.get_mut(position(alias))?.as_mut()?;
            entry.used = true;
            return Some(Choice { alias, told: entry.told });
        }
        if topic.len() < WORTH_IT || automatic == 0 {
            return None;
        }
        let automatic = usize::from(automatic);
        // Twice around: the first may only take away what each has used.
        for _ in 0..automatic * 2 {
            let at = self.hand % automatic;
            match self.entries.get_mut(at) {
                Some(Some(entry)) if entry.fixed || entry.used => entry.used = false,
                Some(_) | None => return u16::try_from(at + 1).ok().map(|alias| Choice { alias, told: false }),
            }
            self.hand = at + 1;
        }
        None
    }

    /// The PUBLISH with alias and topic was written.
    pub(crate) fn tell(&mut self, alias: u16, topic: &[u8]) {
        match self.entries.get_mut(position(alias)) {
            Some(Some(entry)) if *entry.topic == *topic => entry.told = true,
            _ => self.set(alias, Entry { topic: topic.into(), told: true, used: true, fixed: false }),
        }
    }

    /// From now on `alias` is for `topic` alone.
    pub(crate) fn fix(&mut self, alias: u16, topic: &[u8]) {
        match (self.of.get(topic).copied(), self.entries.get_mut(position(alias))) {
            // It has it already.
            (Some(own), Some(Some(entry))) if own == alias => entry.fixed = true,
            (own, _) => {
                own.into_iter().for_each(|own| self.clear(own));
                self.set(alias, Entry { topic: topic.into(), told: false, used: true, fixed: true });
            }
        }
    }

    fn set(&mut self, alias: u16, entry: Entry) {
        self.clear(alias);
        let at = position(alias);
        if self.entries.len() <= at {
            self.entries.resize_with(at + 1, || None);
        }
        if let Some(slot) = self.entries.get_mut(at) {
            self.of.insert(entry.topic.clone(), alias);
            *slot = Some(entry);
        }
    }

    fn clear(&mut self, alias: u16) {
        if let Some(entry) = self.entries.get_mut(position(alias)).and_then(Option::take) {
            self.of.remove(&entry.topic);
        }
    }

    /// Heap bytes held, topics included; what the map takes beside its keys and values is a guess.
    pub(crate) fn memory(&self) -> usize {
        const SHARED: usize = 16;
        let topics: usize = self.entries.iter().flatten().map(|entry| SHARED + entry.topic.len()).sum();
        let map = self.of.len() * (size_of::<Arc<[u8]>>() + size_of::<u16>()) * 3 / 2;
        self.entries.capacity() * size_of::<Option<Entry>>() + topics + map
    }
}

fn position(alias: u16) -> usize {
    usize::from(alias).wrapping_sub(1)
}
