//! What shared subscriptions mean to sessions: joining and leaving, who is fit, sending to one member, and handing over what a
//! session that ends leaves behind (section 4.8.2).
use crate::clients::{Client, Clients, Home};
use crate::connections::Conn;
use crate::core_state::Core;
use crate::event::Drop;
use crate::restoring::NotLoaded;
use crate::routes::{Subscription, Target};
use crate::shared::{Key, Look, Member, Picked, Rank};
use crate::slots::{Id, Slots};
use crate::{Config, Limit, NewMessage, Peer, Policy, ReceiveRequest};
use alloc::vec::Vec;
use mqtt_session::codec::{Qos, ReasonCode};
use mqtt_session::topic::{SharedFilter, TopicFilter};
use mqtt_session::{Delivery, Instant, Message, Publication, Session};

/// The groups of one client; few have any.
#[derive(Debug, Default)]
pub(crate) struct Memberships {
    groups: Vec<u32>,
    /// Those in which it is thought less than ready.
    unready: Vec<u32>,
}

impl Memberships {
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(crate) fn remove(&mut self, group: u32) {
        self.groups.retain(|other| *other != group);
        self.unready.retain(|other| *other != group);
    }
}

/// Members whose session cannot be read that are passed over for one message.
const UNREADABLE_TRIES: u32 = 4;

/// What became of a message for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dealt {
    /// A member has it.
    Sent,
    /// Nobody could keep it.
    Lost,
    /// No member may receive it.
    Denied,
}

/// What a look at a member is for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    qos: Qos,
    /// Bytes it would cost to keep.
    size: usize,
    publication: Option<&'a Publication<'a>>,
    /// Whether it is to have recovered well: then it is not soon found wanting again.
    well: bool,
}

impl Asked<'_> {
    /// No message in particular.
    const ANY: Self = Self { qos: Qos::ExactlyOnce, size: 0, publication: None, well: false };
}

// --- joining and leaving ---------------------------------------------------------------------------------------------

impl<P: Policy> Core<P> {
    /// What a client asked of a filter, shared or not.
    pub(crate) fn subscription(&self, index: u32, filter: TopicFilter<'_>) -> Option<&Subscription> {
        let member = self.groups.find(filter).and_then(|group| self.groups.member(group, index));
        member.map(|member| &member.subscription).or_else(|| self.routes.get(filter, index))
    }

    /// Makes a client a member of a group, or replaces what it asked for.
    pub(crate) fn join_group(
        &mut self,
        index: u32,
        shared: SharedFilter<'_>,
        subscription: Subscription,
    ) -> Result<(), Limit> {
        let group = match self.groups.find(shared.text()) {
            Some(group) => group,
            None => {
                if self.groups.len() >= self.config.shared.max_groups {
                    return Err(Limit::Groups);
                }
                let group = self.groups.insert(shared, &self.config.shared).ok_or(Limit::Groups)?;
                if self.routes.insert_group(shared.filter(), group).is_err() {
                    self.groups.remove(group);
                    return Err(Limit::SubscriptionsTotal);
                }
                group
            }
        };
        // No Local is no option of a shared subscription
        let subscription = Subscription { no_local: false, ..subscription };
        let is_new = self.groups.join(group, index, subscription, Rank::Last);
        let Some(client) = self.clients.slots.at_mut(index) else { return Err(Limit::Sessions) };
        let memberships = client.shared_or_new();
        if is_new {
            memberships.groups.push(group);
        }
        if !memberships.unready.contains(&group) {
            memberships.unready.push(group);
        }
        self.recover(index);
        Ok(())
    }

    /// A client leaves a group; what waits for it there and was never sent goes to the others. Whether it was a member.
    pub(crate) fn leave_group(&mut self, index: u32, text: TopicFilter<'_>) -> bool {
        let Some(group) = self.groups.find(text) else { return false };
        let Some(share) = self.groups.share(group) else { return false };
        // what waits in a session that is still in the store is for the others too; if it cannot be read, this is all that can be done
        let _ = self.load(index);
        if !self.drop_member(index, group) {
            return false;
        }
        let Some(client) = self.clients.slots.at_mut(index) else { return true };
        client.left_group(group);
        let waiting = match &mut client.home {
            Home::Local(queue) => queue.take_shared(share.number()),
            Home::Connection(_) | Home::Away { .. } => Self::session_mut(&mut self.connections, client)
                .map(|session| session.take_shared(share.number()))
                .unwrap_or_default(),
        };
        if !waiting.is_empty() {
            self.goes_on(index);
        }
        self.handovers.extend(waiting);
        self.recharge(index);
        self.mark_session(index);
        self.recover(index);
        true
    }

    /// Takes a client out of all its groups; it is no longer among the clients.
    pub(crate) fn leave_all(&mut self, index: u32, memberships: Option<&Memberships>) {
        for &group in memberships.iter().flat_map(|memberships| &memberships.groups) {
            self.drop_member(index, group);
        }
    }

