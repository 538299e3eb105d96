//! What messages and clients cost: counted, not guessed. One test, because the counter is the whole process's.
#![allow(unsafe_code, missing_docs, clippy::unwrap_used)]
use mqtt_broker_core::codec::OutBuf;
use mqtt_broker_core::topic::HashSeed;
use mqtt_broker_core::{AllowAll, Broker, Config, ConnectionId, Instant, Peer};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};

struct Counting;
static LIVE: AtomicIsize = AtomicIsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

fn size(layout: Layout) -> isize {
    isize::try_from(layout.size()).unwrap_or(isize::MAX)
}

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        LIVE.fetch_add(size(layout), Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(size(layout), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: Instant = Instant::from_millis(1);

/// Input, and all that it leads to out again through one shared buffer.
fn input(broker: &mut Broker<AllowAll>, id: ConnectionId, bytes: &[u8], out: &mut OutBuf) {
    broker.handle_input(NOW, id, bytes);
    while let Some(ready) = broker.poll_ready() {
        loop {
            broker.poll_transmit(NOW, ready.id, out);
            if out.is_empty() {
                break;
            }
            out.advance(out.len());
        }
    }
}

fn join(broker: &mut Broker<AllowAll>, number: u32, subscribe: bool, out: &mut OutBuf) -> ConnectionId {
    let id = broker.handle_open(NOW, Peer::default()).unwrap();
    let mut bytes = b"\x10\x14\x00\x04MQTT\x04\x02\x00\x3c\x00\x08".to_vec();
    bytes.extend(format!("{number:08}").bytes());
    if subscribe {
        bytes.extend(b"\x82\x14\x00\x01\x00\x0fhome/");
        bytes.extend(format!("{number:06}").bytes());
        bytes.extend(b"/cmd\x00");
    }
    input(broker, id, &bytes, out);
    id
}

#[test]
fn messages_on_the_steady_path_allocate_nothing_and_idle_clients_are_small() {
    let mut config = Config::default();
    config.max_connections = 200_000;
    config.max_handshakes = 200_000;
    config.max_sessions = 200_000;
    config.events.connections = false;
    config.events.subscriptions = false;
    let mut broker = Broker::new(config, AllowAll, HashSeed::new(1, 2)).unwrap();
    let mut out = OutBuf::default();

    let before = LIVE.load(Relaxed);
    const CLIENTS: u32 = 100_000;
    for number in 0..CLIENTS {
        join(&mut broker, number, true, &mut out);
    }
    let each = (LIVE.load(Relaxed) - before) / isize::try_from(CLIENTS).unwrap();
    println!("{each} bytes for each idle client with one subscription");
    assert!(each < 1_100, "{each} bytes for each idle client with one subscription");

    let publisher = join(&mut broker, CLIENTS, false, &mut out);
    for (what, topic) in [("one wants it", "home/000007/cmd"), ("nobody wants it", "home/none/at/all")] {
        let mut publish = vec![0x30, u8::try_from(topic.len() + 66).unwrap(), 0, u8::try_from(topic.len()).unwrap()];
        publish.extend(topic.bytes());
        publish.extend([7; 64]);
        for _ in 0..3 {
            input(&mut broker, publisher, &publish, &mut out);
        }
        let before = CALLS.load(Relaxed);
        for _ in 0..1_000 {
            input(&mut broker, publisher, &publish, &mut out);
        }
        let calls = CALLS.load(Relaxed) - before; // read before printing, which allocates
        println!("{what}: {calls} allocations for 1,000 messages at QoS 0");
        assert_eq!(calls, 0, "{what}");
    }
}
