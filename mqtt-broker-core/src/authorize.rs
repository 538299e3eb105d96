//! The one step that every message passes before it is routed, wherever it comes from (S6), and every filter before it is granted.
//!
//! What the policy puts in the place of what it was asked about is validated and asked about again, once (S9).
use crate::deferred::next_ticket;
use crate::{
    ClientInfo, Config, Decision, NewMessage, NewSubscription, Origin, Policy, PublishRequest, SubscribeRequest,
};
use alloc::boxed::Box;
use mqtt_session::codec::{ReasonCode, SubscribeOptions};
use mqtt_session::topic::{FilterLevel, SharedFilter, TopicFilter, TopicName};
use mqtt_session::{Instant, Publication};

/// What came of a question.
#[derive(Debug)]
pub(crate) enum Verdict<New> {
    /// Yes.
    Allow,
    /// Yes, in this form.
    AllowAs(Box<New>),
    Deny(ReasonCode),
    /// The ticket given out last will decide; in this form, if the policy put it there.
    Defer(Option<Box<New>>),
}

/// Who is asked, and what rules hold whatever the answer is.
pub(crate) struct Desk<'a, P> {
    pub(crate) now: Instant,
    pub(crate) policy: &'a mut P,
    pub(crate) config: &'a Config,
    pub(crate) last_ticket: &'a mut u64,
    /// Whether what is asked about was granted once.
    pub(crate) again: bool,
}

impl<P: Policy> Desk<'_, P> {
    /// May `origin` publish this, whose topic passed [`vet_name`]?
    #[inline]
    pub(crate) fn publish(&mut self, origin: Origin<'_>, publication: &Publication<'_>) -> Verdict<NewMessage> {
        match self.ask_publish(origin, publication, false) {
            Decision::Allow => Verdict::Allow, // nearly always: nothing to weigh
            answer => self.weigh_publish(origin, publication, answer),
        }
    }

    /// What an answer to a first question comes to.
    pub(crate) fn weigh_publish(
        &mut self,
        origin: Origin<'_>,
        publication: &Publication<'_>,
        answer: Decision,
    ) -> Verdict<NewMessage> {
        let new = match answer {
            Decision::Allow => return Verdict::Allow,
            Decision::Defer(_) => return Verdict::Defer(None),
            Decision::PublishAs(new) => Box::new(new.within(publication)),
            no => return Verdict::Deny(no.refusal()),
        };
        // S9
        if let Err(reason) = vet_name(self.config, new.message.topic(), matches!(origin, Origin::Local)) {
            return Verdict::Deny(reason);
        }
        match self.ask_publish(origin, &new.publication(), true) {
            Decision::Allow => Verdict::AllowAs(new),
            Decision::Defer(_) => Verdict::Defer(Some(new)),
            no => Verdict::Deny(no.refusal()),
        }
    }

    /// What the answer to a message that was put off comes to; once more is too often.
    pub(crate) fn resume_publish(
        &mut self,
        origin: Origin<'_>,
        publication: &Publication<'_>,
        rewritten: bool,
        answer: Decision,
    ) -> Verdict<NewMessage> {
        match answer {
            Decision::Defer(_) => Verdict::Deny(ReasonCode::NOT_AUTHORIZED),
            Decision::PublishAs(_) if rewritten => Verdict::Deny(ReasonCode::NOT_AUTHORIZED),
            answer => self.weigh_publish(origin, publication, answer),
        }
    }

    fn ask_publish(&mut self, origin: Origin<'_>, publication: &Publication<'_>, rewritten: bool) -> Decision {
        let (now, ticket) = (self.now, next_ticket(self.last_ticket));
        self.policy.publish(&PublishRequest { origin, publication, rewritten, now, ticket })
    }

    /// May this client subscribe to this filter, which passed [`vet_filter`]?
    pub(crate) fn subscribe(
        &mut self,
        client: ClientInfo<'_>,
        filter: TopicFilter<'_>,
        options: SubscribeOptions,
    ) -> Verdict<NewSubscription> {
        let answer = self.ask_subscribe(client, filter, options, false);
        self.weigh_subscribe(client, options, answer)
    }

    /// What an answer to a first question comes to.
    pub(crate) fn weigh_subscribe(
        &mut self,
        client: ClientInfo<'_>,
        asked: SubscribeOptions,
        answer: Decision,
    ) -> Verdict<NewSubscription> {
        let mut new = match answer {
            Decision::Allow => return Verdict::Allow,
            Decision::Defer(_) => return Verdict::Defer(None),
            Decision::SubscribeAs(new) => new,
            no => return Verdict::Deny(no.refusal()),
        };
        new.options.qos = new.options.qos.min(asked.qos);
        // S9
        if let Err(reason) = vet_filter(self.config, client.peer.listener, new.filter.as_filter()) {
            return Verdict::Deny(reason);
        }
        match self.ask_subscribe(client, new.filter.as_filter(), new.options, true) {
            Decision::Allow => Verdict::AllowAs(new),
            Decision::Defer(_) => Verdict::Defer(Some(new)),
            no => Verdict::Deny(no.refusal()),
        }
    }

    /// What the answer to a filter that was put off comes to; once more is too often.
    pub(crate) fn resume_subscribe(
        &mut self,
        client: ClientInfo<'_>,
        asked: SubscribeOptions,
        rewritten: bool,
        answer: Decision,
    ) -> Verdict<NewSubscription> {
        match answer {
            Decision::Defer(_) => Verdict::Deny(ReasonCode::NOT_AUTHORIZED),
            Decision::SubscribeAs(_) if rewritten => Verdict::Deny(ReasonCode::NOT_AUTHORIZED),
            answer => self.weigh_subscribe(client, asked, answer),
        }
    }

    fn ask_subscribe(
        &mut self,
        client: ClientInfo<'_>,
        filter: TopicFilter<'_>,
        options: SubscribeOptions,
        rewritten: bool,
    ) -> Decision {
        let (again, ticket) = (self.again, next_ticket(self.last_ticket));
        self.policy.subscribe(&SubscribeRequest { client, filter, options, rewritten, again, ticket })
    }
}

