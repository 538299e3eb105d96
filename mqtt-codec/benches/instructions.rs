//! One packet decoded or encoded a number of times, for `valgrind --tool=callgrind`: see `.ci/callgrind`.
#![allow(clippy::unwrap_used, missing_docs)]
use mqtt_codec::{Packet, Properties, Property, Publish, Qos, Role, TopicName, Utf8, Version};
use std::hint::black_box;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let [scene, count] = words.as_slice() else {
        println!("scenes: decode decode5 encode encode5, and how often");
        return;
    };
    let count: usize = count.parse().unwrap();
    let version = if scene.ends_with('5') { Version::V5 } else { Version::V311 };
    let text = |text| Utf8::new(text).unwrap();
    let five = [
        Property::PayloadFormatIndicator(true),
        Property::MessageExpiryInterval(60),
        Property::ContentType(text("text/plain")),
        Property::UserProperty(text("a"), text("1")),
        Property::UserProperty(text("b"), text("2")),
    ];
    let packet = Packet::Publish(Publish {
        dup: false,
        qos: Qos::AtMostOnce,
        retain: false,
        topic: Some(TopicName::new("site/12/dev/34/temp").unwrap()),
        packet_id: None,
        properties: Properties::from_slice(&five),
        payload: &[7; 64],
    });
    let mut bytes = Vec::with_capacity(256);
    packet.encode(version, &mut bytes).unwrap();
    let frame = bytes.clone();
    for _ in 0..count {
        if scene.starts_with("decode") {
            black_box(Packet::decode(black_box(&frame), version, Role::Server).unwrap());
        } else {
            bytes.clear();
            black_box(&packet).encode(version, &mut bytes).unwrap();
            black_box(&bytes);
        }
    }
}
