//! Who and what is followed, in JSON: asked for, and shown.

use crate::trace::{Subject, Traces};
use mqtt_broker_core::Instant;
use mqtt_topic::TopicFilter;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How long somebody is followed if it is not said, seconds.
const UNLESS_SAID: u32 = 600;
/// The longest, seconds. What is to be followed for good stands in the configuration.
const LONGEST: u32 = 86_400;

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Wish {
    /// To see who is followed.
    List,
    /// To follow somebody for a time.
    Add(Subject, Duration),
    /// To follow nobody any more.
    Clear,
}

/// `{"client": "lamp", "for_s": 60}`, or `"topic"` with a filter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    client: Option<String>,
    topic: Option<String>,
    for_s: Option<u32>,
}

impl Wish {
    /// Whom to follow, out of what was sent; or what is wrong with it.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let asked: Asked = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let subject = match (asked.client, asked.topic) {
            (Some(client), None) => Subject::Client(client),
            (None, Some(topic)) => {
                let filter = TopicFilter::new(&topic).map_err(|error| format!("{topic:?}: {error}"))?;
                Subject::Topic(filter.into())
            }
            _ => return Err("either `client` or `topic`".to_owned()),
        };
        match asked.for_s.unwrap_or(UNLESS_SAID) {
            seconds @ 1..=LONGEST => Ok(Self::Add(subject, Duration::from_secs(seconds.into()))),
            _ => Err(format!("`for_s` is 1 to {LONGEST}")),
        }
    }

    /// Does it; who is followed then, or that there is no room.
    pub(crate) fn grant(self, traces: &mut Traces, now: Instant) -> Result<String, &'static str> {
        match self {
            Self::List => {}
            Self::Clear => traces.clear(),
            Self::Add(subject, time) => {
                if !traces.add(subject, Some(now + time)) {
                    return Err("too many are followed already");
                }
            }
        }
        let shown = traces.list(now).map(|(subject, left)| {
            let (kind, name) = match subject {
                Subject::Client(client) => ("client", client.as_str()),
                Subject::Topic(filter) => ("topic", filter.as_filter().as_str()),
            };
            json!({ kind: name, "for_s": left.map(|left| left.as_secs()) })
        });
        Ok(format!("{}\n", Value::Array(shown.collect())))
    }
}
