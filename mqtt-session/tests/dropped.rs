//! A client's messages that are never sent: which they were, and why.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{End, LIMITS, Seen, connect};
use mqtt_session::codec::{OutBuf, Properties, Property, Qos, ReasonCode, Version};
use mqtt_session::topic::TopicName;
use mqtt_session::{
    Client, ClientConfig, ClientEvent, DropReason, Instant, Publication, PublishToken, QueueLimits, Session, Transmit,
};

/// A client that goes on with `session`, on the terms of `connack`, and has sent all it could.
fn goes_on(session: Session, connack: &str) -> End {
    let mut client = End::client_of(&connect(Version::V5, &[]), session, connack);
    client.sends();
    client.connection.stored(u64::MAX);
    client.sends();
    client
}

fn dropped(client: &mut End) -> Vec<(PublishToken, DropReason)> {
    core::iter::from_fn(|| client.connection.poll_dropped()).collect()
}

fn offline(session: &mut Session, qos: Qos, retain: bool, payload: &[u8], seconds: u32) -> PublishToken {
    let expiry = [Property::MessageExpiryInterval(seconds)];
    let properties = Properties::from_slice(&expiry);
    let message = Publication { qos, retain, properties, ..Publication::new(TopicName::new("a").unwrap(), payload) };
    session.publish(Instant::ZERO, &message, &LIMITS).unwrap()
}

#[test]
fn each_message_that_is_not_sent_is_told_with_its_reason() {
    for recording in [false, true] {
        let mut session = Session::new();
        if recording {
            session.record_changes();
        }
        let expired = offline(&mut session, Qos::AtLeastOnce, false, b"1", 0);
        let not_served = offline(&mut session, Qos::ExactlyOnce, false, b"2", 9);
        let retained = offline(&mut session, Qos::AtMostOnce, true, b"3", 9);
        let large = offline(&mut session, Qos::AtMostOnce, false, &[0; 100], 9);
        let good = offline(&mut session, Qos::AtLeastOnce, false, b"5", 9);
        // Maximum QoS 1, no retained messages, Maximum Packet Size 40
        let mut client = goes_on(session, "20 0C 00 00 09 24 01 25 00 27 00 00 00 28");
        let mut told = dropped(&mut client);
        told.sort();
        let reasons = [DropReason::Expired, DropReason::NotSupported, DropReason::NotSupported, DropReason::TooLarge];
        assert_eq!(told, [expired, not_served, retained, large].into_iter().zip(reasons).collect::<Vec<_>>());
        let drops = client.connection.take_drops();
        assert_eq!((drops.expired, drops.not_supported, drops.too_large), (1, 2, 1));
        let id = if recording { "03" } else { "01" }; // recording, those that were dropped had theirs already
        assert_eq!(client.gets_one(&format!("40 02 00 {id}")), Seen::Completed(good, ReasonCode::SUCCESS));
        assert!(client.connection.session().is_empty() && dropped(&mut client).is_empty());
    }
}

#[test]
fn what_a_later_connection_has_no_room_for_is_told() {
    let mut session = Session::new();
    let token = offline(&mut session, Qos::AtLeastOnce, false, &[0; 100], 9);
    let client = goes_on(session, "20 03 00 00 00");
    let mut client = goes_on(client.connection.into_session(), "20 08 01 00 05 27 00 00 00 28");
    assert_eq!(dropped(&mut client), [(token, DropReason::TooLarge)]);
    assert!(client.connection.session().is_empty());
}

#[test]
fn what_the_server_took_and_lost_with_its_session_is_told() {
    let mut session = Session::new();
    let taken = offline(&mut session, Qos::ExactlyOnce, false, b"1", 9);
    let begun = offline(&mut session, Qos::ExactlyOnce, false, b"2", 9);
    let mut client = goes_on(session, "20 03 00 00 00");
    client.gets("50 02 00 01"); // PUBREC for the first
    let mut client = goes_on(client.connection.into_session(), "20 03 00 00 00"); // no session present
    assert_eq!(dropped(&mut client), [(taken, DropReason::SessionLost)]);
    assert_eq!(client.gets("50 02 00 03 70 02 00 03"), [Seen::Handled, Seen::Completed(begun, ReasonCode::SUCCESS)]);
}

#[test]
fn a_release_that_the_server_has_no_room_for_does_not_pass_for_written() {
    let mut session = Session::new();
    offline(&mut session, Qos::ExactlyOnce, false, b"1", 9);
    let mut client = goes_on(session, "20 03 00 00 00");
    client.gets("50 02 00 01");
    let session = client.connection.into_session();
    let mut client = End::client_of(&connect(Version::V5, &[]), session, "20 08 01 00 05 27 00 00 00 03");
    let mut out = OutBuf::with_limit(1000);
    assert_eq!(client.connection.poll_transmit(client.now, &mut out), Transmit::Empty);
    assert!(!client.connection.has_output() && out.is_empty());
}

#[test]
fn whoever_never_asks_gathers_no_more_than_so_many() {
    let mut session = Session::new();
    let limits = QueueLimits { messages: 100_000, ..LIMITS };
    let expiry = [Property::MessageExpiryInterval(0)];
    let properties = Properties::from_slice(&expiry);
    let message = Publication { properties, ..Publication::new(TopicName::new("a").unwrap(), b"") };
    for _ in 0..5000 {
        session.publish(Instant::ZERO, &message, &limits).unwrap();
    }
    let mut client = goes_on(session, "20 03 00 00 00");
    assert_eq!(client.connection.take_drops().expired, 5000);
    assert_eq!(dropped(&mut client).len(), 1024);
}

// A server's deliveries have no tokens that anybody waits for.
#[test]
fn a_server_remembers_nothing_of_what_it_drops() {
    let mut server = End::server(Version::V5);
    let expiry = [Property::MessageExpiryInterval(0)];
    let properties = Properties::from_slice(&expiry);
    let message = Publication { properties, ..Publication::new(TopicName::new("a").unwrap(), b"") };
    server.waits(0);
    let memory = server.connection.memory();
    let message = mqtt_session::Message::new(Instant::ZERO, &message);
    server.connection.deliver(mqtt_session::Delivery::new(message, Qos::AtMostOnce, false), &LIMITS).unwrap();
    assert_eq!(server.sends(), "");
    server.waits(0);
    assert_eq!(server.connection.take_drops().expired, 1);
    assert_eq!((server.connection.poll_dropped(), server.connection.memory()), (None, memory));
}

#[test]
fn a_client_of_owned_events_is_told_behind_all_else() {
    let mut session = Session::new();
    let token = offline(&mut session, Qos::AtLeastOnce, false, b"1", 0);
    let mut client = Client::new(Instant::ZERO, &connect(Version::V5, &[]), session, &ClientConfig::default()).unwrap();
    client.handle_input(Instant::ZERO, &common::bytes("20 03 00 00 00")).unwrap();
    let mut out = OutBuf::with_limit(1000);
    while client.connection().poll_transmit(Instant::ZERO, &mut out) == Transmit::Wrote {}
    assert!(matches!(client.poll_event(), Some(ClientEvent::Connected { .. })));
    let Some(ClientEvent::Dropped { token: told, why: DropReason::Expired }) = client.poll_event() else { panic!() };
    assert_eq!(told, token);
    assert!(client.poll_event().is_none());
}
