//! From a PUBLISH to the sockets and sessions of its subscribers (sections 3.3 and 4.5), and who has to wait for whom.
//!
//! A target that keeps up is encoded to at once; one that must wait queues a reference to the message, which is made at most
//! once. A publisher is paused only for unsent bytes of a target whose socket still moves.
use crate::clients::Home;
use crate::connections::Phase;
use crate::core_state::Core;
use crate::deadlines::Due;
use crate::event::Drop;
use crate::restoring::NotLoaded;
use crate::retained::Step;
use crate::routes::Target;
use crate::sharing::Dealt;
use crate::slots::Id;
use crate::{Limit, NewMessage, Overflow, Peer, Policy, ReceiveRequest};
use mqtt_session::codec::{OutBuf, Qos, ReasonCode};
use mqtt_session::{Connection, Copies, Delivery, Forwarded, Instant, Message, Place, Publication, Share, Transmit};

/// Retained messages one connection is given in one turn, sent or too large for it.
const SHARES_PER_TURN: u32 = 256;

impl<P: Policy> Core<P> {
    /// Routes a message that was kept while it was decided upon, or that the policy put in another's place.
    pub(crate) fn route_message(
        &mut self,
        now: Instant,
        origin: Option<u32>,
        publisher: Option<Id>,
        message: &NewMessage,
    ) -> usize {
        self.route(now, origin, publisher, &message.publication(), Some(message.message.clone()))
    }

    /// Gives a message to everybody who subscribed to it; how many those are. `message` is the kept form, if there is one.
    pub(crate) fn route(
        &mut self,
        now: Instant,
        origin: Option<u32>,
        publisher: Option<Id>,
        publication: &Publication<'_>,
        mut message: Option<Message>,
    ) -> usize {
        self.tell_published(origin, publication);
        // v5 [MQTT-3.3.1-8] v4 [MQTT-3.3.1-12]: nothing else touches what is retained.
        if publication.retain {
            self.retain(now, publication, &mut message);
        }
        let mut targets = core::mem::take(&mut self.targets);
        self.routes.find(publication.topic, origin, self.config.overlap, &mut targets);
        // v5 [MQTT-4.5.0-1] v4 [MQTT-4.5.0-1]: every session with a matching subscription.
        let (matched, mut denied) = (targets.list.len(), 0);
        // what goes to many is encoded once
        let mut buf = if matched > 1 { self.copies.take() } else { None };
        let kept_expires = message.as_ref().is_some_and(|message| message.expires().is_some());
        let mut copies =
            if matched > 1 && !kept_expires { Some(buf.get_or_insert_default().copies(publication)) } else { None };
        for place in 0..matched {
            let Some(target) = targets.list.get(place).copied() else { break };
            if target.each && !self.may_receive(target.client, publication) {
                denied += 1;
                continue;
            }
            if let Some(copies) = &mut copies
                && self.send_copy(now, publisher, &target, publication, copies)
            {
                continue;
            }
            self.send(now, publisher, &target, targets.ids(&target), publication, &mut message, None);
        }
        if matched > 1 {
            self.copies = buf;
        }
        // [X5-SUB-8]: a group beside what its members subscribed to alone, and beside other groups.
        let mut shared = 0;
        for place in 0..targets.groups.len() {
            let Some(&group) = targets.groups.get(place) else { break };
            shared += usize::from(
                self.share_out(now, origin, publisher, group, publication, &mut message, 0) != Dealt::Denied,
            );
        }
        self.targets = targets;
        matched - denied + shared
    }

    /// Asks the policy about one message for one client.
    pub(crate) fn may_receive(&mut self, index: u32, publication: &Publication<'_>) -> bool {
        let Some(client) = self.clients.slots.at(index) else { return false };
        let mut away = Peer::default();
        let client_info = client.info(client.peer(&self.connections, &mut away));
        let may = self.policy.receive(&ReceiveRequest { client: client_info, publication });
        if !may {
            let id = client.id.clone();
            self.dropped(Some(&id), Drop::Denied(ReasonCode::NOT_AUTHORIZED));
        }
        may
    }

