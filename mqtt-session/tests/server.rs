//! Stories of the server's end, told in bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{End, LIMITS, Seen, VERSIONS, bytes, connect, encoded, wire};
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

// --- receiving -------------------------------------------------------------------------------------------------------

// v5 [MQTT-3.3.4-1], v4 [MQTT-3.3.4-1], v5 [MQTT-2.2.1-5], v4 [MQTT-2.3.1-6], v5 [MQTT-4.3.2-4], v5 [MQTT-4.3.3-8], v5 [MQTT-4.3.3-11], v5 [MQTT-4.3.3-12], v4 [MQTT-4.3.2-2], v4 [MQTT-4.3.3-2].
#[test]
fn each_qos_is_answered_when_the_host_has_answered() {
    for version in VERSIONS {
        let p = if version == Version::V5 { "00" } else { "" };
        let len = |n: u8| format!("{:02X}", if version == Version::V5 { n + 1 } else { n });
        let mut server = End::server(version);
        assert!(!server.gets_one(&format!("30 {} 00 01 'a' {p} 'x'", len(4))).token().is_awaited());
        assert_eq!(server.sends(), "");

        let one = server.gets_one(&format!("32 {} 00 01 'a' 00 05 {p} 'x'", len(6)));
        assert_eq!((server.sends().as_str(), server.connection.unacknowledged()), ("", 1), "not by itself");
        server.ack(&one, 0);
        assert_eq!(server.sends(), "40 02 00 05");
        server.ack(&one, 0x87);
        assert_eq!(server.sends(), "", "a stale token does nothing");

        let two = format!("34 {} 00 01 'a' 12 34 {p} 'x'", len(6));
        for _ in 0..2 {
            let message = server.gets_one(&two); // the second time the same identifier is a new message
            server.ack(&message, 0);
            assert_eq!(server.sends(), "50 02 12 34");
            assert!(!server.connection.session().is_empty());
            let released = server.gets_one("62 02 12 34");
            assert_eq!((&released, server.sends().as_str()), (&Seen::Released(released.token()), ""));
            server.ack(&released, 0);
            assert_eq!(server.sends(), "70 02 12 34");
            assert!(server.connection.session().is_empty());
        }
    }
}

// v5 [MQTT-4.3.2-5], v4 [MQTT-4.3.2-2].
#[test]
fn a_qos_1_message_with_a_known_identifier_is_a_new_message_whatever_dup_says() {
    let mut server = End::server(Version::V311);
    for first_byte in ["32", "3A", "32"] {
        let seen = server.gets_one(&format!("{first_byte} 06 00 01 'a' 00 05 'x'"));
        assert!(matches!(seen, Seen::Publish { .. }));
        server.ack(&seen, 0);
        assert_eq!(server.sends(), "40 02 00 05");
    }
}

// v5 [MQTT-4.3.3-10], v4 [MQTT-4.3.3-2]. pitfall 41
#[test]
fn a_repeated_qos_2_message_is_answered_again_and_handed_out_once() {
    for first_byte in ["34", "3C"] {
        let again = format!("{first_byte} 06 00 01 'a' 00 05 'x'");
        let mut server = End::server(Version::V311);
        let message = server.gets_one("34 06 00 01 'a' 00 05 'x'");
        assert_eq!(server.gets(&again), [Seen::Handled]);
        assert_eq!(server.sends(), "", "the first is still with the host");
        server.ack(&message, 0);
        assert_eq!(server.sends(), "50 02 00 05", "one answer for both");
        assert_eq!(server.gets(&again), [Seen::Handled]);
        assert_eq!(server.sends(), "50 02 00 05");
        assert_eq!(server.connection.unacknowledged(), 0);
    }
}

// v5 [MQTT-4.3.3-9]; before 5.0 a refusal is a plain answer and the exchange goes on. v5 [X5-ACK-2]: the connection stays. pitfall 60
#[test]
fn a_refused_message_is_answered_with_the_reason_and_its_identifier_is_free() {
    let mut server = End::server(Version::V5);
    for _ in 0..2 {
        let message = server.gets_one("34 07 00 01 'a' 00 05 00 'x'");
        server.ack(&message, 0x87);
        assert_eq!(server.sends(), "50 03 00 05 87");
    }
    let message = server.gets_one("32 07 00 01 'a' 00 06 00 'x'");
    server.ack(&message, 0x9E); // no code of PUBACK
    assert_eq!(server.sends(), "40 03 00 06 80");
    assert!(server.connection.session().is_empty());
    assert_eq!(server.gets("C0 00"), [Seen::Handled]);

    let mut server = End::server(Version::V311);
    let message = server.gets_one("34 06 00 01 'a' 00 05 'x'");
    server.ack(&message, 0x87);
    assert_eq!(server.sends(), "50 02 00 05");
    assert!(matches!(server.gets_one("62 02 00 05"), Seen::Released(_)));
}

