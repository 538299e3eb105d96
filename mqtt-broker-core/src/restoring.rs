//! Reading back what was recorded: all but sessions at the start, a session when somebody needs it.
use crate::clients::{Client, Home};
use crate::core_state::Core;
use crate::deadlines::Due;
use crate::event::Drop;
use crate::ledger::Recorded;
use crate::records::{self, Head, Record, Stay, Subscribed};
use crate::retained::Wanted;
use crate::routes;
use crate::slots::Id;
use crate::store::{StoreKey, Table};
use crate::wills::Will;
use crate::{ClientId, Event, Peer, Policy};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use mqtt_session::codec::{Qos, RetainHandling, SubscribeOptions};
use mqtt_session::topic::TopicFilterBuf;
use mqtt_session::{Change, Epoch, Instant, Publication, RecordError, Session, Snapshot};

/// Why something that was stored is not in the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// It is damaged, or of a version that is not known.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// There is no record, or the first of them is not what it must be.
    #[error("the records are not whole")]
    Incomplete,
    /// A limit of the configuration: part of it, or all, found no room.
    #[error("there is no room for it under the configured limits")]
    Full,
    /// The broker has one of that name already: restore before clients come.
    #[error("there is one already")]
    Exists,
    /// Sessions are read when they are needed.
    #[error("sessions are not restored but loaded")]
    Table,
}

/// The host could not read what it stored; it may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store could not be read")]
pub struct LoadError;

/// Why a session is not there.
pub(crate) enum NotLoaded {
    /// For now.
    Unreadable,
    /// For good: what is stored of it is no session.
    Lost,
}

// --- at the start ----------------------------------------------------------------------------------------------------

impl<P: Policy> Core<P> {
    /// Takes what is stored under one key.
    pub(crate) fn restore<R: AsRef<[u8]>>(
        &mut self,
        now: Instant,
        epoch: Epoch,
        key: &StoreKey,
        records: impl IntoIterator<Item = R>,
    ) -> Result<(), RestoreError> {
        self.ledger.epoch = epoch;
        let mut records = records.into_iter().map(|record| Record::read(record.as_ref(), epoch));
        match key.table {
            Table::Clients => {
                let stored = Stored::read(records);
                let restored = stored.and_then(|stored| self.restore_client(now, records::as_text(&key.name)?, stored));
                self.ledger.unrestored |= restored.is_err();
                restored
            }
            Table::Retained => match records.next().transpose()? {
                Some(Record::Retained(delivery)) if delivery.message.topic().as_bytes() == &*key.name => {
                    if delivery.message.is_expired(now) {
                        self.mark_retained(delivery.message.topic());
                        return Ok(());
                    }
                    let (max, max_bytes) = (self.config.max_retained, self.config.max_retained_bytes);
                    let kept = self.retained.insert(delivery.message, delivery.qos, max, max_bytes);
                    kept.map_err(|_| RestoreError::Full)
                }
                _ => Err(RestoreError::Incomplete),
            },
            Table::Wills => {
                let number = <[u8; 8]>::try_from(&*key.name).map_err(|_| RestoreError::Incomplete)?;
                let number = u64::from_be_bytes(number);
                let Some(Record::Due(mut due)) = records.next().transpose()? else {
                    return Err(RestoreError::Incomplete);
                };
                due.number = Some(number);
                self.ledger.last_will = self.ledger.last_will.max(number);
                self.wills_due.push_back(*due);
                Ok(())
            }
            Table::Bans => {
                let Some(Record::Ban(until)) = records.next().transpose()? else {
                    return Err(RestoreError::Incomplete);
                };
                let ban = records::named_ban(&key.name)?;
                self.bans.add(now, ban, until, self.config.max_bans).map_err(|_| RestoreError::Full)
            }
            Table::Sessions => Err(RestoreError::Table),
        }
    }

