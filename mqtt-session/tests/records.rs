//! Records of session state: what loads, what is refused, and that what was written once goes on loading.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{End, LIMITS, bytes, delivery};
use mqtt_session::codec::{PacketId, Properties, Property, Qos, Utf8, Version};
use mqtt_session::topic::TopicName;
use mqtt_session::{
    Change, Delivery, Epoch, Instant, Message, Publication, RecordError, Session, Share, Snapshot, Transmit,
};

const EPOCH: Epoch = Epoch::from_unix_millis(1_700_000_000_000);

/// A session with everything in it: in flight awaiting each answer, queued with all a message can have, received identifiers.
fn full(recording: bool) -> (Session, Vec<Change>) {
    let mut session = Session::new();
    if recording {
        session.record_changes();
    }
    let mut server = End::server_of(&Default::default(), &common::connect(Version::V5, &[]), session);
    server.delivers("a", "1", Qos::AtLeastOnce);
    server.delivers("b", "2", Qos::ExactlyOnce);
    server.delivers("c", "3", Qos::ExactlyOnce);
    server.connection.stored(u64::MAX);
    server.sends();
    server.gets("50 02 00 03"); // PUBREC for the third
    let first = server.gets_one("34 07 00 01 'x' 00 05 00 'm'");
    let second = server.gets_one("34 07 00 01 'x' 00 09 00 'n'");
    server.connection.acknowledge(second.token(), mqtt_session::codec::ReasonCode::SUCCESS);
    server.connection.acknowledge(first.token(), mqtt_session::codec::ReasonCode::SUCCESS);
    let mut session = server.connection.into_session();
    let properties = [
        Property::MessageExpiryInterval(60),
        Property::PayloadFormatIndicator(true),
        Property::ContentType(Utf8::new("text").unwrap()),
        Property::ResponseTopic(TopicName::new("re/ply").unwrap()),
        Property::CorrelationData(&[0, 255]),
        Property::UserProperty(Utf8::new("k").unwrap(), Utf8::new("v").unwrap()),
    ];
    let mut publication = Publication::new(TopicName::new("räum/1").unwrap(), b"\0payload");
    publication.properties = Properties::from_slice(&properties);
    let message = Message::new(Instant::from_millis(5_000), &publication);
    let rich = Delivery::new(message.clone(), Qos::AtLeastOnce, true).with_ids(&[7, 268_435_455, 7]);
    session.deliver(rich, &LIMITS).unwrap();
    let shared = Delivery::new(message, Qos::ExactlyOnce, false).with_ids(&[9]);
    session.deliver(shared.shared(&Share::new(3), Qos::ExactlyOnce, true, 2), &LIMITS).unwrap();
    session.deliver(delivery("q0", "gone", Qos::AtMostOnce), &LIMITS).unwrap();
    let mut changes = Vec::new();
    while let Some((number, change)) = session.poll_change() {
        changes.push(change);
        assert_eq!(number, changes.len() as u64);
    }
    (session, changes)
}

fn record(change: &Change) -> Vec<u8> {
    let mut record = Vec::new();
    change.encode(EPOCH, &mut record);
    record
}

/// One of each kind.
fn changes() -> Vec<Change> {
    let (_, mut changes) = full(true);
    let id = PacketId::new(513).unwrap();
    let Change::Queued { token, .. } = changes[0] else { panic!("{:?}", changes[0]) };
    changes.extend([
        Change::Begun { token, id },
        Change::Released { id },
        Change::Finished { id },
        Change::Dropped { token },
        Change::Received { id },
        Change::Forgotten { id },
        Change::Restarted,
    ]);
    changes
}