    pub(crate) fn expire_retained(&mut self, now: Instant) {
        let Self { retained, ledger, .. } = self;
        retained.expire(now, |name| {
            if ledger.on {
                ledger.mark_retained(name.into());
            }
        });
    }

    fn retain(&mut self, now: Instant, publication: &Publication<'_>, message: &mut Option<Message>) {
        self.mark_retained(publication.topic);
        if publication.payload.is_empty() {
            // v5 [MQTT-3.3.1-6] [MQTT-3.3.1-7] v4 [MQTT-3.3.1-10] [MQTT-3.3.1-11]: an empty payload removes, is forwarded, and is never kept.
            return self.retained.remove(publication.topic);
        }
        if publication.payload.len() > self.config.max_retained_payload {
            // lest the old one pass for the last
            self.retained.remove(publication.topic);
            self.limited(Limit::RetainedPayload, None, None);
            return self.dropped(None, Drop::RetainedFull);
        }
        let message = message.get_or_insert_with(|| Message::new(now, publication)).clone();
        if message.expires().is_some_and(|at| at <= now) {
            // v5 [X5-PUB-11]: it was over before it could be kept (it took too long to decide upon, say); lest the old one pass for the last
            self.retained.remove(publication.topic);
            return self.dropped(None, Drop::Expired);
        }
        let (max, max_bytes) = (self.config.max_retained, self.config.max_retained_bytes);
        if self.retained.insert(message, publication.qos, max, max_bytes).is_err() {
            self.limited(Limit::Retained, None, None);
            self.dropped(None, Drop::RetainedFull);
        }
    }

    /// A QoS 0 copy out of the encoding that others have used, if that will do: [`send`](Self::send) is for all that it will not.
    #[inline]
    fn send_copy(
        &mut self,
        now: Instant,
        publisher: Option<Id>,
        target: &Target,
        publication: &Publication<'_>,
        copies: &mut Copies<'_>,
    ) -> bool {
        // v5 [MQTT-3.8.4-8] v4 [MQTT-3.8.4-6]
        if publication.qos.min(target.qos) != Qos::AtMostOnce || target.has_ids() {
            return false;
        }
        // v5 [MQTT-3.3.1-12] [MQTT-3.3.1-13] v4 [MQTT-3.3.1-9]
        let retain = publication.retain && target.retain_as_published;
        let Some(id) = self.clients.slots.at(target.client).and_then(|client| client.connection()) else {
            return false;
        };
        let Some(conn) = self.connections.get_mut(id) else { return false };
        let keeps_up = conn.keeps_up(self.config.high_water, self.generation);
        let Phase::Live(connection, _) = &mut conn.phase else { return false };
        if !keeps_up || !connection.forward_copy(now, retain, copies, &mut conn.staging) {
            return false;
        }
        self.wrote(now, publisher, id, target, publication);
        true
    }

    /// A QoS 0 copy lies in the staging buffer of `id`.
    #[inline]
    fn wrote(&mut self, now: Instant, publisher: Option<Id>, id: Id, target: &Target, publication: &Publication<'_>) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        conn.transmit = true;
        let (listed, over) = (core::mem::replace(&mut conn.listed, true), conn.unsent() > self.config.high_water);
        if !listed {
            self.ready.push_back(id);
        }
        self.stats.messages_out += 1;
        if self.config.events.delivered {
            self.tell_delivered(target.client, publication.topic, Qos::AtMostOnce);
        }
        if over {
            self.press(now, publisher, id);
        }
    }

