//! Stories of the server's end, told in bytes: who is let in, and how it ends.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{End, LIMITS, Seen, bytes, connect, encoded, wire};
use mqtt_session::codec::{Properties, Property, Qos, ReasonCode, Utf8, Version, Will};
use mqtt_session::topic::TopicName;
use mqtt_session::{Accept, Connection, Instant, ProtocolErrorKind, ServerConfig, Session, State};

// --- letting in and turning away -------------------------------------------------------------------------------------

// v5 [MQTT-3.1.4-5], v5 [MQTT-3.2.0-1], v4 [MQTT-3.1.4-4], v4 [MQTT-3.2.0-1]: CONNACK 0 is the first thing that is sent.
#[test]
fn an_accepted_client_gets_a_connack_that_says_what_differs_from_the_defaults() {
    for (version, connack) in [
        (Version::V31, "20 02 00 00"),
        (Version::V311, "20 02 00 00"),
        (Version::V5, "20 0E 00 00 0B 21 04 00 27 00 10 00 00 22 00 10"),
    ] {
        let config = ServerConfig::default();
        let mut server = End::deciding(&config, &connect(version, &[]));
        server.delivers("a", "1", Qos::AtMostOnce);
        assert_eq!(server.sends(), "", "the host has not decided");
        server.connection.accept(server.now, Session::new(), &config, &Accept::default());
        assert_eq!(server.connection.state(), State::Connected);
        assert_eq!(server.sends(), connack);
    }
}

// v5 [MQTT-3.2.2-9], v5 [MQTT-3.2.2-22], v5 [X5-CACK-1], v5 [MQTT-3.1.2-28].
#[test]
fn all_that_a_server_does_not_serve_is_announced() {
    let mut config = ServerConfig::default();
    config.receive_maximum = 65_535;
    config.maximum_packet_size = u32::MAX;
    config.topic_alias_maximum = 0;
    config.maximum_qos = Qos::AtLeastOnce;
    config.retain_available = false;
    config.wildcard_subscription_available = false;
    config.subscription_identifiers_available = false;
    config.shared_subscription_available = false;
    config.maximum_keep_alive = Some(5);
    let mut server = End::deciding(&config, &connect(Version::V5, &[]));
    let properties = [Property::ResponseInformation(Utf8::new("r").unwrap())];
    let accept = Accept {
        assigned_client_id: Utf8::new("id"),
        session_expiry_interval: Some(7),
        properties: &properties, // not asked for
        ..Accept::default()
    };
    server.connection.accept(server.now, Session::new(), &config, &accept);
    assert_eq!(
        server.sends(),
        wire("20 1A 00 00 17 24 01 25 00 28 00 29 00 2A 00 13 00 05 12 00 02 'id' 11 00 00 00 07")
    );

    let asks = [Property::RequestResponseInformation(true)];
    let mut server = End::deciding(&ServerConfig::default(), &connect(Version::V5, &asks));
    server.connection.accept(
        server.now,
        Session::new(),
        &config,
        &Accept { properties: &properties, ..Accept::default() },
    );
    assert!(server.sends().contains(&wire("1A 00 01 'r'")), "asked for");
}

// v5 [MQTT-3.2.2-2], v5 [MQTT-3.2.2-3], v5 [MQTT-3.1.2-4], v4 [MQTT-3.2.2-1], v4 [MQTT-3.2.2-2], v4 [MQTT-3.2.2-3], v4 [MQTT-3.1.2-6].
// pitfall 9
#[test]
fn session_present_is_only_for_who_wanted_a_session_that_was_found() {
    for (version, clean_start, found, flags) in [
        (Version::V31, false, true, "00"), // no such flag
        (Version::V311, false, true, "01"),
        (Version::V311, false, false, "00"),
        (Version::V311, true, true, "00"),
        (Version::V5, false, true, "01"),
        (Version::V5, false, false, "00"),
        (Version::V5, true, true, "00"),
    ] {
        let mut connect = connect(version, &[]);
        connect.clean_start = clean_start;
        let config = ServerConfig::default();
        let mut server = End::deciding(&config, &connect);
        server.connection.accept(
            server.now,
            Session::new(),
            &config,
            &Accept { session_present: found, ..Accept::default() },
        );
        assert_eq!(&server.sends()[6..8], flags, "{version:?}, clean {clean_start}, found {found}");
    }
}