fn golden(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// What version 1 wrote when it was new. These files are never written again: `MQTT_GOLDEN=new` makes those of a new version.
fn check_golden(name: &str, bytes: &[u8]) {
    let path = golden(name);
    if std::env::var("MQTT_GOLDEN").as_deref() == Ok("new") && !path.exists() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    assert_eq!(std::fs::read(path).unwrap(), bytes, "{name}");
}

#[test]
fn what_was_written_once_goes_on_loading() {
    for (name, recording) in [("snapshot.v1.bin", false), ("snapshot-recorded.v1.bin", true)] {
        let (session, _) = full(recording);
        check_golden(name, session.snapshot(EPOCH).as_bytes());
        let snapshot = Snapshot::from_bytes(std::fs::read(golden(name)).unwrap()).unwrap();
        let restored = Session::restore(&snapshot, EPOCH).unwrap();
        assert_eq!((restored.queued(), restored.inflight()), (2, 3));
        assert_eq!(restored.snapshot(EPOCH), snapshot);
    }
    let records: Vec<u8> = changes()
        .iter()
        .flat_map(|change| {
            let record = record(change);
            [&u32::try_from(record.len()).unwrap().to_le_bytes()[..], &record].concat()
        })
        .collect();
    check_golden("changes.v1.bin", &records);
    let (mut file, mut loaded) = (std::fs::read(golden("changes.v1.bin")).unwrap(), 0);
    while !file.is_empty() {
        let len = u32::from_le_bytes(file[..4].try_into().unwrap()) as usize;
        let change = Change::decode(&file[4..4 + len], EPOCH).unwrap();
        assert_eq!(record(&change), &file[4..4 + len]);
        file.drain(..4 + len);
        loaded += 1;
    }
    assert_eq!(loaded, changes().len());
}

#[test]
fn the_changes_of_a_session_make_its_snapshot() {
    let (session, changes) = full(true);
    let mut replayed = Session::restore(&Session::new().snapshot(EPOCH), EPOCH).unwrap();
    for change in changes {
        replayed.apply(Change::decode(&record(&change), EPOCH).unwrap()).unwrap();
    }
    assert_eq!(replayed.snapshot(EPOCH), session.snapshot(EPOCH));
}

/// All that a server says with a session: CONNACK, and what waits.
fn said(session: Session) -> String {
    let config = Default::default();
    let mut server = End::deciding(&config, &common::connect(Version::V5, &[]));
    server.connection.accept(server.now, session, &config, &Default::default());
    server.sends()
}

#[test]
fn everything_of_a_message_comes_back() {
    let (mut session, _) = full(false);
    let restored = Session::restore(&session.snapshot(EPOCH), EPOCH).unwrap();
    session.drop_qos0();
    let sent = said(restored);
    assert!(sent.contains(&common::wire("'text'")) && sent.contains(&common::wire("'re/ply'")), "{sent}");
    assert_eq!(sent, said(session));
}

// S20: the loader is strict. Every prefix, every byte that is another, and every byte too many is an error.
#[test]
fn torn_and_damaged_records_are_refused() {
    let (session, _) = full(false);
    let snapshot = session.snapshot(EPOCH);
    let mut records: Vec<Vec<u8>> = changes().iter().map(record).collect();
    records.push(snapshot.as_bytes().to_vec());
    let loads = |bytes: &[u8]| {
        let as_change = Change::decode(bytes, EPOCH).map(drop);
        let as_snapshot = Snapshot::from_bytes(bytes).and_then(|snapshot| Session::restore(&snapshot, EPOCH)).map(drop);
        as_change.or(as_snapshot)
    };
    for whole in &records {
        assert_eq!(loads(whole), Ok(()));
        for len in 0..whole.len() {
            assert!(loads(&whole[..len]).is_err(), "torn at {len}");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                assert!(loads(&damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(loads(&longer).is_err());
    }
    assert_eq!(loads(&[2, 0, 0, 0]), Err(RecordError::Version(2)), "of a version to come");
}

// S20, S1: with a checksum that agrees, too: whatever the bytes say, they are an error or a session that works, and no length is believed.
#[test]
fn damaged_records_with_a_right_checksum_load_safely() {
    let (session, _) = full(false);
    let snapshot = session.snapshot(EPOCH).as_bytes().to_vec();
    let mut loaded = 0;
    for at in 1..snapshot.len() - 4 {
        for value in [0, 1, 2, 3, 0x7F, 0x80, 0xFF, snapshot[at].wrapping_add(1)] {
            let mut forged = snapshot.clone();
            forged[at] = value;
            let forged = sealed(&forged[..forged.len() - 4]);
            let Ok(session) = Snapshot::from_bytes(forged).and_then(|it| Session::restore(&it, EPOCH)) else {
                continue;
            };
            loaded += 1;
            let (queued, inflight, memory) = (session.queued(), session.inflight(), session.memory());
            assert!(queued <= 2 && inflight <= 3 && memory < 500_000, "{queued} {inflight} {memory}");
            let again = session.snapshot(EPOCH);
            assert_eq!(Session::restore(&again, EPOCH).unwrap().snapshot(EPOCH), again);
            // it lives
            let mut server = End::server_of(&Default::default(), &common::connect(Version::V5, &[]), session);
            server.delivers("a", "1", Qos::ExactlyOnce);
            server.sends();
        }
    }
    assert!(loaded > 100, "{loaded}");
    for at in 2..snapshot.len() - 4 {
        let cut = sealed(&snapshot[..at]);
        assert!(Snapshot::from_bytes(cut).and_then(|it| Session::restore(&it, EPOCH)).is_err(), "cut at {at}");
    }
    // four thousand million messages, and none of them there
    let huge = sealed(&bytes("01 00 00 00 00 00 01 00 FF FF FF FF"));
    let refused = Snapshot::from_bytes(huge).and_then(|it| Session::restore(&it, EPOCH));
    assert_eq!(refused.unwrap_err(), RecordError::Malformed);
}

/// With the checksum of all of it behind it.
fn sealed(content: &[u8]) -> Vec<u8> {
    let mut crc = u32::MAX;
    for byte in content {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 * (crc & 1));
        }
    }
    [content, &(!crc).to_le_bytes()].concat()
}

#[test]
fn changes_that_do_not_follow_are_refused_and_change_nothing() {
    let (session, _) = full(false);
    let snapshot = session.snapshot(EPOCH);
    let id = |id| PacketId::new(id).unwrap();
    let Change::Queued { token, delivery, .. } = changes().swap_remove(0) else { panic!("queued") };
    let mut restored = Session::restore(&snapshot, EPOCH).unwrap();
    for change in [
        Change::Released { id: id(1) },                      // QoS 1
        Change::Released { id: id(3) },                      // already
        Change::Finished { id: id(4) },                      // unknown
        Change::Dropped { token },                           // in flight
        Change::Begun { token, id: id(4) },                  // in flight
        Change::Received { id: id(9) },                      // already
        Change::Forgotten { id: id(8) },                     // unknown
        Change::Queued { token, id: Some(id(2)), delivery }, // in use
    ] {
        assert_eq!(restored.apply(change.clone()), Err(RecordError::OutOfPlace), "{change:?}");
        assert_eq!(restored.snapshot(EPOCH), snapshot, "{change:?}");
    }
}

// v5 [MQTT-3.3.2-5], v5 [MQTT-3.3.2-6], pitfall 17's kin: time goes on while the process is away.
#[test]
fn a_message_expires_by_the_clock_on_the_wall_whatever_zero_a_process_has() {
    let (session, _) = full(false);
    let snapshot = session.snapshot(EPOCH); // expires 65 seconds after the zero of the first process
    let expiry_in = |seconds: u64| {
        let epoch = Epoch::from_unix_millis(EPOCH.to_unix_millis(Instant::ZERO) + seconds * 1000);
        let sent = said(Session::restore(&snapshot, epoch).unwrap());
        (5..=65_u8).rev().find(|left| sent.contains(&common::wire(&format!("02 00 00 00 {left:02X}")))).map(u64::from)
    };
    assert_eq!(expiry_in(0), Some(65));
    assert_eq!(expiry_in(40), Some(25));
    assert_eq!(expiry_in(100), None, "it is not sent");
}

#[test]
fn the_first_sending_of_qos_2_waits_and_what_is_behind_it_waits_in_order() {
    let mut session = Session::new();
    session.record_changes();
    let mut server = End::server_of(&Default::default(), &common::connect(Version::V311, &[]), session);
    server.delivers("a", "1", Qos::AtLeastOnce);
    server.delivers("a", "2", Qos::ExactlyOnce);
    server.delivers("a", "3", Qos::AtLeastOnce);
    server.delivers("a", "4", Qos::AtMostOnce);
    assert_eq!(
        server.sends(),
        common::wire("32 06 00 01 'a' 00 01 '1' 30 04 00 01 'a' '4'"),
        "QoS 1 rests on nothing, QoS 0 has a lane of its own"
    );
    assert!(server.connection.has_output());
    server.connection.stored(1);
    assert_eq!(server.sends(), "");
    server.connection.stored(2);
    assert_eq!(server.sends(), common::wire("34 06 00 01 'a' 00 02 '2' 32 06 00 01 'a' 00 03 '3'"));
    // PUBREC: the PUBREL waits until a restart would not send the message again
    server.gets("50 02 00 02");
    assert_eq!(server.sends(), "");
    server.connection.stored(server.connection.session().last_change());
    assert_eq!(server.sends(), "62 02 00 02");
}

#[test]
fn the_answers_of_qos_2_wait_and_those_of_qos_1_do_not() {
    let mut session = Session::new();
    session.record_changes();
    let mut client = End::client_of(&common::connect(Version::V311, &[]), session, "20 02 00 00");
    while client.connection.poll_change().is_some() {}
    client.connection.stored(u64::MAX);
    client.gets("32 06 00 01 'a' 00 01 '1'");
    assert_eq!(client.sends(), "40 02 00 01", "PUBACK: nothing of it is kept");
    client.gets("34 06 00 01 'a' 00 02 '2'");
    assert_eq!(client.sends(), "", "PUBREC: a restart would take its repetition for a new message");
    assert!(matches!(client.connection.poll_change(), Some((_, Change::Received { id })) if id.get() == 2));
    client.connection.stored(client.connection.session().last_change());
    assert_eq!(client.sends(), "50 02 00 02");
    client.gets("62 02 00 02");
    assert_eq!(client.sends(), "", "PUBCOMP: a restart would take the next message for a repetition");
    assert!(matches!(client.connection.poll_change(), Some((_, Change::Forgotten { id })) if id.get() == 2));
    client.connection.stored(client.connection.session().last_change());
    assert_eq!(client.sends(), "70 02 00 02");
}

#[test]
fn what_was_said_on_a_connection_that_is_gone_is_not_said_on_the_next() {
    let mut session = Session::new();
    session.record_changes();
    let mut server = End::server_of(&Default::default(), &common::connect(Version::V311, &[]), session);
    let seen = server.gets_one("34 06 00 01 'a' 00 02 '2'");
    server.ack(&seen, 0);
    let session = server.connection.into_session();
    let mut server = End::server_of(&Default::default(), &common::connect(Version::V311, &[]), session);
    let seen = server.gets_one("34 06 00 01 'a' 00 03 '3'");
    server.ack(&seen, 0);
    server.connection.stored(1);
    assert_eq!(server.sends(), "", "what was held for the first message is no word on the second");
    server.connection.stored(2);
    assert_eq!(server.sends(), "50 02 00 03");
    server.gets("3C 06 00 01 'a' 00 02 '2'"); // again: known
    assert_eq!(server.sends(), "50 02 00 02");
}

// pitfall 43, S16: a PUBREL that comes too early lets the peer forget what a restart would send again.
#[test]
fn what_is_sent_again_waits_for_what_changed_before_the_connection_was_lost() {
    let mut session = Session::new();
    session.record_changes();
    let mut server = End::server_of(&Default::default(), &common::connect(Version::V311, &[]), session);
    server.delivers("a", "1", Qos::ExactlyOnce);
    server.delivers("a", "2", Qos::ExactlyOnce);
    server.connection.stored(2);
    server.sends();
    server.gets("50 02 00 01"); // PUBREC: released, which nobody has stored
    let session = server.connection.into_session();
    let mut server = End::server_of(&Default::default(), &common::connect(Version::V311, &[]), session);
    server.delivers("a", "3", Qos::AtLeastOnce);
    assert_eq!(server.sends(), "");
    server.connection.stored(3);
    assert_eq!(server.sends(), common::wire("62 02 00 01 3C 06 00 01 'a' 00 02 '2' 32 06 00 01 'a' 00 03 '3'"));
}

// S7: what is taken out of a session while its rights are judged anew is recorded like anything else.
#[test]
fn what_is_taken_out_of_a_session_is_recorded() {
    let mut session = Session::new();
    session.record_changes();
    let mut server = End::server_of(&Default::default(), &common::connect(Version::V311, &[]), session);
    for n in 0..6_u8 {
        server.delivers(
            ["a", "b"][usize::from(n % 2)],
            "x",
            [Qos::AtLeastOnce, Qos::ExactlyOnce][usize::from(n / 2 % 2)],
        );
    }
    server.connection.stored(4);
    server.sends();
    let mut session = server.connection.into_session();
    session.deliver(delivery("b", "waits", Qos::ExactlyOnce), &LIMITS).unwrap();
    session.retain(|delivery| delivery.message.topic().as_bytes() == b"a");
    let mut replayed = Session::new();
    while let Some((_, change)) = session.poll_change() {
        replayed.apply(change).unwrap();
    }
    assert_eq!(replayed.snapshot(EPOCH), session.snapshot(EPOCH));
    assert_eq!((session.queued(), session.bytes()), (replayed.queued(), replayed.bytes()));
    let mut server = End::server_of(&Default::default(), &common::connect(Version::V311, &[]), session);
    assert_eq!(server.sends(), "", "the PUBREL of the one that is released waits like any other");
}

#[test]
fn a_place_is_filled_while_what_was_put_into_it_is_stored() {
    let mut session = Session::new();
    session.record_changes();
    let mut server = End::server_of(&Default::default(), &common::connect(Version::V311, &[]), session);
    let place = server.connection.session_mut().hold_place();
    server.delivers("new", "9", Qos::ExactlyOnce);
    let mut out = mqtt_session::codec::OutBuf::with_limit(1 << 20);
    for n in ["1", "2"] {
        assert_eq!(server.connection.poll_transmit(server.now, &mut out), Transmit::Place(place));
        server.connection.fill_place(place, delivery("old", n, Qos::ExactlyOnce));
    }
    assert_eq!(server.connection.poll_transmit(server.now, &mut out), Transmit::Place(place));
    server.connection.close_place(place);
    assert_eq!(server.sends(), "");
    server.connection.stored(u64::MAX);
    assert_eq!(
        server.sends(),
        common::wire("34 08 00 03 'old' 00 01 '1' 34 08 00 03 'old' 00 02 '2' 34 08 00 03 'new' 00 03 '9'")
    );
}

#[test]
fn a_group_that_is_left_takes_back_what_was_begun_and_never_sent() {
    let mut session = Session::new();
    session.record_changes();
    let mut server = End::server_of(&Default::default(), &common::connect(Version::V5, &[]), session);
    let share = Share::new(4);
    for (n, qos) in ["1", "2", "3"].into_iter().zip([Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::AtLeastOnce]) {
        server.connection.deliver(delivery("a", n, qos).shared(&share, qos, false, 0), &LIMITS).unwrap();
    }
    server.delivers("a", "4", Qos::AtLeastOnce);
    assert_eq!(server.sends(), common::wire("32 07 00 01 'a' 00 01 00 '1'"), "the second waits to be stored");
    let taken = server.connection.session_mut().take_shared(4);
    assert_eq!(taken.iter().map(|it| it.message.payload()).collect::<Vec<_>>(), [b"2", b"3"]);
    server.connection.stored(u64::MAX);
    assert_eq!(server.sends(), common::wire("32 07 00 01 'a' 00 04 00 '4'"));
    let mut replayed = Session::new();
    while let Some((_, change)) = server.connection.poll_change() {
        replayed.apply(change).unwrap();
    }
    assert_eq!(replayed.snapshot(EPOCH), server.connection.session().snapshot(EPOCH));
}

// A peer that goes on asking while nothing gets stored is seen to do so.
#[test]
fn answers_that_wait_to_be_stored_are_backlog_and_no_output() {
    let mut session = Session::new();
    session.record_changes();
    let mut server = End::server_of(&Default::default(), &common::connect(Version::V311, &[]), session);
    server.delivers("a", "1", Qos::AtLeastOnce);
    server.sends();
    for _ in 0..1000 {
        server.gets("50 02 00 09 62 02 00 09"); // PUBREC and PUBREL of nothing
    }
    assert_eq!((server.connection.control_backlog(), server.connection.has_output()), (8000, false));
    server.connection.stored(u64::MAX);
    assert!(server.connection.has_output());
    assert!(server.sends().starts_with(&["62 02 00 09"; 1000].join(" ")));
    assert_eq!((server.connection.control_backlog(), server.connection.has_output()), (0, false));
}

#[cfg(feature = "serde")]
#[test]
fn a_snapshot_goes_through_serde_and_garbage_does_not() {
    let (session, _) = full(false);
    let snapshot = session.snapshot(EPOCH);
    let json = serde_json::to_string(&snapshot).unwrap();
    assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), snapshot);
    assert!(serde_json::from_str::<Snapshot>("[1,0,0]").is_err());
    assert!(serde_json::from_str::<Snapshot>("\"text\"").is_err());
}
