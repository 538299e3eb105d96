//! In-process clients: subscriptions and publications of the embedding program, without a socket or an encoded byte.
use crate::clients::{Client, Home};
use crate::core_state::Core;
use crate::event::Drop;
use crate::retained::{Playback, Step, Wanted};
use crate::routes;
use crate::slots::Id;
use crate::{Overflow, Policy};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use mqtt_session::codec::{Qos, ReasonCode, RetainHandling, SubscribeOptions};
use mqtt_session::topic::{TopicFilter, TopicName};
use mqtt_session::{Delivery, Instant, QueueLimits};

/// Names a client of the embedding program. A stale one finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalId(pub(crate) Id);

/// A call of a client of the embedding program was refused; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// There is no such client: it was closed.
    #[error("the client was closed")]
    Stale,
    /// A filter that begins with `$share/` and is none of a shared subscription (section 4.8.2).
    #[error("not the filter of a shared subscription")]
    InvalidFilter,
    /// `max_local_clients`, `max_subscriptions` or the limits of the subscription table are reached.
    #[error("there is no room")]
    Full,
}

/// The queue of one client of the embedding program.
#[derive(Debug)]
pub(crate) struct LocalQueue {
    items: VecDeque<Item>,
    limits: QueueLimits,
    messages: usize,
    bytes: usize,
    dropped: u64,
    /// Whether the program was told that there is something.
    listed: bool,
}

#[derive(Debug)]
enum Item {
    Message(Delivery),
    /// The retained messages of a new subscription, drawn one by one: nothing newer overtakes them.
    Retained(Box<Playback>),
}

impl LocalQueue {
    fn new(limits: QueueLimits) -> Self {
        Self { items: VecDeque::new(), limits, messages: 0, bytes: 0, dropped: 0, listed: false }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    pub(crate) fn has_room(&self, size: usize) -> bool {
        self.messages < self.limits.messages && self.bytes.saturating_add(size) <= self.limits.bytes
    }

    /// Takes out what waits for a group.
    pub(crate) fn take_shared(&mut self, number: u64) -> Vec<Delivery> {
        let (mut taken, mut kept) = (Vec::new(), VecDeque::new());
        for item in core::mem::take(&mut self.items) {
            match item {
                Item::Message(delivery) if delivery.share() == Some(number) => {
                    self.uncount(&delivery);
                    taken.push(delivery);
                }
                stays @ (Item::Message(_) | Item::Retained(_)) => kept.push_back(stays),
            }
        }
        self.items = kept;
        taken
    }

    /// What it had for groups.
    fn into_shared(self) -> Vec<Delivery> {
        let items = self.items.into_iter().filter_map(|item| match item {
            Item::Message(delivery) => Some(delivery),
            Item::Retained(_) => None,
        });
        items.filter(|delivery| delivery.qos > Qos::AtMostOnce && delivery.share().is_some()).collect()
    }

    fn push(&mut self, delivery: Delivery) {
        self.messages += 1;
        self.bytes += delivery.cost();
        self.items.push_back(Item::Message(delivery));
    }

    /// Makes room for `delivery` at the cost of what has waited longest, where `overflow` says so; how many messages that cost.
    /// Those of a replay stay.
    fn make_room(&mut self, delivery: &Delivery, overflow: Overflow) -> u32 {
        let only_qos0 = match overflow {
            Overflow::DropOldest => false,
            Overflow::DropQos0 if delivery.qos != Qos::AtMostOnce => true,
            Overflow::DropQos0 | Overflow::DropNewest | Overflow::Disconnect => return 0,
        };
        let mut dropped = 0;
        // nothing makes room for what is larger than all of it
        if delivery.cost() <= self.limits.bytes {
            while !self.has_room(delivery.cost()) && self.drop_oldest(only_qos0) {
                dropped += 1;
            }
        }
        dropped
    }

    fn drop_oldest(&mut self, only_qos0: bool) -> bool {
        let goes = |item: &Item| match item {
            Item::Message(delivery) => !only_qos0 || delivery.qos == Qos::AtMostOnce,
            Item::Retained(_) => false,
        };
        let Some(at) = self.items.iter().position(goes) else { return false };
        let Some(Item::Message(delivery)) = self.items.remove(at) else { return false };
        self.uncount(&delivery);
        true
    }

    fn uncount(&mut self, delivery: &Delivery) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(delivery.cost());
    }
}

impl<P: Policy> Core<P> {
    pub(crate) fn local_open(&mut self, limits: QueueLimits) -> Result<LocalId, LocalError> {
        if self.clients.locals() >= self.config.max_local_clients {
            return Err(LocalError::Full);
        }
        let client = Client::local(Box::new(LocalQueue::new(limits)));
        self.clients.insert_local(client).map(LocalId).ok_or(LocalError::Full)
    }

