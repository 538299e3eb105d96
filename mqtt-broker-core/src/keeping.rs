//! Recording: what has changed becomes operations for the host's store, and what waited for them is said when they are stored.
use crate::clients::{Client, Home};
use crate::core_state::Core;
use crate::deferred::Deferred;
use crate::ledger::{Answer, MAX_HELD, Recorded, Sent};
use crate::records::{self, Head, Stay, Subscribed};
use crate::slots::Id;
use crate::store::{StoreAction, StoreKey, StoreOp, StoreRecord, StoreTicket, Table};
use crate::{Durability, Policy, Terms};
use alloc::sync::Arc;
use alloc::vec::Vec;
use mqtt_session::codec::{Properties, ReasonCode};
use mqtt_session::topic::{TopicFilter, TopicFilterBuf, TopicName};
use mqtt_session::{AckToken, Change, Delivery, Epoch, Instant, RequestToken};

/// Records that a list may have beside twice those that count, before it is written anew.
const SPARE_RECORDS: usize = 64;
/// Bytes of an operation beside its message, about.
const OVERHEAD: usize = 64;

// --- marks -----------------------------------------------------------------------------------------------------------

impl<P: Policy> Core<P> {
    /// How durable a client of `listener` is.
    pub(crate) fn durability_of(&self, listener: u32, terms: &Terms) -> Durability {
        if !self.ledger.on {
            return Durability::None;
        }
        let own = self.config.listeners.get(&listener).and_then(|listener| listener.durability);
        terms.durability.or(own).unwrap_or(self.config.durability)
    }

    /// Something may have changed that is recorded of this client.
    #[inline]
    pub(crate) fn mark_session(&mut self, index: u32) {
        self.mark_client(index, |_| {});
    }

    /// The same of the client of a connection.
    #[cold]
    pub(crate) fn mark_connection(&mut self, id: Id) {
        if let Some(index) = self.connections.get(id).and_then(|conn| conn.client()) {
            self.mark_session(index);
        }
    }

    pub(crate) fn mark_client(&mut self, index: u32, what: impl FnOnce(&mut Recorded)) {
        let Some(id) = self.clients.slots.id_at(index) else { return };
        let Some(recorded) = self.clients.slots.at_mut(index).and_then(|client| client.recorded.as_mut()) else {
            return;
        };
        what(recorded);
        self.ledger.mark_client(id, recorded);
    }

    pub(crate) fn mark_will(&mut self, index: u32) {
        self.mark_client(index, |recorded| recorded.will = true);
    }

    pub(crate) fn mark_head(&mut self, index: u32) {
        self.mark_client(index, |recorded| recorded.head = true);
    }

    pub(crate) fn mark_filter(&mut self, index: u32, filter: TopicFilter<'_>) {
        self.mark_client(index, |recorded| recorded.filters.push(filter.into()));
    }

    /// What is retained under a name is another. The broker's own figures are not recorded: the next process has others.
    pub(crate) fn mark_retained(&mut self, name: TopicName<'_>) {
        if self.ledger.on && !name.as_bytes().starts_with(b"$SYS/") {
            self.ledger.mark_retained(name.into());
        }
    }
}

// --- to the host -----------------------------------------------------------------------------------------------------

impl<P: Policy> Core<P> {
    /// Appends what is to be stored to `batch`.
    pub(crate) fn poll_store(&mut self, now: Instant, epoch: Epoch, batch: &mut Vec<StoreOp>) -> Option<StoreTicket> {
        self.ledger.epoch = epoch;
        self.bans.take_changed(&mut self.ledger);
        if !self.ledger.has_marks() {
            return None;
        }
        let before = batch.len();
        // what ended comes first: its identifier may have a new session
        for client in core::mem::take(&mut self.ledger.ended) {
            for table in [Table::Clients, Table::Sessions] {
                let name = client.clone().into_bytes();
                batch.push(StoreOp { key: StoreKey { table, name }, action: StoreAction::Delete });
            }
        }
        let mut unheld = Vec::new();
        for id in core::mem::take(&mut self.ledger.dirty) {
            let Some(mut recorded) = self.clients.slots.get_mut(id).and_then(|client| client.recorded.take()) else {
                continue;
            };
            recorded.dirty = false;
            self.record_client(id.index, &mut recorded, epoch, batch);
            if self.record_session(id, &mut recorded, epoch, batch) {
                unheld.push(id);
            }
            if let Some(client) = self.clients.slots.get_mut(id) {
                client.recorded = Some(recorded);
            }
        }
        self.record_retained(epoch, batch);
        self.record_wills(epoch, batch);
        self.record_bans(epoch, batch);
        let bytes = batch.get(before..).unwrap_or_default().iter().map(size).sum();
        let ticket = self.ledger.close_batch((batch.len() > before).then_some(bytes));
        for id in unheld {
            self.said(id);
        }
        if ticket.is_none() {
            self.release(now); // nothing that had to be stored after all
        }
        ticket
    }

