//! Following one client, or what happens under one topic filter, message by message, in the log.
//!
//! While nobody is followed the broker reports no messages, so that this costs nothing.

use mqtt_broker_core::{ClientId, Event, EventMask, Instant};
use mqtt_codec::Qos;
use mqtt_topic::{TopicFilter, TopicFilterBuf, TopicName};
use std::fmt;
use std::time::Duration;
use tracing::info;

/// Who and what may be followed at once.
const MOST: usize = 16;

/// Who and what is followed.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    of: Vec<(Subject, Option<Instant>)>,
}

/// One client, or the topics under a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// By its client identifier.
    Client(String),
    /// All that the filter matches.
    Topic(TopicFilterBuf),
}

impl Traces {
    /// Follows somebody, `until` then, or until the program ends. Whether there was room.
    pub(crate) fn add(&mut self, subject: Subject, until: Option<Instant>) -> bool {
        if let Some((_, end)) = self.of.iter_mut().find(|(known, _)| *known == subject) {
            *end = until;
            return true;
        }
        let has_room = self.of.len() < MOST;
        if has_room {
            self.of.push((subject, until));
        }
        has_room
    }

    /// Follows nobody any more.
    pub(crate) fn clear(&mut self) {
        self.of.clear();
    }

    /// Ends what was to end by now; whether something has.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let before = self.of.len();
        self.of.retain(|(_, until)| until.is_none_or(|until| until > now));
        self.of.len() < before
    }

    /// When to call [`expire`](Self::expire).
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.of.iter().filter_map(|(_, until)| *until).min()
    }

    /// Whether nobody is followed.
    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Who and what is followed, and for how long from `now` on.
    pub(crate) fn list(&self, now: Instant) -> impl Iterator<Item = (&Subject, Option<Duration>)> {
        self.of.iter().map(move |(subject, until)| (subject, until.map(|until| until.since(now))))
    }

    /// What the broker is to report: `base`, and what following takes.
    pub(crate) fn mask(&self, base: EventMask) -> EventMask {
        let mut mask = base;
        if !self.is_empty() {
            (mask.connections, mask.subscriptions, mask.wills) = (true, true, true);
            (mask.published, mask.delivered, mask.acked, mask.drops) = (true, true, true, true);
        }
        mask
    }

    /// Logs an event that is about somebody who is followed. Payloads are not in events.
    pub(crate) fn follow(&self, event: &Event) {
        if self.is_empty() {
            return;
        }
        match event {
            Event::Connected { client, version, .. } => {
                self.client("connected", client, format_args!("MQTT {version}"))
            }
            Event::Disconnected { client, cause, .. } => self.client("disconnected", client, format_args!("{cause:?}")),
            Event::SessionEnded { client } => self.client("session ended", client, format_args!("")),
            Event::WillPublished { client } => self.client("will published", client, format_args!("")),
            Event::Subscribed { client, filter } => self.filter("subscribed", client, filter),
            Event::Unsubscribed { client, filter } => self.filter("unsubscribed", client, filter),
            Event::Published { client, topic, qos, retain, size } => {
                // what the program itself publishes has no client identifier
                let client = client.as_ref().map_or("", |client| client.as_str());
                let more = format_args!(", retain {retain}, {size} bytes");
                self.message("published", client, topic.as_name(), *qos, more);
            }
            Event::Delivered { client, topic, qos } => {
                self.message("delivered", client.as_str(), topic.as_name(), *qos, format_args!(""));
            }
            Event::Acked { client, reason, .. } => self.client("acked", client, format_args!("{reason}")),
            Event::Dropped { client: Some(client), why } => self.client("dropped", client, format_args!("{why:?}")),
            Event::Limited { client: Some(client), limit, .. } => {
                self.client("limited", client, format_args!("{limit:?}"));
            }
            _ => {}
        }
    }

    /// Something about a client.
    fn client(&self, event: &str, client: &ClientId, more: fmt::Arguments<'_>) {
        let client = client.as_str();
        if self.has(client, |_| false) {
            info!(target: "trace", event, client, "trace: {client:?} {event} {more}");
        }
    }

    /// A subscription.
    fn filter(&self, event: &str, client: &ClientId, filter: &TopicFilterBuf) {
        let client = client.as_str();
        if self.has_filter(client, filter) {
            let filter = filter.as_filter().as_str();
            info!(target: "trace", event, client, filter, "trace: {client:?} {event} {filter:?}");
        }
    }

    /// A message, from or to a client.
    fn message(&self, event: &str, client: &str, topic: TopicName<'_>, qos: Qos, more: fmt::Arguments<'_>) {
        if self.has(client, |filter| filter.matches(topic)) {
            let (topic, qos) = (topic.as_str(), qos as u8);
            info!(target: "trace", event, client, topic, qos, "trace: {client:?} {event} {topic:?}, QoS {qos}{more}");
        }
    }

    fn has_filter(&self, client: &str, filter: &TopicFilterBuf) -> bool {
        let asked = filter.as_filter();
        let plain = asked.shared().ok().flatten().map_or(asked, |shared| shared.filter());
        self.has(client, |followed| followed.overlaps(plain))
    }

    fn has(&self, client: &str, is_under: impl Fn(TopicFilter<'_>) -> bool) -> bool {
        self.of.iter().any(|(subject, _)| match subject {
            Subject::Client(followed) => followed == client,
            Subject::Topic(filter) => is_under(filter.as_filter()),
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => write!(f, "client {client:?}"),
            Self::Topic(filter) => write!(f, "topic {:?}", filter.as_filter().as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_nobody_is_followed_the_broker_reports_no_messages() {
        let base = EventMask::default();
        let mut traces = Traces::default();
        assert_eq!(traces.mask(base), base);
        let at = Instant::from_millis;
        assert!(traces.add(Subject::Client("lamp".into()), Some(at(5))));
        assert!(traces.mask(base).published && traces.mask(base).delivered);
        assert_eq!(traces.poll_timeout(), Some(at(5)));
        assert!(!traces.expire(at(4)) && traces.expire(at(5)));
        assert_eq!((traces.mask(base), traces.poll_timeout()), (base, None));
    }

    #[test]
    fn a_number_of_subjects_is_the_most_and_one_that_is_known_gets_more_time() {
        let mut traces = Traces::default();
        let subject = |number: usize| Subject::Client(number.to_string());
        assert!((0..MOST).all(|number| traces.add(subject(number), None)));
        assert!(!traces.add(subject(MOST), None));
        assert!(traces.add(subject(0), Some(Instant::from_millis(9))));
        assert_eq!((traces.list(Instant::ZERO).count(), traces.poll_timeout()), (MOST, Some(Instant::from_millis(9))));
    }

    #[test]
    fn a_subscription_is_followed_if_it_could_bring_something() {
        let mut traces = Traces::default();
        let filter = |text: &str| TopicFilterBuf::from(TopicFilter::new(text).unwrap());
        traces.add(Subject::Topic(filter("home/+/temp")), None);
        for (text, expected) in [("home/#", true), ("$share/g/home/a/temp", true), ("home/a/door", false)] {
            assert_eq!(traces.has_filter("c", &filter(text)), expected, "{text}");
        }
    }
}