    /// One copy for one session, behind all that waits there (v5 [MQTT-4.6.0-5] [MQTT-4.6.0-6] v4 [MQTT-4.6.0-5] [MQTT-4.6.0-6]).
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn send(
        &mut self,
        now: Instant,
        publisher: Option<Id>,
        target: &Target,
        ids: &[u32],
        publication: &Publication<'_>,
        message: &mut Option<Message>,
        share: Option<(&Share, u8)>,
    ) {
        // v5 [MQTT-3.8.4-8] v4 [MQTT-3.8.4-6]
        let qos = publication.qos.min(target.qos);
        // v5 [MQTT-3.3.1-12] [MQTT-3.3.1-13] v4 [MQTT-3.3.1-9]
        let retain = publication.retain && target.retain_as_published;
        let Some(client) = self.clients.slots.at(target.client) else { return };
        let connection = client.connection();
        match connection {
            Some(id)
                if qos == Qos::AtMostOnce && message.as_ref().is_none_or(|message| message.expires().is_none()) =>
            {
                let high_water = self.config.high_water;
                let Some(conn) = self.connections.get_mut(id) else { return };
                let keeps_up = conn.keeps_up(high_water, self.generation);
                let forwarded = match &mut conn.phase {
                    Phase::Live(connection, _) if keeps_up => {
                        connection.forward(now, publication, retain, ids, &mut conn.staging)
                    }
                    _ => Forwarded::MustQueue,
                };
                match forwarded {
                    Forwarded::Wrote => return self.wrote(now, publisher, id, target, publication),
                    Forwarded::Dropped => return self.count_drops(id),
                    Forwarded::MustQueue => {}
                }
            }
            // v4 [MQTT-3.1.2-5]: QoS 1 and 2 are queued; QoS 0 is not part of a session's state (section 4.1).
            None if qos == Qos::AtMostOnce && !self.config.queue_qos0_offline && !client.is_local() => return,
            _ => {}
        }
        let message = message.get_or_insert_with(|| Message::new(now, publication)).clone();
        // v4 [MQTT-3.3.1-3]: nothing else of the publisher's, DUP least of all.
        let delivery = Delivery::new(message, qos, retain);
        let delivery = if ids.is_empty() { delivery } else { delivery.with_ids(ids) };
        let delivery = match share {
            Some((share, handovers)) => delivery.shared(share, publication.qos, publication.retain, handovers),
            None => delivery,
        };
        self.enqueue(now, target.client, delivery);
        if let Some(id) = connection {
            self.touch(now, id);
            self.press(now, publisher, id);
        }
    }

    /// Queues a delivery in a session; what does not fit follows the overflow policy.
    pub(crate) fn enqueue(&mut self, now: Instant, index: u32, delivery: Delivery) {
        let noted = self.note(&delivery);
        let Some(client) = self.clients.slots.at_mut(index) else { return };
        if client.is_local() {
            return self.enqueue_local(index, delivery);
        }
        if matches!(client.home, Home::Away { session: None, .. }) {
            return self.enqueue_stored(now, index, delivery);
        }
        let records = delivery.qos != Qos::AtMostOnce && client.recorded.is_some();
        let (limits, overflow) = (self.config.queue, self.config.overflow);
        let (connection, room) =
            (client.connection(), self.queued_bytes.saturating_add(delivery.cost()) <= self.config.max_queued_bytes);
        let Some(session) = Self::session_mut(&mut self.connections, client) else { return };
        let mut dropped = 0u32;
        let makes_room =
            overflow == Overflow::DropOldest || (overflow == Overflow::DropQos0 && delivery.qos != Qos::AtMostOnce);
        let mut rest = if room { session.deliver(delivery, &limits).err().map(|full| full.0) } else { Some(delivery) };
        while makes_room
            && rest.as_ref().is_some_and(|delivery| delivery.cost() <= limits.bytes)
            && room
            && let Some(delivery) = rest.take()
        {
            let gone = if overflow == Overflow::DropQos0 { session.drop_oldest_qos0() } else { session.drop_oldest() };
            match gone {
                Some(_) => dropped += 1,
                None => {
                    rest = Some(delivery);
                    break;
                }
            }
            rest = session.deliver(delivery, &limits).err().map(|full| full.0);
        }
        dropped += u32::from(rest.is_some());
        if rest.is_none() {
            self.stats.messages_out += 1;
            self.tell_noted(index, noted);
        }
        self.recharge(index);
        if records || dropped > 0 {
            self.mark_session(index);
        }
        if dropped > 0 {
            self.goes_on(index);
            let id = self.client_id(index);
            for _ in 0..dropped {
                self.dropped(id.as_ref(), Drop::QueueFull);
            }
        }
        if rest.is_some()
            && overflow == Overflow::Disconnect
            && let Some(id) = connection
        {
            self.end(now, id, ReasonCode::QUOTA_EXCEEDED);
        }
    }