// v5 [MQTT-3.2.2-6], v5 [MQTT-3.2.2-7], v5 [MQTT-4.13.2-1], v5 [MQTT-3.1.4-6], v5 [MQTT-3.1.4-2], v5 [MQTT-3.1.3-8], v5 [MQTT-4.12.0-1], v5 [MQTT-4.12.0-4].
// v4 [MQTT-3.2.2-4], v4 [MQTT-3.2.2-5], v4 [MQTT-3.2.2-6], v4 [MQTT-3.1.4-5], v4 [MQTT-3.1.3-9]. pitfall 51
#[test]
fn a_client_that_is_turned_away_gets_a_code_its_version_has_and_is_heard_no_more() {
    for (version, reason, connack) in [
        (Version::V5, ReasonCode::BAD_USER_NAME_OR_PASSWORD, "20 03 00 86 00"),
        (Version::V5, ReasonCode::BAD_AUTHENTICATION_METHOD, "20 03 00 8C 00"),
        (Version::V5, ReasonCode::SERVER_SHUTTING_DOWN, "20 03 00 88 00"), // CONNACK has no 0x8B
        (Version::V5, ReasonCode::KEEP_ALIVE_TIMEOUT, "20 03 00 80 00"),
        (Version::V311, ReasonCode::BAD_USER_NAME_OR_PASSWORD, "20 02 00 04"),
        (Version::V311, ReasonCode::CLIENT_IDENTIFIER_NOT_VALID, "20 02 00 02"),
        (Version::V311, ReasonCode::QOS_NOT_SUPPORTED, ""), // none fits
        (Version::V31, ReasonCode::NOT_AUTHORIZED, "20 02 00 05"),
    ] {
        let mut server = End::deciding(&ServerConfig::default(), &connect(version, &[]));
        server.connection.reject(server.now, reason, &[]);
        assert_eq!(server.connection.state(), State::Closing);
        assert_eq!(server.gets("30 03 00 01 'a' 'x'"), [], "what follows is not read");
        assert_eq!(server.sends(), connack, "{version:?} {reason:?}");
        assert_eq!(server.sends(), "");
    }
}

// v5 [MQTT-3.1.4-1], v5 [X5-ERR-1], v4 [MQTT-3.1.4-1], v5 [MQTT-3.14.0-1]: a CONNACK or nothing, never a DISCONNECT. pitfall 52
#[test]
fn a_connect_that_cannot_be_read_is_answered_where_the_standard_has_an_answer() {
    for (first, answer) in [
        // level 5 with the reserved flag set; level 4 the same: no CONNACK
        ("10 0E 00 04 'MQTT' 05 03 00 0A 00 00 01 'c'", "20 03 00 81 00"),
        ("10 0D 00 04 'MQTT' 04 03 00 0A 00 01 'c'", ""),
        // levels nobody serves
        ("10 0E 00 04 'MQTT' 06 02 00 0A 00 00 01 'c'", "20 03 00 84 00"),
        ("10 0D 00 04 'MQTT' 02 02 00 0A 00 01 'c'", "20 02 00 01"),
        // not MQTT at all, or not CONNECT first
        ("10 0D 00 04 'HTTP' 04 02 00 0A 00 01 'c'", ""),
        ("'GET'", ""),
        ("C0 00", ""),
        ("30 03 00 01 'a' 'x'", ""),
    ] {
        let connection = Connection::server(Instant::ZERO, &ServerConfig::default());
        let mut server = End { reader: connection.reader(), connection, now: Instant::ZERO };
        assert!(matches!(server.gets(first)[..], [Seen::Broken(_)]), "{first}");
        assert_eq!(server.connection.state(), State::Closing);
        assert_eq!(server.sends(), answer, "{first}");
    }
}