    fn restore_client(&mut self, now: Instant, id: &str, stored: Stored) -> Result<(), RestoreError> {
        if self.clients.find(id).is_some() {
            return Err(RestoreError::Exists);
        }
        if self.clients.sessions() >= self.config.max_sessions {
            return Err(RestoreError::Full);
        }
        let Stored { head, subscriptions, will, records } = stored;
        // who was connected has lost its connection with the process
        let expires = match head.stay {
            Stay::Until(at) => Some(at),
            Stay::Connected if head.expiry != u32::MAX => Some(now.plus_secs(head.expiry)),
            Stay::Connected | Stay::Forever => None,
        };
        let nowhere = Id { index: u32::MAX, generation: 0 };
        let mut client = Client::new(ClientId::new(id), head.user_name, head.version, nowhere);
        client.home = Home::Away { session: None, expires };
        (client.listener, client.expiry, client.max_expiry) = (head.listener, head.expiry, head.max_expiry);
        // S7: what was allowed was allowed by an earlier process: it is judged anew when its client is back
        client.generation = self.generation.wrapping_sub(1);
        self.ledger.restored = true;
        let index = self.clients.insert(client).ok_or(RestoreError::Full)?;
        if let Some(at) = expires {
            self.deadlines.set(at, Due::Session(index));
        }
        let (mut all, mut shares) = (true, Vec::new());
        for subscribed in subscriptions.into_values() {
            if subscribed.share != 0 {
                shares.push((subscribed.share, subscribed.filter.clone()));
            }
            all &= self.restore_subscription(index, subscribed);
        }
        // from here on its changes are recorded; what was read is
        let recorded = Recorded { durability: head.durability, records, shares, ..Recorded::default() };
        if let Some(client) = self.clients.slots.at_mut(index) {
            client.recorded = Some(Box::new(recorded));
        }
        if let Some(will) = will {
            self.restore_will(now, index, will);
        }
        if head.stay == Stay::Connected {
            self.mark_head(index);
        }
        self.rank_anew(index);
        if all { Ok(()) } else { Err(RestoreError::Full) }
    }

    fn restore_subscription(&mut self, index: u32, subscribed: Subscribed) -> bool {
        let Subscribed { filter, qos, no_local, retain_as_published, identifier, names, .. } = subscribed;
        let Some(client) = self.clients.slots.at(index) else { return false };
        let mut away = Peer::default();
        let info = client.info(client.peer(&self.connections, &mut away));
        let each = !self.policy.receives_all(&info, filter.as_filter());
        let options = SubscribeOptions { qos, no_local, retain_as_published, retain_handling: RetainHandling::Never };
        let subscription = routes::Subscription::new(options, Wanted { qos, each, id: identifier });
        if self.enter(index, filter.as_filter(), subscription).is_err() {
            return false;
        }
        for name in names {
            let size = name.as_filter().as_bytes().len();
            let Some(client) = self.clients.slots.at_mut(index) else { return false };
            if client.add_alias(name.as_filter(), filter.as_filter(), self.config.max_subscriptions) {
                self.hold(size);
            }
        }
        true
    }

    /// [X5-WILL-5]: pending wills go on, once each; the time that has passed counts.
    fn restore_will(&mut self, now: Instant, index: u32, will: Box<Will>) {
        self.hold(will.message.size());
        let due = will.due;
        if let Some(client) = self.clients.slots.at_mut(index) {
            client.will = Some(will);
        }
        match due {
            Some(at) => self.deadlines.set(at, Due::Will(index)),
            // its client was connected
            None => self.arm_will(now, index),
        }
    }
}

/// What the records of one client come to.
struct Stored {
    head: Head,
    subscriptions: BTreeMap<TopicFilterBuf, Subscribed>,
    will: Option<Box<Will>>,
    records: usize,
}

impl Stored {
    fn read(mut records: impl Iterator<Item = Result<Record, RecordError>>) -> Result<Self, RestoreError> {
        let Some(Record::Client(head)) = records.next().transpose()? else { return Err(RestoreError::Incomplete) };
        let mut stored = Self { head, subscriptions: BTreeMap::new(), will: None, records: 1 };
        records.try_for_each(|record| stored.take(record?))?;
        Ok(stored)
    }

