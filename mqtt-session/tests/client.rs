//! Stories of the client's end, told in bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{End, LIMITS, Seen, VERSIONS, connect, filter, wire};
use mqtt_session::codec::{
    Connect, EncodeError, Property, Qos, ReasonCode, SubscribeOptions, Subscription, Utf8, Version,
};
use mqtt_session::topic::TopicName;
use mqtt_session::{
    Connection, Instant, ProtocolErrorKind, Publication, PublishError, QueueLimits, RequestError, Session, State,
};

fn connecting(connect: &Connect<'_>, session: Session) -> End {
    let connection = Connection::client(Instant::ZERO, connect, session).unwrap();
    End { reader: connection.reader(), connection, now: Instant::ZERO }
}

fn subscription(text: &str) -> Subscription<'_> {
    Subscription {
        filter: filter(text),
        options: SubscribeOptions { qos: Qos::AtLeastOnce, ..SubscribeOptions::default() },
    }
}

// --- connecting ------------------------------------------------------------------------------------------------------

// v5 [MQTT-3.1.0-1], v4 [MQTT-3.1.0-1].
#[test]
fn connect_is_the_first_packet_and_messages_wait_for_connack() {
    for (version, first) in [
        (Version::V31, "10 0F 00 06 'MQIsdp' 03 00 00 0A 00 01 'c'"),
        (Version::V311, "10 0D 00 04 'MQTT' 04 00 00 0A 00 01 'c'"),
        (Version::V5, "10 0E 00 04 'MQTT' 05 00 00 0A 00 00 01 'c'"),
    ] {
        let mut client = connecting(&connect(version, &[]), Session::new());
        client.publishes("a", "0", Qos::AtMostOnce);
        assert_eq!(client.sends(), wire(first));
        assert_eq!(client.sends(), "");
        client.gets(if version == Version::V5 { "20 03 00 00 00" } else { "20 02 00 00" });
        assert_eq!(
            client.sends(),
            wire(if version == Version::V5 { "30 05 00 01 'a' 00 '0'" } else { "30 04 00 01 'a' '0'" })
        );
    }
}

#[test]
fn a_connect_that_cannot_be_encoded_is_ours_to_mend() {
    let mut connect = connect(Version::V311, &[]);
    connect.password = Some(b"secret");
    assert_eq!(Connection::client(Instant::ZERO, &connect, Session::new()).unwrap_err(), EncodeError::Invalid);
}

// v5 [MQTT-4.13.2-1], v5 [MQTT-3.2.0-1], v4 [MQTT-3.2.0-1]
#[test]
fn a_refusal_ends_the_connection_without_a_word() {
    for (version, connack) in
        [(Version::V5, "20 03 00 87 00"), (Version::V311, "20 02 00 05"), (Version::V31, "20 02 00 05")]
    {
        let mut client = connecting(&connect(version, &[]), Session::new());
        client.sends();
        assert_eq!(client.gets(connack), [Seen::Refused(ReasonCode::NOT_AUTHORIZED)]);
        assert_eq!((client.connection.state(), client.sends().as_str()), (State::Closing, ""));
    }
    let mut client = connecting(&connect(Version::V5, &[]), Session::new());
    client.sends();
    assert_eq!(client.gets_one("D0 00").reason(), 0x82, "nothing comes before CONNACK");
    assert_eq!(client.sends(), "E0 01 82");
}

// v5 [MQTT-3.2.0-2], v5 [X5-ERR-4]
#[test]
fn a_second_connack_ends_the_connection() {
    let mut client = End::client(Version::V5);
    assert_eq!(client.gets_one("20 03 00 00 00").reason(), 0x82);
    assert_eq!(client.sends(), "E0 01 82");
}

#[test]
fn a_connack_that_does_not_come_in_time_ends_the_connection() {
    let mut client = connecting(&connect(Version::V5, &[]), Session::new());
    client.sends();
    assert_eq!(client.connection.poll_timeout(), Some(Instant::from_millis(10_000)));
    assert_eq!(client.waits(10_000).unwrap().kind, ProtocolErrorKind::ConnectTimeout);
    assert_eq!(client.sends(), "");
}

