//! Stories of enhanced authentication (section 4.12), both ends, told in bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{End, LIMITS, Seen, connect, wire};
use mqtt_session::codec::{Properties, Property, Qos, ReasonCode, Subscription, Utf8, Version, Will};
use mqtt_session::topic::TopicName;
use mqtt_session::{
    Accept, AuthError, Connection, Instant, ProtocolErrorKind, RequestError, ServerConfig, Session, State,
};

fn method() -> Property<'static> {
    Property::AuthenticationMethod(Utf8::new("m").unwrap())
}

/// AUTH of the method "m" with one byte of data.
fn auth(reason: u8, data: char) -> String {
    wire(&format!("F0 0A {reason:02X} 08 15 00 01 'm' 16 00 01 '{data}'"))
}

/// A server's end with a CONNECT that names the method.
fn deciding() -> End {
    End::deciding(&ServerConfig::default(), &connect(Version::V5, &[method()]))
}

fn accepts(server: &mut End) -> String {
    let mut config = ServerConfig::default();
    (config.receive_maximum, config.maximum_packet_size, config.topic_alias_maximum) = (65_535, u32::MAX, 0);
    config.shared_subscription_available = true;
    let accept = Accept { authentication_data: Some(b"z"), ..Accept::default() };
    server.connection.accept(server.now, Session::new(), &config, &accept);
    server.sends()
}

/// A server's end that has let the client in.
fn accepted() -> End {
    let mut server = deciding();
    assert!(accepts(&mut server).starts_with("20 "));
    server
}

/// A client's end that has sent CONNECT with the method.
fn connecting() -> End {
    let connection = Connection::client(Instant::ZERO, &connect(Version::V5, &[method()]), Session::new()).unwrap();
    let mut client = End { reader: connection.reader(), connection, now: Instant::ZERO };
    assert!(client.sends().ends_with(&wire("04 15 00 01 'm' 00 01 'c'")));
    client
}

const CONNACK: &str = "20 0B 00 00 08 15 00 01 'm' 16 00 01 'z'";

/// A client's end that was let in.
fn connected() -> End {
    let mut client = connecting();
    assert_eq!(client.gets(CONNACK), [Seen::Connected { session_present: false }]);
    client
}

// --- the server's end ------------------------------------------------------------------------------------------------

// v5 [MQTT-4.12.0-2], v5 [MQTT-4.12.0-5]
#[test]
fn a_client_is_challenged_as_often_as_the_host_likes_and_then_let_in() {
    let mut server = deciding();
    assert_eq!(server.connection.authentication_method(), Some("m"));
    for round in ['1', '2', '3'] {
        server.connection.challenge(server.now, Some(&[round as u8]), &[]).unwrap();
        assert_eq!(server.connection.state(), State::Authenticating);
        assert_eq!(server.sends(), auth(0x18, round));
        assert_eq!(server.gets(&auth(0x18, 'p')), [Seen::Auth(0x18, "p".into())]);
        assert_eq!(server.connection.state(), State::Deciding);
    }
    assert_eq!(accepts(&mut server), wire(CONNACK), "method and data");
    assert_eq!(server.connection.state(), State::Connected);
}

// v5 [MQTT-4.12.0-1], v5 [MQTT-4.12.0-4], v5 [X5-AUTH-4]
#[test]
fn a_client_that_does_not_prove_itself_is_turned_away_by_connack() {
    for reason in [ReasonCode::BAD_AUTHENTICATION_METHOD, ReasonCode::NOT_AUTHORIZED] {
        for after in ["at once", "challenged", "answered"] {
            let mut server = deciding();
            if after != "at once" {
                server.connection.challenge(server.now, None, &[]).unwrap();
                assert_eq!(server.sends(), wire("F0 06 18 04 15 00 01 'm'"));
            }
            if after == "answered" {
                server.gets("F0 06 18 04 15 00 01 'm'");
            }
            server.connection.reject(server.now, reason, &[]);
            assert_eq!(server.sends(), format!("20 03 00 {:02X} 00", reason.0), "{after}");
            assert_eq!(server.connection.state(), State::Closing);
        }
    }
}

