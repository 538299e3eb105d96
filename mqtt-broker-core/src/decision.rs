//! Answers of the policy: yes, yes but otherwise, no, later.
use crate::Ticket;
#[cfg(doc)]
use crate::{PublishRequest, SubscribeRequest};
use alloc::boxed::Box;
use mqtt_session::codec::{Qos, ReasonCode, SubscribeOptions};
use mqtt_session::topic::{TopicFilter, TopicFilterBuf};
use mqtt_session::{Instant, Message, Publication};

/// The answer to a request. One that does not fit what was asked denies it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Decision {
    /// Yes.
    Allow,
    /// To a publish: yes, but this message in its place ([`publish_as`](Self::publish_as)).
    PublishAs(Box<NewMessage>),
    /// To a subscribe: yes, but this subscription in its place ([`subscribe_as`](Self::subscribe_as)).
    SubscribeAs(Box<NewSubscription>),
    /// No; 5.0 clients are told why.
    Deny(ReasonCode),
    /// Later: that connection alone is paused until [`Broker::resume`](crate::Broker::resume), or denied after
    /// [`Config::decision_timeout`](crate::Config::decision_timeout). The ticket is the one of the request.
    Defer(Ticket),
}

impl Decision {
    /// Allows `publication` in the place of the message that was asked about: with another topic, other properties or payload, a
    /// lower QoS or not retained. A higher QoS is not given, and what was not to be retained is not.
    ///
    /// What comes in its place is validated and asked about again, with [`PublishRequest::rewritten`] set; the second answer can
    /// no longer rewrite (S9). A message expiry among the properties counts from `now`.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_broker_core::{Decision, Publication, PublishRequest, topic::TopicName};
    ///
    /// /// Everybody's topics lie below `tenant`.
    /// fn publish(request: &PublishRequest<'_>) -> Decision {
    ///     if request.rewritten {
    ///         return Decision::Allow;
    ///     }
    ///     let below = format!("tenant/{}", request.publication.topic.as_str());
    ///     match TopicName::new(&below) {
    ///         Ok(topic) => Decision::publish_as(request.now, &Publication { topic, ..*request.publication }),
    ///         Err(_) => Decision::Deny(mqtt_broker_core::codec::ReasonCode::TOPIC_NAME_INVALID),
    ///     }
    /// }
    /// ```
    pub fn publish_as(now: Instant, publication: &Publication<'_>) -> Self {
        Self::PublishAs(Box::new(NewMessage::new(now, publication)))
    }

    /// Allows a subscription to `filter` with `options` in the place of the one that was asked about. A higher QoS is not given.
    ///
    /// What comes in its place is validated and asked about again, with [`SubscribeRequest::rewritten`] set; the second answer
    /// can no longer rewrite (S9). The client ends it with the filter that it had written itself.
    pub fn subscribe_as(filter: TopicFilter<'_>, options: SubscribeOptions) -> Self {
        Self::SubscribeAs(Box::new(NewSubscription { filter: filter.into(), options }))
    }

    /// Why it is a no; also of an answer that does not fit the question.
    pub(crate) fn refusal(&self) -> ReasonCode {
        match self {
            Self::Deny(reason) if reason.is_error() => *reason,
            _ => ReasonCode::NOT_AUTHORIZED,
        }
    }
}

/// A message in another's place, or one that is kept while it is decided upon.
#[derive(Clone, Debug)]
pub struct NewMessage {
    pub(crate) message: Message,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
}

impl NewMessage {
    /// Copies `publication`; its expiry counts from `now`.
    pub fn new(now: Instant, publication: &Publication<'_>) -> Self {
        Self { message: Message::new(now, publication), qos: publication.qos, retain: publication.retain }
    }

    /// No more than `old` was: neither a higher QoS nor retained.
    pub(crate) fn within(mut self, old: &Publication<'_>) -> Self {
        (self.qos, self.retain) = (self.qos.min(old.qos), self.retain && old.retain);
        self
    }

    /// As it is to be published. Of its expiry only the moment is kept, so it is not among the properties.
    pub fn publication(&self) -> Publication<'_> {
        let Self { message, qos, retain } = self;
        let (topic, payload, properties) = (message.topic(), message.payload(), message.properties());
        Publication { topic, payload, qos: *qos, retain: *retain, properties }
    }
}

/// A subscription in another's place.
#[derive(Clone, Debug)]
pub struct NewSubscription {
    pub(crate) filter: TopicFilterBuf,
    pub(crate) options: SubscribeOptions,
}