// v5 [MQTT-3.2.2-4].
#[test]
fn a_session_the_client_knows_nothing_of_is_refused() {
    let mut client = connecting(&connect(Version::V5, &[]), Session::new());
    client.sends();
    assert_eq!(client.gets_one("20 03 01 00 00").reason(), 0x82);
    assert_eq!(client.sends(), "E0 01 82");
    // but not by a client that was there before, its CONNACK lost, nor by one that says so
    for session in
        [connecting(&connect(Version::V5, &[]), Session::new()).connection.into_session(), Session::resumable()]
    {
        let mut client = connecting(&connect(Version::V5, &[]), session);
        assert_eq!(client.gets("20 03 01 00 00"), [Seen::Connected { session_present: true }]);
    }
    let mut clean = connect(Version::V311, &[]);
    clean.clean_start = true;
    assert_eq!(connecting(&clean, Session::resumable()).gets_one("20 02 01 00").reason(), 0x82);
}

// v5 [MQTT-3.2.2-5], v5 [MQTT-4.6.0-1], v4 [MQTT-4.6.0-1], v5 [MQTT-4.3.1-1].
#[test]
fn a_server_that_has_lost_the_session_gets_what_it_never_acknowledged_anew() {
    for version in [Version::V311, Version::V5] {
        let p = if version == Version::V5 { "00" } else { "" };
        let six = if version == Version::V5 { "07" } else { "06" };
        let connack = if version == Version::V5 { "20 03 00 00 00" } else { "20 02 00 00" };
        let mut client = End::client(version);
        let tokens = ["1", "2", "3"].map(|payload| client.publishes("a", payload, Qos::ExactlyOnce));
        client.sends();
        client.gets("50 02 00 01"); // the first is the server's, whatever becomes of it
        client.sends();
        let fourth = client.publishes("a", "4", Qos::AtLeastOnce);
        let session = client.connection.into_session();
        assert_eq!((session.inflight(), session.queued()), (3, 1));
        let mut client = End::client_of(&connect(version, &[]), session, connack);
        // The identifiers are new: the first three belonged to the lost session, or were never its own.
        let anew = [("34", "04", "2"), ("34", "05", "3"), ("32", "06", "4")];
        let anew = anew.map(|(head, id, payload)| format!("{head} {six} 00 01 'a' 00 {id} {p} '{payload}'"));
        assert_eq!(client.sends(), wire(&anew.join(" ")), "no DUP, and in order");
        for (id, token) in [("04", tokens[1]), ("05", tokens[2])] {
            client.gets(&format!("50 02 00 {id}"));
            assert_eq!(client.sends(), format!("62 02 00 {id}"));
            assert_eq!(
                client.gets(&format!("70 02 00 {id}")),
                [Seen::Completed(token, ReasonCode::SUCCESS)],
                "its token goes with it"
            );
        }
        assert_eq!(client.gets("40 02 00 06"), [Seen::Completed(fourth, ReasonCode::SUCCESS)]);
        assert!(client.connection.session().is_empty());
    }
}

// v5 [MQTT-4.4.0-1], v4 [MQTT-4.4.0-1], v5 [MQTT-4.6.0-1], v4 [MQTT-4.6.0-1], v4 [MQTT-2.3.1-3], v4 [MQTT-3.1.2-4], v3 [X31-RETRY-1].
#[test]
fn a_resumed_session_sends_again_with_the_same_identifiers() {
    for (version, connack) in
        [(Version::V31, "20 02 00 00"), (Version::V311, "20 02 01 00"), (Version::V5, "20 03 01 00 00")]
    {
        let p = if version == Version::V5 { "00" } else { "" };
        let six = if version == Version::V5 { "07" } else { "06" };
        let mut client = End::client(version);
        for payload in ["1", "2"] {
            client.publishes("a", payload, Qos::AtLeastOnce);
        }
        client.sends();
        let mut client = End::client_of(&connect(version, &[]), client.connection.into_session(), connack);
        assert_eq!(client.sends(), wire(&format!("3A {six} 00 01 'a' 00 01 {p} '1' 3A {six} 00 01 'a' 00 02 {p} '2'")));
    }
}

// --- keep alive ------------------------------------------------------------------------------------------------------

