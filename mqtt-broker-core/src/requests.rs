//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11).
use crate::admission::granted;
use crate::authorize::{Desk, Verdict, shared_filter, vet_filter};
use crate::core_state::Core;
use crate::deferred::{Deferred, HeldSubscribe, HeldUnsubscribe};
use crate::retained::{Replay, Wanted};
use crate::routes;
use crate::slots::Id;
use crate::{Decision, Event, Limit, NewSubscription, Peer, Policy, UnsubscribeRequest};
use alloc::boxed::Box;
use alloc::vec::Vec;
use mqtt_session::codec::{ReasonCode, RetainHandling, Subscribe, Subscription, Unsubscribe};
use mqtt_session::topic::{TopicFilter, TopicFilterBuf, TopicName};
use mqtt_session::{Instant, RequestToken};

impl<P: Policy> Core<P> {
    /// A SUBSCRIBE: its filters one after the other, as if each had come alone, and one SUBACK
    /// (v5 [MQTT-3.8.4-5] v4 [MQTT-3.8.4-4]).
    pub(crate) fn subscribe(&mut self, now: Instant, id: Id, subscribe: &Subscribe<'_>, token: RequestToken) {
        let identifier = subscribe.properties.subscription_identifiers().next();
        let mut codes = Vec::new();
        // the session has judged the filters
        let mut filters = subscribe.subscriptions.iter().flatten();
        while let Some(subscription) = filters.next() {
            match self.judge(now, id, &subscription, identifier, codes.len()) {
                Ok(code) => codes.push(code),
                Err(new) => {
                    let rest = filters.map(|Subscription { filter, options }| (filter.into(), options));
                    let mut rest: Vec<_> =
                        core::iter::once((subscription.filter.into(), subscription.options)).chain(rest).collect();
                    rest.reverse();
                    return self.hold_subscribe(now, id, HeldSubscribe { token, identifier, rest, new, codes });
                }
            }
        }
        self.suback(now, id, token, codes);
    }

    /// The policy has spoken on the next filter of a SUBSCRIBE that was held.
    pub(crate) fn subscribe_resumed(&mut self, now: Instant, id: Id, held: HeldSubscribe, answer: Decision) {
        let HeldSubscribe { token, identifier, mut rest, new, mut codes } = held;
        let mut answer = Some((new, answer));
        while let Some((filter, options)) = rest.pop() {
            let subscription = Subscription { filter: filter.as_filter(), options };
            let judged = match answer.take() {
                Some((new, answer)) => {
                    let verdict = self.weigh(now, id, &subscription, new, answer);
                    self.conclude(now, id, &subscription, identifier, verdict)
                }
                None => self.judge(now, id, &subscription, identifier, codes.len()),
            };
            match judged {
                Ok(code) => codes.push(code),
                Err(new) => {
                    rest.push((filter, options));
                    return self.hold_subscribe(now, id, HeldSubscribe { token, identifier, rest, new, codes });
                }
            }
        }
        self.suback(now, id, token, codes);
        self.touch(now, id);
    }

    /// The code for one filter, behind `decided` others.
    ///
    /// # Errors
    /// The policy has put it off, or what it put in its place.
    fn judge(
        &mut self,
        now: Instant,
        id: Id,
        subscription: &Subscription<'_>,
        identifier: Option<u32>,
        decided: usize,
    ) -> Result<ReasonCode, Option<Box<NewSubscription>>> {
        if decided >= self.config.max_subscriptions {
            self.limited_at(Limit::Subscriptions, id);
            return Ok(ReasonCode::QUOTA_EXCEEDED); // it cannot have so many: nobody needs to be asked
        }
        let Subscription { filter, options } = *subscription;
        let listener = self.connections.get(id).map_or(0, |conn| conn.peer.listener);
        if let Err(reason) = vet_filter(&self.config, listener, filter) {
            if reason == ReasonCode::TOPIC_FILTER_INVALID {
                self.limited_at(Limit::TopicLevels, id);
            }
            return Ok(suback_code(reason));
        }
        let Self { policy, config, last_ticket, clients, connections, .. } = self;
        let Some(client) = connections.get(id).and_then(|conn| Self::info(clients, conn)) else { return Ok(GONE) };
        let verdict = Desk { now, policy, config, last_ticket, again: false }.subscribe(client, filter, options);
        self.conclude(now, id, subscription, identifier, verdict)
    }

