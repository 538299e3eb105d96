//! Wills (section 3.1.2.5): kept with the session, armed when the connection ends without a goodbye, published once.
use crate::authorize::{Desk, Verdict};
use crate::core_state::Core;
use crate::deadlines::Due;
use crate::deferred::Deferred;
use crate::event::Drop;
use crate::{ClientId, ClientInfo, Config, Decision, Event, NewMessage, Origin, Peer, Policy};
use alloc::boxed::Box;
use alloc::vec::Vec;
use mqtt_session::codec::{Properties, Property, Qos, Version};
use mqtt_session::{Instant, Message, Publication};

/// A will as its client left it.
#[derive(Debug)]
pub(crate) struct Will {
    pub(crate) message: Message,
    /// [X5-WILL-4]: counts from the moment it is published.
    pub(crate) expiry: Option<u32>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// Seconds.
    pub(crate) delay: u32,
    /// When it is to be published; set once the connection is gone.
    pub(crate) due: Option<Instant>,
    pub(crate) peer: Peer,
}

/// A will whose time has come.
#[derive(Debug)]
pub(crate) struct DueWill {
    pub(crate) client: ClientId,
    pub(crate) user_name: Option<Box<str>>,
    pub(crate) version: Version,
    /// Under which it is recorded while it waits for the policy.
    pub(crate) number: Option<u64>,
    pub(crate) will: Box<Will>,
}

impl DueWill {
    fn info(&self) -> ClientInfo<'_> {
        ClientInfo {
            client_id: self.client.as_str(),
            user_name: self.user_name.as_deref(),
            peer: &self.will.peer,
            version: self.version,
        }
    }
}

impl Will {
    pub(crate) fn new(now: Instant, will: &mqtt_session::codec::Will<'_>, peer: Peer, config: &Config) -> Self {
        let publication = Publication {
            topic: will.topic,
            payload: will.payload,
            qos: will.qos,
            retain: will.retain,
            properties: will.properties,
        };
        Self {
            message: Message::new(now, &publication),
            expiry: config.expiry_of_message(will.properties.message_expiry_interval()),
            qos: will.qos,
            retain: will.retain,
            delay: will.properties.will_delay_interval().unwrap_or(0),
            due: None,
            peer,
        }
    }

    /// Hands the will out as it is to be published now.
    pub(crate) fn with_publication<R>(&self, use_it: impl FnOnce(&Publication<'_>) -> R) -> R {
        // v5 [MQTT-3.1.3-10]: the user properties in their order.
        let expiry = self.expiry.map(Property::MessageExpiryInterval);
        let properties: Vec<Property<'_>> = expiry.into_iter().chain(self.message.properties().iter()).collect();
        use_it(&Publication {
            topic: self.message.topic(),
            payload: self.message.payload(),
            qos: self.qos,
            retain: self.retain,
            properties: Properties::from_slice(&properties),
        })
    }
}

impl<P: Policy> Core<P> {
    /// The connection of `index` ended without a goodbye: its will is due after its delay, or when the session ends, whichever
    /// is first (v5 [MQTT-3.1.2-8], [X5-WILL-3], v4 [MQTT-3.1.2-8]); whoever ended it and however ([X5-WILL-1]).
    pub(crate) fn arm_will(&mut self, now: Instant, index: u32) {
        let Some(client) = self.clients.slots.at_mut(index) else { return };
        let Some(will) = client.will.as_mut() else { return };
        let wait = will.delay.min(client.expiry);
        if wait == 0 {
            self.will_is_due(index);
        } else {
            let at = now.plus_secs(wait);
            will.due = Some(at);
            self.deadlines.set(at, Due::Will(index));
            self.mark_will(index);
        }
    }

    /// Takes the will away unpublished: a goodbye, or a reconnect in time (v5 [MQTT-3.1.2-10], [MQTT-3.1.3-9], [MQTT-3.14.4-3]; v4 [MQTT-3.1.2-10]).
    pub(crate) fn drop_will(&mut self, index: u32) {
        let Some(will) = self.clients.slots.at_mut(index).and_then(|client| client.will.take()) else { return };
        self.held_bytes = self.held_bytes.saturating_sub(will.message.size());
        if let Some(at) = will.due {
            self.deadlines.clear(at, Due::Will(index));
        }
        self.mark_will(index);
    }

