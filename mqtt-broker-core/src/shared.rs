//! Shared subscriptions (section 4.8.2): the groups, their members by how fit they are, and who is chosen for a message.
//!
//! A group is keyed by its whole text, `$share/{name}/{filter}`, and stands in the subscription trie as one entry. Its members lie
//! in an order of four ranks, so that the best of them are found without a look at the others:
//!
//! ```text
//!   Ready             Busy                  Away                    Last
//!   keeps up     |    has to wait      |    offline, stalled   |    no room, or it would be lost there
//! ```
//!
//! A member that was thought fitter than it is when its turn comes is moved down, one that recovers is moved up by whoever
//! notices (`sharing`), so that choosing takes O(1) amortised, and O(log n) to join, leave and change rank.
use crate::routes::Subscription;
use crate::slots::{Id, Slots};
use crate::strategy::{SharedConfig, Strategy};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use hashbrown::HashTable;
use mqtt_session::Share;
use mqtt_session::topic::{HashSeed, SharedFilter, TopicFilter, TopicFilterBuf, TopicName};

/// How fit a member is for the next message; the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Connected, and it would be sent at once.
    Ready,
    /// Connected, and it would have to wait.
    Busy,
    /// Offline, or its socket takes nothing.
    Away,
    /// Its queue is full, or the message would be lost there.
    Last,
}

const RANKS: [Rank; 4] = [Rank::Ready, Rank::Busy, Rank::Away, Rank::Last];

/// A look at a member, for one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) rank: Rank,
    /// Messages in flight and queued.
    pub(crate) load: usize,
    /// Whether its client takes packets of that size.
    pub(crate) fits: bool,
    /// Whether its client may receive the message.
    pub(crate) may: bool,
}

/// What the choice may depend on.
pub(crate) struct Key<'a> {
    pub(crate) topic: TopicName<'a>,
    /// The publisher's client identifier.
    pub(crate) publisher: &'a str,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) client: u32,
    pub(crate) subscription: Subscription,
    /// Its place in the order.
    at: u32,
}

/// Who gets a message.
#[derive(Clone, Debug)]
pub(crate) struct Picked {
    pub(crate) member: Member,
    pub(crate) share: Share,
    pub(crate) rank: Rank,
}

/// All groups.
pub(crate) struct Groups {
    slots: Slots<Group>,
    by_text: HashTable<u32>,
    seed: HashSeed,
    /// State of the generator for [`Strategy::Random`].
    random: u64,
    memberships: usize,
}