    fn drop_member(&mut self, index: u32, group: u32) -> bool {
        let was = self.groups.leave(group, index);
        // [X5-SUB-10]: the last member takes the group with it; what still bears its number goes nowhere.
        if was && self.groups.is_empty(group) {
            if let Some(filter) = self.groups.text(group).and_then(|text| text.shared().ok().flatten()) {
                self.routes.remove_group(filter.filter(), group);
            }
            self.groups.remove(group);
        }
        was
    }
}

// --- who is fit ------------------------------------------------------------------------------------------------------

impl<P: Policy> Core<P> {
    /// A client has come or gone: its rank in all its groups is another.
    pub(crate) fn rank_anew(&mut self, index: u32) {
        let Some(memberships) = self.clients.slots.at_mut(index).and_then(Client::shared_mut) else { return };
        memberships.unready.clone_from(&memberships.groups);
        self.rank(index, Asked::ANY);
    }

    /// A client that was thought less than ready may have recovered.
    pub(crate) fn recover(&mut self, index: u32) {
        self.rank(index, Asked { well: true, ..Asked::ANY });
    }

    fn rank(&mut self, index: u32, asked: Asked<'_>) {
        let Self { groups, clients, connections, config, .. } = self;
        let Some(memberships) = clients.slots.at_mut(index).and_then(Client::shared_mut) else { return };
        let mut unready = core::mem::take(&mut memberships.unready);
        unready.retain(|&group| {
            let Some(member) = groups.member(group, index) else { return false };
            let rank = look(clients, connections, config, member, asked).rank;
            groups.set_rank(group, index, rank);
            rank != Rank::Ready
        });
        let Some(client) = clients.slots.at_mut(index) else { return };
        if let Some(conn) = client.connection().and_then(|id| connections.get_mut(id)) {
            conn.unready = !unready.is_empty();
        }
        if let Some(memberships) = client.shared_mut() {
            memberships.unready = unready;
        }
    }

    /// A group has found clients less fit than it thought: they are looked at again when they move.
    fn note_demoted(&mut self, group: u32, demoted: &mut Vec<u32>) {
        for index in demoted.drain(..) {
            let Some(client) = self.clients.slots.at_mut(index) else { continue };
            if let Some(conn) = client.connection().and_then(|id| self.connections.get_mut(id)) {
                conn.unready = true;
            }
            if let Some(memberships) = client.shared_mut()
                && !memberships.unready.contains(&group)
            {
                memberships.unready.push(group);
            }
        }
    }
}

fn look(clients: &Clients, connections: &Slots<Conn>, config: &Config, member: &Member, asked: Asked<'_>) -> Look {
    const LAST: Look = Look { rank: Rank::Last, load: usize::MAX, fits: true, may: true };
    let Some(client) = clients.slots.at(member.client) else { return LAST };
    // v5 [MQTT-4.8.2-3]
    let qos = asked.qos.min(member.subscription.qos);
    match &client.home {
        Home::Local(queue) => {
            let rank = if queue.has_room(asked.size) { Rank::Ready } else { Rank::Last };
            Look { rank, load: queue.messages(), fits: true, may: true }
        }
        Home::Away { session, .. } => {
            let lost = qos == Qos::AtMostOnce && !config.queue_qos0_offline;
            // of one that is still in the store nobody knows how full it is
            let full = session.as_ref().is_some_and(|session| !has_room(session, config, asked));
            let load = session.as_ref().map_or(0, |session| session.inflight().saturating_add(session.queued()));
            Look { rank: if lost || full { Rank::Last } else { Rank::Away }, load, fits: true, may: true }
        }
        Home::Connection(id) => {
            let Some((conn, connection)) = connections.get(*id).and_then(|conn| Some((conn, conn.connection()?)))
            else {
                return LAST;
            };
            let session = connection.session();
            let spare = if asked.well { connection.send_window() / 4 } else { 0 };
            let waits = qos != Qos::AtMostOnce && connection.send_quota() <= spare;
            let rank = if !has_room(session, config, asked) {
                Rank::Last
            } else if conn.stalled {
                Rank::Away
            } else if waits || conn.unsent() > config.high_water / if asked.well { 2 } else { 1 } {
                Rank::Busy
            } else {
                Rank::Ready
            };
            let fits = asked.publication.is_none_or(|publication| connection.fits(publication));
            Look { rank, load: session.inflight().saturating_add(session.queued()), fits, may: true }
        }
    }
}

/// Asks the policy whether a member may receive a message; one that may not is passed over.
fn may_receive<P: Policy>(
    policy: &mut P,
    clients: &Clients,
    connections: &Slots<Conn>,
    index: u32,
    publication: &Publication<'_>,
) -> bool {
    let mut away = Peer::default();
    clients.slots.at(index).is_some_and(|client| {
        policy.receive(&ReceiveRequest { client: client.info(client.peer(connections, &mut away)), publication })
    })
}

fn has_room(session: &Session, config: &Config, asked: Asked<'_>) -> bool {
    let part = if asked.well { 2 } else { 1 };
    session.queued().saturating_add(session.inflight()) < config.queue.messages.div_ceil(part)
        && session.bytes().saturating_add(asked.size) <= config.queue.bytes / part
}

