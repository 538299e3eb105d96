//! Stories of the topic aliases that we set (section 3.3.2.3.4), both ends.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{End, LIMITS, Seen, connect, wire};
use mqtt_session::codec::{OutBuf, Property, Qos, Version};
use mqtt_session::topic::TopicName;
use mqtt_session::{
    Accept, AliasError, ClientConfig, Connection, Forwarded, Instant, Publication, ServerConfig, Session, State,
    Transmit,
};

/// A server's end that sets up to `ours` aliases for a client that takes up to `theirs`.
fn server(ours: u16, theirs: &[Property<'_>], session: Session) -> End {
    let mut config = ServerConfig::default();
    config.topic_alias_maximum_outgoing = ours;
    End::server_of(&config, &connect(Version::V5, theirs), session)
}

/// What goes out for a QoS 0 message.
fn delivered(server: &mut End, topic: &str) -> String {
    server.delivers(topic, "x", Qos::AtMostOnce);
    server.sends()
}

// v5 [MQTT-3.1.2-26], v5 [MQTT-3.3.2-8], v5 [MQTT-3.3.2-9]
#[test]
fn a_topic_is_said_once_and_the_one_not_used_for_longest_makes_room() {
    let mut server = server(9, &[Property::TopicAliasMaximum(2)], Session::new());
    assert_eq!(delivered(&mut server, "aaaa"), wire("30 0B 00 04 'aaaa' 03 23 00 01 'x'"));
    assert_eq!(delivered(&mut server, "aaaa"), wire("30 07 00 00 03 23 00 01 'x'"), "the alias alone");
    assert_eq!(delivered(&mut server, "bbbb"), wire("30 0B 00 04 'bbbb' 03 23 00 02 'x'"));
    // both were used; the hand passes them, and comes back to the first
    assert_eq!(delivered(&mut server, "cccc"), wire("30 0B 00 04 'cccc' 03 23 00 01 'x'"));
    assert_eq!(delivered(&mut server, "bbbb"), wire("30 07 00 00 03 23 00 02 'x'"));
    assert_eq!(delivered(&mut server, "cccc"), wire("30 07 00 00 03 23 00 01 'x'"));
    assert_eq!(delivered(&mut server, "abc"), wire("30 07 00 03 'abc' 00 'x'"), "too short to save anything");
}

// v5 [MQTT-3.1.2-27], v5 [MQTT-3.2.2-17], v5 [MQTT-3.2.2-18]
#[test]
fn no_alias_is_set_where_either_end_wants_none_and_nothing_is_paid_for_it() {
    for (ours, theirs) in [(9, &[][..]), (0, &[Property::TopicAliasMaximum(9)][..])] {
        let mut server = server(ours, theirs, Session::new());
        for _ in 0..2 {
            assert_eq!(delivered(&mut server, "aaaa"), wire("30 08 00 04 'aaaa' 00 'x'"));
        }
        server.waits(0);
        assert_eq!(server.connection.memory(), 0);
    }
    let mut client = End::client_of(&connect(Version::V5, &[]), Session::new(), "20 06 00 00 03 22 00 09");
    client.publishes("aaaa", "x", Qos::AtMostOnce);
    assert_eq!(client.sends(), wire("30 08 00 04 'aaaa' 00 'x'"), "off unless asked for");
}

#[test]
fn a_forwarded_message_has_an_alias_too() {
    let mut server = server(2, &[Property::TopicAliasMaximum(2)], Session::new());
    let publication = Publication::new(TopicName::new("aaaa").unwrap(), b"x");
    for expected in ["30 0D 00 04 'aaaa' 05 23 00 01 0B 07 'x'", "30 09 00 00 05 23 00 01 0B 07 'x'"] {
        let mut out = OutBuf::with_limit(100);
        assert_eq!(server.connection.forward(server.now, &publication, false, &[7], &mut out), Forwarded::Wrote);
        assert_eq!(common::hex(out.chunk()), wire(expected));
    }
}

// pitfall 32: what is dropped for its size has set nothing.
#[test]
fn what_was_never_written_sets_no_alias() {
    let mut server = server(2, &[Property::TopicAliasMaximum(2), Property::MaximumPacketSize(20)], Session::new());
    server.delivers("aaaa", "twelve bytes", Qos::AtMostOnce);
    assert_eq!((server.sends().as_str(), server.connection.take_drops().too_large), ("", 1));
    // fits without the alias, and not with it
    server.delivers("aaaa", "ten__bytes", Qos::AtMostOnce);
    assert_eq!(server.sends(), wire("30 11 00 04 'aaaa' 00 'ten__bytes'"));
    // no room in the buffer: said again when there is
    server.delivers("aaaa", "x", Qos::AtMostOnce);
    let mut out = OutBuf::with_limit(4);
    out.put_slice(b"full");
    assert_eq!(server.connection.poll_transmit(server.now, &mut out), Transmit::Full);
    assert_eq!(server.sends(), wire("30 0B 00 04 'aaaa' 03 23 00 01 'x'"));
    server.delivers("aaaa", "twelve_bytes", Qos::AtMostOnce);
    assert_eq!(server.sends(), wire("30 12 00 00 03 23 00 01 'twelve_bytes'"), "now it fits");
}

// v5 [MQTT-3.3.2-7]. pitfall 1
#[test]
fn what_is_sent_again_on_another_connection_says_its_topic_again() {
    let mut first = server(2, &[Property::TopicAliasMaximum(2)], Session::new());
    for payload in ["1", "2"] {
        first.delivers("aaaa", payload, Qos::AtLeastOnce);
    }
    assert_eq!(first.sends(), wire("32 0D 00 04 'aaaa' 00 01 03 23 00 01 '1' 32 09 00 00 00 02 03 23 00 01 '2'"));
    let mut config = ServerConfig::default();
    config.topic_alias_maximum_outgoing = 2;
    let resumed = |maximum, session| {
        let asks = [Property::TopicAliasMaximum(maximum)];
        let mut server = End::deciding(&config, &connect(Version::V5, &asks));
        let accept = Accept { session_present: true, ..Accept::default() };
        server.connection.accept(server.now, session, &config, &accept);
        server
    };
    let connack = "20 0E 01 00 0B 21 04 00 27 00 10 00 00 22 00 10";
    let mut second = resumed(2, first.connection.into_session());
    assert_eq!(
        second.sends(),
        wire(&format!("{connack} 3A 0D 00 04 'aaaa' 00 01 03 23 00 01 '1' 3A 09 00 00 00 02 03 23 00 01 '2'")),
        "set anew"
    );
    let mut third = resumed(0, second.connection.into_session());
    assert_eq!(
        third.sends(),
        wire(&format!("{connack} 3A 0A 00 04 'aaaa' 00 01 00 '1' 3A 0A 00 04 'aaaa' 00 02 00 '2'")),
        "or not at all"
    );
}

#[test]
fn a_client_sets_aliases_by_itself_or_by_hand() {
    let mut config = ClientConfig::default();
    config.topic_alias_maximum_outgoing = 1;
    let connection =
        Connection::client_with(Instant::ZERO, &connect(Version::V5, &[]), Session::new(), &config).unwrap();
    let mut client = End { reader: connection.reader(), connection, now: Instant::ZERO };
    let name = |text| TopicName::new(text).unwrap();
    assert_eq!(client.connection.set_topic_alias(1, name("a")), Err(AliasError), "nobody has offered any");
    client.sends();
    client.gets("20 06 00 00 03 22 00 02");
    let sends = |client: &mut End, topic: &str| {
        client.publishes(topic, "x", Qos::AtMostOnce);
        client.sends()
    };
    assert_eq!(sends(&mut client, "aaaa"), wire("30 0B 00 04 'aaaa' 03 23 00 01 'x'"));
    assert_eq!(client.connection.set_topic_alias(0, name("a")), Err(AliasError));
    assert_eq!(client.connection.set_topic_alias(3, name("a")), Err(AliasError));
    client.connection.set_topic_alias(2, name("b")).unwrap();
    assert_eq!(sends(&mut client, "b"), wire("30 08 00 01 'b' 03 23 00 02 'x'"), "however short");
    assert_eq!(sends(&mut client, "b"), wire("30 07 00 00 03 23 00 02 'x'"));
    // by hand over what had come by itself: it stays, and nothing else takes its place
    client.connection.set_topic_alias(1, name("aaaa")).unwrap();
    assert_eq!(sends(&mut client, "aaaa"), wire("30 07 00 00 03 23 00 01 'x'"), "known already");
    assert_eq!(sends(&mut client, "cccc"), wire("30 08 00 04 'cccc' 00 'x'"), "none is left");
    // and another topic in its place
    client.connection.set_topic_alias(1, name("b")).unwrap();
    assert_eq!(sends(&mut client, "b"), wire("30 08 00 01 'b' 03 23 00 01 'x'"));
    assert_eq!(sends(&mut client, "aaaa"), wire("30 08 00 04 'aaaa' 00 'x'"));
    client.gets("E0 00");
    assert_eq!(client.connection.state(), State::Closing);
    assert_eq!(client.connection.set_topic_alias(1, name("a")), Err(AliasError));
    // before 5.0 there are none
    assert_eq!(End::client(Version::V311).connection.set_topic_alias(1, name("a")), Err(AliasError));
}

/// The same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

// Whatever is published in whatever order, over cuts and sizes that do not fit, the other end finds the topic that was meant.
#[test]
fn an_end_that_resolves_them_sees_every_topic_as_it_was_published() {
    let mut saved = 0;
    for seed in 0..100 {
        let mut random = Random(seed);
        let (mut session, mut expected, mut seen) = (Session::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            let maximum = random.below(6) as u16;
            let asks = [Property::TopicAliasMaximum(maximum), Property::MaximumPacketSize(48)];
            let asks = if maximum == 0 { &asks[1..] } else { &asks };
            let mut sender = server(random.below(6) as u16, asks, session);
            let mut receiver = End::client_of(&connect(Version::V5, asks), Session::resumable(), "20 03 01 00 00");
            for n in 0..200 {
                let topic = format!("topic/{}", "x".repeat(random.below(9) as usize + 1));
                let qos = if random.below(2) == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce };
                let payload = format!("{n}{}", "-".repeat(random.below(30) as usize));
                if random.below(20) == 0 {
                    let mut out = OutBuf::with_limit(1);
                    out.put_slice(b"full");
                    let _ = sender.connection.poll_transmit(sender.now, &mut out);
                }
                sender.connection.deliver(common::delivery(&topic, &payload, qos), &LIMITS).unwrap();
                let sent = sender.sends();
                let before = seen.len();
                for event in receiver.gets(&sent) {
                    match event {
                        Seen::Publish { topic, payload, .. } => seen.push((topic, payload)),
                        other => panic!("{other:?}"),
                    }
                }
                if seen.len() > before {
                    saved += usize::from(!sent.contains(&common::hex(b"topic")));
                    expected.push((topic, payload)); // else it was too large
                }
                let acks = receiver.sends();
                sender.gets(&acks);
            }
            session = sender.connection.into_session();
        }
        assert_eq!(seen, expected, "seed {seed}");
    }
    assert!(saved > 10_000, "{saved}");
}