impl Groups {
    pub(crate) fn new(seed: HashSeed) -> Self {
        let random = seed.hash(b"shared subscriptions");
        Self { slots: Slots::new(), by_text: HashTable::new(), seed, random, memberships: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Members of all groups.
    pub(crate) fn memberships(&self) -> usize {
        self.memberships
    }

    /// The group with this very text.
    pub(crate) fn find(&self, text: TopicFilter<'_>) -> Option<u32> {
        if !text.as_bytes().starts_with(b"$share/") {
            return None; // most are not
        }
        let hash = self.seed.hash(text.as_bytes());
        let is_it = |&index: &u32| self.slots.at(index).is_some_and(|group| group.text.as_filter() == text);
        self.by_text.find(hash, is_it).copied()
    }

    /// Whether the group whose deliveries bear `number` still exists, and which it is.
    pub(crate) fn numbered(&self, number: u64) -> Option<u32> {
        let id = id_of(number)?;
        self.slots.get(id).map(|_| id.index)
    }

    /// The text of a group.
    pub(crate) fn text(&self, group: u32) -> Option<TopicFilter<'_>> {
        self.slots.at(group).map(|group| group.text.as_filter())
    }

    pub(crate) fn share(&self, group: u32) -> Option<Share> {
        self.slots.at(group).map(|group| group.share.clone())
    }

    /// A group without members; `None` when there is no index left.
    pub(crate) fn insert(&mut self, shared: SharedFilter<'_>, config: &SharedConfig) -> Option<u32> {
        let text = shared.text();
        let id = self.slots.insert(Group::new(text.into(), config.strategy_of(shared)))?;
        if let Some(group) = self.slots.get_mut(id) {
            group.share = Share::new(number_of(id));
        }
        let Self { slots, by_text, seed, .. } = self;
        by_text.insert_unique(seed.hash(text.as_bytes()), id.index, |&index| {
            slots.at(index).map_or(0, |group| seed.hash(group.text.as_filter().as_bytes()))
        });
        Some(id.index)
    }

    /// Removes a group that has no members; what still bears its number finds nothing.
    pub(crate) fn remove(&mut self, group: u32) {
        let Some(id) = self.slots.id_at(group) else { return };
        let Some(group) = self.slots.remove(id) else { return };
        let hash = self.seed.hash(group.text.as_filter().as_bytes());
        if let Ok(entry) = self.by_text.find_entry(hash, |&other| other == id.index) {
            entry.remove();
        }
    }

    pub(crate) fn is_empty(&self, group: u32) -> bool {
        self.slots.at(group).is_none_or(|group| group.members.is_empty())
    }

    pub(crate) fn member(&self, group: u32, client: u32) -> Option<&Member> {
        self.slots.at(group)?.member(client)
    }

    /// What a client asked of a shared subscription.
    pub(crate) fn subscription_mut(&mut self, text: TopicFilter<'_>, client: u32) -> Option<&mut Subscription> {
        let group = self.find(text)?;
        let group = self.slots.at_mut(group)?;
        let place = *group.places.get(&client)?;
        group.members.get_mut(place as usize).map(|member| &mut member.subscription)
    }

    /// Adds a member, or replaces what it asked for ([X5-SUB-7]: it is a member once); whether it is new.
    pub(crate) fn join(&mut self, group: u32, client: u32, subscription: Subscription, rank: Rank) -> bool {
        let is_new = self.slots.at_mut(group).is_some_and(|group| group.join(client, subscription, rank));
        self.memberships += usize::from(is_new);
        is_new
    }

    /// Whether `client` was a member.
    pub(crate) fn leave(&mut self, group: u32, client: u32) -> bool {
        let was = self.slots.at_mut(group).is_some_and(|group| group.leave(client));
        self.memberships = self.memberships.saturating_sub(usize::from(was));
        was
    }

    pub(crate) fn set_rank(&mut self, group: u32, client: u32, rank: Rank) {
        if let Some(group) = self.slots.at_mut(group)
            && let Some(&place) = group.places.get(&client)
        {
            group.set_rank(place, rank);
        }
    }

    /// Chooses a member for a message; those found less fit than they were thought to be are listed in `demoted`.
    pub(crate) fn pick(
        &mut self,
        group: u32,
        key: &Key<'_>,
        demoted: &mut Vec<u32>,
        look: impl FnMut(&Member) -> Look,
    ) -> Option<Picked> {
        let Self { slots, seed, random, .. } = self;
        let group = slots.at_mut(group)?;
        let hash = match group.strategy {
            Strategy::HashClient => seed.hash(key.publisher.as_bytes()),
            Strategy::HashTopic => seed.hash(key.topic.as_bytes()),
            Strategy::Random => splitmix(random),
            Strategy::RoundRobin | Strategy::Sticky | Strategy::LeastInflight => 0,
        };
        group.pick(hash, demoted, look)
    }
}

/// A step of splitmix64.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What deliveries of a group bear: never 0, and never again that of another group.
fn number_of(id: Id) -> u64 {
    (u64::from(id.generation) << 32) | (u64::from(id.index) + 1)
}

fn id_of(number: u64) -> Option<Id> {
    let index = u32::try_from(number & u64::from(u32::MAX)).ok()?.checked_sub(1)?;
    Some(Id { index, generation: u32::try_from(number >> 32).ok()? })
}

/// Members compared for the least load.
const LOOKS: u32 = 8;

/// Members of a rank looked at for one that takes so large a message and may receive it.
const TRIES: u32 = 64;

struct Group {
    text: TopicFilterBuf,
    share: Share,
    strategy: Strategy,
    /// In no order that means anything, but one that changes only when members come and go: what hashes choose from.
    members: Vec<Member>,
    /// Places in `members` by client.
    places: BTreeMap<u32, u32>,
    /// Places in `members` by rank.
    order: Vec<u32>,
    /// Where the first three ranks end in the order.
    ends: [u32; 3],
    /// Whose turn it is, in the order.
    turn: u32,
    /// Whom a sticky group has chosen.
    chosen: Option<u32>,
}

impl Group {
    fn new(text: TopicFilterBuf, strategy: Strategy) -> Self {
        Self {
            text,
            share: Share::new(0),
            strategy,
            members: Vec::new(),
            places: BTreeMap::new(),
            order: Vec::new(),
            ends: [0; 3],
            turn: 0,
            chosen: None,
        }
    }

