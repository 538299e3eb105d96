//! A client whose events are owned.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{LIMITS, bytes, connect, filter};
use mqtt_session::codec::{
    OutBuf, Properties, Property, Qos, ReasonCode, SubscribeOptions, Subscription, Utf8, Version,
};
use mqtt_session::topic::TopicName;
use mqtt_session::{Client, ClientConfig, ClientEvent, Instant, Publication, Session, State, Transmit};

fn client(config: &ClientConfig) -> Client {
    Client::new(Instant::ZERO, &connect(Version::V5, &[]), Session::new(), config).unwrap()
}

fn sent(client: &mut Client) -> String {
    let mut out = OutBuf::with_limit(1 << 16);
    while client.connection().poll_transmit(Instant::ZERO, &mut out) == Transmit::Wrote {}
    common::hex(out.chunk())
}

// Byte by byte or at once: the same events in the same order.
#[test]
fn everything_that_happens_to_a_client_is_told_in_its_order() {
    let stream =
        "20 03 00 00 00 90 05 00 01 00 01 80 B0 04 00 02 00 11 40 02 00 03 32 0C 00 01 'a' 00 07 05 0B 09 0B 0A 23 'x'";
    let stream = stream.replace("05 0B 09 0B 0A 23 'x'", "04 0B 09 0B 0A 'x'").replace("32 0C", "32 0B");
    let mut told = Vec::new();
    for size in [1, 1000] {
        let mut client = client(&ClientConfig::default());
        sent(&mut client);
        let stream = bytes(&stream);
        let (connack, rest) = stream.split_at(5);
        client.handle_input(Instant::ZERO, connack).unwrap();
        let filters =
            ["f", "g"].map(|text| Subscription { filter: filter(text), options: SubscribeOptions::default() });
        let connection = client.connection();
        let subscribed = connection.subscribe(Instant::ZERO, &filters, &[]).unwrap();
        let unsubscribed = connection.unsubscribe(Instant::ZERO, &[filter("f")], &[]).unwrap();
        let message = Publication { qos: Qos::AtLeastOnce, ..Publication::new(TopicName::new("a").unwrap(), b"1") };
        let published = connection.publish(Instant::ZERO, &message, &LIMITS).unwrap();
        sent(&mut client);
        for chunk in rest.chunks(size) {
            client.handle_input(Instant::ZERO, chunk).unwrap();
        }
        assert!(matches!(client.poll_event(), Some(ClientEvent::Connected { session_present: false })));
        let Some(ClientEvent::Subscribed(token, codes)) = client.poll_event() else { panic!() };
        assert_eq!(token, subscribed);
        assert_eq!(codes, [("f".to_owned(), ReasonCode(1)), ("g".to_owned(), ReasonCode(0x80))]);
        let Some(ClientEvent::Unsubscribed(token, codes)) = client.poll_event() else { panic!() };
        assert_eq!((token, codes), (unsubscribed, vec![("f".to_owned(), ReasonCode(0x11))]));
        let Some(ClientEvent::Completed { token, reason }) = client.poll_event() else { panic!() };
        assert_eq!((token, reason), (published, ReasonCode::SUCCESS));
        let Some(ClientEvent::Message(received)) = client.poll_event() else { panic!() };
        assert_eq!((received.message.topic().as_str(), received.message.payload()), ("a", &b"x"[..]));
        assert_eq!((received.qos, received.ids.as_slice()), (Qos::AtLeastOnce, &[9, 10][..]));
        assert!(client.poll_event().is_none());
        told.push(sent(&mut client));
    }
    assert_eq!(told, ["40 02 00 07", "40 02 00 07"]);
}

#[test]
fn what_came_before_the_server_broke_a_rule_is_still_told() {
    let mut client = client(&ClientConfig::default());
    sent(&mut client);
    assert!(client.handle_input(Instant::ZERO, &bytes("20 03 00 00 00 30 05 00 01 'a' 00 'x' C0 00")).is_err());
    assert!(matches!(client.poll_event(), Some(ClientEvent::Connected { .. })));
    assert!(matches!(client.poll_event(), Some(ClientEvent::Message(_))));
    assert!(client.poll_event().is_none());
    assert_eq!((client.connection().state(), sent(&mut client).as_str()), (State::Closing, "E0 01 82"));
}