// v5 [MQTT-3.1.2-30], v5 [MQTT-4.12.0-3], v5 [MQTT-4.12.0-5], v5 [MQTT-3.14.0-1]. pitfall 52
#[test]
fn before_acceptance_only_the_awaited_auth_and_disconnect_have_a_place() {
    for (packet, what) in [
        ("C0 00", "a ping"),
        ("30 05 00 01 'a' 00 'x'", "a message"),
        ("82 07 00 01 00 00 01 'f' 01", "a subscription"),
        ("F0 06 00 04 15 00 01 'm'", "a success"),
        ("F0 06 19 04 15 00 01 'm'", "re-authentication"),
        ("F0 06 18 04 15 00 01 'n'", "another method"),
    ] {
        let mut server = deciding();
        server.connection.challenge(server.now, None, &[]).unwrap();
        server.sends();
        assert_eq!(server.gets_one(packet).reason(), 0x82, "{what}");
        assert_eq!(server.sends(), "20 03 00 82 00", "{what}: CONNACK, not DISCONNECT");
        assert_eq!(server.connection.state(), State::Closing);
    }
    let mut server = deciding();
    server.connection.challenge(server.now, None, &[]).unwrap();
    server.sends();
    assert_eq!(server.gets("F0 02 18 00")[0].reason(), 0x82, "no method: X5-AUTH-2");
    assert_eq!(server.sends(), "20 03 00 82 00");
    let mut server = deciding();
    server.connection.challenge(server.now, None, &[]).unwrap();
    server.sends();
    assert_eq!(server.gets("E0 00"), [Seen::Disconnect(ReasonCode::SUCCESS)]);
    assert_eq!((server.sends().as_str(), server.connection.state()), ("", State::Closing));
}

#[test]
fn what_follows_an_auth_waits_until_the_host_has_decided() {
    let mut server = deciding();
    server.connection.challenge(server.now, None, &[]).unwrap();
    server.sends();
    assert_eq!(server.gets("F0 06 18 04 15 00 01 'm' C0 00"), [Seen::Auth(0x18, "".into())]);
    assert_eq!(server.gets(""), [], "the ping waits");
    accepts(&mut server);
    assert_eq!(server.gets(""), [Seen::Handled]);
    assert_eq!(server.sends(), "D0 00");
}

// S18
#[test]
fn each_step_of_the_client_has_its_time_and_the_hosts_deciding_has_none() {
    let mut server = deciding();
    assert_eq!(server.connection.poll_timeout(), None);
    assert!(server.waits(3_600_000).is_none(), "the host takes its time");
    server.connection.challenge(server.now, None, &[]).unwrap();
    server.sends();
    assert_eq!(server.connection.poll_timeout(), Some(server.now.plus_millis(10_000)));
    assert!(server.waits(9_999).is_none());
    server.gets("F0 06 18 04 15 00 01 'm'");
    assert_eq!(server.connection.poll_timeout(), None);
    server.connection.challenge(server.now, None, &[]).unwrap();
    server.sends();
    assert_eq!(server.waits(10_000).unwrap().kind, ProtocolErrorKind::ConnectTimeout);
    assert_eq!((server.sends().as_str(), server.connection.state()), ("20 03 00 80 00", State::Closing));
}

// v5 [MQTT-4.12.1-1], v5 [X5-AUTH-3]
#[test]
fn a_live_connection_goes_on_while_its_client_proves_itself_anew() {
    let mut server = accepted();
    assert_eq!(server.gets("F0 06 19 04 15 00 01 'm'"), [Seen::Auth(0x19, "".into())]);
    server.delivers("a", "1", Qos::AtMostOnce);
    assert!(matches!(server.gets_one("30 05 00 01 'a' 00 'x'"), Seen::Publish { .. }), "on the old terms");
    server.connection.challenge(server.now, Some(b"q"), &[]).unwrap();
    assert_eq!(server.connection.state(), State::Connected);
    assert_eq!(server.sends(), format!("{} {}", auth(0x18, 'q'), wire("30 05 00 01 'a' 00 '1'")));
    assert!(matches!(server.gets_one("30 05 00 01 'a' 00 'x'"), Seen::Publish { .. }));
    assert_eq!(server.gets("F0 06 18 04 15 00 01 'm'"), [Seen::Auth(0x18, "".into())]);
    server.connection.authenticated(server.now, Some(b"!"), &[]).unwrap();
    assert_eq!(server.sends(), wire("F0 0A 00 08 15 00 01 'm' 16 00 01 '!'"));
    assert_eq!(server.gets("F0 06 19 04 15 00 01 'm'"), [Seen::Auth(0x19, "".into())], "and once more");
}