    /// What the answer to a filter that was put off, or to `new` in its place, comes to.
    fn weigh(
        &mut self,
        now: Instant,
        id: Id,
        subscription: &Subscription<'_>,
        new: Option<Box<NewSubscription>>,
        answer: Decision,
    ) -> Verdict<NewSubscription> {
        let Self { policy, config, last_ticket, clients, connections, .. } = self;
        let Some(client) = connections.get(id).and_then(|conn| Self::info(clients, conn)) else {
            return Verdict::Deny(GONE);
        };
        let mut desk = Desk { now, policy, config, last_ticket, again: false };
        match (desk.resume_subscribe(client, subscription.options, new.is_some(), answer), new) {
            (Verdict::Allow, Some(new)) => Verdict::AllowAs(new),
            (verdict, _) => verdict,
        }
    }

    fn conclude(
        &mut self,
        now: Instant,
        id: Id,
        subscription: &Subscription<'_>,
        identifier: Option<u32>,
        verdict: Verdict<NewSubscription>,
    ) -> Result<ReasonCode, Option<Box<NewSubscription>>> {
        let Some(index) = self.connections.get(id).and_then(|conn| conn.client()) else { return Ok(GONE) };
        Ok(match verdict {
            Verdict::Allow => {
                self.forget_alias(index, subscription.filter, None);
                self.add_subscription(now, index, subscription, identifier)
            }
            Verdict::AllowAs(new) => self.add_rewritten(now, index, subscription.filter, &new, identifier),
            Verdict::Deny(reason) => suback_code(reason),
            Verdict::Defer(new) => return Err(new),
        })
    }

    fn hold_subscribe(&mut self, now: Instant, id: Id, held: HeldSubscribe) {
        self.defer(now, Deferred::Subscribe { connection: id, request: Box::new(held) }, Some(id));
    }

    /// Makes the subscription that the policy put in the place of the one to `own`, and remembers by which filter the client
    /// knows it.
    fn add_rewritten(
        &mut self,
        now: Instant,
        index: u32,
        own: TopicFilter<'_>,
        new: &NewSubscription,
        identifier: Option<u32>,
    ) -> ReasonCode {
        let filter = new.filter.as_filter();
        self.forget_alias(index, own, Some(filter));
        if own != filter {
            if !self.may_hold(own.as_bytes().len()) {
                return self.refuse_filter(Limit::HeldBytes, index);
            }
            let Some(client) = self.clients.slots.at_mut(index) else { return GONE };
            if !client.add_alias(own, filter, self.config.max_subscriptions) {
                return self.refuse_filter(Limit::Subscriptions, index);
            }
            self.hold(own.as_bytes().len());
        }
        let code = self.add_subscription(now, index, &Subscription { filter, options: new.options }, identifier);
        if code.is_error() {
            self.take_alias(index, own);
        }
        code
    }

    /// What stands for the client's `own`, if that was rewritten; it is forgotten.
    fn take_alias(&mut self, index: u32, own: TopicFilter<'_>) -> Option<TopicFilterBuf> {
        let taken = self.clients.slots.at_mut(index)?.take_alias(own)?;
        self.unhold(own.as_bytes().len());
        Some(taken)
    }

    /// What the client calls `own` is no longer what the policy once put in its place, unless that is `now_is`.
    fn forget_alias(&mut self, index: u32, own: TopicFilter<'_>, now_is: Option<TopicFilter<'_>>) {
        let Some(old) = self.take_alias(index, own) else { return };
        if now_is != Some(old.as_filter()) {
            self.drop_subscription(index, old.as_filter());
        }
    }

