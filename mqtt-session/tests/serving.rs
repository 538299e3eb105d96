//! Stories of the server's end, told in bytes: what it serves, and the requests it answers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{End, Seen, VERSIONS, connect, wire};
use mqtt_session::codec::{Properties, Property, Qos, ReasonCode, Utf8, Version};
use mqtt_session::{ServerConfig, Session};

// v5 [X5-CACK-4], v5 [X5-CACK-5], v5 [X5-CACK-7], v5 [X5-CACK-8], v5 [X5-CACK-9], v5 [MQTT-3.2.2-11], v5 [MQTT-3.2.2-14].
#[test]
fn what_is_not_served_ends_the_connection_with_its_own_code() {
    let mut config = ServerConfig::default();
    config.maximum_qos = Qos::AtMostOnce;
    config.retain_available = false;
    config.wildcard_subscription_available = false;
    config.subscription_identifiers_available = false;
    config.shared_subscription_available = false;
    for (packet, reason) in [
        ("32 07 00 01 'a' 00 05 00 'x'", 0x9B),
        ("31 05 00 01 'a' 00 'x'", 0x9A),
        ("82 07 00 01 00 00 01 '#' 00", 0xA2),
        ("82 09 00 01 02 0B 01 00 01 'a' 00", 0xA1),
        ("82 10 00 01 00 00 0A '$share/g/a' 00", 0x9E),
    ] {
        let mut server = End::server_of(&config, &connect(Version::V5, &[]), Session::new());
        assert_eq!(server.gets_one(packet).reason(), reason, "{packet}");
        assert_eq!(server.sends(), format!("E0 01 {reason:02X}"));
    }
    // 3.1.1 knows nothing of it: the host answers each filter, keeps no message, and `$share` is a plain name.
    config.maximum_qos = Qos::ExactlyOnce;
    for packet in ["31 04 00 01 'a' 'x'", "82 06 00 01 00 01 '#' 00", "82 0F 00 01 00 0A '$share/g/a' 00"] {
        let mut server = End::server_of(&config, &connect(Version::V311, &[]), Session::new());
        assert!(!matches!(server.gets_one(packet), Seen::Broken(_)), "{packet}");
    }
}

// v5 [MQTT-3.8.3-4], v5 [MQTT-4.7.1-1], v5 [MQTT-4.7.1-2], v4 [MQTT-4.7.1-2], v4 [MQTT-4.7.1-3]. S5, S10; pitfall 55
#[test]
fn a_bad_filter_anywhere_in_a_request_is_found_before_the_host_sees_any() {
    let mut config = ServerConfig::default();
    config.shared_subscription_available = true;
    for (version, packet, reason) in [
        (Version::V5, "82 0C 00 01 00 00 01 'a' 00 00 02 'b#' 00", 0x81),
        (Version::V5, "82 10 00 01 00 00 0A '$share/g/a' 04", 0x82), // no local on a shared one
        (Version::V5, "A2 0A 00 01 00 00 01 'a' 00 02 'a+'", 0x81),
        (Version::V311, "82 0B 00 01 00 01 'a' 00 00 02 'b#' 00", 0x81),
        (Version::V311, "A2 06 00 01 00 02 'a+'", 0x81),
    ] {
        let mut server = End::server_of(&config, &connect(version, &[]), Session::new());
        assert_eq!(server.gets_one(packet).reason(), reason, "{packet}");
    }
}

// v5 [MQTT-3.8.4-1], v5 [MQTT-3.8.4-2], v5 [MQTT-3.8.4-5], v5 [MQTT-3.8.4-6], v5 [MQTT-3.8.4-7], v5 [MQTT-3.9.3-1], v5 [MQTT-2.2.1-6], v5 [MQTT-3.2.2-10].
// v4 [MQTT-3.8.4-1], v4 [MQTT-3.8.4-2], v4 [MQTT-3.8.4-4], v4 [MQTT-3.8.4-5], v4 [MQTT-3.9.3-1], v4 [MQTT-2.3.1-7], v3 [X31-SUB-1].
#[test]
fn a_subscribe_is_answered_with_one_code_for_each_filter_as_the_version_knows_it() {
    let codes = [2, 0, 1, 0x87].map(ReasonCode);
    for (version, packet, suback) in [
        (
            Version::V5,
            "82 13 BE EF 00 00 01 'a' 02 00 01 'b' 00 00 01 'c' 01 00 01 'd' 02",
            "90 07 BE EF 00 02 00 01 87",
        ),
        (Version::V311, "82 12 BE EF 00 01 'a' 02 00 01 'b' 00 00 01 'c' 01 00 01 'd' 02", "90 06 BE EF 02 00 01 80"),
        (Version::V31, "82 12 BE EF 00 01 'a' 02 00 01 'b' 00 00 01 'c' 01 00 01 'd' 02", "90 06 BE EF 02 00 01 00"),
    ] {
        let mut config = ServerConfig::default();
        config.maximum_qos = Qos::AtMostOnce; // limits what is published, not what is subscribed
        let mut server = End::server_of(&config, &connect(version, &[]), Session::new());
        let seen = server.gets_one(packet);
        assert_eq!(server.sends(), "", "the host answers");
        server.connection.suback(seen.request(), &codes, Properties::EMPTY);
        assert_eq!(server.sends(), suback);
    }
}

