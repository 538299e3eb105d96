//! Stories of what the two ends agree on, and of being sent elsewhere, told in bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{End, LIMITS, Seen, connect, filter, wire};
use core::time::Duration;
use mqtt_session::codec::{
    Connect, Packet, Properties, Property, Qos, ReasonCode, SubscribeOptions, Subscription, Utf8, Version, Will,
};
use mqtt_session::topic::TopicName;
use mqtt_session::{
    Accept, ClientConfig, Connection, Event, Instant, ProtocolErrorKind, Publication, PublishError, Redirect,
    RequestError, ServerConfig, Session, State,
};

fn text(text: &str) -> Utf8<'_> {
    Utf8::new(text).unwrap()
}

fn configured(connect: &Connect<'_>, config: &ClientConfig) -> End {
    let connection = Connection::client_with(Instant::ZERO, connect, Session::new(), config).unwrap();
    End { reader: connection.reader(), connection, now: Instant::ZERO }
}

// --- terms -----------------------------------------------------------------------------------------------------------

// v5 [MQTT-3.2.2-21], v5 [X5-CACK-1]. pitfall 36: the identifier that was assigned can be said again.
#[test]
fn a_client_knows_all_that_connack_said() {
    let everything = [
        Property::SessionExpiryInterval(7),
        Property::ReceiveMaximum(9),
        Property::MaximumQos(true),
        Property::RetainAvailable(false),
        Property::MaximumPacketSize(1000),
        Property::AssignedClientIdentifier(text("given")),
        Property::TopicAliasMaximum(3),
        Property::WildcardSubscriptionAvailable(false),
        Property::SubscriptionIdentifierAvailable(false),
        Property::SharedSubscriptionAvailable(false),
        Property::ServerKeepAlive(30),
        Property::ResponseInformation(text("answers/")),
        Property::ServerReference(text("other")),
    ];
    let connack = Packet::Connack(mqtt_session::codec::Connack {
        session_present: false,
        reason: ReasonCode::SUCCESS,
        properties: Properties::from_slice(&everything),
    });
    let mut bytes = Vec::new();
    connack.encode(Version::V5, &mut bytes).unwrap();
    let client = End::client_of(&connect(Version::V5, &[]), Session::new(), &common::hex(&bytes));
    let terms = client.connection.terms();
    assert_eq!((terms.keep_alive, terms.receive_maximum, terms.maximum_packet_size), (30, 9, 1000));
    assert_eq!((terms.topic_alias_maximum, terms.maximum_qos, terms.retain_available), (3, Qos::AtLeastOnce, false));
    assert!(!terms.wildcard_subscription_available && !terms.subscription_identifiers_available);
    assert!(!terms.shared_subscription_available);
    assert_eq!((terms.session_expiry_interval, terms.assigned_client_id), (Some(7), Some("given")));
    assert_eq!((terms.response_information, terms.server_reference), (Some("answers/"), Some("other")));

    let mut client = End::client(Version::V5);
    let terms = client.connection.terms();
    assert_eq!((terms.keep_alive, terms.receive_maximum, terms.maximum_packet_size), (10, 65_535, u32::MAX));
    assert_eq!((terms.topic_alias_maximum, terms.maximum_qos, terms.retain_available), (0, Qos::ExactlyOnce, true));
    assert!(terms.wildcard_subscription_available && terms.subscription_identifiers_available);
    assert!(terms.shared_subscription_available);
    assert_eq!((terms.session_expiry_interval, terms.assigned_client_id), (None, None));
    client.waits(1);
    assert_eq!(client.connection.memory(), 0, "defaults cost nothing");
}

// v5 [MQTT-3.2.2-11], v5 [MQTT-3.2.2-14], v5 [X5-CACK-7], v5 [X5-CACK-8], v5 [X5-CACK-9], v5 [X5-CACK-6]. pitfall 33
#[test]
fn a_client_keeps_to_what_connack_said() {
    // maximum QoS 0, no retain, at most 12 bytes, no wildcards, no identifiers, no shared subscriptions
    let connack = "20 12 00 00 0F 24 00 25 00 27 00 00 00 0C 28 00 29 00 2A 00";
    let mut client = End::client_of(&connect(Version::V5, &[]), Session::new(), connack);
    let mut publication = Publication::new(TopicName::new("a").unwrap(), b"x");
    publication.qos = Qos::AtLeastOnce;
    assert_eq!(client.connection.publish(client.now, &publication, &LIMITS), Err(PublishError::NotSupported));
    publication.qos = Qos::AtMostOnce;
    publication.retain = true;
    assert_eq!(client.connection.publish(client.now, &publication, &LIMITS), Err(PublishError::NotSupported));
    publication.retain = false;
    publication.payload = b"1234567"; // 2 + 3 + 1 + 7: one too many, fixed header and all
    assert_eq!(client.connection.publish(client.now, &publication, &LIMITS), Err(PublishError::TooLarge));
    publication.payload = b"123456";
    client.connection.publish(client.now, &publication, &LIMITS).unwrap();
    assert_eq!(client.sends(), wire("30 0A 00 01 'a' 00 '123456'"), "the limit is inclusive");
    for (topic, properties, error) in [
        ("a/+", &[][..], RequestError::Invalid),
        ("$share/g/a", &[][..], RequestError::Invalid),
        ("a", &[Property::SubscriptionIdentifier(1)][..], RequestError::Invalid),
        ("aaaaaaa", &[][..], RequestError::TooLarge),
    ] {
        let subscription = Subscription { filter: filter(topic), options: SubscribeOptions::default() };
        assert_eq!(client.connection.subscribe(client.now, &[subscription], properties), Err(error), "{topic}");
    }
    assert_eq!(client.sends(), "");
}