// --- sending and handing over ----------------------------------------------------------------------------------------

impl<P: Policy> Core<P> {
    /// The member of a group that is to have a message.
    fn choose(&mut self, origin: Option<u32>, group: u32, publication: &Publication<'_>) -> Option<Picked> {
        let mut demoted = core::mem::take(&mut self.demoted);
        let Self { groups, clients, connections, config, policy, .. } = self;
        let origin = origin.and_then(|origin| clients.slots.at(origin));
        let key = Key { topic: publication.topic, publisher: origin.map_or("", |client| client.id.as_str()) };
        let size = publication.topic.as_bytes().len().saturating_add(publication.payload.len());
        let asked = Asked { qos: publication.qos, size, publication: Some(publication), well: false };
        let picked = groups.pick(group, &key, &mut demoted, |member| {
            let seen = look(clients, connections, config, member, asked);
            let may =
                !member.subscription.each || may_receive(policy, clients, connections, member.client, publication);
            Look { may, ..seen }
        });
        if !demoted.is_empty() {
            self.note_demoted(group, &mut demoted);
        }
        self.demoted = demoted;
        picked
    }

    /// The same while sessions may still be in the store: the member's is read before it is given anything. If it is lost, or cannot
    /// be read, another is chosen.
    fn choose_readable(&mut self, origin: Option<u32>, group: u32, publication: &Publication<'_>) -> Option<Picked> {
        let mut tries = UNREADABLE_TRIES;
        loop {
            let picked = self.choose(origin, group, publication)?;
            let Member { client, subscription, .. } = picked.member;
            if subscription.qos.min(publication.qos) == Qos::AtMostOnce {
                return Some(picked);
            }
            match self.load(client) {
                Err(NotLoaded::Lost) => {}
                Err(NotLoaded::Unreadable) if tries > 0 => {
                    tries -= 1;
                    self.groups.set_rank(group, client, Rank::Last);
                    self.note_demoted(group, &mut Vec::from([client]));
                }
                Ok(()) | Err(NotLoaded::Unreadable) => return Some(picked),
            }
        }
    }

    /// Gives a message to one member of a group.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn share_out(
        &mut self,
        now: Instant,
        origin: Option<u32>,
        publisher: Option<Id>,
        group: u32,
        publication: &Publication<'_>,
        message: &mut Option<Message>,
        handovers: u8,
    ) -> Dealt {
        let picked = if self.ledger.restored {
            self.choose_readable(origin, group, publication)
        } else {
            self.choose(origin, group, publication)
        };
        let Some(picked) = picked else {
            self.dropped(None, Drop::Denied(ReasonCode::NOT_AUTHORIZED));
            return Dealt::Denied;
        };
        // v5 [MQTT-4.8.2-3]: what this member was granted. [X5-PUB-10]: and its identifier alone.
        let Subscription { id, qos, .. } = picked.member.subscription;
        let target = Target::only(picked.member.client, &picked.member.subscription);
        let ids = if id == 0 { &[][..] } else { &[id] };
        if handovers > 0 && qos.min(publication.qos) == Qos::ExactlyOnce {
            self.hold_heir(now, picked.member.client);
        }
        let is_lost = picked.rank == Rank::Last && qos.min(publication.qos) == Qos::AtMostOnce;
        self.send(now, publisher, &target, ids, publication, message, Some((&picked.share, handovers)));
        if is_lost { Dealt::Lost } else { Dealt::Sent }
    }

    /// Gives what sessions that ended had for their groups to other members.
    ///
    /// [X5-SUB-9]: QoS 1 that was sent and what was never sent. Durable is the text of the group: its number, which a delivery
    /// bears, means something only as long as this broker runs.
    pub(crate) fn hand_over(&mut self, now: Instant) {
        while let Some(delivery) = self.handovers.pop_front() {
            let group = delivery.share().and_then(|number| self.groups.numbered(number));
            let (qos, retain) = delivery.published();
            let (handovers, message) = (delivery.handovers(), delivery.message);
            let Some(group) = group else {
                self.dropped(None, Drop::NoMember);
                continue;
            };
            if message.is_expired(now) {
                self.dropped(None, Drop::Expired);
                continue;
            }
            if handovers >= self.config.shared.max_handovers {
                self.dropped(None, Drop::HandedOver);
                continue;
            }
            let handovers = handovers.saturating_add(1);
            let kept = message.clone();
            let again = NewMessage { message, qos, retain };
            match self.share_out(now, None, None, group, &again.publication(), &mut Some(kept), handovers) {
                Dealt::Sent => self.stats.handed_over += 1,
                Dealt::Lost => self.dropped(None, Drop::NoMember),
                Dealt::Denied => {}
            }
        }
    }

    /// What a session that ended had for its groups waits for the end of the call under way, so that one hand-over that ends
    /// another session does not recurse.
    pub(crate) fn bequeath(&mut self, deliveries: Vec<Delivery>) {
        self.handovers.extend(deliveries);
    }
}
