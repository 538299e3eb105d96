//! Topic aliases that the peer sets (section 3.3.2.3.4). They live and die with the connection, and never in the session.
use crate::Topic;
use crate::error::Broken;
use alloc::vec::Vec;
use mqtt_codec::ReasonCode;
use mqtt_topic::{TopicName, TopicNameBuf};

/// v5 [MQTT-3.3.2-7], v5 [X5-PUB-5]: one table for each connection and direction. This is the incoming one; none is sent.
#[derive(Debug, Default)]
pub(crate) struct Aliases {
    /// Alias 1 comes first.
    names: Vec<Option<TopicNameBuf>>,
}

/// The topic of a PUBLISH without an alias.
pub(crate) fn plain(topic: Option<TopicName<'_>>) -> Result<Topic<'_>, Broken> {
    topic.map(Topic::Borrowed).ok_or(("v5 [X5-PUB-3]", ReasonCode::PROTOCOL_ERROR))
}

impl Aliases {
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
                self.set(at, topic);
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

    fn set(&mut self, at: usize, topic: TopicName<'_>) {
        if self.get(at).is_some_and(|name| name.as_name() == topic) {
            return; // said again: nothing to copy
        }
        if self.names.len() <= at {
            self.names.resize(at + 1, None);
        }
        if let Some(slot) = self.names.get_mut(at) {
            *slot = Some(topic.into());
        }
    }

    /// Heap bytes held, names included.
    pub(crate) fn memory(&self) -> usize {
        let names: usize = self.names.iter().flatten().map(|name| name.as_name().as_bytes().len()).sum();
        self.names.capacity() * size_of::<Option<TopicNameBuf>>() + names
    }
}