/// A topic that may be published to at all: not too deep, and not one of the server's own (S4) but for the server itself.
pub(crate) fn vet_name(config: &Config, name: TopicName<'_>, own: bool) -> Result<(), ReasonCode> {
    // one level takes a byte: few names need to be counted
    let too_deep =
        name.as_bytes().len() >= config.max_topic_levels && name.levels().nth(config.max_topic_levels).is_some();
    if too_deep || (name.begins_with_dollar() && !own) { Err(ReasonCode::TOPIC_NAME_INVALID) } else { Ok(()) }
}

/// Reads a filter as a shared one, where those are offered. Before 5.0 `$share/` means nothing to the standard; here it means the
/// same at every version ([X311-SHR-1]).
pub(crate) fn shared_filter<'f>(
    config: &Config,
    listener: u32,
    filter: TopicFilter<'f>,
) -> Result<Option<SharedFilter<'f>>, ReasonCode> {
    if !config.server_of(listener).shared_subscription_available {
        return Ok(None);
    }
    filter.shared().map_err(|_| ReasonCode::TOPIC_FILTER_INVALID)
}

/// A filter that may be subscribed to at all.
pub(crate) fn vet_filter(config: &Config, listener: u32, filter: TopicFilter<'_>) -> Result<(), ReasonCode> {
    let inner = shared_filter(config, listener, filter)?.map_or(filter, SharedFilter::filter);
    if inner.levels().nth(config.max_topic_levels).is_some() {
        return Err(ReasonCode::TOPIC_FILTER_INVALID);
    }
    // limits and policy have 0x8F for a filter that is well-formed
    if inner.levels().take(config.min_wildcard_level).any(|level| !matches!(level, FilterLevel::Text(_))) {
        return Err(ReasonCode::TOPIC_FILTER_INVALID);
    }
    if filter.has_wildcard() && !config.server_of(listener).wildcard_subscription_available {
        // v4 [MQTT-3.8.3-2]
        return Err(ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED);
    }
    Ok(())
}