// v5 [MQTT-4.12.1-1], v5 [MQTT-4.12.0-5], v5 [MQTT-4.12.0-3]
#[test]
fn re_authentication_out_of_turn_or_by_another_method_ends_the_connection() {
    for (packets, what) in [
        ("F0 06 18 04 15 00 01 'm'", "an answer to nothing"),
        ("F0 06 00 04 15 00 01 'm'", "a success of its own"),
        ("F0 06 19 04 15 00 01 'n'", "another method"),
        ("F0 06 19 04 15 00 01 'm' F0 06 19 04 15 00 01 'm'", "again before the first is decided"),
        ("F0 06 19 04 15 00 01 'm' F0 06 18 04 15 00 01 'm'", "unasked"),
    ] {
        let mut server = accepted();
        let seen = server.gets(packets);
        assert!(
            matches!(seen.iter().find(|seen| matches!(seen, Seen::Broken(_))), Some(broken) if broken.reason() == 0x82),
            "{what}"
        );
        assert_eq!(server.sends(), "E0 01 82", "{what}");
    }
}

// v5 [MQTT-4.12.1-2]
#[test]
fn failed_re_authentication_ends_with_a_disconnect_that_says_so() {
    let mut server = accepted();
    server.gets("F0 06 19 04 15 00 01 'm'");
    server.connection.disconnect(server.now, ReasonCode::NOT_AUTHORIZED, &[]);
    assert_eq!((server.sends().as_str(), server.connection.state()), ("E0 01 87", State::Closing));
}

// v5 [MQTT-4.12.0-6], v5 [X5-AUTH-1]
#[test]
fn a_client_without_a_method_is_never_sent_an_auth_and_may_send_none() {
    let mut server = End::deciding(&ServerConfig::default(), &connect(Version::V5, &[]));
    assert_eq!(server.connection.challenge(server.now, None, &[]), Err(AuthError::NotExpected));
    assert_eq!(server.connection.authentication_method(), None);
    let properties = [method(), Property::AuthenticationData(b"z")];
    let accept = Accept { authentication_data: Some(b"z"), properties: &properties, ..Accept::default() };
    server.connection.accept(server.now, Session::new(), &ServerConfig::default(), &accept);
    let connack = server.sends();
    assert!(!connack.contains("15 00") && !connack.contains("16 00"), "{connack}");
    for step in [Connection::challenge, Connection::authenticated, Connection::reauthenticate] {
        assert_eq!(step(&mut server.connection, Instant::ZERO, None, &[]), Err(AuthError::NotExpected));
    }
    assert_eq!(server.gets_one("F0 06 19 04 15 00 01 'm'").reason(), 0x82);
    assert_eq!(server.sends(), "E0 01 82");
    // before 5.0 there is no such thing at all
    let mut server = End::deciding(&ServerConfig::default(), &connect(Version::V311, &[method()]));
    assert_eq!(server.connection.challenge(server.now, None, &[]), Err(AuthError::NotExpected));
}

