//! What a session gives back of shared subscriptions (section 4.8.2).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use mqtt_session::codec::{
    Ack, AckKind, Connect, OutBuf, Packet, PacketId, Properties, Qos, ReasonCode, Utf8, Version,
};
use mqtt_session::topic::TopicName;
use mqtt_session::{
    Accept, Connection, Delivery, Instant, Message, Publication, QueueLimits, ServerConfig, Session, Share, Transmit,
};

const LIMITS: QueueLimits = QueueLimits { messages: 100, bytes: 100_000 };
const NOW: Instant = Instant::from_millis(1);

fn delivery(payload: &str, qos: Qos, group: Option<u64>) -> Delivery {
    let topic = TopicName::new("jobs").unwrap();
    let delivery = Delivery::new(Message::new(NOW, &Publication::new(topic, payload.as_bytes())), qos, false);
    match group {
        Some(group) => delivery.shared(&Share::new(group), Qos::ExactlyOnce, true, 3),
        None => delivery,
    }
}

fn payloads(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| String::from_utf8_lossy(delivery.message.payload()).into_owned()).collect()
}

/// A connection that was accepted, with a window of three.
fn connection(session: Session) -> Connection {
    let (mut config, connect) = (ServerConfig::default(), connect());
    config.maximum_inflight = 3;
    let mut connection = Connection::server(NOW, &config);
    connection.handle_packet(NOW, &Packet::Connect(connect)).unwrap();
    connection.accept(NOW, session, &config, &Accept::default());
    connection
}

fn connect() -> Connect<'static> {
    Connect {
        version: Version::V5,
        clean_start: false,
        keep_alive: 0,
        properties: Properties::EMPTY,
        client_id: Utf8::new("c").unwrap(),
        will: None,
        user_name: None,
        password: None,
    }
}

fn flush(connection: &mut Connection) {
    let mut out = OutBuf::with_limit(65_536);
    while connection.poll_transmit(NOW, &mut out) == Transmit::Wrote {}
}

fn ack(connection: &mut Connection, kind: AckKind, id: u16, reason: ReasonCode) {
    let packet_id = PacketId::new(id).unwrap();
    let ack = Ack { kind, packet_id, reason, properties: Properties::EMPTY };
    connection.handle_packet(NOW, &Packet::Ack(ack)).unwrap();
}

#[test]
fn a_session_that_ends_gives_back_what_another_member_may_have() {
    // v5 [MQTT-4.8.2-5] v5 [MQTT-4.8.2-6] v5 [X5-SUB-9]
    let mut connection = connection(Session::new());
    for (payload, qos) in [("refused", Qos::AtLeastOnce), ("sent", Qos::AtLeastOnce), ("begun", Qos::ExactlyOnce)] {
        connection.deliver(delivery(payload, qos, Some(7)), &LIMITS).unwrap();
    }
    flush(&mut connection); // the window is full
    ack(&mut connection, AckKind::Puback, 1, ReasonCode::QUOTA_EXCEEDED);
    connection.deliver(delivery("plain", Qos::AtLeastOnce, None), &LIMITS).unwrap();
    flush(&mut connection);
    for (payload, qos, group) in [
        ("waits", Qos::AtLeastOnce, Some(7)),
        ("waits too", Qos::ExactlyOnce, Some(8)),
        ("at most once", Qos::AtMostOnce, Some(7)),
        ("plain", Qos::AtLeastOnce, None),
    ] {
        connection.deliver(delivery(payload, qos, group), &LIMITS).unwrap();
    }
    let back = connection.into_session().into_shared();
    assert_eq!(payloads(&back), ["sent", "waits", "waits too"]);
    assert_eq!(back[0].published(), (Qos::ExactlyOnce, true));
    assert_eq!((back[0].share(), back[2].share(), back[0].handovers()), (Some(7), Some(8), 3));
}

#[test]
fn leaving_a_group_takes_out_what_was_never_sent_and_leaves_what_was() {
    // v5 [MQTT-3.10.4-3] pitfall 39
    let mut connection = connection(Session::new());
    for n in 0..5 {
        connection.deliver(delivery(&n.to_string(), Qos::AtLeastOnce, Some(7)), &LIMITS).unwrap();
    }
    connection.deliver(delivery("other", Qos::AtLeastOnce, Some(8)), &LIMITS).unwrap();
    connection.deliver(delivery("plain", Qos::AtMostOnce, None), &LIMITS).unwrap();
    let before = connection.session().bytes();
    assert_eq!(connection.send_quota(), 0, "seven wait for three");
    flush(&mut connection);
    assert_eq!(payloads(&connection.session_mut().take_shared(7)), ["3", "4"]);
    assert!(connection.session_mut().take_shared(7).is_empty());
    assert_eq!((connection.session().inflight(), connection.session().queued()), (3, 1));
    assert!(connection.session().bytes() < before);
    // they finish, and the window opens for the others
    for id in 1..=3 {
        ack(&mut connection, AckKind::Puback, id, ReasonCode::SUCCESS);
    }
    assert_eq!(connection.send_quota(), 2, "one waits for three");
    flush(&mut connection);
    ack(&mut connection, AckKind::Puback, 4, ReasonCode::SUCCESS);
    assert_eq!((connection.session().bytes(), connection.session().queued(), connection.send_quota()), (0, 0, 3));
}

#[test]
fn a_client_that_takes_small_packets_is_known_before_it_is_chosen() {
    // v5 [X5-SUB-11]
    let mut connection = Connection::server(NOW, &ServerConfig::default());
    let small = [mqtt_session::codec::Property::MaximumPacketSize(60)];
    let connect = Connect { properties: Properties::from_slice(&small), ..connect() };
    connection.handle_packet(NOW, &Packet::Connect(connect)).unwrap();
    let topic = TopicName::new("jobs").unwrap();
    assert!(connection.fits(&Publication::new(topic, &[0; 40])));
    assert!(!connection.fits(&Publication::new(topic, &[0; 60])));
}

// The number of a group is of one process; another may have given it to another group.
#[test]
fn what_is_read_back_is_marked_with_the_numbers_of_today() {
    let mut server = common::End::server(mqtt_session::codec::Version::V5);
    for (payload, group) in [("1", 1), ("2", 2), ("3", 1), ("4", 9)] {
        let delivery = delivery(payload, Qos::AtLeastOnce, Some(group));
        server.connection.deliver(delivery, &LIMITS).unwrap();
        if payload == "2" {
            server.sends(); // two are in flight, two wait
        }
    }
    let epoch = mqtt_session::Epoch::default();
    let snapshot = server.connection.into_session().snapshot(epoch);
    let mut session = Session::restore(&snapshot, epoch).unwrap();
    let bytes = session.bytes();
    session.mark_shared(|number| (number < 9).then(|| Share::new(number + 1)));
    assert_eq!((session.bytes(), session.queued(), session.inflight()), (bytes, 2, 2));
    let back = session.into_shared();
    assert_eq!(back.iter().map(Delivery::share).collect::<Vec<_>>(), [Some(2), Some(3), Some(2)]);
    assert!(back.iter().all(|delivery| (delivery.published(), delivery.handovers()) == ((Qos::ExactlyOnce, true), 3)));
}
