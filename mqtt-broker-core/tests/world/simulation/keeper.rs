//! The policy of a simulated world: it decides by the first letter of a topic, and remembers what it has said.
use super::wire::{again, number_of};
use mqtt_broker_core::codec::{Qos, ReasonCode};
use mqtt_broker_core::store::{LoadError, MemoryStore, Store, StoreKey, Table};
use mqtt_broker_core::topic::TopicFilter;
use mqtt_broker_core::{
    ClientInfo, ConnectRequest, Decision, Origin, Policy, Publication, PublishRequest, ReceiveRequest,
    SubscribeRequest, Ticket, UnsubscribeRequest,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

#[derive(Default)]
pub(super) struct Keeper {
    pub(super) defers_connect: bool,
    pub(super) defers_publish: bool,
    pub(super) defers_subscribe: bool,
    pub(super) revoked: bool,
    /// When the clock of the broker began.
    pub(super) zero: u64,
    /// How often it was asked about each message of a client.
    pub(super) asked: BTreeMap<u32, u32>,
    /// The expiry of the message that it has just put another in the place of: that one does not show its own.
    pub(super) changed: Option<u32>,
    /// What it has put off.
    pub(super) waiting: Vec<(Ticket, About)>,
    /// What it has allowed and denied since somebody looked.
    pub(super) allowed: Vec<Message>,
    pub(super) denied: Vec<Message>,
    /// Where sessions are read.
    pub(super) store: Rc<RefCell<MemoryStore>>,
}

pub(super) enum About {
    Message(Message),
    /// A message of a connection that has ended since.
    Gone,
    Other,
}

/// A message as the policy was asked about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    /// The client identifier; `None` for the host.
    pub(super) from: Option<String>,
    pub(super) is_will: bool,
    /// 0 for an empty payload.
    pub(super) number: u32,
    pub(super) topic: String,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) size: usize,
    /// Seconds.
    pub(super) expiry: Option<u32>,
    /// When the policy was asked.
    pub(super) at: u64,
}

const NO: Decision = Decision::Deny(ReasonCode::NOT_AUTHORIZED);

/// What follows `$share/name/`, or all.
pub(super) fn plain(filter: &str) -> &str {
    filter.strip_prefix("$share/").and_then(|shared| shared.split_once('/')).map_or(filter, |(_, plain)| plain)
}

/// Whether somebody who subscribed to `filter` is asked about for each message.
pub(super) fn is_asked_each(filter: &str) -> bool {
    filter.starts_with(['+', '#'])
}

/// Whether somebody who is asked about for each message gets those on `topic`.
pub(super) fn may_receive(topic: &str, revoked: bool) -> bool {
    !(topic.starts_with('s') || revoked && topic.starts_with('b'))
}

impl Policy for Keeper {
    fn connect(&mut self, request: &ConnectRequest<'_>) -> Decision {
        if !self.defers_connect {
            return Decision::Allow;
        }
        self.waiting.push((request.ticket, About::Other));
        Decision::Defer(request.ticket)
    }

    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
        let publication = request.publication;
        let number = number_of(publication.payload);
        if matches!(request.origin, Origin::Client(_)) && !request.rewritten && number != 0 {
            let times = self.asked.entry(number).or_default();
            *times += 1;
            // one that comes again at QoS 1 is told from the first
            if *times > 1 {
                self.changed = publication.properties.message_expiry_interval();
                let mut payload = publication.payload.to_vec();
                payload[..4].copy_from_slice(&again(number, *times).to_be_bytes());
                return Decision::publish_as(request.now, &Publication { payload: &payload, ..*publication });
            }
        }
        let (from, is_will) = match request.origin {
            Origin::Client(client) => (Some(client.client_id.to_owned()), false),
            Origin::Will(client) => (Some(client.client_id.to_owned()), true),
            _ => (None, false),
        };
        let message = Message {
            from,
            is_will,
            number,
            topic: publication.topic.as_str().to_owned(),
            qos: publication.qos,
            retain: publication.retain,
            size: publication.payload.len(),
            expiry: if request.rewritten { self.changed } else { publication.properties.message_expiry_interval() },
            at: self.zero + request.now.as_millis(),
        };
        match message.topic.as_bytes()[0] {
            b'n' => {
                self.denied.push(message);
                NO
            }
            b'b' if self.revoked => {
                self.denied.push(message);
                NO
            }
            b'd' if self.defers_publish => {
                self.waiting.push((request.ticket, About::Message(message)));
                Decision::Defer(request.ticket)
            }
            _ => {
                self.allowed.push(message);
                Decision::Allow
            }
        }
    }

    fn subscribe(&mut self, request: &SubscribeRequest<'_>) -> Decision {
        match plain(request.filter.as_str()).as_bytes()[0] {
            b'n' => NO,
            b'b' if self.revoked => NO,
            b'd' if self.defers_subscribe => {
                self.waiting.push((request.ticket, About::Other));
                Decision::Defer(request.ticket)
            }
            _ => Decision::Allow,
        }
    }

    fn unsubscribe(&mut self, request: &UnsubscribeRequest<'_>) -> Decision {
        if request.filter.as_bytes()[0] == b'd' && self.defers_subscribe {
            self.waiting.push((request.ticket, About::Other));
            return Decision::Defer(request.ticket);
        }
        Decision::Allow
    }

    fn receives_all(&mut self, _: &ClientInfo<'_>, filter: TopicFilter<'_>) -> bool {
        !is_asked_each(filter.as_str())
    }

    fn receive(&mut self, request: &ReceiveRequest<'_>) -> bool {
        may_receive(request.publication.topic.as_str(), self.revoked)
    }

    fn load_session(&mut self, client_id: &str, each: &mut dyn FnMut(&[u8])) -> Result<(), LoadError> {
        let key = StoreKey::new(Table::Sessions, client_id.as_bytes());
        self.store.borrow_mut().load(&key, each).map_err(|_| LoadError)
    }
}