// v5 [MQTT-3.1.2-30] and the rest of section 3.1: whatever a CONNECT can hold goes out as it was given.
#[test]
fn connect_says_all_that_it_was_given() {
    let asks = [
        Property::SessionExpiryInterval(1),
        Property::ReceiveMaximum(2),
        Property::MaximumPacketSize(3000),
        Property::TopicAliasMaximum(4),
        Property::RequestResponseInformation(true),
        Property::RequestProblemInformation(false),
        Property::UserProperty(text("b"), text("1")),
        Property::UserProperty(text("a"), text("2")),
        Property::UserProperty(text("b"), text("1")),
        Property::AuthenticationMethod(text("m")),
        Property::AuthenticationData(b"d"),
    ];
    let of_will = [Property::WillDelayInterval(5), Property::MessageExpiryInterval(6)];
    let will = Will {
        topic: TopicName::new("w").unwrap(),
        payload: b"\x00\xFF",
        qos: Qos::AtLeastOnce,
        retain: true,
        properties: Properties::from_slice(&of_will),
    };
    let mut connect = connect(Version::V5, &asks);
    (connect.will, connect.user_name, connect.password) = (Some(will), Some(text("u")), Some(&b"\xFF"[..]));
    let mut client = configured(&connect, &ClientConfig::default());
    assert_eq!(client.sends(), common::hex(&common::encoded(&connect)));
}

// pitfall 50: the server's word wins at its own end too.
#[test]
fn a_server_knows_what_the_client_said() {
    let mut config = ServerConfig::default();
    config.maximum_keep_alive = Some(4);
    config.maximum_inflight = 100;
    let asks = [Property::ReceiveMaximum(5), Property::MaximumPacketSize(600), Property::TopicAliasMaximum(7)];
    let server = End::server_of(&config, &connect(Version::V5, &asks), Session::new());
    let terms = server.connection.terms();
    assert_eq!((terms.keep_alive, terms.receive_maximum, terms.maximum_packet_size), (4, 5, 600));
    assert_eq!(terms.topic_alias_maximum, 7);
}

// --- time ------------------------------------------------------------------------------------------------------------

#[test]
fn a_client_waits_for_connack_and_pingresp_as_long_as_it_was_told_to() {
    let mut config = ClientConfig::default();
    config.connack_timeout = Duration::from_millis(300);
    config.ping_timeout = Some(Duration::from_secs(2));
    let mut client = configured(&connect(Version::V5, &[]), &config);
    client.sends();
    assert_eq!(client.connection.poll_timeout(), Some(Instant::from_millis(300)));
    assert_eq!(client.waits(300).unwrap().kind, ProtocolErrorKind::ConnectTimeout);

    let mut client = configured(&connect(Version::V5, &[]), &config);
    client.sends();
    client.gets("20 03 00 00 00");
    assert!(client.waits(9_000).is_none());
    assert_eq!(client.sends(), "C0 00");
    assert!(client.waits(1_999).is_none());
    client.gets("30 05 00 01 'a' 00 'x'"); // it lives
    assert!(client.waits(1_999).is_none());
    assert_eq!(client.waits(1).unwrap().kind, ProtocolErrorKind::KeepAlive);
}

#[test]
fn a_client_before_5_0_has_a_limit_on_packets_too() {
    let mut config = ClientConfig::default();
    config.maximum_packet_size = 8;
    let mut client = configured(&connect(Version::V311, &[]), &config);
    client.sends();
    client.gets("20 02 00 00");
    assert!(matches!(client.gets_one("30 06 00 01 'a' 'xxx'"), Seen::Publish { .. }));
    assert!(matches!(client.gets("30 07 00 01 'a' 'xxxx'")[..], [Seen::Broken(_)]));
}

// --- elsewhere -------------------------------------------------------------------------------------------------------

