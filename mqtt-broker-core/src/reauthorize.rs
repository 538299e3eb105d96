//! Rights that were given once are judged anew (S7): subscriptions, what waits for their client, what is to be sent again.
//!
//! Each judgement has a generation. Nothing is sent to a client that was judged in an earlier one: it is judged first, when there
//! is something to send, when it comes back, or in its turn of a sweep over all, whichever is first.
use crate::authorize::{Desk, Verdict};
use crate::core_state::Core;
use crate::deferred::Deferred;
use crate::event::Drop;
use crate::routes::Subscription;
use crate::slots::Id;
use crate::{ClientInfo, Decision, NewSubscription, Peer, Policy, ReceiveRequest};
use alloc::boxed::Box;
use alloc::vec::Vec;
use mqtt_session::codec::{ReasonCode, RetainHandling, SubscribeOptions};
use mqtt_session::topic::{SubscriptionTrie, TopicFilter, TopicFilterBuf};
use mqtt_session::{Delivery, Instant};

/// Places looked at, and subscriptions and messages judged, in one turn of a sweep.
const PER_TURN: usize = 1024;

impl<P: Policy> Core<P> {
    /// From now on no right counts that was given before.
    pub(crate) fn reauthorize_all(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.sweep = Some(0);
    }

    /// One turn of a sweep, if there is one.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let Some(mut next) = self.sweep.filter(|_| self.may_sweep()) else { return };
        let mut judged = 0;
        for _ in 0..PER_TURN {
            if next >= self.clients.slots.places() {
                self.sweep = None;
                return;
            }
            judged += u32::try_from(next).map_or(0, |index| self.reauthorize_if_stale(now, index));
            next += 1;
            if judged >= PER_TURN {
                break;
            }
        }
        self.sweep = Some(next);
    }

    /// Whether there is a sweep, and the policy has not put off more than it should be asked at a time.
    pub(crate) fn may_sweep(&self) -> bool {
        self.sweep.is_some() && self.deferred.len() < PER_TURN
    }

    /// Judges a client that was judged too long ago; how much there was to judge.
    pub(crate) fn reauthorize_if_stale(&mut self, now: Instant, index: u32) -> usize {
        let stale = |generation| generation != self.generation;
        match self.clients.slots.at(index) {
            Some(client) if stale(client.generation) => self.reauthorize(now, index),
            _ => 0,
        }
    }

    /// Judges all that a client was given; how much that was.
    pub(crate) fn reauthorize(&mut self, now: Instant, index: u32) -> usize {
        let Some(client) = self.clients.slots.at_mut(index) else { return 0 };
        client.generation = self.generation;
        if client.is_local() {
            return 0; // nobody is asked what the program may hear of its own broker
        }
        let filters = client.subscriptions().to_vec();
        if let Some(id) = client.connection()
            && let Some(conn) = self.connections.get_mut(id)
        {
            conn.generation = self.generation;
        }
        let mut denied = Vec::new();
        for filter in &filters {
            match self.judge_again(now, index, filter.as_filter(), None) {
                Verdict::Allow | Verdict::AllowAs(_) => {}
                Verdict::Deny(_) => denied.push(filter),
                Verdict::Defer(new) => {
                    let Some(client) = self.clients.slots.id_at(index) else { continue };
                    self.defer(now, Deferred::Again { client, filter: filter.clone(), new }, None);
                }
            }
        }
        for filter in &denied {
            self.drop_subscription(index, filter.as_filter());
        }
        filters.len() + self.judge_waiting(index, &denied)
    }

    /// The policy has spoken on a subscription that was judged anew.
    pub(crate) fn again_resumed(
        &mut self,
        now: Instant,
        client: Id,
        filter: TopicFilterBuf,
        new: Option<Box<NewSubscription>>,
        answer: Decision,
    ) {
        if self.clients.slots.get(client).is_none() {
            return;
        }
        match self.judge_again(now, client.index, filter.as_filter(), Some((new, answer))) {
            Verdict::Allow | Verdict::AllowAs(_) => {}
            Verdict::Deny(_) => {
                if self.drop_subscription(client.index, filter.as_filter()) {
                    self.judge_waiting(client.index, &[&filter]);
                }
            }
            Verdict::Defer(new) => self.defer(now, Deferred::Again { client, filter, new }, None),
        }
    }

    /// Whether a subscription may stay as it is, or at a lower QoS. One that would be put elsewhere now may not. `answer` is to what
    /// was put off: the subscription, or what the policy put in its place.
    fn judge_again(
        &mut self,
        now: Instant,
        index: u32,
        filter: TopicFilter<'_>,
        answer: Option<(Option<Box<NewSubscription>>, Decision)>,
    ) -> Verdict<NewSubscription> {
        let old = self.subscription(index, filter).copied();
        let Self { policy, config, last_ticket, clients, connections, routes, groups, .. } = self;
        let (Some(client), Some(old)) = (clients.slots.at(index), old) else {
            return Verdict::Deny(ReasonCode::UNSPECIFIED_ERROR);
        };
        let Subscription { qos, each: was_each, no_local, retain_as_published, .. } = old;
        let options = SubscribeOptions { qos, no_local, retain_as_published, retain_handling: RetainHandling::Never };
        let (mut away, own) = (Peer::default(), client.own_name(filter));
        let info = client.info(client.peer(connections, &mut away));
        let mut desk = Desk { now, policy, config, last_ticket, again: true };
        let verdict = match answer {
            None => desk.subscribe(info, own, options),
            Some((new, answer)) => match (desk.resume_subscribe(info, options, new.is_some(), answer), new) {
                (Verdict::Allow, Some(new)) => Verdict::AllowAs(new),
                (verdict, _) => verdict,
            },
        };
        let granted = match verdict {
            Verdict::Allow if own == filter => qos,
            Verdict::AllowAs(new) if new.filter.as_filter() == filter => new.options.qos.min(qos),
            Verdict::Allow | Verdict::AllowAs(_) => return Verdict::Deny(ReasonCode::NOT_AUTHORIZED),
            Verdict::Deny(reason) => return Verdict::Deny(reason),
            Verdict::Defer(new) => return Verdict::Defer(new),
        };
        let each = !policy.receives_all(&info, filter);
        if (granted, each) != (qos, was_each)
            && let Some(subscription) = groups.subscription_mut(filter, index).or_else(|| routes.get_mut(filter, index))
        {
            (subscription.qos, subscription.each) = (granted, each);
        }
        let lowered = granted != qos;
        if let Some(client) = clients.slots.at_mut(index)
            && let Some(replay) = client.replay_mut(|replay| replay.filter() == filter)
        {
            let wanted = &mut replay.playback.wanted;
            (wanted.qos, wanted.each) = (wanted.qos.min(granted), each);
        }
        if lowered {
            self.mark_filter(index, filter);
        }
        Verdict::Allow
    }

    /// Judges what waits for a client: what came only by subscriptions that were `denied` goes, whatever the policy says of it.
    /// How much there was.
    fn judge_waiting(&mut self, index: u32, denied: &[&TopicFilterBuf]) -> usize {
        if !denied.is_empty() {
            // what came by these cannot be told from the rest later; if it cannot be read now, the policy is asked about each message then
            let _ = self.load(index);
        }
        let reach = self.reach(index, denied);
        let Self { policy, clients, connections, .. } = self;
        let Some(client) = clients.slots.at_mut(index) else { return 0 };
        // of the client only what does not lie in its session is lent to the policy
        let (id, user_name, version) = (client.id.clone(), client.user_name.clone(), client.version);
        let peer = client.peer(connections, &mut Peer::default()).clone();
        let client_info = ClientInfo { client_id: id.as_str(), user_name: user_name.as_deref(), peer: &peer, version };
        let live = client.connection().is_some();
        let Some(session) = Self::session_mut(connections, client) else {
            client.recheck = true; // it is in the store: when it is read
            return 0;
        };
        let waiting = session.queued() + session.inflight();
        let dropped = session.retain(|delivery| {
            reach.as_ref().is_none_or(|reach| still_comes(reach, delivery))
                && policy.receive(&ReceiveRequest { client: client_info, publication: &delivery.publication() })
        });
        // what is on its way now would be sent again on the next connection
        client.recheck = live && session.inflight() > 0;
        self.recharge(index);
        self.mark_session(index);
        if dropped > 0 {
            self.goes_on(index);
        }
        for _ in 0..dropped {
            self.dropped(Some(&id), Drop::Denied(ReasonCode::NOT_AUTHORIZED));
        }
        waiting
    }

    /// What still reaches a client (`true`), and what did until now; nothing if nothing was taken away.
    fn reach(&self, index: u32, denied: &[&TopicFilterBuf]) -> Option<SubscriptionTrie<u32, bool>> {
        let client = self.clients.slots.at(index).filter(|_| !denied.is_empty())?;
        let mut reach = SubscriptionTrie::new(self.clients.seed());
        for filter in denied {
            // what does not fit is not taken away by this; the policy is asked about each message all the same
            let _ = reach.insert(plain(filter.as_filter()), 0, false);
        }
        for filter in client.subscriptions() {
            let _ = reach.insert(plain(filter.as_filter()), 0, true);
        }
        Some(reach)
    }
}

fn still_comes(reach: &SubscriptionTrie<u32, bool>, delivery: &Delivery) -> bool {
    let (mut kept, mut denied) = (false, false);
    reach.lookup(delivery.message.topic(), |_, stays| if *stays { kept = true } else { denied = true });
    kept || !denied
}

/// What a filter matches, shared or not.
pub(crate) fn plain(filter: TopicFilter<'_>) -> TopicFilter<'_> {
    filter.shared().ok().flatten().map_or(filter, |shared| shared.filter())
}
