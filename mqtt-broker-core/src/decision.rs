//! Answers of the policy: yes, yes but otherwise, no, later.
use crate::{Durability, Ticket};
#[cfg(doc)]
use crate::{PublishRequest, SubscribeRequest};
use alloc::boxed::Box;
use alloc::vec::Vec;
use mqtt_session::codec::{Property, Qos, ReasonCode, SubscribeOptions, Utf8, Version};
use mqtt_session::topic::{TopicFilter, TopicFilterBuf};
use mqtt_session::{Instant, Message, Publication};

/// The answer to a request. One that does not fit what was asked denies it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Decision {
    /// Yes.
    Allow,
    /// To a connect or an authentication: yes, on these terms.
    AllowWith(Box<Terms>),
    /// To an authentication: not yet, the client is asked for more with this data (AUTH).
    Continue(Box<[u8]>),
    /// To a publish: yes, but this message in its place ([`publish_as`](Self::publish_as)).
    PublishAs(Box<NewMessage>),
    /// To a subscribe: yes, but this subscription in its place ([`subscribe_as`](Self::subscribe_as)).
    SubscribeAs(Box<NewSubscription>),
    /// No; 5.0 clients are told why.
    Deny(ReasonCode),
    /// No, with words, or with another server's name; those go to clients that connect or authenticate, and the others are denied
    /// without.
    DenyWith(Box<Refusal>),
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

    /// Lets a client in on `terms`.
    pub fn allow_with(terms: Terms) -> Self {
        Self::AllowWith(Box::new(terms))
    }

    /// Asks a client that authenticates for more.
    pub fn proceed(data: &[u8]) -> Self {
        Self::Continue(data.into())
    }

    /// Why it is a no; also of an answer that does not fit the question.
    pub(crate) fn refusal(&self) -> ReasonCode {
        match self {
            Self::Deny(reason) if reason.is_error() => *reason,
            Self::DenyWith(refusal) if refusal.reason.is_error() => refusal.reason,
            _ => ReasonCode::NOT_AUTHORIZED,
        }
    }

    /// The same with its words.
    pub(crate) fn into_refusal(self) -> Refusal {
        let reason = self.refusal();
        match self {
            Self::DenyWith(refusal) => Refusal { reason, ..*refusal },
            _ => Refusal::new(reason),
        }
    }
}

/// The terms on which a client is let in. What is `None` is as the client asked, and as [`Config`](crate::Config) allows.
///
/// # Examples
///
/// ```
/// use mqtt_broker_core::{Decision, Terms};
///
/// let mut terms = Terms::default();
/// terms.user_name = Some("ada".into()); // she proved it, whatever name her CONNECT gave
/// terms.response_information = Some("answers/ada".into());
/// let _ = Decision::allow_with(terms);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Terms {
    /// Who the client is from here on, whatever name it gave: its session is bound to that (S8).
    pub user_name: Option<Box<str>>,
    /// The client identifier to go by. One that gave none is told (5.0).
    pub client_id: Option<Box<str>>,
    /// The longest that its session may outlive its connection, in seconds.
    pub session_expiry: Option<u32>,
    /// What becomes of its session when the process ends, in the place of what configuration and listener say.
    pub durability: Option<Durability>,
    /// The longest keep alive, in seconds, for clients that can be told (5.0). Not 0.
    pub keep_alive: Option<u16>,
    /// Response Information, for a client that asked for it (5.0).
    pub response_information: Option<Box<str>>,
    /// What the authentication ends with (5.0).
    pub authentication_data: Option<Box<[u8]>>,
    /// Reason String (5.0).
    pub reason_string: Option<Box<str>>,
    /// User Properties of the CONNACK (5.0).
    pub user_properties: Vec<(Box<str>, Box<str>)>,
}

