//! Stories of requests and publications that are answered later: which answer belongs to what.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{End, LIMITS, Seen, VERSIONS, connect, filter, wire};
use mqtt_session::codec::{Property, Qos, ReasonCode, SubscribeOptions, Subscription, Version};
use mqtt_session::topic::{TopicFilter, TopicName};
use mqtt_session::{
    Connection, Event, Instant, Publication, PublishError, PublishToken, QueueLimits, RequestError, RequestToken,
    Session,
};

fn subscriptions<'a>(filters: &[&'a str]) -> Vec<Subscription<'a>> {
    filters.iter().map(|text| Subscription { filter: filter(text), options: SubscribeOptions::default() }).collect()
}

fn subscribe(client: &mut End, filters: &[&str]) -> RequestToken {
    client.connection.subscribe(client.now, &subscriptions(filters), &[]).unwrap()
}

fn unsubscribe(client: &mut End, filters: &[&str]) -> RequestToken {
    let filters: Vec<TopicFilter<'_>> = filters.iter().map(|text| filter(text)).collect();
    client.connection.unsubscribe(client.now, &filters, &[]).unwrap()
}

/// Token and pairs of an answer.
fn answer(client: &mut End, hex: &str) -> (RequestToken, Vec<(String, u8)>) {
    let bytes = common::bytes(hex);
    let mut input = client.connection.read(client.now, &mut client.reader, &bytes);
    match input.next().unwrap().unwrap() {
        Event::Suback(answer) | Event::Unsuback(answer) => {
            (answer.token, answer.pairs().map(|(filter, code)| (filter.as_str().to_owned(), code.0)).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn pairs(pairs: &[(&str, u8)]) -> Vec<(String, u8)> {
    pairs.iter().map(|&(filter, code)| (filter.to_owned(), code)).collect()
}

// v5 [MQTT-3.8.4-6], v5 [MQTT-3.9.3-1], v5 [MQTT-3.11.3-1], v4 [MQTT-3.8.4-5], v4 [MQTT-3.9.3-1]. pitfall 38
#[test]
fn each_filter_gets_the_code_that_answers_it_whichever_request_is_answered_first() {
    for version in VERSIONS {
        let p = if version == Version::V5 { "00" } else { "" };
        let refused = if version == Version::V31 { "01" } else { "80" };
        let len = |n: u8| format!("{:02X}", if version == Version::V5 { n + 1 } else { n });
        let mut client = End::client(version);
        let first = subscribe(&mut client, &["a/b", "+/c"]);
        let second = subscribe(&mut client, &["d"]);
        let third = unsubscribe(&mut client, &["a/b", "e"]);
        client.sends();
        assert!(client.connection.memory() > 0);
        assert_eq!(answer(&mut client, &format!("90 {} 00 02 {p} 02", len(3))), (second, pairs(&[("d", 2)])));
        let code = u8::from_str_radix(refused, 16).unwrap();
        assert_eq!(
            answer(&mut client, &format!("90 {} 00 01 {p} 00 {refused}", len(4))),
            (first, pairs(&[("a/b", 0), ("+/c", code)]))
        );
        let (unsuback, expected) = match version {
            Version::V5 => ("B0 05 00 03 00 00 11", [("a/b", 0), ("e", 0x11)]),
            Version::V31 | Version::V311 => ("B0 02 00 03", [("a/b", 0), ("e", 0)]),
        };
        assert_eq!(answer(&mut client, unsuback), (third, pairs(&expected)));
        assert!(client.connection.session().is_empty());
    }
}

// v5 [MQTT-3.9.3-1], v5 [MQTT-3.11.3-1], v4 [MQTT-3.9.3-1]
#[test]
fn an_answer_of_too_few_or_too_many_codes_ends_the_connection() {
    for (version, request, answer) in [
        (Version::V5, "subscribe", "90 04 00 01 00 00"),
        (Version::V5, "subscribe", "90 06 00 01 00 00 00 00"),
        (Version::V311, "subscribe", "90 03 00 01 00"),
        (Version::V5, "unsubscribe", "B0 04 00 01 00 00"),
        (Version::V5, "unsubscribe", "B0 06 00 01 00 00 00 00"),
        // the answer to something else, or to nothing
        (Version::V5, "subscribe", "B0 05 00 01 00 00 00"),
        (Version::V5, "subscribe", "90 05 00 02 00 00 00"),
    ] {
        let mut client = End::client(version);
        match request {
            "subscribe" => subscribe(&mut client, &["a", "b"]),
            _ => unsubscribe(&mut client, &["a", "b"]),
        };
        client.sends();
        assert_eq!(client.gets_one(answer).reason(), 0x82, "{answer}");
    }
}

// S12: what was asked and never answered is bounded.
#[test]
fn requests_that_are_never_answered_stop_at_a_bound() {
    let mut client = End::client(Version::V5);
    let long = "x".repeat(1000);
    let mut taken = 0;
    while client.connection.subscribe(client.now, &subscriptions(&[&long]), &[]).is_ok() {
        taken += 1;
        client.sends();
    }
    assert!(client.connection.subscribe(client.now, &subscriptions(&["a"]), &[]).is_ok(), "what still fits");
    assert_eq!(client.connection.subscribe(client.now, &subscriptions(&[&long]), &[]), Err(RequestError::Full));
    assert_eq!(taken, (1 << 18) / 1002);
    answer(&mut client, "90 04 00 01 00 00");
    assert!(client.connection.subscribe(client.now, &subscriptions(&[&long]), &[]).is_ok(), "one was answered");
    // a single request may be larger than all of that
    let mut client = End::client(Version::V5);
    let many = vec![&*long; 1000];
    assert!(client.connection.subscribe(client.now, &subscriptions(&many), &[]).is_ok());
}

// v5 [X5-ACK-2]
#[test]
fn a_completion_carries_the_peers_reason_and_its_properties() {
    let mut client = End::client(Version::V5);
    let token = client.publishes("a", "x", Qos::AtLeastOnce);
    client.sends();
    let bytes = common::bytes("40 0E 00 01 97 0A 1F 00 02 'no' 26 00 00 00 00");
    let mut input = client.connection.read(client.now, &mut client.reader, &bytes);
    let Event::Completed { token: completed, reason, properties } = input.next().unwrap().unwrap() else { panic!() };
    assert_eq!((completed, reason), (token, ReasonCode::QUOTA_EXCEEDED));
    assert_eq!(properties.reason_string().unwrap().as_str(), "no");
    assert_eq!(properties.user_properties().count(), 1);
}

// --- without a connection --------------------------------------------------------------------------------------------

fn publication(payload: &[u8], qos: Qos) -> Publication<'_> {
    Publication { qos, ..Publication::new(TopicName::new("a").unwrap(), payload) }
}

fn connected(session: Session) -> End {
    End::client_of(&connect(Version::V5, &[]), session, "20 03 00 00 00")
}

// pitfall 47: what was published without a connection goes first, and its tokens come true later.
#[test]
fn what_is_published_offline_completes_after_the_next_connect() {
    let mut session = Session::new();
    let now = Instant::ZERO;
    let first = session.publish(now, &publication(b"1", Qos::AtLeastOnce), &LIMITS).unwrap();
    let second = session.publish(now, &publication(b"2", Qos::ExactlyOnce), &LIMITS).unwrap();
    session.publish(now, &publication(b"0", Qos::AtMostOnce), &LIMITS).unwrap();
    // a connection that never comes up
    let connection = Connection::client(now, &connect(Version::V5, &[]), session).unwrap();
    let mut client = End { reader: connection.reader(), connection, now };
    let third = client.publishes("a", "3", Qos::AtLeastOnce);
    client.sends();
    let mut client = connected(client.connection.into_session());
    let fourth = client.publishes("a", "4", Qos::AtLeastOnce);
    assert_eq!(
        client.sends(),
        wire(
            "32 07 00 01 'a' 00 01 00 '1' 34 07 00 01 'a' 00 02 00 '2' 32 07 00 01 'a' 00 03 00 '3' 32 07 00 01 'a' 00 04 00 '4' 30 05 00 01 'a' 00 '0'"
        ),
        "in the order of publishing, QoS 0 in a lane of its own"
    );
    let done = |seen: Vec<Seen>, token: PublishToken| assert_eq!(seen, [Seen::Completed(token, ReasonCode::SUCCESS)]);
    done(client.gets("40 02 00 01"), first);
    client.gets("50 02 00 02");
    done(client.gets("40 02 00 03"), third);
    // the rest completes on yet another connection
    let mut client = End::client_of(&connect(Version::V5, &[]), client.connection.into_session(), "20 03 01 00 00");
    assert_eq!(client.sends(), wire("62 02 00 02 3A 07 00 01 'a' 00 04 00 '4'"));
    done(client.gets("70 02 00 02"), second);
    done(client.gets("40 02 00 04"), fourth);
    assert!(client.connection.session().is_empty());
}

// S17: every queue is finite.
#[test]
fn an_offline_queue_is_bounded_in_messages_and_in_bytes() {
    let now = Instant::ZERO;
    let mut session = Session::new();
    let limits = QueueLimits { messages: 2, bytes: 1000 };
    session.publish(now, &publication(b"1", Qos::AtLeastOnce), &limits).unwrap();
    assert_eq!(session.publish(now, &publication(&[0; 1000], Qos::AtLeastOnce), &limits), Err(PublishError::Full));
    session.publish(now, &publication(b"2", Qos::AtMostOnce), &limits).unwrap();
    assert_eq!(session.publish(now, &publication(b"3", Qos::AtMostOnce), &limits), Err(PublishError::Full));
    assert_eq!(session.queued(), 2);
    let large = vec![0; 65_536];
    let correlation = [Property::CorrelationData(&large)];
    let mut publication = publication(b"", Qos::AtMostOnce);
    publication.properties = mqtt_session::codec::Properties::from_slice(&correlation);
    assert_eq!(session.publish(now, &publication, &LIMITS), Err(PublishError::TooLarge), "no packet can hold it");
}

// pitfall 30
#[test]
fn what_expires_before_there_is_a_connection_is_not_sent() {
    let mut session = Session::new();
    let expires = [Property::MessageExpiryInterval(5)];
    let mut message = publication(b"1", Qos::AtLeastOnce);
    message.properties = mqtt_session::codec::Properties::from_slice(&expires);
    for _ in 0..2 {
        session.publish(Instant::ZERO, &message, &LIMITS).unwrap();
        message.properties = mqtt_session::codec::Properties::EMPTY;
    }
    let now = Instant::from_millis(5_000);
    let connection = Connection::client(now, &connect(Version::V5, &[]), session).unwrap();
    let mut client = End { reader: connection.reader(), connection, now };
    client.sends();
    client.gets("20 03 00 00 00");
    assert_eq!(client.sends(), wire("32 07 00 01 'a' 00 01 00 '1'"));
    assert_eq!(client.connection.take_drops().expired, 1);
}