    /// Makes or replaces a subscription and begins to send what is retained; gives the code for the SUBACK.
    fn add_subscription(
        &mut self,
        now: Instant,
        index: u32,
        subscription: &Subscription<'_>,
        identifier: Option<u32>,
    ) -> ReasonCode {
        let Subscription { filter, options } = *subscription;
        let Some(client) = self.clients.slots.at(index) else { return GONE };
        let qos = granted(options.qos, self.config.server_of(client.listener).maximum_qos);
        let mut away = Peer::default();
        let each = !self.policy.receives_all(&client.info(client.peer(&self.connections, &mut away)), filter);
        let wanted = Wanted { qos, each, id: identifier.unwrap_or(0) };
        // [X5-SUB-4]: the identifier is replaced too, or cleared.
        let entered = match self.enter(index, filter, routes::Subscription::new(options, wanted)) {
            Ok(entered) => entered,
            Err(reason) => return reason,
        };
        let Some(client) = self.clients.slots.at(index) else { return GONE };
        if self.config.events.subscriptions {
            let event = Event::Subscribed { client: client.id.clone(), filter: filter.into() };
            self.events.push(&mut self.stats, event);
        }
        // v5 [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] v4 [MQTT-3.3.1-6] [X311-RET-1]
        let wants_retained = match options.retain_handling {
            RetainHandling::Always => true, // v5 [MQTT-3.8.4-4]: replaced or new
            RetainHandling::IfNew => entered.is_new,
            RetainHandling::Never => false,
        };
        // [X5-SUB-6]: nothing that is retained goes to a shared subscription.
        if wants_retained && !entered.is_shared {
            self.replay(now, index, filter, wanted);
        } else if !entered.is_new
            && let Some(replay) = self
                .clients
                .slots
                .at_mut(index)
                .and_then(|client| client.replay_mut(|replay| replay.filter() == filter))
        {
            // v5 [MQTT-3.8.4-4] [MQTT-3.8.4-8]: nothing of it gets lost, and the rest comes as the subscription is now
            replay.playback.wanted = wanted;
        }
        ReasonCode(qos as u8)
    }

    /// Makes or replaces a subscription, shared or not.
    ///
    /// v5 [MQTT-3.8.4-4]: nothing that is queued or in flight is touched, so what is published meanwhile comes once.
    pub(crate) fn enter(
        &mut self,
        index: u32,
        filter: TopicFilter<'_>,
        subscription: routes::Subscription,
    ) -> Result<Entered, ReasonCode> {
        let client = self.clients.slots.at(index).ok_or(ReasonCode::UNSPECIFIED_ERROR)?;
        let shared = match client.is_local() {
            true => filter.shared().map_err(|_| ReasonCode::TOPIC_FILTER_INVALID)?,
            false => shared_filter(&self.config, client.listener, filter)?,
        };
        let is_new = self.subscription(index, filter).is_none();
        let limit = if !is_new {
            None
        } else if client.subscriptions().len() >= self.config.max_subscriptions {
            Some(Limit::Subscriptions)
        } else if self.routes.len() + self.groups.memberships() >= self.config.max_subscriptions_total {
            Some(Limit::SubscriptionsTotal)
        } else if !self.may_hold(filter.as_bytes().len()) {
            Some(Limit::HeldBytes)
        } else {
            None
        };
        if let Some(limit) = limit {
            return Err(self.refuse_filter(limit, index));
        }
        // what was made through a listener that reads it otherwise goes
        let made = match shared {
            Some(shared) => {
                self.routes.remove(filter, index);
                self.join_group(index, shared, subscription)
            }
            None => {
                self.leave_group(index, filter);
                self.routes.insert(filter, index, subscription).map(drop).map_err(|_| Limit::SubscriptionsTotal)
            }
        };
        if let Err(limit) = made {
            return Err(self.refuse_filter(limit, index));
        }
        if let Some(client) = self.clients.slots.at_mut(index) {
            client.add_subscription(filter);
        }
        self.mark_filter(index, filter);
        self.held_bytes += if is_new { filter.as_bytes().len() } else { 0 };
        Ok(Entered { is_new, is_shared: shared.is_some() })
    }