    fn member(&self, client: u32) -> Option<&Member> {
        self.at(*self.places.get(&client)?)
    }

    fn at(&self, place: u32) -> Option<&Member> {
        self.members.get(place as usize)
    }

    fn join(&mut self, client: u32, subscription: Subscription, rank: Rank) -> bool {
        if let Some(&place) = self.places.get(&client) {
            if let Some(member) = self.members.get_mut(place as usize) {
                member.subscription = subscription;
            }
            self.set_rank(place, rank);
            return false;
        }
        let place = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        self.members.push(Member { client, subscription, at: place });
        self.order.push(place);
        self.places.insert(client, place);
        self.set_rank(place, rank);
        true
    }

    fn leave(&mut self, client: u32) -> bool {
        let Some(place) = self.places.remove(&client) else { return false };
        // to the end of the order, so that it can be popped
        self.set_rank(place, Rank::Last);
        let last = u32::try_from(self.order.len().saturating_sub(1)).unwrap_or(u32::MAX);
        if let Some(at) = self.at(place).map(|member| member.at) {
            self.swap(at, last);
        }
        self.order.pop();
        if (place as usize) < self.members.len() {
            self.members.swap_remove(place as usize);
        }
        // who was last among the members has its place now
        if let Some(&Member { client, at, .. }) = self.at(place) {
            self.places.insert(client, place);
            if let Some(slot) = self.order.get_mut(at as usize) {
                *slot = place;
            }
        }
        true
    }

    /// Where the members of a rank lie in the order.
    fn range(&self, rank: Rank) -> (u32, u32) {
        let [ready, busy, away] = self.ends;
        match rank {
            Rank::Ready => (0, ready),
            Rank::Busy => (ready, busy),
            Rank::Away => (busy, away),
            Rank::Last => (away, u32::try_from(self.order.len()).unwrap_or(u32::MAX)),
        }
    }

    fn rank_at(&self, at: u32) -> Rank {
        RANKS.into_iter().find(|&rank| at < self.range(rank).1).unwrap_or(Rank::Last)
    }

    /// Moves a member from rank to rank: each step swaps it with its neighbour on the border and moves the border.
    fn set_rank(&mut self, place: u32, rank: Rank) {
        while let Some(at) = self.at(place).map(|member| member.at) {
            let now = self.rank_at(at);
            let (border, with) = match now.cmp(&rank) {
                core::cmp::Ordering::Equal => return,
                core::cmp::Ordering::Less => (now as usize, self.range(now).1.saturating_sub(1)),
                core::cmp::Ordering::Greater => ((now as usize).saturating_sub(1), self.range(now).0),
            };
            self.swap(at, with);
            if let Some(end) = self.ends.get_mut(border) {
                *end = if now < rank { end.saturating_sub(1) } else { end.saturating_add(1) };
            }
        }
    }

    /// Swaps two in the order.
    fn swap(&mut self, a: u32, b: u32) {
        let (Some(&first), Some(&second)) = (self.order.get(a as usize), self.order.get(b as usize)) else { return };
        for (at, place) in [(a, second), (b, first)] {
            if let Some(slot) = self.order.get_mut(at as usize) {
                *slot = place;
            }
            if let Some(member) = self.members.get_mut(place as usize) {
                member.at = at;
            }
        }
    }