// v5 [X5-ACK-3], v5 [MQTT-4.3.3-11]. pitfall 40
#[test]
fn a_release_of_an_unknown_identifier_is_answered() {
    for (version, pubcomp) in
        [(Version::V5, "70 03 00 63 92"), (Version::V311, "70 02 00 63"), (Version::V31, "70 02 00 63")]
    {
        let mut server = End::server(version);
        assert_eq!(server.gets("62 02 00 63"), [Seen::Handled]);
        assert_eq!(server.sends(), pubcomp);
    }
}

// v5 [MQTT-4.3.3-4]: a PUBREL follows a PUBREC.
#[test]
fn a_release_before_the_answer_breaks_the_exchange() {
    let mut server = End::server(Version::V5);
    server.gets("34 07 00 01 'a' 00 05 00 'x'");
    assert_eq!(server.gets("62 02 00 05")[0].reason(), 0x82);
}

#[test]
fn answers_leave_in_the_order_of_arrival_whichever_is_done_first() {
    let mut server = End::server(Version::V311);
    let seen = server.gets("32 06 00 01 'a' 00 07 'x' 34 06 00 01 'a' 00 03 'x' 32 06 00 01 'a' 00 09 'x'");
    server.ack(&seen[2], 0);
    server.ack(&seen[1], 0);
    assert_eq!((server.sends().as_str(), server.connection.control_backlog()), ("", 8));
    server.ack(&seen[0], 0);
    assert_eq!(server.sends(), "40 02 00 07 50 02 00 03 40 02 00 09");
}

// v5 [X5-PUB-6], v5 [MQTT-3.3.4-7]. pitfall 8
#[test]
fn more_unfinished_messages_than_announced_end_the_connection() {
    for (version, goodbye) in [(Version::V5, "E0 01 93"), (Version::V311, "")] {
        let mut config = ServerConfig::default();
        config.receive_maximum = 2;
        let mut server = End::server_of(&config, &connect(version, &[]), Session::new());
        let publish = |head: &str, id: &str| match version {
            Version::V5 => format!("{head} 07 00 01 'a' 00 {id} 00 'x'"),
            _ => format!("{head} 06 00 01 'a' 00 {id} 'x'"),
        };
        let one = server.gets_one(&publish("32", "01"));
        let two = server.gets_one(&publish("34", "02"));
        server.ack(&one, 0);
        server.sends(); // one is finished
        server.ack(&two, 0);
        server.sends(); // two is not: it is not released
        assert_eq!(server.gets(&publish("3C", "02")), [Seen::Handled], "a repetition is not another message");
        assert!(matches!(server.gets_one(&publish("32", "03")), Seen::Publish { .. }));
        assert_eq!(server.gets_one(&publish("32", "04")).reason(), 0x93);
        assert!(server.sends().ends_with(goodbye));
        assert_eq!(server.connection.state(), State::Closing);
    }
}

// S12: an identifier that is never released cannot be gathered, not over many connections either.
#[test]
fn identifiers_that_are_never_released_are_bounded_over_connections() {
    let mut config = ServerConfig::default();
    config.receive_maximum = 10;
    let mut session = Session::new();
    let mut refused = 0;
    for round in 0..100_u16 {
        let mut server = End::server_of(&config, &connect(Version::V311, &[]), session);
        for n in 0..10_u16 {
            let id = round * 10 + n + 1;
            match server.gets_bytes(&[0x34, 6, 0, 1, b'a', (id >> 8) as u8, id as u8, b'x']).first() {
                Some(Seen::Publish { token, .. }) => server.connection.acknowledge(*token, ReasonCode::SUCCESS),
                Some(Seen::Broken(_)) => refused += 1,
                _ => {}
            }
            server.sends();
        }
        session = server.connection.into_session();
    }
    assert_eq!(refused, 99);
    assert!(session.memory() <= 200, "{}", session.memory());
}