    fn take(&mut self, record: Record) -> Result<(), RestoreError> {
        self.records += 1;
        match record {
            Record::Client(head) => self.head = head,
            Record::Subscribed(subscribed) => {
                self.subscriptions.insert(subscribed.filter.clone(), subscribed);
            }
            Record::Unsubscribed(filter) => {
                self.subscriptions.remove(&filter);
            }
            Record::Will(will) => self.will = Some(will),
            Record::NoWill => self.will = None,
            Record::Retained(_) | Record::Due(_) | Record::Ban(_) => return Err(RecordError::Malformed.into()),
        }
        Ok(())
    }
}

// --- when it is needed -----------------------------------------------------------------------------------------------

impl<P: Policy> Core<P> {
    /// Sees to it that the session of a client is here. One that cannot be read for good ends, and that is told.
    pub(crate) fn load(&mut self, index: u32) -> Result<(), NotLoaded> {
        let Some(client) = self.clients.slots.at(index) else { return Err(NotLoaded::Lost) };
        if !matches!(client.home, Home::Away { session: None, .. }) {
            return Ok(());
        }
        match self.read_session(index) {
            Ok(session) => {
                if let Some(Home::Away { session: place, .. }) =
                    self.clients.slots.at_mut(index).map(|client| &mut client.home)
                {
                    *place = Some(Box::new(session));
                }
                self.recharge(index);
                Ok(())
            }
            Err(NotLoaded::Lost) => {
                self.stats.sessions_lost += 1;
                if self.config.events.connections
                    && let Some(client) = self.client_id(index)
                {
                    self.events.push(&mut self.stats, Event::SessionLost { client });
                }
                self.end_session(index);
                Err(NotLoaded::Lost)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether all who are to have a message of QoS 2 can keep it: asked before it is anybody's, for it must not come twice to some
    /// because it is to come again for others.
    pub(crate) fn can_be_kept(&mut self, origin: Option<u32>, publication: &Publication<'_>) -> bool {
        if !self.ledger.restored {
            return true;
        }
        let mut targets = core::mem::take(&mut self.targets);
        self.routes.find(publication.topic, origin, self.config.overlap, &mut targets);
        let mut keeping = targets.list.iter().filter(|target| target.qos != Qos::AtMostOnce);
        let unreadable = keeping.find(|target| matches!(self.load(target.client), Err(NotLoaded::Unreadable)));
        if let Some(target) = unreadable {
            let id = self.client_id(target.client);
            self.dropped(id.as_ref(), Drop::NotLoaded);
        }
        let kept = unreadable.is_none();
        self.targets = targets;
        kept
    }

    /// Reads the records of a session that is not here; from here on its changes are recorded.
    pub(crate) fn read_session(&mut self, index: u32) -> Result<Session, NotLoaded> {
        let epoch = self.ledger.epoch;
        let Some(client) = self.clients.slots.at_mut(index) else { return Err(NotLoaded::Lost) };
        let Some(recorded) = client.recorded.as_mut() else { return Err(NotLoaded::Lost) };
        let (mut session, mut records) = (None, 0);
        let mut failed = false;
        let read = self.policy.load_session(client.id.as_str(), &mut |record| {
            records += 1;
            failed |= !failed && apply(&mut session, record, epoch).is_err();
        });
        if read.is_err() {
            return Err(NotLoaded::Unreadable);
        }
        let Some(mut session) = session.filter(|_| !failed) else { return Err(NotLoaded::Lost) };
        recorded.session_records = records;
        let (shares, groups) = (core::mem::take(&mut recorded.shares), &self.groups);
        // also where there is no group any more: the old number may be that of another one here
        let mut shared = !shares.is_empty();
        session.mark_shared(|number| {
            shared = true;
            let (_, filter) = shares.iter().find(|(old, _)| *old == number)?;
            groups.share(groups.find(filter.as_filter())?)
        });
        if shared {
            // the records that follow know the new numbers only
            (recorded.whole, recorded.whole_session) = (true, true);
        }
        session.record_changes();
        if recorded.whole {
            self.mark_session(index);
        }
        Ok(session)
    }
}

/// One more record of a session: a snapshot, then changes.
fn apply(session: &mut Option<Session>, record: &[u8], epoch: Epoch) -> Result<(), RecordError> {
    match session {
        None => *session = Some(Session::restore(&Snapshot::from_bytes(record)?, epoch)?),
        Some(session) => session.apply(Change::decode(record, epoch)?)?,
    }
    Ok(())
}
