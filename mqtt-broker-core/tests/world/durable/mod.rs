//! What outlives the process, and what is not said before it would.
use crate::harness::*;
use mqtt_broker_core::codec::{AckKind, Properties, Property, Qos, ReasonCode, SubscribeOptions, Version};
use mqtt_broker_core::session::Epoch;
use mqtt_broker_core::store::{
    Fault, LoadError, MemoryStore, Store, StoreAction, StoreKey, StoreOp, StoreTicket, Table, Unrestored, restore,
};
use mqtt_broker_core::topic::TopicFilter;
use mqtt_broker_core::{
    Ban, Broker, ClientInfo, Config, ConnectRequest, Decision, Durability, Event, Instant, Limit, ListenerConfig,
    Origin, Peer, Policy, PublishRequest, ReceiveRequest, SubscribeRequest, Ticket, UnsubscribeRequest,
};
use std::sync::{Arc, Mutex};

mod found;
mod goes_wrong;
mod survives;
mod waits;

/// The Unix time of the worlds' first moment, in milliseconds.
const START: u64 = 1_700_000_000_000;

/// A host with a store, which allows nearly everything.
struct Host {
    store: Arc<Mutex<MemoryStore>>,
    /// What the broker gave out and was not told to be stored.
    waiting: Vec<StoreTicket>,
    /// All operations, as often as they were given out.
    ops: Vec<StoreOp>,
    /// Whether the host lets them wait.
    holds: bool,
    /// Whether sessions cannot be read.
    fails: bool,
    /// Whether wills are put off.
    defers_wills: bool,
    tickets: Vec<Ticket>,
    /// What nobody may subscribe to any more.
    denied: &'static str,
    /// The most that is granted.
    most: Qos,
    epoch: Epoch,
    /// How many sessions were read.
    loads: usize,
}