// v5 [MQTT-3.1.2-20], v4 [MQTT-3.1.2-23], v5 [MQTT-3.1.2-21], v5 [MQTT-3.2.2-21].
#[test]
fn an_idle_client_pings_in_time_and_the_servers_keep_alive_wins() {
    for (connack, period) in [("20 03 00 00 00", 10_000), ("20 06 00 00 03 13 00 03", 3_000)] {
        let mut client = End::client_of(&connect(Version::V5, &[]), Session::new(), connack);
        for _ in 0..5 {
            let due = client.connection.poll_timeout().unwrap().since(client.now).as_millis() as u64;
            assert!(due <= period && due >= period * 8 / 10, "{due}");
            assert_eq!(client.waits(due - 1), None);
            assert_eq!(client.sends(), "");
            assert_eq!(client.waits(1), None);
            assert_eq!(client.waits(0), None);
            assert_eq!(client.sends(), "C0 00");
            assert_eq!(client.gets("D0 00"), [Seen::Handled]);
        }
        client.now = client.now.plus_millis(period / 2);
        client.publishes("a", "x", Qos::AtMostOnce);
        client.sends();
        assert_eq!(client.waits(period / 2 + 1), None);
        assert_eq!(client.sends(), "", "any packet that is sent serves");
    }
    let mut off = connect(Version::V311, &[]);
    off.keep_alive = 0;
    let client = End::client_of(&off, Session::new(), "20 02 00 00");
    assert_eq!(client.connection.poll_timeout(), None);
}

#[test]
fn a_server_that_does_not_answer_a_ping_is_lost() {
    let mut client = End::client(Version::V5);
    assert_eq!(client.waits(9_000), None);
    assert_eq!(client.sends(), "C0 00");
    client.waits(5_000);
    client.gets("30 05 00 01 'a' 00 'x'"); // it lives: its answer is on the way
    assert_eq!(client.waits(9_999), None);
    assert_eq!(client.waits(1).unwrap().kind, ProtocolErrorKind::KeepAlive);
    assert_eq!(client.connection.state(), State::Closing);
    assert_eq!(client.sends(), "C0 00", "the ping of the second period; no DISCONNECT, which is the server's to say");
}

// --- receiving -------------------------------------------------------------------------------------------------------

// v5 [MQTT-4.5.0-2], v4 [MQTT-4.5.0-2], v5 [MQTT-4.6.0-2], v5 [MQTT-4.6.0-3], v4 [MQTT-4.6.0-2], v4 [MQTT-4.6.0-3], v5 [MQTT-4.3.3-10].
#[test]
fn a_client_acknowledges_by_itself_and_in_the_order_of_arrival() {
    let mut client = End::client(Version::V311);
    let seen = client.gets(
        "32 06 00 01 'a' 00 07 'x' 34 06 00 01 'a' 00 03 'y' 34 06 00 01 'a' 00 01 'z' 32 06 00 01 'a' 00 09 'x'",
    );
    assert!(seen.iter().all(|seen| !seen.token().is_awaited()));
    assert_eq!(client.sends(), "40 02 00 07 50 02 00 03 50 02 00 01 40 02 00 09");
    assert_eq!(
        client.gets("3C 06 00 01 'a' 00 03 'y' 62 02 00 03 62 02 00 01"),
        [Seen::Handled, Seen::Handled, Seen::Handled]
    );
    assert_eq!(client.sends(), "50 02 00 03 70 02 00 03 70 02 00 01");
    assert!(client.connection.session().is_empty());
}

#[test]
fn manual_acknowledgement_waits_for_the_application_and_keeps_the_order() {
    let mut client = End::client(Version::V5);
    client.connection.set_manual_acknowledgement(true);
    let seen = client.gets("32 07 00 01 'a' 00 07 00 'x' 34 07 00 01 'a' 00 03 00 'y'");
    client.ack(&seen[1], 0);
    assert_eq!((client.sends().as_str(), client.connection.unacknowledged()), ("", 1));
    client.ack(&seen[0], 0x83);
    assert_eq!(client.sends(), "40 03 00 07 83 50 02 00 03");
    let released = client.gets_one("62 02 00 03");
    assert_eq!(client.sends(), "");
    client.ack(&released, 0);
    assert_eq!(client.sends(), "70 02 00 03");
}

// v5 [MQTT-4.6.0-4], v4 [MQTT-4.6.0-4].
#[test]
fn releases_leave_in_the_order_of_the_pubrecs() {
    let mut client = End::client(Version::V311);
    for payload in ["1", "2", "3"] {
        client.publishes("a", payload, Qos::ExactlyOnce);
    }
    client.sends();
    client.gets("50 02 00 03 50 02 00 01 50 02 00 02");
    assert_eq!(client.sends(), "62 02 00 03 62 02 00 01 62 02 00 02");
}