// v5 [MQTT-3.3.2-7], v5 [MQTT-3.3.2-8], v5 [MQTT-3.3.2-9], v5 [MQTT-3.3.2-12], v5 [MQTT-3.2.2-17], v5 [MQTT-3.2.2-18], v5 [X5-PUB-2], v5 [X5-PUB-3], v5 [X5-PUB-4], v5 [X5-PUB-5], v5 [X5-CON-4].
// pitfall 1, pitfall 2, pitfall 3
#[test]
fn topic_aliases_are_set_used_replaced_and_bounded() {
    let topic_of = |seen: Seen| match seen {
        Seen::Publish { topic, .. } => topic,
        other => panic!("{other:?}"),
    };
    let mut server = End::server(Version::V5);
    for (packet, topic) in [
        ("30 07 00 01 'a' 03 23 00 10", "a"), // the highest alias
        ("30 06 00 00 03 23 00 10", "a"),
        ("30 07 00 01 'b' 03 23 00 10", "b"),
        ("30 06 00 00 03 23 00 10", "b"),
        ("30 07 00 01 'c' 03 23 00 01", "c"),
        ("30 06 00 00 03 23 00 10", "b"),
    ] {
        assert_eq!(topic_of(server.gets_one(packet)), topic);
    }
    for (packet, reason) in [
        ("30 07 00 01 'a' 03 23 00 00", 0x94),
        ("30 07 00 01 'a' 03 23 00 11", 0x94),
        ("30 06 00 00 03 23 00 02", 0x82),
    ] {
        let mut server = End::server(Version::V5);
        assert_eq!(server.gets_one(packet).reason(), reason, "{packet}");
        assert_eq!(server.sends(), format!("E0 01 {reason:02X}"));
    }
    // the next connection of the session knows none of them
    let session = server.connection.into_session();
    let mut server = End::server_of(&ServerConfig::default(), &connect(Version::V5, &[]), session);
    assert_eq!(server.gets_one("30 06 00 00 03 23 00 10").reason(), 0x82);
    // and where none was announced there is none
    let mut config = ServerConfig::default();
    config.topic_alias_maximum = 0;
    let mut server = End::server_of(&config, &connect(Version::V5, &[]), Session::new());
    assert_eq!(server.gets_one("30 07 00 01 'a' 03 23 00 01").reason(), 0x94);
}

// v5 [X5-CACK-4], v5 [X5-CACK-5], v5 [X5-CACK-7], v5 [X5-CACK-8], v5 [X5-CACK-9], v5 [MQTT-3.2.2-11], v5 [MQTT-3.2.2-14].
#[test]
fn what_is_not_served_ends_the_connection_with_its_own_code() {
    let mut config = ServerConfig::default();
    config.maximum_qos = Qos::AtMostOnce;
    config.retain_available = false;
    config.wildcard_subscription_available = false;
    config.subscription_identifiers_available = false;
    config.shared_subscription_available = false;
    for (packet, reason) in [
        ("32 07 00 01 'a' 00 05 00 'x'", 0x9B),
        ("31 05 00 01 'a' 00 'x'", 0x9A),
        ("82 07 00 01 00 00 01 '#' 00", 0xA2),
        ("82 09 00 01 02 0B 01 00 01 'a' 00", 0xA1),
        ("82 10 00 01 00 00 0A '$share/g/a' 00", 0x9E),
    ] {
        let mut server = End::server_of(&config, &connect(Version::V5, &[]), Session::new());
        assert_eq!(server.gets_one(packet).reason(), reason, "{packet}");
        assert_eq!(server.sends(), format!("E0 01 {reason:02X}"));
    }
    // 3.1.1 knows nothing of it: the host answers each filter, keeps no message, and `$share` is a plain name.
    config.maximum_qos = Qos::ExactlyOnce;
    for packet in ["31 04 00 01 'a' 'x'", "82 06 00 01 00 01 '#' 00", "82 0F 00 01 00 0A '$share/g/a' 00"] {
        let mut server = End::server_of(&config, &connect(Version::V311, &[]), Session::new());
        assert!(!matches!(server.gets_one(packet), Seen::Broken(_)), "{packet}");
    }
}