    fn pick(&mut self, hash: u64, demoted: &mut Vec<u32>, mut look: impl FnMut(&Member) -> Look) -> Option<Picked> {
        if let Some(member) = self.favourite(hash).and_then(|place| self.at(place)).copied() {
            let seen = look(&member);
            // it waits for its own: that is what the strategy is for
            if seen.rank <= Rank::Busy && seen.fits && seen.may {
                return Some(self.picked(member, seen.rank));
            }
        }
        let mut too_small = None;
        for rank in RANKS {
            match self.pick_of(rank, hash, demoted, &mut look) {
                Found::Fit(member, seen) => return Some(self.picked(member, seen)),
                Found::TooSmall(member) => too_small = too_small.or(Some((member, rank))),
                Found::Nobody => {}
            }
        }
        too_small.map(|(member, rank)| self.picked(member, rank))
    }

    /// The member that gets a message whether others are fitter or not, as long as it is connected and has room.
    fn favourite(&self, hash: u64) -> Option<u32> {
        match self.strategy {
            Strategy::Sticky => self.chosen.and_then(|client| self.places.get(&client)).copied(),
            Strategy::HashClient | Strategy::HashTopic => {
                let members = u64::try_from(self.members.len()).unwrap_or(u64::MAX);
                u32::try_from(hash.checked_rem(members)?).ok()
            }
            Strategy::RoundRobin | Strategy::Random | Strategy::LeastInflight => None,
        }
    }

    /// Chooses among those of a rank.
    fn pick_of(
        &mut self,
        rank: Rank,
        hash: u64,
        demoted: &mut Vec<u32>,
        look: &mut impl FnMut(&Member) -> Look,
    ) -> Found {
        loop {
            let (from, to) = self.range(rank);
            let len = to.saturating_sub(from);
            let start = match self.strategy {
                Strategy::RoundRobin | Strategy::Sticky | Strategy::LeastInflight => self.turn.checked_rem(len),
                Strategy::Random | Strategy::HashClient | Strategy::HashTopic => {
                    hash.checked_rem(u64::from(len)).and_then(|start| u32::try_from(start).ok())
                }
            };
            let Some(start) = start else { return Found::Nobody };
            let enough = if self.strategy == Strategy::LeastInflight { LOOKS } else { 1 };
            let (mut best, mut too_small, mut worse): (Option<(Look, u32, Member)>, _, _) = (None, None, None);
            let mut candidates = 0;
            for step in 0..len.min(TRIES) {
                let offset = (start + step) % len;
                let Some(member) = self.order.get((from + offset) as usize).and_then(|&place| self.at(place)) else {
                    continue;
                };
                let seen = look(member);
                if seen.rank > rank {
                    worse = Some((*member, seen.rank));
                    break;
                }
                if !seen.may {
                    continue;
                }
                if !seen.fits {
                    too_small = too_small.or(Some(*member));
                    continue;
                }
                if best.is_none_or(|(least, ..)| seen.load < least.load) {
                    best = Some((seen, offset, *member));
                }
                candidates += 1;
                if candidates == enough {
                    break;
                }
            }
            if let Some((member, seen)) = worse {
                // its turn comes again once it has recovered
                if let Some(&place) = self.places.get(&member.client) {
                    self.set_rank(place, seen);
                }
                demoted.push(member.client);
                continue;
            }
            if best.is_none() {
                // others are looked at the next time, lest one who alone may have a message never be found
                self.turn = start.wrapping_add(TRIES);
            }
            return match (best, too_small) {
                (Some((seen, offset, member)), _) => {
                    self.turn = offset.wrapping_add(1);
                    Found::Fit(member, seen.rank)
                }
                (None, Some(member)) => Found::TooSmall(member),
                (None, None) => Found::Nobody,
            };
        }
    }

    fn picked(&mut self, member: Member, rank: Rank) -> Picked {
        self.chosen = Some(member.client);
        Picked { member, share: self.share.clone(), rank }
    }
}

/// What a rank has to offer.
enum Found {
    /// And how fit it is now: perhaps more than it was thought to be.
    Fit(Member, Rank),
    /// Nobody that was looked at takes so large a message.
    TooSmall(Member),
    Nobody,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retained::Wanted;
    use mqtt_session::codec::{Qos, SubscribeOptions};

    fn subscription() -> Subscription {
        Subscription::new(SubscribeOptions::default(), Wanted { qos: Qos::AtLeastOnce, each: false, id: 0 })
    }

