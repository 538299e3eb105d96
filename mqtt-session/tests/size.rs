//! What an idle client costs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{End, Seen, VERSIONS, connect};
use mqtt_session::codec::{Property, Qos, ReasonCode, Version};
use mqtt_session::{Connection, Delivery, Message, Session};

#[test]
fn the_structs_are_small_and_a_connection_may_change_threads() {
    fn send<T: Send>() {}
    send::<Connection>();
    send::<Session>();
    send::<Message>();
    println!(
        "Connection {} Session {} Delivery {}",
        size_of::<Connection>(),
        size_of::<Session>(),
        size_of::<Delivery>()
    );
    assert!(size_of::<Connection>() <= 392, "{}", size_of::<Connection>());
    assert!(size_of::<Session>() <= 224, "{}", size_of::<Session>());
    assert_eq!(size_of::<Delivery>(), 32);
    assert_eq!(size_of::<Message>(), 16);
}

#[test]
fn an_idle_connection_gives_its_buffers_back() {
    for version in VERSIONS {
        let p = if version == Version::V5 { "00" } else { "" };
        let six = if version == Version::V5 { "07" } else { "06" };
        let mut server = End::server(version);
        for n in 0..100_u16 {
            server.delivers("a", "x", Qos::AtLeastOnce);
            server.delivers("a", "x", Qos::AtMostOnce);
            let seen = server.gets_one(&format!("34 {six} 00 01 'a' 00 01 {p} 'x'"));
            server.connection.acknowledge(seen.token(), ReasonCode::SUCCESS);
            server.sends();
            let released = server.gets_one("62 02 00 01");
            server.connection.acknowledge(released.token(), ReasonCode::SUCCESS);
            server.gets("C0 00");
            server.sends();
            assert!(matches!(
                server.gets(&format!("40 02 {:02X} {:02X}", (n + 1) >> 8, (n + 1) & 0xFF))[..],
                [Seen::Completed(..)]
            ));
        }
        assert!(server.connection.memory() > 0);
        assert!(server.waits(1000).is_none());
        assert_eq!(server.connection.memory(), 0, "{version:?}");
        assert_eq!(server.reader.memory(), 0, "{version:?}");
        assert_eq!(server.connection.into_session().memory(), 0, "{version:?}");
    }
}

#[test]
fn aliases_are_paid_for_when_they_are_set() {
    let mut server =
        End::server_of(&Default::default(), &connect(Version::V5, &[Property::ReceiveMaximum(9)]), Session::new());
    server.waits(0);
    assert_eq!(server.connection.memory(), 0);
    server.gets("30 07 00 01 'a' 03 23 00 10");
    assert!((1..1000).contains(&server.connection.memory()));
}