// v5 [MQTT-3.8.3-4], v5 [MQTT-4.7.1-1], v5 [MQTT-4.7.1-2], v4 [MQTT-4.7.1-2], v4 [MQTT-4.7.1-3]. S5, S10; pitfall 55
#[test]
fn a_bad_filter_anywhere_in_a_request_is_found_before_the_host_sees_any() {
    let mut config = ServerConfig::default();
    config.shared_subscription_available = true;
    for (version, packet, reason) in [
        (Version::V5, "82 0C 00 01 00 00 01 'a' 00 00 02 'b#' 00", 0x81),
        (Version::V5, "82 10 00 01 00 00 0A '$share/g/a' 04", 0x82), // no local on a shared one
        (Version::V5, "A2 0A 00 01 00 00 01 'a' 00 02 'a+'", 0x81),
        (Version::V311, "82 0B 00 01 00 01 'a' 00 00 02 'b#' 00", 0x81),
        (Version::V311, "A2 06 00 01 00 02 'a+'", 0x81),
    ] {
        let mut server = End::server_of(&config, &connect(version, &[]), Session::new());
        assert_eq!(server.gets_one(packet).reason(), reason, "{packet}");
    }
}

// v5 [MQTT-3.8.4-1], v5 [MQTT-3.8.4-2], v5 [MQTT-3.8.4-5], v5 [MQTT-3.8.4-6], v5 [MQTT-3.8.4-7], v5 [MQTT-3.9.3-1], v5 [MQTT-2.2.1-6], v5 [MQTT-3.2.2-10].
// v4 [MQTT-3.8.4-1], v4 [MQTT-3.8.4-2], v4 [MQTT-3.8.4-4], v4 [MQTT-3.8.4-5], v4 [MQTT-3.9.3-1], v4 [MQTT-2.3.1-7], v3 [X31-SUB-1].
#[test]
fn a_subscribe_is_answered_with_one_code_for_each_filter_as_the_version_knows_it() {
    let codes = [2, 0, 1, 0x87].map(ReasonCode);
    for (version, packet, suback) in [
        (
            Version::V5,
            "82 13 BE EF 00 00 01 'a' 02 00 01 'b' 00 00 01 'c' 01 00 01 'd' 02",
            "90 07 BE EF 00 02 00 01 87",
        ),
        (Version::V311, "82 12 BE EF 00 01 'a' 02 00 01 'b' 00 00 01 'c' 01 00 01 'd' 02", "90 06 BE EF 02 00 01 80"),
        (Version::V31, "82 12 BE EF 00 01 'a' 02 00 01 'b' 00 00 01 'c' 01 00 01 'd' 02", "90 06 BE EF 02 00 01 00"),
    ] {
        let mut config = ServerConfig::default();
        config.maximum_qos = Qos::AtMostOnce; // limits what is published, not what is subscribed
        let mut server = End::server_of(&config, &connect(version, &[]), Session::new());
        let seen = server.gets_one(packet);
        assert_eq!(server.sends(), "", "the host answers");
        server.connection.suback(seen.request(), &codes, Properties::EMPTY);
        assert_eq!(server.sends(), suback);
    }
}

// v5 [MQTT-3.10.4-4], v5 [MQTT-3.10.4-5], v5 [MQTT-3.10.4-6], v5 [MQTT-3.11.3-1], v4 [MQTT-3.10.4-4], v4 [MQTT-3.10.4-5], v4 [MQTT-3.10.4-6]. pitfall 38
#[test]
fn an_unsubscribe_is_answered_with_codes_at_5_and_without_before() {
    let codes = [ReasonCode::NO_SUBSCRIPTION_EXISTED, ReasonCode::SUCCESS];
    for (version, packet, unsuback) in [
        (Version::V5, "A2 09 00 07 00 00 01 'a' 00 01 'b'", "B0 05 00 07 00 11 00"),
        (Version::V311, "A2 08 00 07 00 01 'a' 00 01 'b'", "B0 02 00 07"),
    ] {
        let mut server = End::server(version);
        let seen = server.gets_one(packet);
        server.connection.unsuback(seen.request(), &codes, Properties::EMPTY);
        assert_eq!(server.sends(), unsuback);
    }
}

