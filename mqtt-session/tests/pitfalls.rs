//! Pitfalls whose end is the host's to decide: here is what it needs to know for that, from either end of a connection.
//!
//! What a session decides itself is named beside its own story in the other files (`grep -rn 'pitfall 41' tests`).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{End, Seen, connect, encoded, wire};
use mqtt_session::codec::{Connect, Properties, Property, Qos, ReasonCode, Utf8, Version, Will};
use mqtt_session::topic::TopicName;
use mqtt_session::{Accept, Connection, Event, Instant, ServerConfig, Session, State};

fn arriving() -> End {
    let connection = Connection::server(Instant::ZERO, &ServerConfig::default());
    End { reader: connection.reader(), connection, now: Instant::ZERO }
}

/// What the host is shown of a CONNECT.
fn shown<T>(connect: &Connect<'_>, look: impl FnOnce(&Connect<'_>) -> T) -> T {
    let mut server = arriving();
    let bytes = encoded(connect);
    let mut input = server.connection.read(server.now, &mut server.reader, &bytes);
    let Some(Event::Connect(connect)) = input.next().unwrap() else { panic!("a CONNECT") };
    look(&connect)
}

// pitfall 10, pitfall 11: at 5.0 the session expiry says how long a session is kept, and absent is 0; before, Clean Session says it.
#[test]
fn the_host_sees_what_decides_how_long_a_session_is_kept() {
    for (version, asks, clean_start, expiry) in [
        (Version::V5, &[][..], false, None),
        (Version::V5, &[Property::SessionExpiryInterval(u32::MAX)][..], true, Some(u32::MAX)),
        (Version::V311, &[Property::SessionExpiryInterval(5)][..], false, None), // 3.1.1 has no such thing
    ] {
        let mut connect = connect(version, asks);
        connect.clean_start = clean_start;
        let seen = shown(&connect, |connect| {
            (connect.version, connect.clean_start, connect.properties.session_expiry_interval())
        });
        assert_eq!(seen, (version, clean_start, expiry));
    }
    // at both a client that wants it goes on with a session that was kept
    for version in [Version::V311, Version::V5] {
        let mut server = End::server(version);
        server.delivers("a", "1", Qos::AtLeastOnce);
        server.sends();
        let mut again = End::deciding(&ServerConfig::default(), &connect(version, &[]));
        let accept = Accept { session_present: true, ..Accept::default() };
        again.connection.accept(again.now, server.connection.into_session(), &ServerConfig::default(), &accept);
        assert!(again.sends().ends_with(&wire("'1'")), "{version:?}");
    }
}

// pitfall 12, pitfall 14, pitfall 16: the will is dropped by a DISCONNECT that says that all is well (5.0), or any (3.1.1), and by nothing else.
#[test]
fn the_host_learns_how_a_connection_ended_so_that_it_can_judge_the_will() {
    let topic = TopicName::new("w").unwrap();
    let delay = [Property::WillDelayInterval(5)];
    let properties = Properties::from_slice(&delay);
    let will = Will { topic, payload: b"gone", qos: Qos::AtLeastOnce, retain: true, properties };
    for (version, end, dropped) in [
        (Version::V5, "E0 00", true),
        (Version::V5, "E0 01 00", true),
        (Version::V5, "E0 01 04", false),
        (Version::V5, "E0 01 80", false),
        (Version::V5, "E0 07 00 05 11 00 00 00 05", false), // raises the expiry from 0: no goodbye at all
        (Version::V5, "F0 00", false),
        (Version::V311, "E0 00", true),
        (Version::V311, "E0 01 00", false),
        (Version::V31, "E0 00", true),
    ] {
        let mut connect = connect(version, &[]);
        connect.will = Some(will);
        let carried = shown(&connect, |connect| {
            let will = connect.will.unwrap();
            assert_eq!(
                (will.topic, will.payload, will.qos, will.retain),
                (topic, &b"gone"[..], Qos::AtLeastOnce, true)
            );
            will.properties.will_delay_interval()
        });
        assert_eq!(carried, (version == Version::V5).then_some(5));
        let mut server = End::server_of(&ServerConfig::default(), &connect, Session::new());
        let all_is_well = server.gets_one(end) == Seen::Disconnect(ReasonCode::SUCCESS);
        assert_eq!(all_is_well, dropped, "{version:?} {end}");
        assert_eq!(server.connection.state(), State::Closing);
    }
}