    pub(crate) fn local_subscribe(
        &mut self,
        now: Instant,
        id: LocalId,
        filter: TopicFilter<'_>,
        options: SubscribeOptions,
    ) -> Result<(), LocalError> {
        let index = id.0.index;
        if !self.clients.slots.get(id.0).is_some_and(Client::is_local) {
            return Err(LocalError::Stale);
        }
        // nobody is asked what the program may hear of its own broker
        let wanted = Wanted { qos: options.qos, each: false, id: 0 };
        let subscription = routes::Subscription::new(options, wanted);
        let entered = self.enter(index, filter, subscription).map_err(|reason| match reason {
            ReasonCode::TOPIC_FILTER_INVALID => LocalError::InvalidFilter,
            _ => LocalError::Full,
        })?;
        let client = self.clients.slots.get_mut(id.0).ok_or(LocalError::Stale)?;
        let wants_retained = match options.retain_handling {
            RetainHandling::Always => true,
            RetainHandling::IfNew => entered.is_new,
            RetainHandling::Never => false,
        };
        if let Home::Local(queue) = &mut client.home
            && !entered.is_new
        {
            // a replay that is still under way for the same filter begins anew, or goes on as the subscription is now
            if wants_retained {
                queue.items.retain(|item| !matches!(item, Item::Retained(playback) if playback.filter() == filter));
            }
            for item in &mut queue.items {
                if let Item::Retained(playback) = item
                    && playback.filter() == filter
                {
                    playback.wanted = wanted;
                }
            }
        }
        if wants_retained && !entered.is_shared && !self.retained.is_empty() {
            if filter.has_wildcard() {
                if let Home::Local(queue) = &mut client.home {
                    queue.items.push_back(Item::Retained(Box::new(Playback::new(filter, wanted))));
                }
                self.list_local(id.0);
            } else if let Ok(name) = TopicName::from_bytes(filter.as_bytes())
                && let Some(delivery) = self.retained.get(now, name, wanted)
            {
                self.enqueue_local(index, delivery);
            }
        }
        Ok(())
    }

    /// Whether there was such a subscription. What is queued stays; a replay under way ends.
    pub(crate) fn local_unsubscribe(&mut self, id: LocalId, filter: TopicFilter<'_>) -> bool {
        if !self.clients.slots.get(id.0).is_some_and(Client::is_local) || !self.leave(id.0.index, filter) {
            return false;
        }
        let Some(client) = self.clients.slots.get_mut(id.0) else { return false };
        if let Home::Local(queue) = &mut client.home {
            queue.items.retain(|item| !matches!(item, Item::Retained(playback) if playback.filter() == filter));
        }
        true
    }

    pub(crate) fn local_close(&mut self, id: LocalId) {
        let Some(mut client) = self.clients.remove_local(id.0) else { return };
        for filter in client.take_subscriptions() {
            self.routes.remove(filter.as_filter(), id.0.index);
            self.unhold(filter.as_filter().as_bytes().len());
        }
        self.leave_all(id.0.index, client.shared());
        if let Home::Local(queue) = client.home {
            self.bequeath(queue.into_shared());
        }
        self.queued_bytes = self.queued_bytes.saturating_sub(client.charged);
    }

    /// Queues a delivery for a client of the program; what does not fit is dropped as [`Overflow`] says, and counted.
    pub(crate) fn enqueue_local(&mut self, index: u32, delivery: Delivery) {
        let (overflow, noted) = (self.config.overflow, self.note(&delivery));
        let room = self.queued_bytes.saturating_add(delivery.cost()) <= self.config.max_queued_bytes;
        let Some(client) = self.clients.slots.at_mut(index) else { return };
        let Home::Local(queue) = &mut client.home else { return };
        let mut dropped = if room { queue.make_room(&delivery, overflow) } else { 0 };
        let taken = room && queue.has_room(delivery.cost());
        if taken {
            queue.push(delivery);
        } else {
            dropped += 1;
        }
        queue.dropped += u64::from(dropped);
        if taken {
            self.stats.messages_out += 1;
            self.tell_noted(index, noted);
        }
        self.recharge(index);
        for _ in 0..dropped {
            self.dropped(None, Drop::QueueFull);
        }
        if let Some(id) = self.clients.slots.id_at(index) {
            self.list_local(id);
        }
    }

    fn list_local(&mut self, id: Id) {
        let Some(Home::Local(queue)) = self.clients.slots.get_mut(id).map(|client| &mut client.home) else { return };
        if !core::mem::replace(&mut queue.listed, true) {
            self.local_ready.push_back(id);
        }
    }

    pub(crate) fn poll_local(&mut self) -> Option<LocalId> {
        while let Some(id) = self.local_ready.pop_front() {
            if let Some(Home::Local(queue)) = self.clients.slots.get_mut(id).map(|client| &mut client.home) {
                queue.listed = false;
                if !queue.items.is_empty() {
                    return Some(LocalId(id));
                }
            }
        }
        None
    }

    pub(crate) fn local_receive(&mut self, now: Instant, id: LocalId) -> Option<Delivery> {
        let (mut expired, mut found) = (0u32, None);
        let client = self.clients.slots.get_mut(id.0)?;
        let Home::Local(queue) = &mut client.home else { return None };
        while let Some(item) = queue.items.pop_front() {
            match item {
                Item::Message(delivery) => {
                    queue.uncount(&delivery);
                    if delivery.message.is_expired(now) {
                        expired += 1;
                        continue;
                    }
                    found = Some(delivery);
                    break;
                }
                Item::Retained(mut playback) => match playback.step(now, &self.retained) {
                    Step::Deliver(delivery) => {
                        self.stats.messages_out += 1;
                        queue.items.push_front(Item::Retained(playback));
                        found = Some(delivery);
                        break;
                    }
                    Step::Later => {
                        queue.items.push_front(Item::Retained(playback));
                        self.list_local(id.0);
                        break;
                    }
                    Step::Done => {}
                },
            }
        }
        self.recharge(id.0.index);
        self.recover(id.0.index);
        for _ in 0..expired {
            self.dropped(None, Drop::Expired);
        }
        found
    }

    pub(crate) fn local_dropped(&self, id: LocalId) -> u64 {
        match self.clients.slots.get(id.0).map(|client| &client.home) {
            Some(Home::Local(queue)) => queue.dropped,
            _ => 0,
        }
    }
}