// v5 [MQTT-3.3.2-10], v5 [X5-PUB-5], v5 [X5-CON-4].
#[test]
fn a_client_takes_the_aliases_it_has_announced_and_no_others() {
    let asks = [Property::TopicAliasMaximum(2)];
    let mut client = End::client_of(&connect(Version::V5, &asks), Session::new(), "20 03 00 00 00");
    for packet in [
        "30 07 00 01 'a' 03 23 00 01",
        "30 07 00 01 'b' 03 23 00 02",
        "30 06 00 00 03 23 00 01",
        "30 06 00 00 03 23 00 02",
    ] {
        assert!(
            matches!(client.gets_one(packet), Seen::Publish { topic, .. } if topic == if packet.ends_with('1') { "a" } else { "b" })
        );
    }
    assert_eq!(client.gets_one("30 07 00 01 'a' 03 23 00 03").reason(), 0x94);
    let mut client = End::client(Version::V5);
    assert_eq!(client.gets_one("30 07 00 01 'a' 03 23 00 01").reason(), 0x94);
    assert_eq!(client.sends(), "E0 01 94");
}

// v5 [MQTT-3.3.4-9], v5 [X5-PUB-6].
#[test]
fn a_server_that_exceeds_the_clients_receive_maximum_is_told() {
    let asks = [Property::ReceiveMaximum(1)];
    let mut client = End::client_of(&connect(Version::V5, &asks), Session::new(), "20 03 00 00 00");
    client.gets("34 07 00 01 'a' 00 01 00 'x'");
    client.sends();
    assert_eq!(client.gets_one("32 07 00 01 'a' 00 02 00 'x'").reason(), 0x93);
    assert_eq!(client.sends(), "E0 01 93");
}

// --- publishing ------------------------------------------------------------------------------------------------------

// v5 [MQTT-3.3.4-7], v5 [MQTT-3.3.4-8], v5 [MQTT-4.9.0-3].
#[test]
fn a_full_window_holds_back_the_clients_messages_and_nothing_else() {
    let mut client = End::client_of(&connect(Version::V5, &[]), Session::new(), "20 06 00 00 03 21 00 01");
    client.publishes("a", "1", Qos::AtLeastOnce);
    client.publishes("a", "2", Qos::AtLeastOnce);
    client.publishes("a", "0", Qos::AtMostOnce);
    client.connection.subscribe(client.now, &[subscription("f")], &[]).unwrap();
    client.gets("32 07 00 01 'a' 00 09 00 'x'");
    let expected = "82 07 00 01 00 00 01 'f' 01 40 02 00 09 32 07 00 01 'a' 00 02 00 '1' 30 05 00 01 'a' 00 '0'";
    assert_eq!(client.sends(), wire(expected));
    client.waits(9_000);
    assert_eq!(client.sends(), "C0 00");
    client.gets("40 02 00 02");
    assert_eq!(client.sends(), wire("32 07 00 01 'a' 00 03 00 '2'"));
}

// v5 [MQTT-3.2.2-11], v5 [MQTT-3.2.2-14].
#[test]
fn what_the_server_does_not_serve_is_not_published() {
    let not_served = "20 07 00 00 04 24 01 25 00";
    let retained = |topic| Publication { retain: true, ..Publication::new(TopicName::new(topic).unwrap(), b"x") };
    let mut client = End::client_of(&connect(Version::V5, &[]), Session::new(), not_served);
    let mut publication = Publication::new(TopicName::new("a").unwrap(), b"x");
    publication.qos = Qos::ExactlyOnce;
    assert_eq!(client.connection.publish(client.now, &publication, &LIMITS), Err(PublishError::NotSupported));
    assert_eq!(client.connection.publish(client.now, &retained("a"), &LIMITS), Err(PublishError::NotSupported));
    client.publishes("a", "x", Qos::AtLeastOnce);
    assert_eq!(client.sends(), wire("32 07 00 01 'a' 00 01 00 'x'"));
    // what was published before the client knew is dropped, and counted
    let mut client = connecting(&connect(Version::V5, &[]), Session::new());
    client.publishes("a", "x", Qos::ExactlyOnce);
    client.connection.publish(client.now, &retained("a"), &LIMITS).unwrap();
    client.sends();
    client.gets(not_served);
    assert_eq!((client.sends().as_str(), client.connection.take_drops().not_supported), ("", 2));
    assert_eq!(client.connection.session().bytes(), 0);
}