    /// Ends a subscription, shared or not; whether there was one.
    pub(crate) fn leave(&mut self, index: u32, filter: TopicFilter<'_>) -> bool {
        let existed = self.leave_group(index, filter) || self.routes.remove(filter, index).is_some();
        if let Some(client) = self.clients.slots.at_mut(index).filter(|_| existed) {
            let names = client.remove_subscription(filter);
            self.unhold(filter.as_bytes().len() + names);
            self.mark_filter(index, filter);
        }
        existed
    }

    fn refuse_filter(&mut self, limit: Limit, index: u32) -> ReasonCode {
        let client = self.clients.slots.at(index).filter(|client| !client.is_local());
        let client = client.map(|client| client.id.clone());
        self.limited(limit, client.as_ref(), None);
        ReasonCode::QUOTA_EXCEEDED
    }

    /// Sends the retained messages that match a new subscription: a single one at once, many in shares as the client takes
    /// them, with a place in the queue held so that nothing newer overtakes them.
    fn replay(&mut self, now: Instant, index: u32, filter: TopicFilter<'_>, wanted: Wanted) {
        if !filter.has_wildcard() {
            let name = TopicName::from_bytes(filter.as_bytes());
            if let Some(delivery) = name.ok().and_then(|name| self.retained.get(now, name, wanted))
                && (!wanted.each || self.may_receive(index, &delivery.publication()))
            {
                self.enqueue(now, index, delivery);
            }
            return;
        }
        // one that is still under way for the same filter begins anew
        self.end_replay(index, filter);
        if self.retained.is_empty() {
            return;
        }
        let Some(client) = self.clients.slots.at_mut(index) else { return };
        if let Some(session) = Self::session_mut(&mut self.connections, client) {
            let place = session.hold_place();
            client.add_replay(Replay::new(place, filter, wanted));
        }
        self.goes_on(index);
    }

    /// Ends the replay of a filter, if there is one, and gives its place in the queue up.
    fn end_replay(&mut self, index: u32, filter: TopicFilter<'_>) {
        let Some(client) = self.clients.slots.at_mut(index) else { return };
        let Some(Replay { place, .. }) = client.take_replay(|replay| replay.filter() == filter) else { return };
        if let Some(session) = Self::session_mut(&mut self.connections, client) {
            session.close_place(place);
        }
        self.goes_on(index);
    }

    /// An UNSUBSCRIBE: its filters one after the other, and one UNSUBACK (v5 [MQTT-3.10.4-6] v4 [MQTT-3.10.4-6]).
    pub(crate) fn unsubscribe(&mut self, now: Instant, id: Id, unsubscribe: &Unsubscribe<'_>, token: RequestToken) {
        let mut codes = Vec::new();
        let mut filters = unsubscribe.filters.iter().flatten();
        while let Some(filter) = filters.next() {
            match self.judge_unsubscribe(id, filter) {
                Some(code) => codes.push(code),
                None => {
                    let mut rest: Vec<_> = core::iter::once(filter).chain(filters).map(Into::into).collect();
                    rest.reverse();
                    return self.hold_unsubscribe(now, id, HeldUnsubscribe { token, rest, codes });
                }
            }
        }
        self.unsuback(now, id, token, codes);
    }