#[test]
fn a_challenge_that_cannot_be_sent_changes_nothing() {
    let asks = [method(), Property::MaximumPacketSize(20), Property::RequestProblemInformation(false)];
    let mut server = End::deciding(&ServerConfig::default(), &connect(Version::V5, &asks));
    let now = server.now;
    assert_eq!(server.connection.challenge(now, Some(&[0; 65_536]), &[]), Err(AuthError::Invalid));
    assert_eq!(server.connection.challenge(now, None, &[Property::ReceiveMaximum(1)]), Err(AuthError::Invalid));
    assert_eq!(server.connection.challenge(now, Some(&[0; 20]), &[]), Err(AuthError::TooLarge));
    assert_eq!((server.connection.state(), server.sends().as_str()), (State::Deciding, ""));
    assert_eq!(server.connection.authenticated(now, None, &[]), Err(AuthError::NotExpected), "CONNACK says that");
    // v5 [MQTT-3.1.2-29]: no problem information for whom wants none. pitfall 35
    let why = [Property::ReasonString(Utf8::new("because").unwrap())];
    server.connection.challenge(now, None, &why).unwrap();
    assert_eq!(server.sends(), wire("F0 06 18 04 15 00 01 'm'"));
    assert_eq!(server.connection.challenge(now, None, &[]), Err(AuthError::NotExpected), "it is the client's turn");
    server.connection.accept(now, Session::new(), &ServerConfig::default(), &Accept::default());
    assert_eq!((server.connection.state(), server.sends().as_str()), (State::Authenticating, ""));
}

// --- the client's end ------------------------------------------------------------------------------------------------

// v5 [MQTT-4.12.0-3], v5 [MQTT-4.12.0-5], v5 [MQTT-3.1.2-30]
#[test]
fn a_client_answers_each_challenge_and_sends_nothing_else_before_connack() {
    let mut client = connecting();
    client.publishes("a", "x", Qos::AtMostOnce);
    let subscription = Subscription { filter: common::filter("f"), options: Default::default() };
    assert_eq!(client.connection.subscribe(client.now, &[subscription], &[]), Err(RequestError::NotConnected));
    for round in ["1", "2"] {
        assert_eq!(
            client.gets(&format!("F0 0A 18 08 15 00 01 'm' 16 00 01 '{round}'")),
            [Seen::Auth(0x18, round.into())]
        );
        assert_eq!(client.sends(), "");
        assert_eq!(client.connection.poll_timeout(), None, "it is for the application to answer");
        client.connection.answer_challenge(client.now, Some(b"p"), &[]).unwrap();
        assert_eq!(client.sends(), auth(0x18, 'p'));
        assert_eq!(client.connection.poll_timeout(), Some(client.now.plus_millis(10_000)));
        assert_eq!(
            client.connection.answer_challenge(client.now, Some(b"p"), &[]),
            Err(AuthError::NotExpected),
            "once is enough"
        );
    }
    assert_eq!(client.gets(CONNACK), [Seen::Connected { session_present: false }]);
    assert_eq!(client.sends(), wire("30 05 00 01 'a' 00 'x'"));
}

// v5 [MQTT-4.12.0-5], v5 [MQTT-4.12.0-2]
#[test]
fn a_server_that_changes_the_method_or_speaks_out_of_turn_is_left() {
    for (packets, what) in [
        ("20 03 00 00 00", "a CONNACK without the method"),
        ("20 07 00 00 04 15 00 01 'n'", "a CONNACK with another"),
        ("F0 06 18 04 15 00 01 'n'", "an AUTH with another"),
        ("F0 06 00 04 15 00 01 'm'", "a success that belongs into CONNACK"),
        ("F0 06 19 04 15 00 01 'm'", "the client's own word"),
        ("F0 06 18 04 15 00 01 'm' F0 06 18 04 15 00 01 'm'", "two challenges"),
        ("F0 06 18 04 15 00 01 'm' 20 07 00 00 04 15 00 01 'm'", "a CONNACK though it asked"),
    ] {
        let mut client = connecting();
        let seen = client.gets(packets);
        assert!(seen.iter().any(|seen| matches!(seen, Seen::Broken(error) if error.reason_code().0 == 0x82)), "{what}");
        assert_eq!(client.sends(), "E0 01 82", "{what}");
    }
    // it may turn the client away at any time
    let mut client = connecting();
    client.gets("F0 06 18 04 15 00 01 'm'");
    assert_eq!(client.gets("20 03 00 87 00"), [Seen::Refused(ReasonCode::NOT_AUTHORIZED)]);
}

