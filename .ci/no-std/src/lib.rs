//! A program without std that uses something real of each library, with a panic handler and an allocator of its own.
//!
//! Anything that brings std along brings a second panic handler: `found duplicate lang item panic_impl`.
#![no_std]

mod bump;

use core::panic::PanicInfo;
use mqtt_broker_core::{AllowAll, Broker, Config, Peer};
use mqtt_codec::{OutBuf, Packet, Role, Version};
use mqtt_session::{Accept, Connection, Event, Instant, ServerConfig, Session, Transmit};
use mqtt_topic::{HashSeed, TopicFilter, TopicName};

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// CONNECT of MQTT 3.1.1, client identifier "c".
const CONNECT: &[u8] = b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x3C\x00\x01c";
/// The CONNACK that lets it in.
const CONNACK: &[u8] = b"\x20\x02\x00\x00";

/// Runs all four: 0 if all is well, else the number of the library that is not, counted from the left of the house.
#[unsafe(no_mangle)]
pub extern "C" fn mqtt_no_std() -> i32 {
    let checks: [fn() -> Option<bool>; 4] = [topic, codec, session, broker];
    checks.iter().zip(1..).find_map(|(check, number)| (check() != Some(true)).then_some(number)).unwrap_or(0)
}

fn topic() -> Option<bool> {
    let (filter, name) = (TopicFilter::new("home/+").ok()?, TopicName::new("home/temp").ok()?);
    Some(filter.matches(name))
}

fn codec() -> Option<bool> {
    let packet = Packet::decode(CONNACK, Version::V311, Role::Server).ok()?;
    Some(matches!(packet, Packet::Connack(_)))
}

fn session() -> Option<bool> {
    let (config, now) = (ServerConfig::default(), Instant::ZERO);
    let mut server = Connection::server(now, &config);
    let mut reader = server.reader();
    let asked = matches!(server.read(now, &mut reader, CONNECT).next(), Ok(Some(Event::Connect(_))));
    server.accept(now, Session::new(), &config, &Accept::default());
    let mut out = OutBuf::with_limit(1024);
    while server.poll_transmit(now, &mut out) == Transmit::Wrote {}
    Some(asked && out.chunk() == CONNACK)
}

fn broker() -> Option<bool> {
    let mut broker = Broker::new(Config::default(), AllowAll, HashSeed::new(1, 2)).ok()?;
    let id = broker.handle_open(Instant::ZERO, Peer::default()).ok()?;
    broker.handle_input(Instant::ZERO, id, CONNECT);
    let mut out = OutBuf::with_limit(1024);
    broker.poll_transmit(Instant::ZERO, id, &mut out);
    Some(out.chunk() == CONNACK)
}