    /// The policy has spoken on the next filter of an UNSUBSCRIBE that was held.
    pub(crate) fn unsubscribe_resumed(&mut self, now: Instant, id: Id, held: HeldUnsubscribe, answer: Decision) {
        let HeldUnsubscribe { token, mut rest, mut codes } = held;
        let mut answer = Some(answer);
        while let Some(filter) = rest.pop() {
            let code = match answer.take() {
                Some(Decision::Allow) => Some(self.remove_subscription(id, filter.as_filter())),
                Some(no) => Some(unsuback_code(no.refusal())),
                None => self.judge_unsubscribe(id, filter.as_filter()),
            };
            let Some(code) = code else {
                rest.push(filter);
                return self.hold_unsubscribe(now, id, HeldUnsubscribe { token, rest, codes });
            };
            codes.push(code);
        }
        self.unsuback(now, id, token, codes);
        self.touch(now, id);
    }

    /// The code for one filter; `None`: the policy has put it off.
    fn judge_unsubscribe(&mut self, id: Id, filter: TopicFilter<'_>) -> Option<ReasonCode> {
        let ticket = self.next_ticket();
        let conn = self.connections.get(id);
        let Some(client) = conn.and_then(|conn| Self::info(&self.clients, conn)) else {
            return Some(GONE);
        };
        match self.policy.unsubscribe(&UnsubscribeRequest { client, filter, ticket }) {
            Decision::Allow => Some(self.remove_subscription(id, filter)),
            Decision::Defer(_) => None,
            no => Some(unsuback_code(no.refusal())),
        }
    }

    fn hold_unsubscribe(&mut self, now: Instant, id: Id, held: HeldUnsubscribe) {
        self.defer(now, Deferred::Unsubscribe { connection: id, request: Box::new(held) }, Some(id));
    }

    fn remove_subscription(&mut self, id: Id, own: TopicFilter<'_>) -> ReasonCode {
        let Some(index) = self.connections.get(id).and_then(|conn| conn.client()) else { return GONE };
        let removed = match self.take_alias(index, own) {
            Some(filter) => self.drop_subscription(index, filter.as_filter()),
            None => self.drop_subscription(index, own),
        };
        if removed { ReasonCode::SUCCESS } else { ReasonCode::NO_SUBSCRIPTION_EXISTED }
    }

    /// Whether there was one.
    pub(crate) fn drop_subscription(&mut self, index: u32, filter: TopicFilter<'_>) -> bool {
        // v5 [MQTT-3.10.4-2] v4 [MQTT-3.10.4-2]: nothing new is added; what was begun is finished ([MQTT-3.10.4-3]).
        if !self.leave(index, filter) {
            return false;
        }
        let Some(client) = self.clients.slots.at(index) else { return true };
        if self.config.events.subscriptions {
            let event = Event::Unsubscribed { client: client.id.clone(), filter: filter.into() };
            self.events.push(&mut self.stats, event);
        }
        self.end_replay(index, filter);
        true
    }
}

/// The client has gone meanwhile: nobody reads the code.
const GONE: ReasonCode = ReasonCode::UNSPECIFIED_ERROR;
/// What became of a subscription.
pub(crate) struct Entered {
    pub(crate) is_new: bool,
    pub(crate) is_shared: bool,
}

/// v5 [MQTT-3.9.3-2]: a refusal that SUBACK has no code for is unspecified.
fn suback_code(reason: ReasonCode) -> ReasonCode {
    match reason {
        ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR
        | ReasonCode::NOT_AUTHORIZED
        | ReasonCode::TOPIC_FILTER_INVALID
        | ReasonCode::PACKET_IDENTIFIER_IN_USE
        | ReasonCode::QUOTA_EXCEEDED
        | ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
        | ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED
        | ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED => reason,
        _ => ReasonCode::UNSPECIFIED_ERROR,
    }
}

/// A refusal that UNSUBACK has no code for is unspecified (section 3.11.3).
fn unsuback_code(reason: ReasonCode) -> ReasonCode {
    match reason {
        ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR
        | ReasonCode::NOT_AUTHORIZED
        | ReasonCode::TOPIC_FILTER_INVALID
        | ReasonCode::PACKET_IDENTIFIER_IN_USE => reason,
        _ => ReasonCode::UNSPECIFIED_ERROR,
    }
}
