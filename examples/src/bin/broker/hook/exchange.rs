//! What the hook is asked and answers, in JSON. examples/broker.toml says it to those who write one.

use crate::config::HookEvent;
use mqtt_broker_core::{ClientInfo, ConnectRequest, Decision, Publication, Refusal, SubscribeRequest, Terms};
use mqtt_codec::{ReasonCode, Version};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A question.
#[derive(Serialize)]
pub(super) struct Question<'a> {
    #[serde(flatten)]
    client: Client<'a>,
    #[serde(flatten)]
    about: About<'a>,
}

/// Who it is about.
#[derive(Serialize)]
pub(super) struct Client<'a> {
    client_id: &'a str,
    user_name: Option<&'a str>,
    tls_name: Option<&'a str>,
    peer: Option<SocketAddr>,
    listener: u32,
    version: &'static str,
}

/// What it is about.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum About<'a> {
    Connect { password: Option<&'a str>, clean_start: bool, keep_alive_s: u16 },
    Publish { topic: &'a str, qos: u8, retain: bool, size: usize, will: bool },
    Subscribe { filter: &'a str, qos: u8 },
}

/// An answer. Other keys are passed over.
#[derive(Deserialize)]
struct Answer {
    allow: bool,
    user_name: Option<Box<str>>,
    #[serde(default)]
    reason: Reason,
    message: Option<String>,
}

/// Why it is a no.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reason {
    #[default]
    NotAuthorized,
    BadCredentials,
}

impl<'a> Question<'a> {
    /// May it connect? `None` if its password is no text.
    pub(super) fn connect(request: &ConnectRequest<'a>) -> Option<Self> {
        let connect = request.connect;
        let password = connect.password.map(std::str::from_utf8).transpose().ok()?;
        let about = About::Connect { password, clean_start: connect.clean_start, keep_alive_s: connect.keep_alive };
        Some(Self { client: Client::new(&request.client), about })
    }

    /// May it publish this?
    pub(super) fn publish(client: &ClientInfo<'a>, publication: &'a Publication<'a>, will: bool) -> Self {
        let Publication { topic, payload, qos, retain, .. } = *publication;
        let about = About::Publish { topic: topic.as_str(), qos: qos as u8, retain, size: payload.len(), will };
        Self { client: Client::new(client), about }
    }

    /// May it subscribe to this?
    pub(super) fn subscribe(request: &SubscribeRequest<'a>) -> Self {
        let about = About::Subscribe { filter: request.filter.as_str(), qos: request.options.qos as u8 };
        Self { client: Client::new(&request.client), about }
    }
}

impl<'a> Client<'a> {
    fn new(client: &ClientInfo<'a>) -> Self {
        let peer = client.peer;
        Self {
            client_id: client.client_id,
            user_name: client.user_name,
            tls_name: peer.identity.as_deref(),
            peer: peer.address,
            listener: peer.listener,
            version: match client.version {
                Version::V31 => "3.1",
                Version::V311 => "3.1.1",
                Version::V5 => "5.0",
            },
        }
    }
}

/// What the broker makes of an answer; `None` if it is not understood.
pub(super) fn decision(event: HookEvent, answer: &[u8]) -> Option<Decision> {
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    if answer.allow {
        let Some(user_name) = answer.user_name.filter(|_| event == HookEvent::Connect) else {
            return Some(Decision::Allow);
        };
        let mut terms = Terms::default();
        terms.user_name = Some(user_name);
        return Some(Decision::allow_with(terms));
    }
    let reason = match (event, answer.reason) {
        (HookEvent::Connect, Reason::BadCredentials) => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        (HookEvent::Connect | HookEvent::Publish | HookEvent::Subscribe, _) => ReasonCode::NOT_AUTHORIZED,
    };
    Some(match answer.message {
        Some(words) => Decision::DenyWith(Box::new(Refusal::new(reason).with_words(&words))),
        None => Decision::Deny(reason),
    })
}