// v5 [MQTT-4.12.1-1], v5 [X5-AUTH-3], v5 [MQTT-4.12.1-2]
#[test]
fn a_client_re_authenticates_while_all_else_goes_on() {
    let mut client = connected();
    client.connection.reauthenticate(client.now, Some(b"1"), &[]).unwrap();
    let subscription = Subscription { filter: common::filter("f"), options: Default::default() };
    client.connection.subscribe(client.now, &[subscription], &[]).unwrap();
    assert_eq!(client.sends(), format!("{} {}", auth(0x19, '1'), wire("82 07 00 01 00 00 01 'f' 00")));
    assert_eq!(client.connection.reauthenticate(client.now, None, &[]), Err(AuthError::NotExpected), "one at a time");
    assert!(matches!(client.gets_one("30 05 00 01 'a' 00 'x'"), Seen::Publish { .. }));
    client.gets("F0 06 18 04 15 00 01 'm'");
    client.connection.answer_challenge(client.now, Some(b"2"), &[]).unwrap();
    assert_eq!(client.sends(), auth(0x18, '2'));
    assert_eq!(client.gets("F0 06 00 04 15 00 01 'm'"), [Seen::Auth(0, "".into())]);
    client.connection.reauthenticate(client.now, None, &[]).unwrap();
    client.sends();
    assert_eq!(client.gets("E0 01 87"), [Seen::Disconnect(ReasonCode::NOT_AUTHORIZED)]);
    assert_eq!(client.connection.reauthenticate(client.now, None, &[]), Err(AuthError::NotExpected), "it is over");
}

// v5 [MQTT-4.12.0-7], v5 [X5-AUTH-1], v5 [MQTT-4.12.0-6]
#[test]
fn a_client_that_named_no_method_sends_no_auth_and_takes_none() {
    let mut client = End::client(Version::V5);
    for step in [Connection::reauthenticate, Connection::answer_challenge, Connection::challenge] {
        assert_eq!(step(&mut client.connection, Instant::ZERO, None, &[]), Err(AuthError::NotExpected));
    }
    assert_eq!(client.gets_one("F0 06 18 04 15 00 01 'm'").reason(), 0x82);
    assert_eq!(client.sends(), "E0 01 82");
    let connection = Connection::client(Instant::ZERO, &connect(Version::V5, &[]), Session::new()).unwrap();
    let mut client = End { reader: connection.reader(), connection, now: Instant::ZERO };
    client.sends();
    assert_eq!(client.gets_one("20 07 00 00 04 15 00 01 'm'").reason(), 0x82, "a method nobody named");
}

#[test]
fn an_exchange_is_paid_for_by_who_has_one() {
    let mut plain = End::client(Version::V5);
    plain.waits(1);
    assert_eq!(plain.connection.memory(), 0);
    let mut client = connected();
    client.waits(1);
    assert!((1..500).contains(&client.connection.memory()), "{}", client.connection.memory());
}

// the will and the queue are there on the other side of the exchange
#[test]
fn a_session_goes_on_behind_an_exchange() {
    let asks = [method()];
    let mut asks = connect(Version::V5, &asks);
    let will = Will {
        topic: TopicName::new("w").unwrap(),
        payload: b"gone",
        qos: Qos::AtMostOnce,
        retain: false,
        properties: Properties::EMPTY,
    };
    asks.will = Some(will);
    let mut server = End::deciding(&ServerConfig::default(), &asks);
    let mut session = Session::new();
    session.deliver(common::delivery("a", "1", Qos::AtLeastOnce), &LIMITS).unwrap();
    server.connection.challenge(server.now, None, &[]).unwrap();
    server.sends();
    server.gets("F0 06 18 04 15 00 01 'm'");
    let accept = Accept { session_present: true, ..Accept::default() };
    server.connection.accept(server.now, session, &ServerConfig::default(), &accept);
    let sent = server.sends();
    assert!(sent.starts_with("20 ") && sent.ends_with(&wire("32 07 00 01 'a' 00 01 00 '1'")), "{sent}");
}
