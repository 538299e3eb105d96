//! Owned names and filters as strings in `serde`'s formats; what comes in is checked like anything else.
use crate::{TopicFilter, TopicFilterBuf, TopicName, TopicNameBuf};
use core::fmt;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

impl Serialize for TopicNameBuf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_name().as_str())
    }
}

impl Serialize for TopicFilterBuf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_filter().as_str())
    }
}

impl<'de> Deserialize<'de> for TopicNameBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

impl<'de> Deserialize<'de> for TopicFilterBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FilterVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = TopicNameBuf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an MQTT topic name")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<TopicNameBuf, E> {
        TopicName::new(text).map(TopicNameBuf::from).map_err(E::custom)
    }
}

struct FilterVisitor;

impl Visitor<'_> for FilterVisitor {
    type Value = TopicFilterBuf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an MQTT topic filter")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<TopicFilterBuf, E> {
        TopicFilter::new(text).map(TopicFilterBuf::from).map_err(E::custom)
    }
}
