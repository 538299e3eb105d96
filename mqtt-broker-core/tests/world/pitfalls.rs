//! Pitfalls of the standard that no other story walks into.
use crate::harness::*;
use mqtt_broker_core::codec::{Qos, Utf8, Version};

#[test]
fn the_parent_and_empty_levels_match() {
    // pitfall 49. v5 [MQTT-4.7.1-2] v4 [MQTT-4.7.1-2]
    let mut world = World::new();
    let client = world.join(Version::V311, "c");
    for (filter, topic, matches) in [
        ("a/#", "a", true),
        ("a/#", "a/", true),
        ("a/#", "ab", false),
        ("+/+", "/", true),
        ("/+", "/a", true),
        ("+", "/a", false),
        ("a//b", "a//b", true),
        ("a/b", "a//b", false),
        ("a/+/b", "a//b", true),
    ] {
        world.subscribe(client, filter, Qos::AtMostOnce);
        world.publish(client, topic, "x", Qos::AtMostOnce);
        assert_eq!(world.messages(client).len(), usize::from(matches), "{filter} {topic}");
        world.unsubscribe(client, filter);
    }
}

#[test]
fn passwords_and_wills_are_bytes_and_not_text() {
    // pitfall 57
    for version in [Version::V31, Version::V311, Version::V5] {
        let mut world = World::new();
        let sub = world.join(version, "sub");
        world.subscribe(sub, "w", Qos::AtMostOnce);
        let client = world.join_with(version, "c", |connect| {
            connect.user_name = Some(Utf8::new("u").unwrap());
            connect.password = Some(&[0xFF, 0x00, 0xC0]);
            let mut will = will("w", "");
            will.payload = &[0xFE, 0x00, 0x80];
            connect.will = Some(will);
        });
        world.cut(client);
        let bytes = world.received_bytes(sub);
        assert!(bytes.ends_with(&[0xFE, 0x00, 0x80]), "{version:?} {bytes:02x?}");
    }
}

#[test]
fn a_password_without_a_user_name_is_legal_at_5_0_alone() {
    // pitfall 58. v4 [MQTT-3.1.2-22]
    let mut world = World::new();
    let new = world.open(Version::V5);
    world.send_bytes(new, b"\x10\x10\x00\x04MQTT\x05\x42\x00\x00\x00\x00\x00\x00\x01p");
    let lines = world.received(new);
    assert!(lines[0].starts_with("CONNACK 0x00"), "{lines:?}");
    let old = world.open(Version::V311);
    world.send_bytes(old, b"\x10\x10\x00\x04MQTT\x04\x42\x00\x00\x00\x01c\x00\x01p");
    assert!(world.is_closed(old));
    assert_eq!(world.received_bytes(old), [0u8; 0], "v4 [MQTT-3.1.4-1]: without a CONNACK");
}

#[test]
fn a_client_that_publishes_a_subscription_identifier_is_at_fault() {
    // pitfall 26. v5 [MQTT-3.3.4-6]
    let mut world = World::new();
    let sub = world.join(Version::V5, "sub");
    world.subscribe(sub, "#", Qos::AtMostOnce);
    let client = world.join(Version::V5, "c");
    world.send_bytes(client, b"\x30\x07\x00\x01t\x02\x0b\x05x");
    assert_eq!(world.received(client), ["DISCONNECT 0x82"]);
    assert_eq!(world.messages(sub), [""; 0]);
}