    fn record_client(&self, index: u32, recorded: &mut Recorded, epoch: Epoch, batch: &mut Vec<StoreOp>) {
        let Some(client) = self.clients.slots.at(index) else { return };
        let key = StoreKey { table: Table::Clients, name: client.id.clone().into_bytes() };
        let live = 1 + client.subscriptions().len() + usize::from(client.will.is_some());
        recorded.whole |= recorded.records > SPARE_RECORDS + 2 * live;
        let before = batch.len();
        let mut put = |bytes: Arc<[u8]>, first: bool| {
            let record = StoreRecord::Bytes(bytes);
            let action = if first { StoreAction::Put(record) } else { StoreAction::Append(record) };
            batch.push(StoreOp { key: key.clone(), action });
        };
        let head = || head(client, recorded.durability).write(epoch);
        if recorded.whole {
            put(head(), true);
            for filter in client.subscriptions() {
                self.subscribed(index, client, filter.as_filter(), recorded)
                    .into_iter()
                    .for_each(|bytes| put(bytes, false));
            }
            client.will.iter().for_each(|will| put(will.record(epoch), false));
            recorded.records = 0;
        } else {
            if recorded.head {
                put(head(), false);
            }
            let mut filters = core::mem::take(&mut recorded.filters);
            filters.sort_unstable();
            filters.dedup();
            for filter in &filters {
                let filter = filter.as_filter();
                put(
                    self.subscribed(index, client, filter, recorded).unwrap_or_else(|| records::unsubscribed(filter)),
                    false,
                );
            }
            if recorded.will {
                put(client.will.as_ref().map_or_else(records::no_will, |will| will.record(epoch)), false);
            }
        }
        recorded.records += batch.len() - before;
        recorded.filters = Vec::new();
        (recorded.whole, recorded.head, recorded.will) = (false, false, false);
    }

    /// The record of a subscription, if there is one.
    fn subscribed(
        &self,
        index: u32,
        client: &Client,
        filter: TopicFilter<'_>,
        recorded: &Recorded,
    ) -> Option<Arc<[u8]>> {
        let subscription = self.subscription(index, filter)?;
        // the messages of a session that is still in the store bear the number that its group had when they were recorded
        let old = recorded.shares.iter().find(|(_, text)| text.as_filter() == filter).map(|(number, _)| *number);
        let share = || self.groups.share(self.groups.find(filter)?).map(|share| share.number());
        let subscribed = Subscribed {
            filter: filter.into(),
            qos: subscription.qos,
            no_local: subscription.no_local,
            retain_as_published: subscription.retain_as_published,
            identifier: subscription.id,
            share: old.or_else(share).unwrap_or_default(),
            names: client.names_of(filter).map(TopicFilterBuf::from).collect(),
        };
        Some(subscribed.write())
    }

    /// Whether something of it may be said at once.
    fn record_session(&mut self, id: Id, recorded: &mut Recorded, epoch: Epoch, batch: &mut Vec<StoreOp>) -> bool {
        let Some(client) = self.clients.slots.get_mut(id) else { return false };
        let key = StoreKey { table: Table::Sessions, name: client.id.clone().into_bytes() };
        let Some(session) = Self::session_mut(&mut self.connections, client) else { return false };
        let live = session.queued() + session.inflight();
        if recorded.whole_session || recorded.session_records > SPARE_RECORDS + 2 * live {
            // it stands for all changes so far
            while session.poll_change().is_some() {}
            batch.push(StoreOp { key, action: StoreAction::Put(StoreRecord::Snapshot(session.snapshot(epoch))) });
            (recorded.whole_session, recorded.session_records) = (false, 1);
        } else {
            while let Some((_, change)) = session.poll_change() {
                batch.push(StoreOp { key: key.clone(), action: StoreAction::Append(StoreRecord::Change(change)) });
                recorded.session_records += 1;
            }
        }
        let number = session.last_change();
        if core::mem::replace(&mut recorded.last_change, number) == number {
            return false;
        }
        if recorded.durability == Durability::Synced {
            self.ledger.send(Sent { client: id, number });
            return false;
        }
        session.stored(number);
        true
    }

    fn record_retained(&mut self, epoch: Epoch, batch: &mut Vec<StoreOp>) {
        let mut names = core::mem::take(&mut self.ledger.retained);
        names.sort_unstable();
        names.dedup();
        for name in names {
            let name = name.as_name();
            let action = match self.retained.stored(name) {
                Some(record) => {
                    let delivery = Delivery::new(record.message, record.qos, true);
                    StoreAction::Put(StoreRecord::Bytes(records::retained(&delivery, epoch)))
                }
                None => StoreAction::Delete,
            };
            batch.push(StoreOp { key: StoreKey::new(Table::Retained, name.as_bytes()), action });
        }
    }

