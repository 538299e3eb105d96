//! Stories of what an end sends: windows, resumes, expiry, sizes, places. Told on the server's end; the client's shares the code.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{End, LIMITS, Seen, VERSIONS, connect, delivery, wire};
use mqtt_session::codec::{OutBuf, Properties, Property, Qos, ReasonCode, Utf8, Version};
use mqtt_session::topic::TopicName;
use mqtt_session::{Delivery, Forwarded, Instant, Message, Publication, QueueLimits, ServerConfig, Session, Transmit};

fn server_with(version: Version, properties: &[Property<'_>], session: Session) -> End {
    End::server_of(&ServerConfig::default(), &connect(version, properties), session)
}

/// Ends the connection and begins the next one.
fn reconnects(server: End, properties: &[Property<'_>]) -> End {
    let version = server.connection.version().unwrap();
    let now = server.now;
    let mut next = End::deciding(&ServerConfig::default(), &connect(version, properties));
    next.now = now;
    let accept = mqtt_session::Accept { session_present: true, ..Default::default() };
    next.connection.accept(now, server.connection.into_session(), &ServerConfig::default(), &accept);
    let mut connack = OutBuf::with_limit(1000);
    assert_eq!(next.connection.poll_transmit(now, &mut connack), Transmit::Wrote);
    assert_eq!(connack.chunk()[0], 0x20, "v5 [MQTT-3.2.0-1]: CONNACK before all");
    next
}

// --- the exchange ----------------------------------------------------------------------------------------------------

// v5 [MQTT-4.3.1-1], v4 [MQTT-4.3.1-1], v5 [MQTT-4.3.2-2], v5 [MQTT-4.3.3-2], v4 [MQTT-4.3.2-1], v4 [MQTT-4.3.3-1], v5 [MQTT-2.2.1-5], v5 [MQTT-4.3.3-4], v5 [MQTT-4.3.2-3], v5 [MQTT-4.3.3-3].
#[test]
fn each_qos_is_sent_and_finished_as_the_standard_says() {
    for version in VERSIONS {
        let v5 = version == Version::V5;
        let mut server = End::server(version);
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            server.delivers("a", "x", qos);
        }
        let expected = match v5 {
            true => "32 07 00 01 'a' 00 01 00 'x' 34 07 00 01 'a' 00 02 00 'x' 30 05 00 01 'a' 00 'x'",
            false => "32 06 00 01 'a' 00 01 'x' 34 06 00 01 'a' 00 02 'x' 30 04 00 01 'a' 'x'",
        };
        assert_eq!(server.sends(), wire(expected));
        assert_eq!((server.connection.session().inflight(), server.connection.session().queued()), (2, 0));
        assert_eq!(server.gets("40 02 00 09"), [Seen::Handled], "an acknowledgement of something else changes nothing");
        assert!(
            matches!(server.gets("40 02 00 01")[..], [Seen::Completed(token, ReasonCode::SUCCESS)] if token.sequence() == 2)
        );
        assert_eq!(server.gets("50 02 00 02"), [Seen::Handled]);
        assert_eq!(server.sends(), "62 02 00 02");
        assert_eq!(server.gets("50 02 00 02"), [Seen::Handled], "a repeated PUBREC");
        assert_eq!(server.sends(), "62 02 00 02");
        assert!(
            matches!(server.gets("70 02 00 02")[..], [Seen::Completed(token, ReasonCode::SUCCESS)] if token.sequence() == 3)
        );
        assert!(server.connection.session().is_empty());
    }
}

// v5 [X5-ACK-2], v5 [X5-ACK-3], v5 [X5-PID-2], v5 [MQTT-4.4.0-2]. pitfall 42
#[test]
fn a_refusal_ends_the_exchange_and_only_the_exchange() {
    let mut server = End::server(Version::V5);
    server.delivers("a", "x", Qos::AtLeastOnce);
    server.delivers("a", "x", Qos::ExactlyOnce);
    server.sends();
    assert!(matches!(server.gets("40 03 00 01 87")[..], [Seen::Completed(_, ReasonCode::NOT_AUTHORIZED)]));
    assert!(matches!(server.gets("50 03 00 02 97")[..], [Seen::Completed(_, ReasonCode::QUOTA_EXCEEDED)]));
    assert_eq!(server.sends(), "", "no PUBREL");
    assert_eq!(server.gets("50 02 00 63"), [Seen::Handled]);
    assert_eq!(server.sends(), "62 03 00 63 92", "not known");
    assert_eq!(server.gets("70 03 00 63 92"), [Seen::Handled]);
    let mut server = reconnects(server, &[]);
    assert_eq!(server.sends(), "", "nothing of it is sent again");
    let mut server = End::server(Version::V311);
    server.gets("50 02 00 63");
    assert_eq!(server.sends(), "62 02 00 63");
}

// v5 [MQTT-4.3.3-4], v5 [X5-ACK-3]; found by the model: the end of a message that had arrived was reported as a refusal.
#[test]
fn a_pubcomp_that_was_lost_and_comes_again_as_not_found_does_not_make_a_refusal_of_the_message() {
    let mut server = End::server(Version::V5);
    server.delivers("a", "x", Qos::ExactlyOnce);
    server.sends();
    server.gets("50 02 00 01");
    assert_eq!(server.sends(), "62 02 00 01");
    // the client answers, forgets, and the answer is lost with the connection
    let mut server = reconnects(server, &[]);
    assert_eq!(server.sends(), "62 02 00 01");
    assert!(matches!(server.gets("70 03 00 01 92")[..], [Seen::Completed(_, ReasonCode::SUCCESS)]));
}

// v5 [MQTT-2.2.1-5]
#[test]
fn an_acknowledgement_of_the_wrong_kind_ends_the_connection() {
    for ack in ["40 02 00 01", "70 02 00 01"] {
        let mut server = End::server(Version::V5);
        server.delivers("a", "x", Qos::ExactlyOnce);
        server.sends();
        assert_eq!(server.gets_one(ack).reason(), 0x82);
        assert_eq!(server.sends(), "E0 01 82");
    }
}

// v5 [MQTT-2.2.1-4], v5 [MQTT-4.3.2-1], v5 [MQTT-4.3.3-1], v4 [MQTT-2.3.1-4], v4 [MQTT-2.3.1-3], v5 [X5-PID-1], v4 [X311-PID-1].
#[test]
fn identifiers_in_use_are_not_given_again_also_after_the_counter_has_wrapped() {
    let mut server = End::server(Version::V311);
    server.delivers("kept", "x", Qos::AtLeastOnce);
    assert!(server.sends().ends_with(&wire("00 01 'x'")));
    let mut acked = 0_u32;
    for _ in 0..70_000_u32 {
        server.delivers("a", "x", Qos::AtLeastOnce);
        let sent = server.sends();
        if sent.is_empty() {
            break; // the span is used up: the first is still not acknowledged
        }
        let id = &sent[15..20];
        assert!(id != "00 00" && id != "00 01", "{id}");
        assert!(matches!(server.gets(&format!("40 02 {id}"))[..], [Seen::Completed(..)]));
        acked += 1;
    }
    assert_eq!(acked, 4095, "one that is never acknowledged holds up what comes 4,096 identifiers later");
    // the peer's identifiers are a space of their own
    let incoming = server.gets_one("32 06 00 01 'a' 00 01 'x'");
    server.ack(&incoming, 0);
    assert_eq!(server.sends(), "40 02 00 01");
    // the first is acknowledged: it goes on, around the end of the space
    server.gets("40 02 00 01");
    let mut last = String::new();
    for _ in 0..65_600_u32 {
        let sent = server.sends();
        last = sent[15..20].to_owned();
        assert_ne!(last, "00 00");
        assert!(matches!(server.gets(&format!("40 02 {last}"))[..], [Seen::Completed(..)]));
        server.delivers("a", "x", Qos::AtLeastOnce);
    }
    assert_eq!(last, "10 41", "4,097 + 65,599, once around 65,535");
}

// --- the window ------------------------------------------------------------------------------------------------------

// v5 [MQTT-3.3.4-9], v5 [MQTT-3.3.4-10], v5 [MQTT-4.9.0-1], v5 [MQTT-4.9.0-2], v5 [MQTT-4.9.0-3], v5 [X5-ACK-4]. pitfall 4, pitfall 6, pitfall 7
#[test]
fn a_full_window_holds_back_qos_1_and_2_and_nothing_else() {
    let mut server = server_with(Version::V5, &[Property::ReceiveMaximum(2)], Session::new());
    for payload in ["1", "2", "3", "4", "5"] {
        server.delivers("a", payload, Qos::ExactlyOnce);
    }
    let publish = |id: u8, payload: &str| format!("34 07 00 01 'a' 00 {id:02X} 00 '{payload}'");
    assert_eq!(server.sends(), wire(&[publish(1, "1"), publish(2, "2")].join(" ")));
    server.delivers("b", "0", Qos::AtMostOnce);
    assert_eq!(server.sends(), wire("30 05 00 01 'b' 00 '0'"), "QoS 0 goes past");
    server.gets("C0 00 82 07 00 01 00 00 01 'a' 00");
    server.gets("32 07 00 01 'a' 00 09 00 'x'");
    assert_eq!(server.sends(), "D0 00");
    server.gets("50 02 00 01");
    assert_eq!(server.sends(), "62 02 00 01", "a PUBREL, and no new message: the slot is held until PUBCOMP");
    server.gets("70 03 00 01 92");
    assert_eq!(server.sends(), wire(&publish(3, "3")), "any PUBCOMP gives it back");
    server.gets("50 03 00 02 80");
    assert_eq!(server.sends(), wire(&publish(4, "4")), "so does a PUBREC that refuses");
    server.gets("70 02 00 01 70 02 00 02");
    assert_eq!(server.sends(), "", "repeated answers do not");
}

#[test]
fn the_server_has_a_window_of_its_own_at_every_version() {
    for version in VERSIONS {
        let mut config = ServerConfig::default();
        config.maximum_inflight = 3;
        let mut server = End::server_of(&config, &connect(version, &[]), Session::new());
        for _ in 0..10 {
            server.delivers("a", "x", Qos::AtLeastOnce);
        }
        server.sends();
        assert_eq!((server.connection.session().inflight(), server.connection.session().queued()), (3, 7));
    }
}

// pitfall 5: a PUBREL that is sent again takes nothing, so its PUBCOMP gives nothing back.
#[test]
fn the_quota_is_not_raised_by_the_end_of_an_exchange_of_an_earlier_connection() {
    let mut server = server_with(Version::V5, &[Property::ReceiveMaximum(2)], Session::new());
    server.delivers("a", "1", Qos::ExactlyOnce);
    server.sends();
    server.gets("50 02 00 01");
    let mut server = reconnects(server, &[Property::ReceiveMaximum(2)]);
    for payload in ["2", "3", "4"] {
        server.delivers("a", payload, Qos::AtLeastOnce);
    }
    assert_eq!(server.sends(), wire("62 02 00 01 32 07 00 01 'a' 00 02 00 '2' 32 07 00 01 'a' 00 03 00 '3'"));
    server.gets("70 02 00 01");
    assert_eq!(server.sends(), "", "two are unfinished");
}

// --- resuming --------------------------------------------------------------------------------------------------------

// v5 [MQTT-4.4.0-1], v4 [MQTT-4.4.0-1], v5 [MQTT-3.3.1-1], v4 [MQTT-3.3.1-1], v5 [MQTT-4.3.3-5], v5 [MQTT-4.3.3-6], v4 [X311-RESEND-1], v5 [MQTT-4.8.2-4], v5 [MQTT-3.10.4-3], v4 [MQTT-3.10.4-3], v5 [X5-SESS-1], v5 [X5-SESS-2].
// v5 [MQTT-4.1.0-1], v4 [MQTT-4.1.0-1]. pitfall 44, pitfall 45, pitfall 47, pitfall 54
#[test]
fn what_is_unacknowledged_is_sent_again_in_order_and_only_after_a_resume() {
    for version in VERSIONS {
        let p = if version == Version::V5 { "00" } else { "" };
        let n = |len: u8| format!("{:02X}", if version == Version::V5 { len + 1 } else { len });
        let mut server = End::server(version);
        for (payload, qos) in
            [("1", Qos::AtLeastOnce), ("2", Qos::ExactlyOnce), ("3", Qos::ExactlyOnce), ("4", Qos::AtLeastOnce)]
        {
            server.delivers("a", payload, qos);
        }
        server.sends();
        server.gets("50 02 00 02 40 02 00 01");
        server.sends();
        assert_eq!(server.waits(14_000), None);
        server.gets("C0 00");
        assert_eq!(server.waits(14_000), None);
        assert_eq!(server.sends(), "D0 00", "not while connected");
        let mut server = reconnects(server, &[]);
        server.delivers("a", "5", Qos::AtLeastOnce);
        let again = format!(
            "62 02 00 02 3C {six} 00 01 'a' 00 03 {p} '3' 3A {six} 00 01 'a' 00 04 {p} '4' 32 {six} 00 01 'a' 00 05 {p} '5'",
            six = n(6)
        );
        assert_eq!(server.sends(), wire(&again));
        assert_eq!(server.sends(), "", "once");
    }
}

#[test]
fn a_smaller_window_than_before_does_not_hold_back_releases() {
    let mut server = End::server(Version::V5);
    for payload in ["1", "2", "3"] {
        server.delivers("a", payload, Qos::ExactlyOnce);
    }
    server.sends();
    server.gets("50 02 00 03");
    server.sends();
    let mut server = reconnects(server, &[Property::ReceiveMaximum(1)]);
    server.delivers("a", "4", Qos::AtLeastOnce);
    server.delivers("b", "0", Qos::AtMostOnce);
    assert_eq!(server.sends(), wire("62 02 00 03 3C 07 00 01 'a' 00 01 00 '1' 30 05 00 01 'b' 00 '0'"));
    server.gets("50 02 00 01");
    assert_eq!(server.sends(), "62 02 00 01");
    server.gets("70 02 00 01");
    assert_eq!(server.sends(), wire("3C 07 00 01 'a' 00 02 00 '2'"), "and what is new still waits");
    server.gets("50 03 00 02 80");
    assert_eq!(server.sends(), wire("32 07 00 01 'a' 00 04 00 '4'"));
}

// v5 [MQTT-3.1.2-25]: too large for this connection is as if delivered; an identifier the client may hold is released.
#[test]
fn what_was_in_flight_and_is_too_large_for_the_next_connection_is_completed() {
    let mut server = End::server(Version::V5);
    server.delivers("a", "long enough to be too large", Qos::AtLeastOnce);
    server.delivers("a", "long enough to be too large", Qos::ExactlyOnce);
    server.sends();
    let session = server.connection.into_session();
    let mut config = ServerConfig::default();
    (config.maximum_packet_size, config.topic_alias_maximum, config.shared_subscription_available) =
        (u32::MAX, 0, true);
    let mut server = End::deciding(&config, &connect(Version::V5, &[Property::MaximumPacketSize(10)]));
    server.connection.accept(server.now, session, &config, &Default::default());
    assert_eq!(server.sends(), "20 06 00 00 03 21 04 00 62 02 00 02");
    assert_eq!(server.connection.take_drops().too_large, 2);
    assert!(matches!(server.gets("70 03 00 02 92")[..], [Seen::Completed(..)]));
    assert!(server.connection.session().is_empty());
    assert_eq!(server.connection.session().bytes(), 0);
}

// v5 [MQTT-4.6.0-4]; pitfall 43: what was received and not released is known after a resume.
#[test]
fn a_received_identifier_is_known_after_a_resume_and_a_message_never_acknowledged_comes_again() {
    let mut server = End::server(Version::V5);
    let seen = server.gets("34 07 00 01 'a' 00 01 00 'x' 34 07 00 01 'a' 00 02 00 'x' 34 07 00 01 'a' 00 03 00 'x'");
    server.ack(&seen[0], 0);
    server.connection.take(seen[1].token()); // the host has handed it on and waits for its disk
    let mut server = reconnects(server, &[]);
    assert_eq!(
        server.gets("3C 07 00 01 'a' 00 01 00 'x' 3C 07 00 01 'a' 00 02 00 'x'"),
        [Seen::Handled, Seen::Handled]
    );
    assert!(matches!(server.gets_one("3C 07 00 01 'a' 00 03 00 'x'"), Seen::Publish { .. }), "the host never took it");
    assert_eq!(server.sends(), "50 02 00 01 50 02 00 02");
    let released = server.gets_one("62 02 00 02");
    let mut server = reconnects(server, &[]);
    server.ack(&released, 0); // stale
    assert_eq!(server.sends(), "");
    assert!(matches!(server.gets_one("62 02 00 02"), Seen::Released(_)), "and comes again");
}

// --- size and time ---------------------------------------------------------------------------------------------------

// v5 [MQTT-3.1.2-24], v5 [MQTT-3.1.2-25]. pitfall 32, pitfall 33
#[test]
fn a_message_too_large_for_a_client_is_dropped_for_it_alone_and_costs_nothing() {
    let mut config = ServerConfig::default();
    (config.maximum_packet_size, config.topic_alias_maximum, config.shared_subscription_available) =
        (u32::MAX, 0, true);
    let asks = [Property::MaximumPacketSize(12), Property::ReceiveMaximum(1)];
    let mut server = End::server_of(&config, &connect(Version::V5, &asks), Session::new());
    server.delivers("a", "12345", Qos::AtLeastOnce); // 13 bytes
    server.delivers("a", "1234567", Qos::AtMostOnce);
    server.delivers("a", "1234", Qos::AtLeastOnce); // 12 bytes
    assert_eq!(server.sends(), wire("32 0A 00 01 'a' 00 01 00 '1234'"));
    assert_eq!(server.connection.take_drops().too_large, 2);
    assert_eq!(server.connection.take_drops(), Default::default());
    let mut out = OutBuf::with_limit(100);
    let large = Publication::new(TopicName::new("a").unwrap(), b"12345678");
    assert_eq!(server.connection.forward(server.now, &large, false, &[], &mut out), Forwarded::Dropped);
    assert_eq!(server.connection.take_drops().too_large, 1);
}

// v5 [MQTT-3.3.2-5], v5 [MQTT-3.3.2-6], v5 [MQTT-4.3.3-7], v5 [MQTT-4.3.3-13]. pitfall 30, pitfall 31
#[test]
fn expiry_counts_down_ends_what_waits_and_leaves_what_was_sent() {
    let properties = [Property::MessageExpiryInterval(10)];
    let expiring = |qos| {
        let mut publication = Publication::new(TopicName::new("a").unwrap(), b"x");
        publication.properties = Properties::from_slice(&properties);
        Delivery::new(Message::new(Instant::ZERO, &publication), qos, false)
    };
    let mut server = server_with(Version::V5, &[Property::ReceiveMaximum(1)], Session::new());
    server.now = Instant::from_millis(2_500);
    server.connection.deliver(expiring(Qos::ExactlyOnce), &LIMITS).unwrap();
    assert_eq!(server.sends(), wire("34 0C 00 01 'a' 00 01 05 02 00 00 00 08 'x'"), "7.5 s are left");
    server.connection.deliver(expiring(Qos::ExactlyOnce), &LIMITS).unwrap();
    server.now = Instant::from_millis(9_999);
    server.connection.deliver(expiring(Qos::AtMostOnce), &LIMITS).unwrap();
    assert_eq!(server.sends(), wire("30 0A 00 01 'a' 05 02 00 00 00 01 'x'"), "never 0 before it has expired");
    server.now = Instant::from_millis(10_000);
    server.connection.deliver(expiring(Qos::AtMostOnce), &LIMITS).unwrap();
    assert_eq!(server.sends(), "");
    let mut server = reconnects(server, &[Property::ReceiveMaximum(1)]);
    assert_eq!(server.sends(), wire("3C 0C 00 01 'a' 00 01 05 02 00 00 00 00 'x'"), "QoS 2 that was sent goes on");
    server.gets("50 02 00 01");
    assert_eq!(server.sends(), "62 02 00 01");
    server.gets("70 02 00 01");
    assert_eq!(server.sends(), "", "what waited has expired");
    assert_eq!(server.connection.session().bytes(), 0);
    // before 5.0 there is no such property, and expiry holds all the same
    let mut server = End::server(Version::V311);
    server.connection.deliver(expiring(Qos::AtMostOnce), &LIMITS).unwrap();
    assert_eq!(server.sends(), wire("30 04 00 01 'a' 'x'"));
    server.now = Instant::from_millis(10_000);
    server.connection.deliver(expiring(Qos::AtMostOnce), &LIMITS).unwrap();
    assert_eq!((server.sends().as_str(), server.connection.take_drops().expired), ("", 1));
}

// --- what a copy carries ---------------------------------------------------------------------------------------------

// v5 [MQTT-3.3.2-4], v5 [MQTT-3.3.2-15], v5 [MQTT-3.3.2-16], v5 [MQTT-3.3.2-17], v5 [MQTT-3.3.2-18], v5 [MQTT-3.3.2-20], v5 [MQTT-3.3.1-3], v5 [MQTT-3.3.4-3], v5 [MQTT-3.3.4-4], v5 [MQTT-3.3.4-5], v5 [MQTT-3.1.2-26], v5 [MQTT-3.1.2-27], v5 [MQTT-3.3.2-11].
// pitfall 2, pitfall 46, pitfall 59
#[test]
fn a_copy_carries_the_message_and_nothing_else_of_its_publisher() {
    let user = |name, value| Property::UserProperty(Utf8::new(name).unwrap(), Utf8::new(value).unwrap());
    let properties = [
        user("k", "2"),
        Property::TopicAlias(7),
        Property::PayloadFormatIndicator(true),
        Property::SubscriptionIdentifier(9),
        Property::ContentType(Utf8::new("t").unwrap()),
        Property::ResponseTopic(TopicName::new("r").unwrap()),
        Property::WillDelayInterval(3),
        Property::CorrelationData(b"c"),
        user("k", "1"),
        Property::MessageExpiryInterval(5),
    ];
    let mut publication = Publication::new(TopicName::new("a").unwrap(), b"x");
    publication.properties = Properties::from_slice(&properties);
    let own = "02 00 00 00 05 0B 80 01 0B 05 0B 05"; // expiry; identifiers 128, 5, 5
    let forwarded = "26 00 01 'k' 00 01 '2' 01 01 03 00 01 't' 08 00 01 'r' 09 00 01 'c' 26 00 01 'k' 00 01 '1'";
    let expected = format!("33 2F 00 01 'a' 00 01 28 {own} {forwarded} 'x'");

    let mut server = server_with(Version::V5, &[Property::TopicAliasMaximum(10)], Session::new());
    let message = Message::new(Instant::ZERO, &publication);
    assert_eq!(message.properties().iter().count(), 6);
    assert_eq!(message.expires(), Some(Instant::from_millis(5_000)));
    server.connection.deliver(Delivery::new(message, Qos::AtLeastOnce, true).with_ids(&[128, 5, 5]), &LIMITS).unwrap();
    let kept = server.sends();
    let mut out = OutBuf::with_limit(1000);
    assert_eq!(server.connection.forward(server.now, &publication, true, &[128, 5, 5], &mut out), Forwarded::Wrote);
    assert_eq!(kept, wire(&expected));
    let borrowed = common::hex(out.chunk());
    assert_eq!(
        borrowed,
        wire(&expected.replace("33 2F", "31 2D").replace("'a' 00 01", "'a'")),
        "both ways give the same copy"
    );

    let mut server = End::server(Version::V311);
    let message = Message::new(Instant::ZERO, &publication);
    server.connection.deliver(Delivery::new(message, Qos::AtLeastOnce, true).with_ids(&[1]), &LIMITS).unwrap();
    assert_eq!(server.sends(), wire("33 06 00 01 'a' 00 01 'x'"), "before 5.0 there are no properties");
}

#[test]
fn a_big_payload_is_referenced_and_arrives_whole() {
    let payload = vec![7; 100_000];
    let message = Message::new(Instant::ZERO, &Publication::new(TopicName::new("a").unwrap(), &payload));
    let mut server = End::server(Version::V311);
    server.connection.deliver(Delivery::new(message, Qos::AtMostOnce, false), &LIMITS).unwrap();
    let mut out = OutBuf::with_limit(10);
    assert_eq!(
        server.connection.poll_transmit(server.now, &mut out),
        Transmit::Wrote,
        "an empty buffer takes one packet of any size"
    );
    assert!(out.memory() < 1000, "not copied");
    assert_eq!(out.len(), 1 + 3 + 3 + 100_000);
    server.delivers("a", "x", Qos::AtMostOnce);
    assert_eq!(server.connection.poll_transmit(server.now, &mut out), Transmit::Full);
}

// --- straight through ------------------------------------------------------------------------------------------------

// v5 [MQTT-3.2.0-1]: nothing goes before CONNACK. v5 [X5-SUB-5]: a message may go before a SUBACK.
#[test]
fn a_message_is_forwarded_at_once_if_nothing_waits_before_it() {
    let config = ServerConfig::default();
    let publication = Publication::new(TopicName::new("a").unwrap(), b"x");
    let mut out = OutBuf::with_limit(1000);
    let mut server = End::deciding(&config, &connect(Version::V311, &[]));
    server.connection.accept(server.now, Session::new(), &config, &Default::default());
    assert_eq!(
        server.connection.forward(server.now, &publication, false, &[], &mut out),
        Forwarded::MustQueue,
        "CONNACK waits"
    );
    server.sends();
    let seen = server.gets_one("82 06 00 01 00 01 'a' 00");
    server.connection.suback(seen.request(), &[ReasonCode::SUCCESS], Properties::EMPTY);
    assert!(server.connection.can_forward());
    assert_eq!(server.connection.forward(server.now, &publication, true, &[], &mut out), Forwarded::Wrote);
    assert_eq!(common::hex(out.chunk()), wire("31 04 00 01 'a' 'x'"));
    server.delivers("a", "1", Qos::AtLeastOnce);
    assert!(server.connection.can_forward(), "QoS 1 is another order");
    server.delivers("a", "0", Qos::AtMostOnce);
    assert!(!server.connection.can_forward());
    server.sends();
    let mut full = OutBuf::with_limit(5);
    full.put_slice(&[0; 5]);
    assert_eq!(server.connection.forward(server.now, &publication, false, &[], &mut full), Forwarded::MustQueue);
    let place = server.connection.session_mut().hold_place();
    assert_eq!(server.connection.forward(server.now, &publication, false, &[], &mut out), Forwarded::MustQueue);
    server.connection.close_place(place);
    assert!(server.connection.can_forward());
    let expired = [Property::MessageExpiryInterval(0)];
    let publication = Publication { properties: Properties::from_slice(&expired), ..publication };
    assert_eq!(server.connection.forward(server.now, &publication, false, &[], &mut out), Forwarded::Dropped);
    assert_eq!(server.connection.take_drops().expired, 1);
}

// --- places ----------------------------------------------------------------------------------------------------------

// v5 [MQTT-4.6.0-5]: also when there is no place between them any more. The simulation found that the second came first.
#[test]
fn qos_0_that_stood_behind_a_place_does_not_overtake_what_was_there_before_it() {
    for recorded in [false, true] {
        let mut session = Session::new();
        if recorded {
            session.record_changes();
        }
        let mut server = End::server_of(&Default::default(), &connect(Version::V311, &[]), session);
        server.delivers("a", "1", Qos::AtMostOnce);
        let place = server.connection.session_mut().hold_place();
        server.delivers("a", "2", Qos::AtMostOnce);
        server.connection.close_place(place);
        server.delivers("a", "3", Qos::AtMostOnce);
        assert_eq!(server.sends(), wire("30 04 00 01 'a' '1' 30 04 00 01 'a' '2' 30 04 00 01 'a' '3'"));
    }
}

// v5 [MQTT-3.3.2-5]: what has expired holds up nothing that came later.
#[test]
fn qos_0_that_stood_behind_a_place_goes_when_all_that_was_there_before_it_has_expired() {
    for recorded in [false, true] {
        let mut session = Session::new();
        if recorded {
            session.record_changes();
        }
        let mut server = server_with(Version::V5, &[], session);
        let expiring = [Property::MessageExpiryInterval(1)];
        let mut first = Publication::new(TopicName::new("a").unwrap(), b"1");
        first.properties = Properties::from_slice(&expiring);
        let first = Delivery::new(Message::new(server.now, &first), Qos::AtMostOnce, false);
        server.connection.deliver(first, &LIMITS).unwrap();
        let place = server.connection.session_mut().hold_place();
        server.delivers("a", "2", Qos::AtMostOnce);
        server.connection.close_place(place);
        server.waits(1_000);
        assert_eq!(server.sends(), wire("30 05 00 01 'a' 00 '2'"));
    }
}

// pitfall 47: what a place stands for is not overtaken, at any QoS.
#[test]
fn what_is_queued_behind_a_place_waits_until_it_is_closed() {
    let mut server = End::server(Version::V311);
    server.delivers("a", "1", Qos::AtMostOnce);
    let place = server.connection.session_mut().hold_place();
    server.delivers("a", "4", Qos::AtMostOnce);
    server.delivers("a", "5", Qos::AtLeastOnce);
    let mut out = OutBuf::with_limit(1000);
    let mut poll = |server: &mut End| server.connection.poll_transmit(server.now, &mut out);
    assert_eq!(poll(&mut server), Transmit::Wrote, "what was there before it goes");
    assert_eq!(poll(&mut server), Transmit::Place(place));
    assert_eq!(poll(&mut server), Transmit::Place(place), "until it is filled or closed");
    server.connection.fill_place(place, delivery("a", "2", Qos::AtLeastOnce));
    server.connection.fill_place(place, delivery("a", "3", Qos::AtMostOnce));
    assert_eq!(poll(&mut server), Transmit::Wrote);
    assert_eq!(poll(&mut server), Transmit::Wrote);
    assert_eq!(poll(&mut server), Transmit::Place(place));
    server.delivers("a", "6", Qos::AtMostOnce);
    server.connection.close_place(place);
    server.connection.close_place(place);
    server.connection.fill_place(place, delivery("a", "?", Qos::AtMostOnce)); // closed: dropped
    while poll(&mut server) == Transmit::Wrote {}
    let payloads: String =
        common::hex(out.chunk()).split(' ').filter(|byte| byte.starts_with('3')).collect::<Vec<_>>().join(" ");
    assert_eq!(payloads, "30 31 32 32 30 33 30 34 32 35 30 36", "first bytes and payloads 1 to 6, in order");
    assert_eq!(
        server.connection.session().bytes(),
        delivery("a", "?", Qos::AtLeastOnce).message.size() * 2,
        "two are in flight"
    );
}

#[test]
fn qos_0_that_waited_behind_a_place_is_not_overtaken_by_later_qos_0() {
    let mut server = server_with(Version::V5, &[Property::ReceiveMaximum(1)], Session::new());
    let place = server.connection.session_mut().hold_place();
    for (payload, qos) in [("1", Qos::AtLeastOnce), ("2", Qos::AtLeastOnce), ("3", Qos::AtMostOnce)] {
        server.delivers("a", payload, qos);
    }
    server.connection.close_place(place);
    server.delivers("a", "4", Qos::AtMostOnce);
    assert!(!server.connection.can_forward());
    assert_eq!(server.sends(), wire("32 07 00 01 'a' 00 01 00 '1'"), "3 is behind 2, and 4 behind 3");
    server.gets("40 02 00 01");
    let rest = "32 07 00 01 'a' 00 02 00 '2' 30 05 00 01 'a' 00 '3' 30 05 00 01 'a' 00 '4'";
    assert_eq!(server.sends(), wire(rest));
    assert!(server.connection.can_forward());
}

#[test]
fn a_place_is_kept_over_connections() {
    let mut server = End::server(Version::V311);
    let place = server.connection.session_mut().hold_place();
    server.delivers("a", "1", Qos::AtLeastOnce);
    let mut server = reconnects(server, &[]);
    let mut out = OutBuf::with_limit(1000);
    assert_eq!(server.connection.poll_transmit(server.now, &mut out), Transmit::Place(place));
    assert!(!server.connection.session().is_empty());
}

// --- limits ----------------------------------------------------------------------------------------------------------

#[test]
fn a_queue_is_bounded_in_messages_and_bytes_and_what_was_refused_comes_back() {
    let size = delivery("a", "x", Qos::AtLeastOnce).message.size();
    for limits in [QueueLimits { messages: 3, bytes: 1_000_000 }, QueueLimits { messages: 100, bytes: 3 * size }] {
        let mut config = ServerConfig::default();
        config.maximum_inflight = 1;
        let mut server = End::server_of(&config, &connect(Version::V311, &[]), Session::new());
        for _ in 0..3 {
            server.connection.deliver(delivery("a", "x", Qos::AtLeastOnce), &limits).unwrap();
        }
        server.sends();
        let back = server.connection.deliver(delivery("a", "y", Qos::AtLeastOnce), &limits).unwrap_err();
        assert_eq!(back.0.message.payload(), b"y", "one in flight and two queued");
        server.gets("40 02 00 01");
        server.connection.deliver(delivery("a", "y", Qos::AtLeastOnce), &limits).unwrap();
    }
}

#[test]
fn the_oldest_delivery_of_both_lanes_is_dropped_first_and_never_one_that_was_sent() {
    let mut config = ServerConfig::default();
    config.maximum_inflight = 1;
    let mut server = End::server_of(&config, &connect(Version::V311, &[]), Session::new());
    server.delivers("a", "1", Qos::AtLeastOnce);
    server.sends();
    for (payload, qos) in
        [("2", Qos::AtLeastOnce), ("3", Qos::AtMostOnce), ("4", Qos::AtLeastOnce), ("5", Qos::AtMostOnce)]
    {
        server.delivers("a", payload, qos);
    }
    let session = server.connection.session_mut();
    let oldest: Vec<_> =
        (0..3).filter_map(|_| session.drop_oldest()).map(|delivery| delivery.message.payload()[0]).collect();
    assert_eq!(oldest, b"234");
    assert_eq!((session.drop_qos0(), session.queued(), session.inflight()), (1, 0, 1));
    assert!(session.drop_oldest().is_none());
    assert_eq!(session.bytes(), delivery("a", "1", Qos::AtLeastOnce).message.size());
}