// v5 [MQTT-3.10.4-4], v5 [MQTT-3.10.4-5], v5 [MQTT-3.10.4-6], v5 [MQTT-3.11.3-1], v4 [MQTT-3.10.4-4], v4 [MQTT-3.10.4-5], v4 [MQTT-3.10.4-6]. pitfall 38
#[test]
fn an_unsubscribe_is_answered_with_codes_at_5_and_without_before() {
    let codes = [ReasonCode::NO_SUBSCRIPTION_EXISTED, ReasonCode::SUCCESS];
    for (version, packet, unsuback) in [
        (Version::V5, "A2 09 00 07 00 00 01 'a' 00 01 'b'", "B0 05 00 07 00 11 00"),
        (Version::V311, "A2 08 00 07 00 01 'a' 00 01 'b'", "B0 02 00 07"),
    ] {
        let mut server = End::server(version);
        let seen = server.gets_one(packet);
        server.connection.unsuback(seen.request(), &codes, Properties::EMPTY);
        assert_eq!(server.sends(), unsuback);
    }
}

// v5 [MQTT-3.1.2-29], v5 [MQTT-3.1.2-24]. pitfall 33, pitfall 34, pitfall 35
#[test]
fn reason_strings_and_user_properties_are_left_out_when_unwanted_or_too_large() {
    let user = Utf8::new("u").unwrap();
    let list = [Property::ReasonString(Utf8::new("why").unwrap()), Property::UserProperty(user, user)];
    let whole = "90 11 00 01 0D 1F 00 03 'why' 26 00 01 'u' 00 01 'u' 87"; // 19 bytes
    for (asked, suback) in [
        (vec![], whole),
        (vec![Property::RequestProblemInformation(false)], "90 04 00 01 00 87"),
        (vec![Property::MaximumPacketSize(19)], whole),
        (vec![Property::MaximumPacketSize(18)], "90 0A 00 01 06 1F 00 03 'why' 87"),
        (vec![Property::MaximumPacketSize(11)], "90 04 00 01 00 87"),
    ] {
        let mut config = ServerConfig::default();
        (config.receive_maximum, config.topic_alias_maximum) = (65_535, 0);
        (config.maximum_packet_size, config.shared_subscription_available) = (u32::MAX, true);
        let mut server = End::server_of(&config, &connect(Version::V5, &asked), Session::new());
        let seen = server.gets_one("82 07 00 01 00 00 01 'a' 00");
        server.connection.suback(seen.request(), &[ReasonCode::NOT_AUTHORIZED], Properties::from_slice(&list));
        assert_eq!(server.sends(), wire(suback), "{asked:?}");
    }
    // an answer that cannot be sent at all ends the connection instead of leaving the client waiting
    let mut config = ServerConfig::default();
    (config.receive_maximum, config.topic_alias_maximum) = (65_535, 0);
    (config.maximum_packet_size, config.shared_subscription_available) = (u32::MAX, true);
    let mut server = End::server_of(&config, &connect(Version::V5, &[Property::MaximumPacketSize(5)]), Session::new());
    let seen = server.gets_one("82 07 00 01 00 00 01 'a' 00");
    server.connection.suback(seen.request(), &[ReasonCode::SUCCESS], Properties::EMPTY);
    assert_eq!(server.sends(), "E0 01 95");
}

// v5 [MQTT-3.12.4-1], v4 [MQTT-3.12.4-1].
#[test]
fn a_ping_is_answered() {
    for version in VERSIONS {
        let mut server = End::server(version);
        assert_eq!(server.gets("C0 00"), [Seen::Handled]);
        assert_eq!(server.sends(), "D0 00");
    }
}

// v5 [X5-AUTH-1], v5 [X5-AUTH-4], v5 [MQTT-4.12.0-7], v5 [X5-ERR-4], v5 [MQTT-3.1.2-30]
#[test]
fn packets_that_have_no_place_end_the_connection() {
    for packet in ["F0 02 19 00", "F0 07 19 05 15 00 02 'm' 'x'", "D0 00", "20 03 00 00 00", "90 04 00 01 00 00"] {
        let mut server = End::server(Version::V5);
        assert!(matches!(server.gets(packet)[..], [Seen::Broken(_)]), "{packet}");
        assert!(["E0 01 82", "E0 01 81"].contains(&server.sends().as_str()), "{packet}");
    }
}