/// What `client` is sent to by `bytes`.
fn redirected(client: &mut End, hex: &str) -> Option<(bool, Vec<String>)> {
    let bytes = common::bytes(hex);
    let mut input = client.connection.read(client.now, &mut client.reader, &bytes);
    let event = input.next().unwrap().unwrap();
    assert!(matches!(event, Event::Refused(_) | Event::Disconnect(_)));
    event.redirect().map(|redirect| (redirect.permanent, redirect.servers().map(String::from).collect()))
}

// v5 [X5-CACK-10]
#[test]
fn a_client_that_is_sent_elsewhere_learns_whether_for_good_and_where_to() {
    let both = "00 05 'a' 20 'b:1'"; // a length, then a list with a space
    for (packet, expected) in [
        (format!("20 0B 00 9C 08 1C {both}"), Some((false, vec!["a".to_owned(), "b:1".to_owned()]))),
        ("20 03 00 9D 00".to_owned(), Some((true, vec![]))),
        ("20 03 00 87 00".to_owned(), None),
    ] {
        let mut client = configured(&connect(Version::V5, &[]), &ClientConfig::default());
        client.sends();
        assert_eq!(redirected(&mut client, &packet), expected, "{packet}");
    }
    for (packet, expected) in [
        (format!("E0 0A 9D 08 1C {both}"), Some((true, vec!["a".to_owned(), "b:1".to_owned()]))),
        ("E0 01 9C".to_owned(), Some((false, vec![]))),
        ("E0 01 8B".to_owned(), None),
    ] {
        assert_eq!(redirected(&mut End::client(Version::V5), &packet), expected, "{packet}");
    }
}

// v5 [X5-CACK-10]
#[test]
fn a_server_sends_a_client_elsewhere_before_and_after_it_was_let_in() {
    let redirect = Redirect { permanent: false, reference: Some(text("b:1")) };
    let mut server = End::deciding(&ServerConfig::default(), &connect(Version::V5, &[]));
    server.connection.redirect(server.now, redirect);
    assert_eq!(server.sends(), wire("20 09 00 9C 06 1C 00 03 'b:1'"));
    let mut server = End::server(Version::V5);
    server.connection.redirect(server.now, Redirect { permanent: true, reference: None });
    assert_eq!((server.sends().as_str(), server.connection.state()), ("E0 01 9D", State::Closing));
    let mut server = End::server(Version::V5);
    server.connection.redirect(server.now, redirect);
    assert_eq!(server.sends(), wire("E0 08 9C 06 1C 00 03 'b:1'"));
    // before 5.0 there is no word for it
    let mut server = End::deciding(&ServerConfig::default(), &connect(Version::V311, &[]));
    server.connection.redirect(server.now, redirect);
    assert_eq!((server.sends().as_str(), server.connection.state()), ("", State::Closing));
    // a reference goes with no other reason, and never from a client
    let reference = [Property::ServerReference(text("b:1"))];
    let mut server = End::server(Version::V5);
    server.connection.disconnect(server.now, ReasonCode::SERVER_BUSY, &reference);
    assert_eq!(server.sends(), "E0 01 89");
    let mut server = End::deciding(&ServerConfig::default(), &connect(Version::V5, &[]));
    server.connection.reject(server.now, ReasonCode::SERVER_BUSY, &reference);
    assert_eq!(server.sends(), "20 03 00 89 00");
    let mut client = End::client(Version::V5);
    client.connection.disconnect(client.now, ReasonCode::USE_ANOTHER_SERVER, &reference);
    assert!(!client.sends().contains(&wire("1C 00 03")));
    // one that is too long for the client is left out, and the reason stays
    let asks = [Property::MaximumPacketSize(20)];
    let mut server = End::deciding(&ServerConfig::default(), &connect(Version::V5, &asks));
    let long = Redirect { permanent: true, reference: Some(text("a-name-that-is-too-long")) };
    server.connection.redirect(server.now, long);
    assert_eq!(server.sends(), "20 03 00 9D 00");
}

// v5 [MQTT-3.14.2-1] and section 3.14.2.2.2: the client's last word on how long its session is kept.
#[test]
fn a_client_may_change_its_session_expiry_with_its_goodbye() {
    let expiry = [Property::SessionExpiryInterval(9)];
    let mut client =
        End::client_of(&connect(Version::V5, &[Property::SessionExpiryInterval(1)]), Session::new(), "20 03 00 00 00");
    client.connection.disconnect(client.now, ReasonCode::DISCONNECT_WITH_WILL, &expiry);
    assert_eq!(client.sends(), "E0 07 04 05 11 00 00 00 09");
    let accept = Accept::default();
    let asks = [Property::SessionExpiryInterval(1)];
    let mut server = End::deciding(&ServerConfig::default(), &connect(Version::V5, &asks));
    server.connection.accept(server.now, Session::new(), &ServerConfig::default(), &accept);
    server.sends();
    assert_eq!(server.gets("E0 07 04 05 11 00 00 00 09"), [Seen::Disconnect(ReasonCode::DISCONNECT_WITH_WILL)]);
}