impl Policy for Host {
    fn connect(&mut self, _: &ConnectRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
        match request.origin {
            // asked at CONNECT too, when the will of no connection is there yet
            Origin::Will(_) if self.defers_wills => {
                self.tickets.push(request.ticket);
                Decision::Defer(request.ticket)
            }
            _ => Decision::Allow,
        }
    }
    fn subscribe(&mut self, request: &SubscribeRequest<'_>) -> Decision {
        match request.filter.as_str().strip_prefix("my/") {
            Some(rest) => {
                let filter = format!("of/{}/{rest}", request.client.client_id);
                let filter = TopicFilter::new(&filter).unwrap();
                Decision::subscribe_as(filter, request.options)
            }
            None if request.filter.as_str() == self.denied => Decision::Deny(ReasonCode::NOT_AUTHORIZED),
            None if request.options.qos > self.most => {
                Decision::subscribe_as(request.filter, SubscribeOptions { qos: self.most, ..request.options })
            }
            None => Decision::Allow,
        }
    }
    fn unsubscribe(&mut self, _: &UnsubscribeRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn receives_all(&mut self, _: &ClientInfo<'_>, _: TopicFilter<'_>) -> bool {
        true
    }
    fn receive(&mut self, _: &ReceiveRequest<'_>) -> bool {
        true
    }
    fn load_session(&mut self, client_id: &str, each: &mut dyn FnMut(&[u8])) -> Result<(), LoadError> {
        self.loads += 1;
        if self.fails {
            return Err(LoadError);
        }
        let key = StoreKey::new(Table::Sessions, client_id.as_bytes());
        self.store.lock().unwrap().load(&key, each).map_err(|_| LoadError)
    }
}

type Kept = World<Host>;

fn kept(durability: Durability) -> Kept {
    kept_with(|config| config.durability = durability)
}

fn kept_with(change: impl FnOnce(&mut Config)) -> Kept {
    let mut config = Config::default();
    change(&mut config);
    start(config, MemoryStore::new(), Instant::from_millis(1_000_000), Epoch::from_unix_millis(START))
}

fn start(config: Config, store: MemoryStore, now: Instant, epoch: Epoch) -> Kept {
    let (mut world, unrestored) = restored(config, store, now, epoch);
    assert_eq!(unrestored, []);
    world.advance(0);
    world
}

/// A new process before its first turn, and what it could not read.
fn restored(config: Config, store: MemoryStore, now: Instant, epoch: Epoch) -> (Kept, Vec<Unrestored>) {
    let store = Arc::new(Mutex::new(store));
    let host = Host {
        store: Arc::clone(&store),
        waiting: Vec::new(),
        ops: Vec::new(),
        holds: false,
        fails: false,
        defers_wills: false,
        tickets: Vec::new(),
        denied: "",
        most: Qos::ExactlyOnce,
        epoch,
        loads: 0,
    };
    let mut world = World::with(config, host);
    world.now = now;
    world.keep = keep;
    let unrestored = restore(&mut world.broker, &mut *store.lock().unwrap(), now, epoch).unwrap();
    (world, unrestored)
}

/// The host's part of a turn.
fn keep(world: &mut Kept) -> bool {
    let mut batch = Vec::new();
    let epoch = world.broker.policy().epoch;
    let Some(ticket) = world.broker.poll_store(epoch, &mut batch) else { return false };
    assert!(!batch.is_empty(), "a ticket for nothing");
    let host = world.broker.policy_mut();
    host.store.lock().unwrap().write(&batch, epoch).unwrap();
    host.ops.append(&mut batch);
    host.waiting.push(ticket);
    if !host.holds {
        sync(world);
    }
    true
}

/// What was written survives from here on, and the broker is told.
fn sync(world: &mut Kept) {
    let host = world.broker.policy_mut();
    host.store.lock().unwrap().sync().unwrap();
    let last = host.waiting.drain(..).next_back();
    if let Some(last) = last {
        world.broker.stored(world.now, last);
    }
}

/// The host stores what it let wait.
fn store(world: &mut Kept) {
    world.broker.policy_mut().holds = false;
    sync(world);
    world.turn();
    world.broker.policy_mut().holds = true;
}

/// The process dies; another begins `later` milliseconds after it.
fn crash(world: Kept, later: u64) -> Kept {
    let mut config = Config::default();
    config.durability = Durability::Synced;
    crash_with(world, config, Fault::LoseTail, later)
}

fn crash_with(world: Kept, config: Config, fault: Fault, later: u64) -> Kept {
    let epoch = world.broker.policy().epoch;
    let unix = epoch.to_unix_millis(world.now) + later;
    let store = world.broker.policy().store.lock().unwrap().clone().crash(fault);
    // another process has another zero
    let now = Instant::from_millis(5_000);
    start(config, store, now, Epoch::from_unix_millis(unix - 5_000))
}

/// Joins for a session that stays an hour.
fn stay(world: &mut Kept, id: &str) -> Name {
    let expiry = [Property::SessionExpiryInterval(3_600)];
    world.join_with(Version::V5, id, |connect| {
        connect.clean_start = false;
        connect.properties = Properties::from_slice(&expiry);
    })
}

fn come_back(world: &mut Kept, id: &str) -> (Name, Vec<String>) {
    let expiry = [Property::SessionExpiryInterval(3_600)];
    let name = world.try_join(Version::V5, id, |connect| {
        connect.clean_start = false;
        connect.properties = Properties::from_slice(&expiry);
    });
    let came = world.received(name);
    (name, came)
}

fn tables(world: &Kept) -> Vec<(Table, usize)> {
    let mut store = world.broker.policy().store.lock().unwrap().clone();
    let count = |table| {
        let mut count = 0;
        store.names(table, &mut |_| count += 1).unwrap();
        (table, count)
    };
    Table::ALL.map(count).to_vec()
}

fn records(world: &Kept, table: Table, name: &str) -> usize {
    let mut count = 0;
    let key = StoreKey::new(table, name.as_bytes());
    world.broker.policy().store.lock().unwrap().load(&key, &mut |_| count += 1).unwrap();
    count
}
