//! The `$SYS` topics: what the counters say, as retained messages that only the broker itself may publish (S4).
use crate::core_state::Core;
use crate::deadlines::Due;
use crate::{Policy, Publication, Stats};
use alloc::string::String;
use core::fmt::Write;
use mqtt_session::Instant;
use mqtt_session::topic::TopicName;

/// A topic without `$SYS/broker/`, and what it says.
type Number = (&'static str, fn(&Stats) -> u64);

const NUMBERS: [Number; 14] = [
    ("clients/total", |stats| stats.sessions as u64),
    ("clients/connected", |stats| stats.connected as u64),
    ("clients/disconnected", |stats| stats.sessions.saturating_sub(stats.connected) as u64),
    ("clients/maximum", |stats| stats.connected_max as u64),
    ("clients/expired", |stats| stats.sessions_expired),
    ("messages/received", |stats| stats.packets_in),
    ("publish/messages/received", |stats| stats.messages_in),
    ("publish/messages/sent", |stats| stats.messages_out),
    ("publish/messages/dropped", Stats::dropped),
    ("bytes/received", |stats| stats.bytes_in),
    ("bytes/sent", |stats| stats.bytes_out),
    ("retained messages/count", |stats| stats.retained as u64),
    ("subscriptions/count", |stats| stats.subscriptions as u64),
    ("store/messages/bytes", |stats| stats.queued_bytes as u64),
];

/// What was published last.
#[derive(Debug, Default)]
pub(crate) struct Sys {
    started: Option<Instant>,
    said: Option<[u64; NUMBERS.len()]>,
}

impl<P: Policy> Core<P> {
    /// Whether nothing was published yet that should be.
    #[inline]
    pub(crate) fn sys_is_due(&self) -> bool {
        self.config.sys_interval.is_some() && self.sys.started.is_none()
    }

    /// The topics are published from the first call on.
    pub(crate) fn start_sys(&mut self, now: Instant) {
        if self.sys_is_due() {
            self.sys.started = Some(now);
            self.publish_sys(now);
        }
    }

    pub(crate) fn publish_sys(&mut self, now: Instant) {
        let (Some(interval), Some(started)) = (self.config.sys_interval, self.sys.started) else { return };
        // an interval of 0 would never let the host rest
        self.deadlines.set(now.plus_millis(1).max(now + interval), Due::Sys);
        let stats = self.stats();
        let numbers = NUMBERS.map(|(_, read)| read(&stats));
        let said = self.sys.said.replace(numbers);
        let mut text = String::new();
        if said.is_none() {
            self.say(now, "version", concat!("mqtt-broker-core ", env!("CARGO_PKG_VERSION")));
        }
        let _ = write!(text, "{} seconds", now.since(started).as_secs());
        self.say(now, "uptime", &text);
        for (place, ((topic, _), number)) in NUMBERS.into_iter().zip(numbers).enumerate() {
            if said.is_some_and(|said| said.get(place) == Some(&number)) {
                continue;
            }
            text.clear();
            let _ = write!(text, "{number}");
            self.say(now, topic, &text);
        }
    }

    fn say(&mut self, now: Instant, topic: &str, payload: &str) {
        let mut name = String::from("$SYS/broker/");
        name.push_str(topic);
        if let Ok(topic) = TopicName::new(&name) {
            let mut publication = Publication::new(topic, payload.as_bytes());
            publication.retain = true;
            // the policy's refusal is counted
            let _ = self.publish_local(now, None, &publication);
        }
    }
}
