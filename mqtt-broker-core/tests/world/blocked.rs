//! A reader takes nothing for a time: whatever is published and asked meanwhile, in whatever order, comes to it as it should.
use crate::simulation::{Asked, Connect, Publish, Shape, Step, play};
use mqtt_broker_core::Durability;
use mqtt_broker_core::codec::{Qos, RetainHandling, Version};

const READER: usize = 0;
const WRITER: usize = 1;
/// How many steps happen meanwhile.
const MEANWHILE: u32 = 5;

fn join(who: usize) -> Step {
    Step::Connect(Connect {
        who,
        version: Version::V5,
        clean_start: false,
        expiry: 2_000,
        keep_alive: 0,
        receive_maximum: Some(2),
        aliases: None,
        max_packet: None,
        lazy: false,
        will: None,
    })
}

fn publish(number: u32, qos: Qos, retain: bool, more: usize, expiry: Option<u32>) -> Step {
    let (topic, alias) = ("a/b", None);
    Step::Publish(Publish { who: WRITER, number, topic, qos, retain, expiry, alias, more })
}

fn subscribe(filter: &'static str, handling: RetainHandling) -> Step {
    let asked = Asked { filter, qos: Qos::ExactlyOnce, no_local: false, retain_as_published: false, handling };
    Step::Subscribe { who: READER, filters: vec![asked], id: None }
}

/// What may happen meanwhile.
fn step(which: u32, number: u32) -> Step {
    match which {
        0 => publish(number, Qos::AtMostOnce, false, 8, (number == 2).then_some(1)),
        1 => publish(number, Qos::AtLeastOnce, false, 8, None),
        2 => subscribe("a/#", RetainHandling::Always),
        3 => subscribe("b/+", RetainHandling::Always),
        4 => Step::Revoke { revoked: true }, // ends what was just asked for
        5 => Step::Takes { who: READER, bytes: Some(300) },
        _ => Step::Advance { millis: 2_000 },
    }
}

// S4, v5 [MQTT-4.6.0-5] v4 [MQTT-4.6.0-5]
#[test]
fn whatever_happens_while_a_reader_takes_nothing_it_gets_all_in_order() {
    for durability in [Durability::None, Durability::Synced] {
        let shape = Shape { high_water: 300, durability, ..Shape::durable(2) };
        for sequence in 0..7_u32.pow(MEANWHILE) {
            let mut steps = vec![
                join(READER),
                join(WRITER),
                subscribe("a/b", RetainHandling::Never),
                Step::Takes { who: READER, bytes: Some(0) },
                publish(1, Qos::AtMostOnce, true, 200, None), // more than waits in a transport
                Step::Advance { millis: 60_000 },             // for a reader that takes nothing nobody waits
            ];
            for place in 0..MEANWHILE {
                steps.push(step(sequence / 7_u32.pow(place) % 7, place + 2));
            }
            steps.push(Step::Takes { who: READER, bytes: None });
            if let Err(why) = play(&shape, &steps) {
                panic!("{why}\n{steps:#?}");
            }
        }
    }
}