// v5 [MQTT-3.1.2-29], v5 [MQTT-3.1.2-24]. pitfall 33, pitfall 34, pitfall 35
#[test]
fn reason_strings_and_user_properties_are_left_out_when_unwanted_or_too_large() {
    let user = Utf8::new("u").unwrap();
    let list = [Property::ReasonString(Utf8::new("why").unwrap()), Property::UserProperty(user, user)];
    let whole = "90 11 00 01 0D 1F 00 03 'why' 26 00 01 'u' 00 01 'u' 87"; // 19 bytes
    for (asked, suback) in [
        (vec![], whole),
        (vec![Property::RequestProblemInformation(false)], "90 04 00 01 00 87"),
        (vec![Property::MaximumPacketSize(19)], whole),
        (vec![Property::MaximumPacketSize(18)], "90 0A 00 01 06 1F 00 03 'why' 87"),
        (vec![Property::MaximumPacketSize(11)], "90 04 00 01 00 87"),
    ] {
        let mut config = ServerConfig::default();
        (config.receive_maximum, config.topic_alias_maximum) = (65_535, 0);
        (config.maximum_packet_size, config.shared_subscription_available) = (u32::MAX, true);
        let mut server = End::server_of(&config, &connect(Version::V5, &asked), Session::new());
        let seen = server.gets_one("82 07 00 01 00 00 01 'a' 00");
        server.connection.suback(seen.request(), &[ReasonCode::NOT_AUTHORIZED], Properties::from_slice(&list));
        assert_eq!(server.sends(), wire(suback), "{asked:?}");
    }
    // an answer that cannot be sent at all ends the connection instead of leaving the client waiting
    let mut config = ServerConfig::default();
    (config.receive_maximum, config.topic_alias_maximum) = (65_535, 0);
    (config.maximum_packet_size, config.shared_subscription_available) = (u32::MAX, true);
    let mut server = End::server_of(&config, &connect(Version::V5, &[Property::MaximumPacketSize(5)]), Session::new());
    let seen = server.gets_one("82 07 00 01 00 00 01 'a' 00");
    server.connection.suback(seen.request(), &[ReasonCode::SUCCESS], Properties::EMPTY);
    assert_eq!(server.sends(), "E0 01 95");
}

// v5 [MQTT-3.12.4-1], v4 [MQTT-3.12.4-1].
#[test]
fn a_ping_is_answered() {
    for version in VERSIONS {
        let mut server = End::server(version);
        assert_eq!(server.gets("C0 00"), [Seen::Handled]);
        assert_eq!(server.sends(), "D0 00");
    }
}

// v5 [X5-AUTH-1], v5 [X5-AUTH-4], v5 [MQTT-4.12.0-7], v5 [X5-ERR-4], v5 [MQTT-3.1.2-30]
#[test]
fn packets_that_have_no_place_end_the_connection() {
    for packet in ["F0 02 19 00", "F0 07 19 05 15 00 02 'm' 'x'", "D0 00", "20 03 00 00 00", "90 04 00 01 00 00"] {
        let mut server = End::server(Version::V5);
        assert!(matches!(server.gets(packet)[..], [Seen::Broken(_)]), "{packet}");
        assert!(["E0 01 82", "E0 01 81"].contains(&server.sends().as_str()), "{packet}");
    }
}

// --- time ------------------------------------------------------------------------------------------------------------

// v5 [MQTT-3.1.2-22], v4 [MQTT-3.1.2-24], v5 [MQTT-3.2.2-22]. pitfall 50
#[test]
fn silence_for_one_and_a_half_keep_alive_periods_ends_the_connection() {
    for (version, goodbye) in [(Version::V5, "E0 01 8D"), (Version::V311, "")] {
        let mut server = End::server(version); // keep alive 10 s
        assert_eq!(server.waits(14_000), None);
        server.gets("C0 00");
        server.sends();
        assert_eq!(server.connection.poll_timeout(), Some(Instant::from_millis(29_000)));
        server.delivers("a", "x", Qos::AtMostOnce);
        assert_eq!(server.waits(14_999), None);
        server.sends(); // does not count
        let error = server.waits(1).unwrap();
        assert_eq!((error.kind, error.reason_code()), (ProtocolErrorKind::KeepAlive, ReasonCode::KEEP_ALIVE_TIMEOUT));
        assert_eq!(server.sends(), goodbye);
        assert_eq!(server.waits(60_000), None, "said once");
    }
}