impl Terms {
    /// What a later decision says counts, and what it does not say stays.
    pub(crate) fn merge(&mut self, later: Self) {
        let Self { user_name, client_id, session_expiry, keep_alive, .. } = later;
        self.user_name = user_name.or(self.user_name.take());
        self.client_id = client_id.or(self.client_id.take());
        self.session_expiry = session_expiry.or(self.session_expiry);
        self.keep_alive = keep_alive.or(self.keep_alive);
        self.durability = later.durability.or(self.durability);
        self.response_information = later.response_information.or(self.response_information.take());
        self.authentication_data = later.authentication_data.or(self.authentication_data.take());
        self.reason_string = later.reason_string.or(self.reason_string.take());
        self.user_properties.extend(later.user_properties);
    }

    /// What of it stands in the CONNACK; text that is no UTF-8 string of MQTT does not.
    pub(crate) fn properties(&self) -> Vec<Property<'_>> {
        let information = self.response_information.as_deref().and_then(Utf8::new).map(Property::ResponseInformation);
        let words = self.reason_string.as_deref().and_then(Utf8::new).map(Property::ReasonString);
        let user = self
            .user_properties
            .iter()
            .filter_map(|(name, value)| Some(Property::UserProperty(Utf8::new(name)?, Utf8::new(value)?)));
        information.into_iter().chain(words).chain(user).collect()
    }
}

/// A no with words, or one that names another server (section 4.13).
///
/// # Examples
///
/// ```
/// use mqtt_broker_core::{Decision, Refusal, codec::ReasonCode};
///
/// let away = Refusal::use_another_server("b.example.org:1883");
/// let _ = Decision::DenyWith(Box::new(away));
/// let late = Refusal::new(ReasonCode::NOT_AUTHORIZED).with_words("the invoice is due");
/// assert_eq!(late.reason, ReasonCode::NOT_AUTHORIZED);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// Why.
    pub reason: ReasonCode,
    /// Reason String: for people (5.0).
    pub words: Option<Box<str>>,
    /// Server Reference: where to go instead (5.0).
    pub server_reference: Option<Box<str>>,
}

impl Refusal {
    /// No, because of `reason`.
    pub const fn new(reason: ReasonCode) -> Self {
        Self { reason, words: None, server_reference: None }
    }

    /// Use another server, for now (0x9C): its name, or several, parted by spaces. Before 5.0 it is the server that is unavailable.
    pub fn use_another_server(reference: &str) -> Self {
        Self { server_reference: Some(reference.into()), ..Self::new(ReasonCode::USE_ANOTHER_SERVER) }
    }

    /// Use another server from now on (0x9D).
    pub fn server_moved(reference: &str) -> Self {
        Self { server_reference: Some(reference.into()), ..Self::new(ReasonCode::SERVER_MOVED) }
    }

    /// The same with a Reason String.
    #[must_use]
    pub fn with_words(mut self, words: &str) -> Self {
        self.words = Some(words.into());
        self
    }

    /// The reason as a client of `version` can be told in its CONNACK.
    pub(crate) fn connack_reason(&self, version: Version) -> ReasonCode {
        match self.reason {
            // [X5-CACK-10]: before 5.0 there is no word for it
            ReasonCode::USE_ANOTHER_SERVER | ReasonCode::SERVER_MOVED if version != Version::V5 => {
                ReasonCode::SERVER_UNAVAILABLE
            }
            // CONNACK has no code for a shutdown
            ReasonCode::SERVER_SHUTTING_DOWN => ReasonCode::SERVER_UNAVAILABLE,
            reason => reason,
        }
    }

    /// What of it stands in CONNACK or DISCONNECT; text that is no UTF-8 string of MQTT does not.
    pub(crate) fn properties(&self) -> Vec<Property<'_>> {
        // [X5-CACK-10]: only with a reason that sends the client elsewhere
        let elsewhere = matches!(self.reason, ReasonCode::USE_ANOTHER_SERVER | ReasonCode::SERVER_MOVED);
        let reference = self.server_reference.as_deref().filter(|_| elsewhere).and_then(Utf8::new);
        let words = self.words.as_deref().and_then(Utf8::new);
        reference.map(Property::ServerReference).into_iter().chain(words.map(Property::ReasonString)).collect()
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