    /// The same for a session that is still in the host's store.
    #[cold]
    fn enqueue_stored(&mut self, now: Instant, index: u32, delivery: Delivery) {
        match self.load(index) {
            Ok(()) => self.enqueue(now, index, delivery),
            Err(NotLoaded::Lost) => {}
            Err(NotLoaded::Unreadable) => {
                self.ledger.unkept = true;
                self.ledger.mark();
                let id = self.client_id(index);
                self.dropped(id.as_ref(), Drop::NotLoaded);
            }
        }
    }

    fn count_drops(&mut self, id: Id) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        let index = conn.client();
        let Some(connection) = conn.connection_mut() else { return };
        let drops = connection.take_drops();
        if drops.too_large + drops.expired == 0 {
            return;
        }
        let client = index.and_then(|index| self.client_id(index));
        for _ in 0..drops.too_large {
            self.dropped(client.as_ref(), Drop::TooLarge);
        }
        for _ in 0..drops.expired {
            self.dropped(client.as_ref(), Drop::Expired);
        }
    }

    // --- towards the socket ---------------------------------------------------------------------------------------

    /// Fills `out` for a connection. What still lies in `out` has not been sent.
    pub(crate) fn transmit(&mut self, now: Instant, id: Id, out: &mut OutBuf) {
        let high_water = self.config.high_water;
        let Some(conn) = self.connections.get_mut(id) else { return };
        if conn.generation == self.generation && conn.is_quiet() {
            // Nothing but what was encoded already.
            conn.transmit = false;
            conn.note_progress(now, out.len(), high_water);
            self.stats.bytes_out += conn.hand_on(out) as u64;
            return;
        }
        self.transmit_queued(now, id, out);
    }

    /// The same for a connection that has something in its queues, or is waited for.
    fn transmit_queued(&mut self, now: Instant, id: Id, out: &mut OutBuf) {
        let high_water = self.config.high_water;
        let Some(conn) = self.connections.get_mut(id) else { return };
        if let Some(index) = conn.client()
            && conn.generation != self.generation
        {
            self.reauthorize(now, index);
        }
        let Some(conn) = self.connections.get_mut(id) else { return };
        conn.transmit = false;
        if !self.ledger.is_stored(conn.gate) {
            return;
        }
        conn.note_progress(now, out.len(), high_water);
        let (mut again, mut shares) = (false, SHARES_PER_TURN);
        // whether the session can have changed, so that its bytes and drops are counted anew
        let mut pulled = conn.connection().is_some_and(Connection::has_output);
        loop {
            let Some(conn) = self.connections.get_mut(id) else { return };
            if conn.on_the_way() >= high_water {
                break;
            }
            let (index, staging) = (conn.client(), &mut conn.staging);
            let (Phase::Handshake(connection) | Phase::Deciding(connection, _) | Phase::Live(connection, _)) =
                &mut conn.phase
            else {
                break;
            };
            match connection.poll_transmit(now, staging) {
                Transmit::Wrote => pulled = true,
                Transmit::Full | Transmit::Empty => break,
                Transmit::Place(place) => {
                    (pulled, shares) = (true, shares.saturating_sub(1));
                    if shares == 0 || !index.is_some_and(|index| self.fill(now, id, index, place)) {
                        again = true;
                        break;
                    }
                }
            }
        }
        if pulled {
            self.count_drops(id);
            if let Some((index, recorded)) =
                self.connections.get(id).and_then(|conn| Some((conn.client()?, conn.recorded)))
            {
                self.recharge(index);
                if recorded {
                    self.mark_session(index);
                }
            }
        }
        let Some(conn) = self.connections.get_mut(id) else { return };
        self.stats.bytes_out += conn.hand_on(out) as u64;
        let somebody_waits = conn.waiters.is_some() || conn.paused.backlog;
        let (index, unready) = (conn.client(), core::mem::take(&mut conn.unready));
        let drained = somebody_waits && conn.unsent() <= high_water / 2;
        if again {
            conn.transmit = true;
            self.list(id);
        }
        if let Some(index) = index.filter(|_| unready) {
            self.recover(index);
        }
        if drained {
            self.release_waiters(now, id);
            if self.connections.get(id).is_some_and(|conn| conn.paused.backlog) {
                self.unpause(now, id, |paused| paused.backlog = false);
            }
        }
    }

    /// The queue of a session has reached the place of a replay: puts the next retained message there, or closes it.
    /// `false`: this turn's share is used up.
    fn fill(&mut self, now: Instant, id: Id, index: u32, place: Place) -> bool {
        let Some(client) = self.clients.slots.at_mut(index) else { return true };
        let replay = client.replay_mut(|replay| replay.place == place);
        let (step, each) = replay.map_or((Step::Done, false), |replay| {
            (replay.playback.step(now, &self.retained), replay.playback.wanted.each)
        });
        if let Step::Deliver(delivery) = &step
            && each
            && !self.may_receive(index, &delivery.publication())
        {
            return true;
        }
        let noted = if let Step::Deliver(delivery) = &step { self.note(delivery) } else { None };
        let Some(client) = self.clients.slots.at_mut(index) else { return true };
        let Some(connection) = self.connections.get_mut(id).and_then(|conn| conn.connection_mut()) else { return true };
        match step {
            Step::Deliver(delivery) => {
                self.stats.messages_out += 1;
                connection.fill_place(place, delivery);
                self.tell_noted(index, noted);
            }
            Step::Later => return false,
            Step::Done => {
                connection.close_place(place);
                client.take_replay(|replay| replay.place == place);
            }
        }
        true
    }

    // --- back-pressure --------------------------------------------------------------------------------------------

    /// Pauses a publisher whose target has too much unsent, if that target's socket still moves.
    fn press(&mut self, now: Instant, publisher: Option<Id>, target: Id) {
        let Some(publisher) = publisher else { return };
        let Some(conn) = self.connections.get_mut(target) else { return };
        // one that this very message has closed frees nobody any more
        let closing = matches!(conn.phase, Phase::Closing);
        if closing || conn.stalled || conn.unsent() <= self.config.high_water {
            return;
        }
        let waiters = conn.waiters.get_or_insert_default();
        waiters.list.push(publisher);
        if waiters.stall_at.is_none() {
            let at = now + self.config.stall_after;
            waiters.stall_at = Some(at);
            self.deadlines.set(at, Due::Stall(target));
        }
        if let Some(waiter) = self.connections.get_mut(publisher) {
            waiter.waiting_on += 1;
        }
        self.pause(now, publisher, |paused| paused.pressure = true);
    }

    /// Those who waited for this connection go on.
    pub(crate) fn release_waiters(&mut self, now: Instant, id: Id) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        let Some(waiters) = conn.waiters.take() else { return };
        if let Some(at) = waiters.stall_at {
            self.deadlines.clear(at, Due::Stall(id));
        }
        for waiter in waiters.list {
            let Some(conn) = self.connections.get_mut(waiter) else { continue };
            conn.waiting_on = conn.waiting_on.saturating_sub(1);
            if conn.waiting_on == 0 {
                self.unpause(now, waiter, |paused| paused.pressure = false);
            }
        }
    }

    /// Publishers wait for this connection: has its socket taken anything lately?
    pub(crate) fn look_for_stall(&mut self, now: Instant, id: Id) {
        let stall_after = self.config.stall_after;
        let Some(conn) = self.connections.get_mut(id) else { return };
        let Some(waiters) = &mut conn.waiters else { return };
        waiters.stall_at = None;
        let next = conn.moved_at + stall_after;
        if next > now {
            waiters.stall_at = Some(next);
            self.deadlines.set(next, Due::Stall(id));
            return;
        }
        conn.stalled = true;
        self.release_waiters(now, id);
    }
}