// v5 [MQTT-3.1.0-1], v4 [MQTT-3.1.0-1], v5 [MQTT-3.2.0-1]: also packets that were read elsewhere.
#[test]
fn a_packet_before_connect_closes_without_a_word() {
    let mut connection = Connection::server(Instant::ZERO, &ServerConfig::default());
    let error = connection.handle_packet(Instant::ZERO, &mqtt_session::codec::Packet::Pingreq).unwrap_err();
    assert!(matches!(error.kind, ProtocolErrorKind::Rule("v5 [MQTT-3.2.0-1]", _)));
    let mut server = End { reader: connection.reader(), connection, now: Instant::ZERO };
    assert_eq!(server.sends(), "");
}

// v5 [MQTT-3.1.0-2], v4 [MQTT-3.1.0-2], v5 [MQTT-4.13.1-1], v4 [MQTT-4.8.0-1]. pitfall 51
#[test]
fn a_second_connect_ends_the_connection() {
    for (version, goodbye) in [(Version::V5, "E0 01 82"), (Version::V311, ""), (Version::V31, "")] {
        let mut server = End::server(version);
        let seen = server.gets_bytes(&encoded(&connect(version, &[])));
        assert_eq!(seen[0].reason(), 0x82);
        assert_eq!(server.sends(), goodbye);
    }
    // while the host decides it goes into CONNACK
    let mut server = End::deciding(&ServerConfig::default(), &connect(Version::V5, &[]));
    let packet = mqtt_session::codec::Packet::Pingreq;
    assert!(server.connection.handle_packet(server.now, &packet).is_err());
    assert_eq!(server.sends(), "20 03 00 82 00");
}

// v5 [X5-CON-9]: what a client sends before CONNACK waits until it is accepted.
#[test]
fn what_a_client_sends_along_with_connect_is_read_when_it_is_accepted() {
    let config = ServerConfig::default();
    let connection = Connection::server(Instant::ZERO, &config);
    let mut server = End { reader: connection.reader(), connection, now: Instant::ZERO };
    let mut both = encoded(&connect(Version::V311, &[]));
    both.extend(bytes("C0 00"));
    assert_eq!(server.gets_bytes(&both), [Seen::Connect]);
    server.connection.accept(server.now, Session::new(), &config, &Accept::default());
    assert_eq!(server.gets(""), [Seen::Handled]);
    assert_eq!(server.sends(), "20 02 00 00 D0 00");
}

// v5 [MQTT-3.2.2-12], v5 [MQTT-3.2.2-13].
#[test]
fn a_will_that_is_not_served_turns_the_client_away() {
    let mut config = ServerConfig::default();
    config.maximum_qos = Qos::AtMostOnce;
    config.retain_available = false;
    for (version, qos, retain, connack) in [
        (Version::V5, Qos::AtLeastOnce, false, "20 03 00 9B 00"),
        (Version::V5, Qos::AtMostOnce, true, "20 03 00 9A 00"),
        (Version::V311, Qos::AtLeastOnce, true, "not judged"),
    ] {
        let mut connect = connect(version, &[]);
        let topic = TopicName::new("w").unwrap();
        connect.will = Some(Will { topic, payload: b"", qos, retain, properties: Properties::EMPTY });
        let connection = Connection::server(Instant::ZERO, &config);
        let mut server = End { reader: connection.reader(), connection, now: Instant::ZERO };
        let seen = server.gets_bytes(&encoded(&connect));
        if version == Version::V5 {
            assert!(matches!(seen[..], [Seen::Broken(_)]));
            assert_eq!(server.sends(), connack);
        } else {
            assert_eq!(seen, [Seen::Connect]);
        }
    }
}

// S18, v5 [X5-ERR-1]
#[test]
fn a_connection_without_connect_is_closed_in_time() {
    let connection = Connection::server(Instant::ZERO, &ServerConfig::default());
    let mut server = End { reader: connection.reader(), connection, now: Instant::ZERO };
    assert_eq!(server.connection.poll_timeout(), Some(Instant::from_millis(10_000)));
    assert_eq!(server.waits(9_999), None);
    assert!(server.waits(1).is_some());
    assert_eq!((server.sends().as_str(), server.connection.state()), ("", State::Closing));
    assert_eq!(server.connection.poll_timeout(), None);
}

// --- the end ---------------------------------------------------------------------------------------------------------