    fn check(group: &Group) {
        let [ready, busy, away] = group.ends;
        assert!(ready <= busy && busy <= away && away as usize <= group.order.len());
        assert_eq!((group.members.len(), group.places.len()), (group.order.len(), group.order.len()));
        for (place, member) in group.members.iter().enumerate() {
            assert_eq!(group.order[member.at as usize] as usize, place);
            assert_eq!(group.places[&member.client] as usize, place);
        }
    }

    #[test]
    fn members_come_go_and_change_rank_in_any_order() {
        let mut state = 7;
        let mut group = Group::new(TopicFilter::new("$share/g/a").unwrap().into(), Strategy::RoundRobin);
        let mut obvious = BTreeMap::new();
        for _ in 0..20_000 {
            let client = u32::try_from(splitmix(&mut state) % 12).unwrap();
            let rank = RANKS[(splitmix(&mut state) % 4) as usize];
            match splitmix(&mut state) % 3 {
                0 => assert_eq!(group.join(client, subscription(), rank), obvious.insert(client, rank).is_none()),
                1 => assert_eq!(group.leave(client), obvious.remove(&client).is_some()),
                _ => {
                    if let Some(&place) = group.places.get(&client) {
                        group.set_rank(place, rank);
                        obvious.insert(client, rank);
                    }
                }
            }
            check(&group);
            for (client, rank) in &obvious {
                assert_eq!(group.rank_at(group.member(*client).unwrap().at), *rank);
            }
        }
    }

    #[test]
    fn a_pick_looks_at_few_of_many_members() {
        let mut group = Group::new(TopicFilter::new("$share/g/a").unwrap().into(), Strategy::RoundRobin);
        for client in 0..10_000 {
            group.join(client, subscription(), if client % 1_000 == 0 { Rank::Ready } else { Rank::Away });
        }
        let mut looks = 0;
        for _ in 0..1_000 {
            let picked = group.pick(0, &mut Vec::new(), |member| {
                looks += 1;
                let rank = if member.client % 1_000 == 0 { Rank::Ready } else { Rank::Away };
                Look { rank, load: 0, fits: true, may: true }
            });
            assert_eq!(picked.unwrap().member.client % 1_000, 0);
        }
        assert_eq!(looks, 1_000);
    }

    #[test]
    fn one_of_many_who_alone_may_receive_is_found_again_and_again() {
        let mut group = Group::new(TopicFilter::new("$share/g/a").unwrap().into(), Strategy::RoundRobin);
        for client in 0..200 {
            group.join(client, subscription(), Rank::Ready);
        }
        let look = |member: &Member| Look { rank: Rank::Ready, load: 0, fits: true, may: member.client == 150 };
        assert!((0..20).filter(|_| group.pick(0, &mut Vec::new(), look).is_some()).count() >= 4);
    }

    #[test]
    fn a_member_that_is_fitter_than_it_was_thought_to_be_is_said_to_be() {
        let mut group = Group::new(TopicFilter::new("$share/g/a").unwrap().into(), Strategy::RoundRobin);
        group.join(1, subscription(), Rank::Last);
        let look = |_: &Member| Look { rank: Rank::Ready, load: 0, fits: true, may: true };
        assert_eq!(group.pick(0, &mut Vec::new(), look).unwrap().rank, Rank::Ready);
    }

    #[test]
    fn the_number_of_a_group_that_is_gone_finds_nothing() {
        let mut groups = Groups::new(HashSeed::new(1, 2));
        let text = TopicFilter::new("$share/g/a").unwrap();
        let shared = text.shared().unwrap().unwrap();
        let first = groups.insert(shared, &SharedConfig::default()).unwrap();
        let number = groups.share(first).unwrap().number();
        assert_eq!((groups.find(text), groups.numbered(number)), (Some(first), Some(first)));
        groups.remove(first);
        let second = groups.insert(shared, &SharedConfig::default()).unwrap();
        assert_eq!((second, groups.find(text), groups.numbered(number)), (first, Some(first), None));
        assert_eq!(groups.numbered(0), None);
    }
}