#[test]
fn a_farewell_says_why_and_where_to() {
    let mut client = client(&ClientConfig::default());
    sent(&mut client);
    client.handle_input(Instant::ZERO, &bytes("20 0D 00 9D 0A 1C 00 01 'b' 1F 00 03 'why'")).unwrap();
    let Some(ClientEvent::Refused(farewell)) = client.poll_event() else { panic!() };
    assert_eq!((farewell.reason, farewell.text.as_deref()), (ReasonCode::SERVER_MOVED, Some("why")));
    assert_eq!(farewell.redirect, Some((vec!["b".to_owned()], true)));
    client.into_session();
}

// pitfall 59: user properties keep their order and their repetitions.
#[test]
fn a_message_keeps_its_user_properties_as_they_were() {
    let text = |text| Utf8::new(text).unwrap();
    let list =
        [("b", "1"), ("a", "2"), ("b", "1")].map(|(name, value)| Property::UserProperty(text(name), text(value)));
    let mut config = ClientConfig::default();
    config.manual_acknowledgement = true;
    let mut client = client(&config);
    client.handle_input(Instant::ZERO, &bytes("20 03 00 00 00")).unwrap();
    let publish = mqtt_session::codec::Packet::Publish(mqtt_session::codec::Publish {
        dup: false,
        qos: Qos::ExactlyOnce,
        retain: true,
        topic: TopicName::new("a").ok(),
        packet_id: mqtt_session::codec::PacketId::new(5),
        properties: Properties::from_slice(&list),
        payload: b"x",
    });
    let mut wire = Vec::new();
    publish.encode(Version::V5, &mut wire).unwrap();
    client.handle_input(Instant::ZERO, &wire).unwrap();
    client.poll_event();
    let Some(ClientEvent::Message(received)) = client.poll_event() else { panic!() };
    assert!(received.message.properties().iter().eq(list));
    assert!(received.retain && !received.dup);
    sent(&mut client);
    client.connection().acknowledge(received.token, ReasonCode::SUCCESS);
    assert_eq!(sent(&mut client), "50 02 00 05");
    client.handle_input(Instant::ZERO, &bytes("62 02 00 05")).unwrap();
    let Some(ClientEvent::Released(token)) = client.poll_event() else { panic!() };
    client.connection().acknowledge(token, ReasonCode::SUCCESS);
    assert_eq!(sent(&mut client), "70 02 00 05");
}

// Ten bytes with an alias are a message with the whole topic.
#[test]
fn a_little_input_makes_no_flood_of_large_messages() {
    let asks = [Property::TopicAliasMaximum(10)];
    let connect = connect(Version::V5, &asks);
    let mut client = Client::new(Instant::ZERO, &connect, Session::new(), &ClientConfig::default()).unwrap();
    sent(&mut client);
    client.handle_input(Instant::ZERO, &bytes("20 03 00 00 00")).unwrap();
    client.poll_event();
    let set = [&bytes("30 C6 B8 02 9C 40")[..], &[b'a'; 40_000], &bytes("03 23 00 01")].concat();
    client.handle_input(Instant::ZERO, &set).unwrap();
    assert!(matches!(client.poll_event(), Some(ClientEvent::Message(_))));
    let flood = [bytes("32 08 00 00 00 07 03 23 00 01").repeat(1000), bytes("36 00")].concat();
    client.handle_input(Instant::ZERO, &flood).unwrap();
    let mut told = 0;
    // what has been acknowledged is what is kept: a message came whole only as far as there was room
    assert!(sent(&mut client).len() < 30 * 12);
    while let Some(event) = client.poll_event() {
        let ClientEvent::Message(received) = event else { panic!() };
        assert_eq!(received.message.topic().as_str().len(), 40_000);
        told += 1;
    }
    assert_eq!((told, client.connection().state()), (1000, State::Closing));
    assert!(client.handle_input(Instant::ZERO, b"").is_err(), "it broke a rule at the end");
    assert!(client.handle_input(Instant::ZERO, b"").is_ok() && client.poll_event().is_none());
}