// v5 [MQTT-3.14.4-1], v5 [MQTT-3.14.2-2], v5 [MQTT-3.14.0-1], v4 [X311-DISC-1]. pitfall 52, pitfall 53
#[test]
fn a_server_says_goodbye_as_far_as_it_can_and_nothing_after() {
    let expiry = [Property::SessionExpiryInterval(9)];
    let mut server = End::server(Version::V5);
    let message = server.gets_one("32 07 00 01 'a' 00 05 00 'x'");
    server.ack(&message, 0);
    server.delivers("a", "x", Qos::AtLeastOnce);
    server.connection.disconnect(server.now, ReasonCode::SESSION_TAKEN_OVER, &expiry);
    assert_eq!(server.sends(), "40 02 00 05 E0 01 8E");
    assert_eq!(server.gets("C0 00"), []);
    assert_eq!(server.sends(), "");
    assert_eq!(server.connection.into_session().queued(), 1, "what waited stays");

    let mut server = End::server(Version::V311);
    server.connection.disconnect(server.now, ReasonCode::SESSION_TAKEN_OVER, &[]);
    assert_eq!((server.sends().as_str(), server.connection.state()), ("", State::Closing));

    let mut server = End::deciding(&ServerConfig::default(), &connect(Version::V5, &[]));
    server.connection.disconnect(server.now, ReasonCode::SERVER_BUSY, &[]);
    assert_eq!(server.sends(), "20 03 00 89 00");
}

// v5 [X5-DISC-2], v5 [X5-DISC-3], v5 [X5-CON-1]. pitfall 10, pitfall 12
#[test]
fn a_client_may_change_its_session_expiry_at_the_end_but_not_raise_it_from_zero() {
    let raised = "E0 07 00 05 11 00 00 00 05";
    let mut server = End::server(Version::V5);
    assert_eq!(server.gets_one(raised).reason(), 0x82);
    assert_eq!(server.sends(), "E0 01 82");
    let mut server = End::server_of(
        &ServerConfig::default(),
        &connect(Version::V5, &[Property::SessionExpiryInterval(1)]),
        Session::new(),
    );
    assert_eq!(server.gets(raised), [Seen::Disconnect(ReasonCode::SUCCESS)]);
    assert_eq!((server.sends().as_str(), server.connection.state()), ("", State::Closing));
}

#[test]
fn after_a_goodbye_of_the_peer_nothing_is_flushed() {
    let mut server = End::server(Version::V311);
    assert_eq!(server.gets("C0 00 E0 00 C0 00"), [Seen::Handled, Seen::Disconnect(ReasonCode::SUCCESS)]);
    assert_eq!(server.sends(), "");
    assert!(
        server
            .connection
            .publish(server.now, &mqtt_session::Publication::new(TopicName::new("a").unwrap(), b""), &LIMITS)
            .is_err()
    );
}

// v5 [MQTT-4.13.1-1]: the goodbye says why.
#[test]
fn bytes_that_cannot_be_read_end_the_connection() {
    let mut config = ServerConfig::default();
    config.maximum_packet_size = 100;
    for (packet, goodbye) in
        [("36 07 00 01 'a' 00 05 00 'x'", "E0 01 81"), ("30 7F", "E0 01 95"), ("82 03 00 01 00", "E0 01 82")]
    {
        let mut server = End::server_of(&config, &connect(Version::V5, &[]), Session::new());
        assert!(matches!(server.gets(packet)[..], [Seen::Broken(_)]));
        assert_eq!(server.sends(), goodbye, "{packet}");
    }
}

#[test]
fn a_session_given_to_a_connection_that_has_failed_is_not_lost() {
    let config = ServerConfig::default();
    let mut server = End::deciding(&config, &connect(Version::V5, &[]));
    server.connection.reject(server.now, ReasonCode::SERVER_BUSY, &[]);
    let mut session = Session::new();
    session.deliver(common::delivery("a", "x", Qos::AtLeastOnce), &LIMITS).unwrap();
    server.connection.accept(server.now, session, &config, &Accept::default());
    assert_eq!(server.sends(), "20 03 00 89 00");
    assert_eq!(server.connection.into_session().queued(), 1);
}
