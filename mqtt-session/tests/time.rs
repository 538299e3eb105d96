//! Stories of the server's end, told in bytes: silence, pauses and clocks.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{End, Seen, connect};
use mqtt_session::codec::{Qos, ReasonCode, Version};
use mqtt_session::{Accept, Instant, ProtocolErrorKind, ServerConfig, Session};

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