    fn record_wills(&mut self, epoch: Epoch, batch: &mut Vec<StoreOp>) {
        let mut numbers = core::mem::take(&mut self.ledger.wills);
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let waits = self.waiting_wills.get(&number).and_then(|serial| self.deferred.get(serial));
            let action = match waits.map(|entry| entry.deferred()) {
                Some(Deferred::Will(due, _)) => StoreAction::Put(StoreRecord::Bytes(due.record(epoch))),
                _ => StoreAction::Delete,
            };
            batch.push(StoreOp { key: StoreKey::new(Table::Wills, &number.to_be_bytes()), action });
        }
    }

    fn record_bans(&mut self, epoch: Epoch, batch: &mut Vec<StoreOp>) {
        for ban in core::mem::take(&mut self.ledger.bans) {
            let action = match self.bans.until(&ban) {
                Some(until) => StoreAction::Put(StoreRecord::Bytes(records::ban(until, epoch))),
                None => StoreAction::Delete,
            };
            batch.push(StoreOp { key: StoreKey::new(Table::Bans, &records::ban_name(&ban)), action });
        }
    }
}

fn head(client: &Client, durability: Durability) -> Head {
    Head {
        version: client.version,
        durability,
        listener: client.listener,
        expiry: client.expiry,
        max_expiry: client.max_expiry,
        stay: match client.home {
            Home::Away { expires: Some(at), .. } => Stay::Until(at),
            Home::Away { expires: None, .. } => Stay::Forever,
            Home::Connection(_) | Home::Local(_) => Stay::Connected,
        },
        user_name: client.user_name.clone(),
    }
}

/// Bytes of an operation until it is stored, about.
fn size(op: &StoreOp) -> usize {
    let record = match &op.action {
        StoreAction::Put(record) | StoreAction::Append(record) => match record {
            StoreRecord::Snapshot(snapshot) => snapshot.as_bytes().len(),
            StoreRecord::Change(Change::Queued { delivery, .. }) => delivery.message.size(),
            StoreRecord::Change(_) => 0,
            StoreRecord::Bytes(bytes) => bytes.len(),
        },
        StoreAction::Delete => 0,
    };
    OVERHEAD.saturating_add(op.key.name.len()).saturating_add(record)
}

// --- what waits ------------------------------------------------------------------------------------------------------

impl<P: Policy> Core<P> {
    /// Whether what is said on this connection now waits for what has changed so far.
    fn must_hold(&self, id: Id) -> bool {
        let synced = self.connections.get(id).is_some_and(|conn| conn.durability == Durability::Synced);
        synced && !self.ledger.is_stored(self.ledger.last_batch())
    }

    /// Keeps an answer until all that has changed so far is stored.
    #[cold]
    fn hold_answer(&mut self, now: Instant, id: Id, answer: Answer) -> u64 {
        let batch = self.ledger.hold(id, answer);
        if let Some(conn) = self.connections.get_mut(id) {
            conn.held += 1;
            if conn.held >= MAX_HELD || self.store_is_behind() {
                self.wait_for_store(now, id);
            }
        }
        batch
    }

    /// A session of which nothing is stored is given what another one had: after a crash that one might have it still, and QoS 2 would come
    /// to both (v5 [MQTT-4.8.2-5]). So it waits until that one is gone from the store.
    #[cold]
    pub(crate) fn hold_heir(&mut self, now: Instant, index: u32) {
        let heir = self.clients.slots.at(index).filter(|client| client.recorded.is_none());
        if let Some(id) = heir.and_then(Client::connection) {
            self.hold_all(now, id);
            if let Some(conn) = self.connections.get_mut(id) {
                conn.held_back = !self.ledger.is_stored(conn.gate);
            }
        }
    }

    /// A connection sends nothing more before all that has changed so far is stored; one that was just let in not even its CONNACK.
    pub(crate) fn hold_all(&mut self, now: Instant, id: Id) {
        if self.must_hold(id) {
            let batch = self.hold_answer(now, id, Answer::All);
            if let Some(conn) = self.connections.get_mut(id) {
                conn.gate = batch;
                if let Some(connection) = conn.connection_mut() {
                    connection.pause_keep_alive(now); // who waits for us is silent for our sake
                }
            }
        }
    }

    /// Acknowledges a message that was routed; what it changed came behind `marks`.
    #[inline]
    pub(crate) fn acknowledge_kept(&mut self, now: Instant, id: Id, token: AckToken, reason: ReasonCode, marks: u64) {
        if self.ledger.marks() != marks {
            return self.acknowledge_changed(now, id, token, reason);
        }
        self.acknowledge(id, token, reason);
    }