// v5 [MQTT-3.1.2-24]
#[test]
fn what_is_ours_to_mend_changes_nothing() {
    let mut client = End::client_of(&connect(Version::V5, &[]), Session::new(), "20 08 00 00 05 27 00 00 00 0C");
    let mut publication = Publication::new(TopicName::new("a").unwrap(), b"12345");
    assert!(client.connection.publish(client.now, &publication, &LIMITS).is_ok(), "11 bytes");
    publication.qos = Qos::AtLeastOnce;
    assert_eq!(client.connection.publish(client.now, &publication, &LIMITS), Err(PublishError::TooLarge), "13 bytes");
    let long = vec![0; 65_536];
    let properties = [Property::CorrelationData(&long)];
    let mut open = End::client(Version::V5);
    let correlated =
        Publication { properties: mqtt_session::codec::Properties::from_slice(&properties), ..publication };
    assert_eq!(open.connection.publish(open.now, &correlated, &LIMITS), Err(PublishError::TooLarge));
    let none = QueueLimits { messages: 0, bytes: 1000 };
    assert_eq!(open.connection.publish(open.now, &publication, &none), Err(PublishError::Full));
    assert!(open.connection.session().is_empty());
    open.connection.disconnect(open.now, ReasonCode::SUCCESS, &[]);
    assert_eq!(open.connection.publish(open.now, &publication, &LIMITS), Err(PublishError::NotConnected));
    assert_eq!(open.connection.subscribe(open.now, &[subscription("a")], &[]), Err(RequestError::NotConnected));
}

// --- subscribing -----------------------------------------------------------------------------------------------------

// v5 [MQTT-2.2.1-3], v4 [MQTT-2.3.1-2], v5 [X5-PID-1]: one space for all.
#[test]
fn requests_share_the_identifiers_of_messages_and_get_their_answers() {
    for version in VERSIONS {
        let p = if version == Version::V5 { "00" } else { "" };
        let n = |len: u8| format!("{:02X}", if version == Version::V5 { len + 1 } else { len });
        let mut client = End::client(version);
        client.publishes("a", "x", Qos::AtLeastOnce);
        assert_eq!(client.sends(), wire(&format!("32 {} 00 01 'a' 00 01 {p} 'x'", n(6))));
        let subscribed = client.connection.subscribe(client.now, &[subscription("f"), subscription("#")], &[]).unwrap();
        let unsubscribed = client.connection.unsubscribe(client.now, &[filter("f")], &[]).unwrap();
        client.publishes("a", "x", Qos::AtLeastOnce);
        let requests = format!("82 {} 00 02 {p} 00 01 'f' 01 00 01 '#' 01 A2 {} 00 03 {p} 00 01 'f'", n(10), n(5));
        assert_eq!(client.sends(), wire(&format!("{requests} 32 {} 00 01 'a' 00 04 {p} 'x'", n(6))));
        assert_eq!(client.gets(&format!("90 {} 00 02 {p} 01 00", n(4))), [Seen::Suback(subscribed, vec![1, 0])]);
        let (unsuback, codes) =
            if version == Version::V5 { ("B0 04 00 03 00 11", vec![0x11]) } else { ("B0 02 00 03", vec![]) };
        assert_eq!(client.gets(unsuback), [Seen::Unsuback(unsubscribed, codes)]);
        assert!(matches!(client.gets(unsuback)[..], [Seen::Broken(_)]), "nobody asked");
    }
}

#[test]
fn a_request_is_not_taken_if_it_cannot_succeed() {
    let not_served = "20 09 00 00 06 28 00 29 00 2A 00";
    let mut client = connecting(&connect(Version::V5, &[]), Session::new());
    assert_eq!(client.connection.subscribe(client.now, &[subscription("a")], &[]), Err(RequestError::NotConnected));
    client.gets(not_served);
    client.sends();
    let id = [Property::SubscriptionIdentifier(1)];
    assert_eq!(client.connection.subscribe(client.now, &[subscription("a/#")], &[]), Err(RequestError::Invalid));
    assert_eq!(client.connection.subscribe(client.now, &[subscription("$share/g/a")], &[]), Err(RequestError::Invalid));
    assert_eq!(client.connection.subscribe(client.now, &[subscription("a")], &id), Err(RequestError::Invalid));
    assert_eq!(client.connection.subscribe(client.now, &[], &[]), Err(RequestError::Invalid));
    assert_eq!(client.connection.unsubscribe(client.now, &[], &[]), Err(RequestError::Invalid));
    assert_eq!(client.sends(), "");
    let mut client = End::client(Version::V5);
    assert!(client.connection.subscribe(client.now, &[subscription("$share/g/a"), subscription("#")], &id).is_ok());
    let mut no_local = subscription("$share/g/a");
    no_local.options.no_local = true; // v5 [MQTT-3.8.3-4]
    assert_eq!(client.connection.subscribe(client.now, &[no_local], &[]), Err(RequestError::Invalid));
    assert_eq!(client.connection.subscribe(client.now, &[subscription("$share/g")], &[]), Err(RequestError::Invalid));
    let mut small = End::client_of(&connect(Version::V5, &[]), Session::new(), "20 08 00 00 05 27 00 00 00 0C");
    assert_eq!(small.connection.subscribe(small.now, &[subscription("long/filter")], &[]), Err(RequestError::TooLarge));
}

