//! Stories of the server's end, told in bytes: messages and their acknowledgements.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{End, Seen, VERSIONS, connect};
use mqtt_session::codec::{ReasonCode, Version};
use mqtt_session::{ServerConfig, Session, State};

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
