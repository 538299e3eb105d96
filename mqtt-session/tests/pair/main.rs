//! Two ends joined in memory: a virtual clock, seeded chopping, cutting and coming back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod random;
mod world;

use mqtt_session::codec::{Qos, Version};
use world::{Plan, World};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

/// Runs `seeds` worlds; a failure names its seed.
fn for_each_seed(seeds: std::ops::Range<u64>, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("the run with seed {seed} failed");
            std::panic::resume_unwind(panic);
        }
    }
}

// v5 [MQTT-3.3.4-1], v4 [MQTT-3.3.4-1]: each QoS has its answers, or the world would not come to rest.
#[test]
fn every_qos_arrives_in_both_directions_at_every_version() {
    for version in VERSIONS {
        for qos in QOS {
            let mut world = World::new(1, Plan { version, faults: false, ..Plan::calm() });
            world.connect();
            for _ in 0..10 {
                world.publish_from_client(qos);
                world.publish_from_server(qos);
            }
            world.settle();
            world.check_each_arrived_once();
            world.check_idle();
        }
    }
}

// v5 [MQTT-4.1.0-1], v4 [MQTT-4.1.0-1], v4 [MQTT-4.1.0-2], v5 [MQTT-4.4.0-1], v4 [MQTT-4.4.0-1], v5 [MQTT-3.1.2-23]: nothing is lost over cuts.
// v4 [MQTT-3.1.2-4], v5 [MQTT-3.1.2-5].
// v5 [MQTT-4.9.0-1], v5 [MQTT-4.9.0-2], v5 [MQTT-3.3.4-7], v5 [MQTT-3.3.4-9]: the wire is watched for more than Receive Maximum.
// pitfall 4, pitfall 5, pitfall 6, pitfall 8, pitfall 43, pitfall 47; S12, S16.
#[test]
fn what_is_published_arrives_as_its_qos_says_over_cuts_and_resumes() {
    for_each_seed(0..2_500, |seed| {
        let mut world = World::new(seed, Plan::wild(seed));
        world.connect();
        for _ in 0..150 {
            world.step();
        }
        world.settle();
        world.check_deliveries();
        world.check_order();
        world.check_completions();
        world.check_idle();
    });
}

// v5 [MQTT-3.2.2-5]: no identifier of the lost session is used again, and nothing that was not acknowledged is lost.
#[test]
fn a_server_that_loses_its_sessions_gets_what_it_never_acknowledged_anew() {
    for_each_seed(0..300, |seed| {
        let version = if seed % 2 == 0 { Version::V311 } else { Version::V5 };
        let mut world = World::new(seed, Plan { version, only_from_client: true, ..Plan::wild(seed) });
        world.connect();
        for round in 0..5 {
            for _ in 0..30 {
                world.step();
            }
            if round % 2 == 0 {
                world.cut();
                world.lose_server_session();
            }
        }
        world.settle();
        world.check_at_least_once();
        world.check_idle();
    });
}

// S2: every split of the stream gives the same result.
#[test]
fn every_split_of_the_stream_gives_the_same_result() {
    for version in VERSIONS {
        let mut transcripts = Vec::new();
        for chunk in [1, 2, 3, 7, 64, usize::MAX] {
            let mut world = World::new(5, Plan { version, faults: false, chunk: Some(chunk), ..Plan::calm() });
            world.connect();
            for number in 0..30 {
                world.publish_from_client(QOS[number % 3]);
                world.publish_from_server(QOS[number / 3 % 3]);
            }
            world.settle();
            world.check_each_arrived_once();
            transcripts.push(world.arrivals());
        }
        assert!(transcripts.windows(2).all(|pair| pair[0] == pair[1]), "{version:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut world = World::new(77, Plan::wild(77));
        world.connect();
        for _ in 0..150 {
            world.step();
        }
        world.settle();
        (world.arrivals(), world.wire())
    };
    assert_eq!(run(), run());
}