#[test]
fn a_server_may_set_the_keep_alive_and_enforces_its_own() {
    let mut config = ServerConfig::default();
    config.maximum_keep_alive = Some(2);
    for (version, asked, lost_after) in
        [(Version::V5, 10, 3_000), (Version::V5, 0, 3_000), (Version::V5, 1, 1_500), (Version::V311, 10, 15_000)]
    {
        let mut connect = connect(version, &[]);
        connect.keep_alive = asked;
        let mut server = End::server_of(&config, &connect, Session::new());
        assert_eq!(server.waits(lost_after - 1), None);
        assert!(server.waits(1).is_some(), "{version:?} {asked}");
    }
}

#[test]
fn a_server_may_refuse_to_be_pinged_too_often() {
    let mut config = ServerConfig::default();
    config.minimum_keep_alive = 10;
    for (version, asked, lost_after) in
        [(Version::V5, 1, 15_000), (Version::V311, 1, 15_000), (Version::V5, 20, 30_000)]
    {
        let mut connect = connect(version, &[]);
        connect.keep_alive = asked;
        let mut server = End::server_of(&config, &connect, Session::new());
        assert_eq!(server.waits(lost_after - 1), None);
        assert!(server.waits(1).is_some(), "{version:?} {asked}");
    }
    let mut server = End::deciding(&config, &connect(Version::V5, &[]));
    server.connection.accept(server.now, Session::new(), &config, &Accept::default());
    assert!(!server.sends().contains("13 00 0A"), "none stays none");
    let mut hasty = connect(Version::V5, &[]);
    hasty.keep_alive = 1;
    let mut server = End::deciding(&config, &hasty);
    server.connection.accept(server.now, Session::new(), &config, &Accept::default());
    assert!(server.sends().contains("13 00 0A"), "5.0 clients are told");
}

// S13: what 65,535 bytes of topic for each of the aliases would come to
#[test]
fn the_names_behind_topic_aliases_take_a_bounded_memory() {
    let mut server = End::server(Version::V5);
    let long = [b'x'; 30_000];
    let set = |server: &mut End, alias: u8, topic: &[u8]| {
        let mut packet = vec![0x30];
        let mut length = topic.len() + 6;
        while length > 127 {
            packet.push((length % 128) as u8 | 0x80);
            length /= 128;
        }
        packet.push(length as u8);
        packet.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
        packet.extend(topic);
        packet.extend([3, 0x23, 0, alias]);
        server.gets_bytes(&packet)
    };
    for alias in [1, 2, 1, 2] {
        assert!(matches!(set(&mut server, alias, &long)[..], [Seen::Publish { .. }]), "they are replaced");
    }
    assert_eq!(set(&mut server, 3, &long)[0].reason(), 0x97);
}

// v5 [MQTT-3.3.4-7]
#[test]
fn a_server_may_bear_more_than_it_announced_but_not_any_number() {
    let mut config = ServerConfig::default();
    (config.receive_maximum, config.receive_maximum_tolerance) = (2, 3);
    let mut server = End::deciding(&config, &connect(Version::V5, &[]));
    server.connection.accept(server.now, Session::new(), &config, &Accept::default());
    assert!(server.sends().contains("21 00 02"), "2 are announced");
    for id in 1..=5 {
        assert!(matches!(server.gets_one(&format!("34 06 00 01 'a' 00 0{id} 00")), Seen::Publish { .. }));
    }
    assert_eq!(server.gets_one("34 06 00 01 'a' 00 06 00").reason(), 0x93);
}

#[test]
fn while_the_host_does_not_read_silence_does_not_count() {
    let mut server = End::server(Version::V5);
    server.connection.pause_keep_alive(server.now);
    assert_eq!(server.connection.poll_timeout(), None);
    assert_eq!(server.waits(100_000), None);
    server.connection.resume_keep_alive(server.now);
    assert_eq!(server.waits(14_999), None);
    assert!(server.waits(1).is_some());
}

#[test]
fn a_time_that_goes_back_is_taken_for_the_latest() {
    let mut server = End::server(Version::V5);
    assert_eq!(server.waits(14_000), None);
    server.gets("C0 00");
    server.now = Instant::ZERO;
    server.gets("C0 00");
    assert_eq!(server.connection.poll_timeout(), Some(Instant::from_millis(29_000)));
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

// v5 [X5-DISC-2], v5 [X5-DISC-3], v5 [X5-CON-1]. pitfall 12
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