    /// Queues the will for publication. It is published at the end of the call that is under way, so that one will that ends
    /// another connection does not recurse.
    pub(crate) fn will_is_due(&mut self, index: u32) {
        let Some(client) = self.clients.slots.at_mut(index) else { return };
        let Some(will) = client.will.take() else { return };
        self.held_bytes = self.held_bytes.saturating_sub(will.message.size());
        if let Some(at) = will.due {
            self.deadlines.clear(at, Due::Will(index));
        }
        let (id, user_name, version) = (client.id.clone(), client.user_name.clone(), client.version);
        self.wills_due.push_back(DueWill { client: id, user_name, version, number: None, will });
        self.mark_will(index);
    }

    /// S6: a will is authorised again when it fires; deferred, it waits without a connection.
    pub(crate) fn publish_will(&mut self, now: Instant, due: DueWill) {
        let Self { policy, config, last_ticket, .. } = self;
        let mut desk = Desk { now, policy, config, last_ticket, again: false };
        let verdict = due.will.with_publication(|publication| desk.publish(Origin::Will(due.info()), publication));
        self.will_judged(now, Box::new(due), verdict);
    }

    /// The policy has spoken on a will that fires, rewritten or not.
    pub(crate) fn will_resumed(
        &mut self,
        now: Instant,
        due: Box<DueWill>,
        new: Option<Box<NewMessage>>,
        answer: Decision,
    ) {
        let Self { policy, config, last_ticket, .. } = self;
        let mut desk = Desk { now, policy, config, last_ticket, again: false };
        let origin = Origin::Will(due.info());
        let verdict = match new {
            Some(new) => match desk.resume_publish(origin, &new.publication(), true, answer) {
                Verdict::Allow => Verdict::AllowAs(new),
                other => other,
            },
            None => due.will.with_publication(|publication| desk.resume_publish(origin, publication, false, answer)),
        };
        self.will_judged(now, due, verdict);
    }

    fn will_judged(&mut self, now: Instant, due: Box<DueWill>, verdict: Verdict<NewMessage>) {
        // v5 [MQTT-3.8.3-3]: no local is by client identifier, whichever session that has now
        let origin = self.clients.find(due.client.as_str());
        // v5 [MQTT-3.1.2-14] [MQTT-3.1.2-15] v4 [MQTT-3.1.2-16] [MQTT-3.1.2-17]: like any message, so retained only if it asks for that.
        match verdict {
            Verdict::Allow => due.will.with_publication(|publication| self.route(now, origin, None, publication, None)),
            Verdict::AllowAs(new) => self.route_message(now, origin, None, &new),
            Verdict::Deny(reason) => {
                self.will_is_settled(&due);
                return self.dropped(Some(&due.client), Drop::Denied(reason));
            }
            Verdict::Defer(new) => return self.defer_will(now, due, new),
        };
        self.will_is_settled(&due);
        if self.config.events.wills {
            self.events.push(&mut self.stats, Event::WillPublished { client: due.client });
        }
    }

    /// The will waits for the policy; its session may end meanwhile, so it is recorded by itself.
    fn defer_will(&mut self, now: Instant, mut due: Box<DueWill>, new: Option<Box<NewMessage>>) {
        if self.ledger.on {
            let number = due.number.unwrap_or_else(|| self.ledger.last_will.saturating_add(1));
            self.ledger.last_will = self.ledger.last_will.max(number);
            due.number = Some(number);
            self.waiting_wills.insert(number, self.last_ticket);
            self.ledger.mark_will(number);
        }
        self.defer(now, Deferred::Will(due, new), None);
    }

    /// The will was published, or denied: it does not wait any more.
    fn will_is_settled(&mut self, due: &DueWill) {
        if let Some(number) = due.number {
            self.waiting_wills.remove(&number);
            self.ledger.mark_will(number);
        }
    }
}