    #[cold]
    fn acknowledge_changed(&mut self, now: Instant, id: Id, token: AckToken, reason: ReasonCode) {
        if self.store_is_behind() {
            self.wait_for_store(now, id);
        }
        if !token.is_awaited() {
            return;
        }
        if core::mem::take(&mut self.ledger.unkept) {
            // v4 [MQTT-4.8.0-2]: a session could not be read, so that not all who are to have it will; it is to come again.
            if let Some(connection) = self.connections.get_mut(id).and_then(|conn| conn.connection_mut()) {
                connection.give_back(token);
            }
            return self.end(now, id, ReasonCode::UNSPECIFIED_ERROR);
        }
        if self.must_hold(id) {
            self.hold_answer(now, id, Answer::Ack(token, reason));
        } else {
            self.acknowledge(id, token, reason);
        }
    }

    pub(crate) fn suback(&mut self, now: Instant, id: Id, token: RequestToken, codes: Vec<ReasonCode>) {
        if self.must_hold(id) {
            self.hold_answer(now, id, Answer::Suback(token, codes));
        } else {
            self.answer(now, id, &Answer::Suback(token, codes));
        }
    }

    pub(crate) fn unsuback(&mut self, now: Instant, id: Id, token: RequestToken, codes: Vec<ReasonCode>) {
        if self.must_hold(id) {
            self.hold_answer(now, id, Answer::Unsuback(token, codes));
        } else {
            self.answer(now, id, &Answer::Unsuback(token, codes));
        }
    }

    fn answer(&mut self, now: Instant, id: Id, answer: &Answer) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        let excused = conn.paused.excused();
        let Some(connection) = conn.connection_mut() else { return };
        match answer {
            Answer::All => {
                if !excused {
                    connection.resume_keep_alive(now);
                }
                (conn.transmit, conn.held_back) = (true, !self.ledger.is_stored(conn.gate));
                self.list(id);
            }
            Answer::Ack(token, reason) => connection.acknowledge(*token, *reason),
            Answer::Suback(token, codes) => connection.suback(*token, codes, Properties::EMPTY),
            Answer::Unsuback(token, codes) => connection.unsuback(*token, codes, Properties::EMPTY),
        }
    }

    /// Whether as much is on its way, or waits for that, as may be.
    pub(crate) fn store_is_behind(&self) -> bool {
        self.ledger.burden() > self.config.max_unstored_bytes
    }

    /// Whoever is recorded is not read while the store is behind: whatever it sends changes something, if only its own session.
    #[inline]
    pub(crate) fn heed_store(&mut self, now: Instant, id: Id) {
        if self.ledger.on
            && self.store_is_behind()
            && self.connections.get(id).is_some_and(|conn| conn.recorded && conn.client().is_some())
        {
            self.wait_for_store(now, id);
        }
    }

    fn wait_for_store(&mut self, now: Instant, id: Id) {
        if self.connections.get(id).is_some_and(|conn| !conn.paused.store) {
            self.ledger.waiting.push(id);
            self.pause(now, id, |paused| paused.store = true);
        }
    }

    /// The host has stored all up to this batch.
    pub(crate) fn stored(&mut self, now: Instant, up_to: StoreTicket) {
        self.ledger.stored(up_to.0);
        self.release(now);
    }

    fn release(&mut self, now: Instant) {
        while let Some(Sent { client, number }) = self.ledger.pop_sent() {
            let Some(owner) = self.clients.slots.get_mut(client) else { continue };
            if let Some(session) = Self::session_mut(&mut self.connections, owner) {
                session.stored(number);
                self.said(client);
            }
        }
        while let Some((id, answer)) = self.ledger.pop_held() {
            self.answer(now, id, &answer);
            if let Some(conn) = self.connections.get_mut(id) {
                conn.held = conn.held.saturating_sub(1);
            }
            self.touch(now, id);
        }
        if self.ledger.burden() <= self.config.max_unstored_bytes / 2 {
            for id in core::mem::take(&mut self.ledger.waiting) {
                match self.connections.get(id) {
                    Some(conn) if conn.held > MAX_HELD / 2 => self.ledger.waiting.push(id),
                    Some(_) => self.unpause(now, id, |paused| paused.store = false),
                    None => {}
                }
            }
        }
    }

    /// Something that a session held may be said now.
    fn said(&mut self, client: Id) {
        if let Some(id) = self.clients.slots.get(client).and_then(Client::connection)
            && let Some(conn) = self.connections.get_mut(id)
            && conn.connection().is_some_and(|connection| connection.has_output())
        {
            conn.transmit = true;
            self.list(id);
        }
    }
}