// pitfall 15: a takeover is the server's end, not the client's; nothing of it says that all is well.
#[test]
fn a_connection_that_is_taken_over_is_told_and_its_session_moves_on() {
    for (version, goodbye) in [(Version::V5, "E0 01 8E"), (Version::V311, "")] {
        let mut old = End::server(version);
        old.delivers("a", "1", Qos::AtLeastOnce);
        old.sends();
        old.connection.disconnect(old.now, ReasonCode::SESSION_TAKEN_OVER, &[]);
        assert_eq!(old.sends(), goodbye);
        assert_eq!(old.gets("E0 00"), [], "what the old client says now comes too late");
        assert_eq!(old.connection.into_session().inflight(), 1);
    }
}

// v5 [MQTT-3.1.3-7], v4 [MQTT-3.1.3-8]. pitfall 36, pitfall 37
#[test]
fn an_empty_client_identifier_is_answered_as_its_version_wants() {
    let mut anonymous = connect(Version::V5, &[]);
    anonymous.client_id = Utf8::new("").unwrap();
    let mut server = End::deciding(&ServerConfig::default(), &anonymous);
    let accept = Accept { assigned_client_id: Utf8::new("id"), ..Accept::default() };
    server.connection.accept(server.now, Session::new(), &ServerConfig::default(), &accept);
    let connack = server.sends();
    assert!(connack.contains(&wire("12 00 02 'id'")), "{connack}");
    let client = End::client_of(&anonymous, Session::new(), &connack);
    assert_eq!(client.connection.terms().assigned_client_id, Some("id"), "to be said the next time");

    anonymous.version = Version::V311;
    assert!(shown(&anonymous, |connect| connect.client_id.as_str().is_empty() && !connect.clean_start));
    let mut server = End::deciding(&ServerConfig::default(), &anonymous);
    server.connection.reject(server.now, ReasonCode::CLIENT_IDENTIFIER_NOT_VALID, &[]);
    assert_eq!(server.sends(), "20 02 00 02");
}

// v4 [MQTT-3.1.2-22]. pitfall 58
#[test]
fn a_password_may_stand_alone_at_5_and_not_before() {
    let mut alone = connect(Version::V5, &[]);
    alone.password = Some(b"\xFF\x00");
    assert!(shown(&alone, |connect| connect.user_name.is_none() && connect.password == Some(b"\xFF\x00")));
    let mut server = arriving();
    assert!(matches!(server.gets("10 0E 00 04 'MQTT' 04 42 00 0A 00 01 'c' 00 01 'p'")[..], [Seen::Broken(_)]));
    let mut server = arriving();
    assert!(matches!(server.gets("10 10 00 04 'MQTT' 04 42 00 0A 00 01 'c' 00 01 'p'")[..], [Seen::Broken(_)]));
    assert_eq!((server.sends().as_str(), server.connection.state()), ("", State::Closing));
}

// pitfall 55: what cannot be read is 0x81, what is not allowed 0x82.
#[test]
fn malformed_and_forbidden_are_told_apart() {
    for (packet, reason, what) in [
        ("36 07 00 01 'a' 00 01 00 'x'", "81", "PUBLISH of QoS 3"),
        ("82 07 00 01 00 00 01 'a' 03", "82", "SUBSCRIBE of QoS 3"),
        ("82 07 00 01 00 00 01 'a' 40", "81", "reserved bits of SUBSCRIBE"),
        ("30 0A 00 01 'a' 05 11 00 00 00 05 'x'", "81", "a property of another packet"),
        ("30 09 00 01 'a' 04 01 00 01 00 'x'", "82", "a property twice"),
        ("30 07 00 01 'a' 02 01 02 'x'", "82", "a value that it cannot have"),
    ] {
        let mut server = End::server(Version::V5);
        assert!(matches!(server.gets(packet)[..], [Seen::Broken(_)]), "{what}");
        assert_eq!(server.sends(), format!("E0 01 {reason}"), "{what}");
    }
}