#[test]
fn a_request_that_was_not_answered_ends_with_its_connection() {
    let mut client = End::client(Version::V5);
    client.connection.subscribe(client.now, &[subscription("a")], &[]).unwrap();
    client.publishes("a", "x", Qos::AtLeastOnce);
    client.sends();
    let session = client.connection.into_session();
    assert_eq!((session.inflight(), session.is_empty()), (1, false));
    let mut client = End::client_of(&connect(Version::V5, &[]), session, "20 03 01 00 00");
    assert_eq!(client.sends(), wire("3A 07 00 01 'a' 00 02 00 'x'"));
    assert_eq!(client.gets_one("90 04 00 01 00 00").reason(), 0x82);
}

// --- the end ---------------------------------------------------------------------------------------------------------

// v5 [MQTT-3.14.4-1], v4 [MQTT-3.14.4-2].
#[test]
fn a_client_says_goodbye_and_nothing_after() {
    for (version, reason, goodbye) in [
        (Version::V5, ReasonCode::SUCCESS, "E0 00"),
        (Version::V5, ReasonCode::DISCONNECT_WITH_WILL, "E0 01 04"),
        (Version::V311, ReasonCode::SUCCESS, "E0 00"),
        (Version::V311, ReasonCode::DISCONNECT_WITH_WILL, ""), // just closing leaves the will
        (Version::V31, ReasonCode::SUCCESS, "E0 00"),
    ] {
        let mut client = End::client(version);
        client.publishes("a", "x", Qos::AtLeastOnce);
        client.connection.disconnect(client.now, reason, &[]);
        assert_eq!(
            (client.sends().as_str(), client.connection.state()),
            (goodbye, State::Closing),
            "{version:?} {reason:?}"
        );
        client.connection.disconnect(client.now, reason, &[]);
        assert_eq!(client.sends(), "");
        assert_eq!(client.connection.into_session().queued(), 1);
    }
    // v5 [X5-DISC-2]: it cannot raise its session expiry from zero, so it does not say so
    let raise = [Property::SessionExpiryInterval(5), Property::ReasonString(Utf8::new("r").unwrap())];
    let mut client = End::client(Version::V5);
    client.connection.disconnect(client.now, ReasonCode::SUCCESS, &raise);
    assert_eq!(client.sends(), wire("E0 06 00 04 1F 00 01 'r'"));
}

// v5 [MQTT-3.14.2-2], v4 [X311-DISC-1]. pitfall 53
#[test]
fn a_goodbye_of_the_server_is_heard_at_5_only() {
    let mut client = End::client(Version::V5);
    assert_eq!(client.gets("E0 01 8E C0 00"), [Seen::Disconnect(ReasonCode::SESSION_TAKEN_OVER)]);
    assert_eq!(client.sends(), "");
    for (version, packet) in [
        (Version::V311, "E0 00"),
        (Version::V5, "E0 07 00 05 11 00 00 00 05"),
        (Version::V5, "82 07 00 01 00 00 01 'a' 00"),
    ] {
        let mut client = End::client(version);
        assert!(matches!(client.gets(packet)[..], [Seen::Broken(_)]), "{packet}");
    }
}

// v5 [MQTT-4.12.0-6], v5 [X5-AUTH-1]
#[test]
fn an_auth_that_nobody_asked_for_ends_the_connection() {
    for mut client in [End::client(Version::V5), connecting(&connect(Version::V5, &[]), Session::new())] {
        client.sends();
        assert!(matches!(client.gets("F0 07 18 05 15 00 02 'm' 'x'")[..], [Seen::Broken(_)]));
        assert_eq!(client.sends(), "E0 01 82");
    }
}
