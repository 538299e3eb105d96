//! The process dies at every step of a QoS 2 message in both directions, with every part of what was written lost: it is delivered once.
use crate::simulation::{Asked, Connect, Loss, Publish, Shape, Step, play};
use mqtt_broker_core::codec::{Qos, RetainHandling, Version};

const READER: usize = 0;
const WRITER: usize = 1;

/// Who acknowledges only when told to, so that each packet is a step of its own.
fn join(who: usize, version: Version) -> Step {
    Step::Connect(Connect {
        who,
        version,
        clean_start: false,
        expiry: 2_000,
        keep_alive: 0,
        receive_maximum: None,
        aliases: None,
        max_packet: None,
        lazy: true,
        will: None,
    })
}

fn publish(number: u32, qos: Qos, retain: bool) -> Step {
    let (topic, expiry, alias) = ("a/b", None, None);
    Step::Publish(Publish { who: WRITER, number, topic, qos, retain, expiry, alias, more: 4 })
}

fn subscribe() -> Step {
    let asked = Asked {
        filter: "a/b",
        qos: Qos::ExactlyOnce,
        no_local: false,
        retain_as_published: true,
        handling: RetainHandling::Always,
    };
    Step::Subscribe { who: READER, filters: vec![asked], id: None }
}

/// One message from PUBLISH to the last PUBCOMP, a packet of a client at each step.
fn exchange(version: Version) -> Vec<Step> {
    let answer = |who| Step::Answer { who, most: 1 };
    vec![
        join(READER, version),
        subscribe(),
        join(WRITER, version),
        publish(1, Qos::ExactlyOnce, true),
        answer(WRITER), // PUBREL
        answer(READER), // PUBREC
        answer(READER), // PUBCOMP
        publish(2, Qos::ExactlyOnce, false),
    ]
}

fn plays(steps: &[Step]) {
    if let Err(why) = play(&Shape::durable(2), steps) {
        panic!("{why}\n{steps:#?}");
    }
}

// S16, v5 [MQTT-4.3.3-2] [MQTT-4.3.3-10] v4 [MQTT-4.3.3-1] [MQTT-4.3.3-2]
#[test]
fn qos_2_survives_a_crash_at_each_of_its_steps_whatever_was_stored_by_then() {
    for version in [Version::V311, Version::V5] {
        let all = exchange(version);
        for until in 1..=all.len() {
            // which of the steps the host has made durable
            for durable in 0..1u32 << until {
                for (how, most) in [(Loss::Tail, 1), (Loss::Drop, 4), (Loss::Reorder, 4), (Loss::Tear, 7)] {
                    for at in 0..most {
                        let mut steps = vec![Step::Holds { holds: true }];
                        for (number, step) in all.iter().take(until).enumerate() {
                            steps.push(step.clone());
                            if durable & (1 << number) != 0 {
                                steps.push(Step::Sync);
                            }
                        }
                        // torn at the beginning, the end, and in between
                        steps.push(Step::Crash { how, at: at * 61 });
                        plays(&steps);
                    }
                }
            }
        }
    }
}

// S16
#[test]
fn qos_2_survives_any_two_disruptions_at_any_two_of_its_steps() {
    let version = Version::V5;
    let disruptions = [
        Step::Crash { how: Loss::Tail, at: 0 },
        Step::Cut { who: READER },
        Step::Cut { who: WRITER },
        join(READER, version), // takes over, or comes back
        join(WRITER, version),
        Step::Advance { millis: 1_000 },
    ];
    let all = exchange(version);
    for holds in [false, true] {
        for first in 1..=all.len() {
            for second in first..=all.len() {
                for one in &disruptions {
                    for other in &disruptions {
                        let mut steps = vec![Step::Holds { holds }];
                        for (number, step) in all.iter().enumerate() {
                            if number == first {
                                steps.extend([one.clone(), join(READER, version), join(WRITER, version)]);
                            }
                            if number == second {
                                steps.extend([other.clone(), join(WRITER, version), join(READER, version)]);
                            }
                            steps.push(step.clone());
                        }
                        plays(&steps);
                    }
                }
            }
        }
    }
}

// S20
#[test]
fn a_store_that_is_torn_or_damaged_at_any_byte_loses_only_what_nobody_was_told_of() {
    let version = Version::V5;
    let mut all = exchange(version);
    all.splice(1..1, [Step::Holds { holds: true }]);
    all.push(publish(3, Qos::AtLeastOnce, true));
    all.push(Step::Unsubscribe { who: READER, filter: "a/b" });
    all.push(subscribe());
    for durable in [1, 4, 6, 8, 99] {
        for how in [Loss::Tear, Loss::Flip] {
            for at in 0..1_500 {
                let mut steps = Vec::new();
                for (number, step) in all.iter().enumerate() {
                    steps.push(step.clone());
                    if number == durable {
                        steps.push(Step::Sync);
                    }
                }
                steps.push(Step::Crash { how, at });
                plays(&steps);
            }
        }
    }
}
