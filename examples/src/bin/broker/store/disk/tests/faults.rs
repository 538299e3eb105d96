//! A broker on a disk that fails: syncs that fail, no room, the power gone with half of what was written. Whatever happens, what was
//! acknowledged is there afterwards.

use super::{Disk, Power, Reader, StoreKey, Table};
use mqtt_broker_core::session::Epoch;
use mqtt_broker_core::store::{LoadError, Store, StoreTicket, restore};
use mqtt_broker_core::{
    AllowAll, Broker, ClientInfo, Config, ConnectRequest, ConnectionId, Decision, Durability, Instant, Peer, Policy,
    PublishRequest, ReceiveRequest, SubscribeRequest, UnsubscribeRequest,
};
use mqtt_codec::OutBuf;
use mqtt_topic::{HashSeed, TopicFilter};
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug)]
enum Fault {
    SyncFails,
    NoRoom,
    PowerGoes,
}

/// Everything is allowed, and sessions are read from the disk.
struct Reading(Reader);

impl Policy for Reading {
    fn connect(&mut self, request: &ConnectRequest<'_>) -> Decision {
        AllowAll.connect(request)
    }
    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
        AllowAll.publish(request)
    }
    fn subscribe(&mut self, request: &SubscribeRequest<'_>) -> Decision {
        AllowAll.subscribe(request)
    }
    fn unsubscribe(&mut self, request: &UnsubscribeRequest<'_>) -> Decision {
        AllowAll.unsubscribe(request)
    }
    fn receives_all(&mut self, client: &ClientInfo<'_>, filter: TopicFilter<'_>) -> bool {
        AllowAll.receives_all(client, filter)
    }
    fn receive(&mut self, request: &ReceiveRequest<'_>) -> bool {
        AllowAll.receive(request)
    }
    fn load_session(&mut self, client_id: &str, each: &mut dyn FnMut(&[u8])) -> Result<(), LoadError> {
        self.0.load(&StoreKey::new(Table::Sessions, client_id.as_bytes()), each).map_err(|_| LoadError)
    }
}

/// A broker and its disk, as the program has them, on one thread.
struct World {
    broker: Broker<Reading>,
    disk: Disk,
}

impl World {
    fn on(power: &Power) -> Self {
        let mut disk = power.open().unwrap();
        let mut config = Config::default();
        config.durability = Durability::Synced;
        let mut broker = Broker::new(config, Reading(disk.reader()), HashSeed::new(1, 2)).unwrap();
        let lost = restore(&mut broker, &mut disk, Instant::ZERO, Epoch::default()).unwrap();
        assert!(lost.is_empty(), "{lost:?}");
        Self { broker, disk }
    }

    fn open(&mut self, client_id: &str) -> ConnectionId {
        let id = self.broker.handle_open(Instant::ZERO, Peer::default()).unwrap();
        let length = u8::try_from(client_id.len()).unwrap();
        let connect = [&[0x10, 12 + length], &b"\x00\x04MQTT\x04\x00\x00\x3c\x00"[..], &[length], client_id.as_bytes()];
        self.broker.handle_input(Instant::ZERO, id, &connect.concat());
        id
    }

    /// What is written now and not synced.
    fn write(&mut self) -> Option<StoreTicket> {
        let mut batch = Vec::new();
        let ticket = self.broker.poll_store(Epoch::default(), &mut batch)?;
        self.disk.write(&batch, Epoch::default()).ok().map(|()| ticket)
    }

    fn sync(&mut self, ticket: Option<StoreTicket>) {
        if let Some(ticket) = ticket
            && self.disk.sync().is_ok()
        {
            self.broker.stored(Instant::ZERO, ticket);
        }
    }

    /// What it says to one connection.
    fn said(&mut self, id: ConnectionId) -> Vec<u8> {
        let mut out = OutBuf::with_limit(1 << 20);
        self.broker.poll_transmit(Instant::ZERO, id, &mut out);
        let mut said = Vec::new();
        while !out.is_empty() {
            let chunk = out.chunk().to_vec();
            out.advance(chunk.len());
            said.extend(chunk);
        }
        said
    }

    fn exchange(&mut self, id: ConnectionId, bytes: &[u8]) -> Vec<u8> {
        self.broker.handle_input(Instant::ZERO, id, bytes);
        let ticket = self.write();
        self.sync(ticket);
        self.said(id)
    }
}

/// A PUBLISH at QoS 1 to `t` whose payload and identifier are `n`, with some bytes behind.
fn publish(n: u8) -> Vec<u8> {
    [&[0x32, 6 + 100, 0, 1, b't', 0, n, n], &[b'.'; 100][..]].concat()
}

/// Publishes until something fails; then what is on the disk when the power comes back, and what had been acknowledged.
fn until_it_fails(fault: Fault, seed: u64) -> (Power, BTreeSet<u8>) {
    let power = Power::default();
    let mut world = World::on(&power);
    let subscriber = world.open("s");
    assert_eq!(world.exchange(subscriber, b"\x82\x06\x00\x01\x00\x01t\x01"), b"\x20\x02\x00\x00\x90\x03\x00\x01\x01");
    world.exchange(subscriber, b"\xe0\x00");
    world.broker.handle_closed(Instant::ZERO, subscriber);

    let publisher = world.open("p");
    let mut acknowledged = BTreeSet::new();
    let at = 10 + u8::try_from(seed % 50).unwrap();
    for n in 1..=100 {
        world.broker.handle_input(Instant::ZERO, publisher, &publish(n));
        match fault {
            Fault::SyncFails if n == at => power.0.lock().unwrap().syncs_fail = true,
            // the disk is well again, but who knows what it has
            Fault::SyncFails if n == at + 3 => power.0.lock().unwrap().syncs_fail = false,
            Fault::NoRoom if n == at => power.0.lock().unwrap().room = Some(0),
            Fault::PowerGoes if n == at => {
                // with something written, and perhaps some of it there
                let _ = world.write();
                return (power.fail(seed), acknowledged);
            }
            _ => {}
        }
        let ticket = world.write();
        // several share a sync
        if !(seed + u64::from(n)).is_multiple_of(3) {
            world.sync(ticket);
        }
        let said = world.said(publisher);
        let acks = said.strip_prefix(b"\x20\x02\x00\x00").unwrap_or(&said);
        acknowledged.extend(acks.chunks(4).map(|ack| {
            assert_eq!(ack[..3], [0x40, 2, 0]);
            ack[3]
        }));
    }
    (power.fail(seed), acknowledged)
}

#[test]
fn what_was_acknowledged_is_there_whatever_happened_to_the_disk() {
    for fault in [Fault::SyncFails, Fault::NoRoom, Fault::PowerGoes] {
        let mut held = 0;
        for seed in 1..=40 {
            let (power, acknowledged) = until_it_fails(fault, seed);
            let mut world = World::on(&power);
            let subscriber = world.open("s");
            let ticket = world.write();
            world.sync(ticket);
            let said = world.said(subscriber);
            let messages = said.strip_prefix(b"\x20\x02\x01\x00").expect("its session goes on");
            let received: BTreeSet<_> = messages.chunks(publish(0).len()).map(|message| message[7]).collect();
            assert!(received.is_superset(&acknowledged), "{fault:?}, seed {seed}: {received:?} of {acknowledged:?}");
            assert!(acknowledged.len() >= 8, "{fault:?}, seed {seed}: {acknowledged:?}");
            held += 100 - acknowledged.len();
        }
        assert!(held > 40 * 40, "{fault:?} was not felt");
    }
}
