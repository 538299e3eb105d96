//! Two ends joined in memory: a virtual clock, seeded chopping, cutting at every byte, coming back, starting again from a snapshot.
//!
//! `MQTT_RUNS=1000000` runs as many seeds instead of the 20,000 of every day, and `MQTT_SEED=7` the one with that number.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod checks;
mod end;
mod plan;
mod random;
mod replay;
mod world;

use mqtt_session::codec::{Qos, Role, Version};
use plan::Plan;
use world::World;

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// The seeds of every day.
const RUNS: u64 = 20_000;

/// Runs a `share` of the seeds, in percent; a failure names its seed.
fn for_each_seed(share: u64, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse::<u64>().expect("a number"));
    let seeds = match number("MQTT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MQTT_RUNS").unwrap_or(RUNS) * share / 100,
    };
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("the run with seed {seed} failed: MQTT_SEED={seed} runs it alone");
            std::panic::resume_unwind(panic);
        }
    }
}

// v5 [MQTT-3.3.4-1], v4 [MQTT-3.3.4-1]: each QoS has its answers, or the world would not come to rest.
#[test]
fn every_qos_arrives_in_both_directions_at_every_version() {
    for version in VERSIONS {
        for qos in QOS {
            let mut world = World::new(1, Plan::calm(version));
            world.connect();
            for _ in 0..10 {
                world.publish(Role::Client, qos);
                world.publish(Role::Server, qos);
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
    for_each_seed(100, |seed| {
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
    for_each_seed(5, |seed| {
        let version = if seed % 2 == 0 { Version::V311 } else { Version::V5 };
        let mut world = World::new(seed, Plan { version, only_from_client: true, ..Plan::wild(seed) });
        world.connect();
        for round in 0..5 {
            for _ in 0..30 {
                world.step();
            }
            if round % 2 == 0 {
                world.break_link();
                world.lose_server_session();
            }
        }
        world.settle();
        world.check_at_least_once();
        world.check_idle();
    });
}

// S16. pitfall 6, pitfall 8: each byte of either stream may be the last that arrives, on one connection and on the next.
#[test]
fn a_cut_at_any_byte_of_two_connections_loses_and_doubles_nothing() {
    for version in VERSIONS {
        for role in ROLES {
            for first in 0.. {
                let mut reached = false;
                for second in (0..).step_by(3) {
                    let mut world = World::new(1, Plan { small: true, ..Plan::calm(version) });
                    world.cut_at(role, first);
                    world.cut_at(if second % 2 == 0 { Role::Client } else { Role::Server }, second);
                    world.connect();
                    for qos in QOS {
                        world.publish(Role::Client, qos);
                        world.publish(Role::Server, qos);
                    }
                    world.settle();
                    world.check_deliveries();
                    world.check_order();
                    world.check_completions();
                    world.check_idle();
                    reached |= world.cuts() > 0;
                    // the second connection has no byte of this number
                    if world.cuts() < 2 {
                        break;
                    }
                }
                if !reached {
                    break;
                }
            }
        }
    }
}

// v5 [MQTT-3.1.2-22], v4 [MQTT-3.1.2-24]: time is an argument, and the deadline alone says when to come back.
#[test]
fn a_link_that_carries_nothing_any_more_is_given_up_by_both_ends_in_time() {
    for version in VERSIONS {
        let mut world = World::new(1, Plan { keep_alive: 10, ..Plan::calm(version) });
        world.connect();
        world.publish(Role::Client, Qos::ExactlyOnce);
        world.settle();
        // an hour of silence is an hour of pings, each answered
        for _ in 0..3_600 {
            world.pass(1_000);
            world.settle();
        }
        assert_eq!(world.cuts(), 0, "{version:?}");
        let lost = world.silence();
        assert_eq!(lost[0].0, Role::Server, "{version:?}: after one and a half periods");
        assert!((14_000..=15_000).contains(&lost[0].1), "{version:?}: {lost:?}");
        assert_eq!(lost[1].0, Role::Client, "{version:?}: after a ping that nobody answers");
        assert!((10_000..=20_000).contains(&lost[1].1), "{version:?}: {lost:?}");
    }
}

// S2: every split of the stream gives the same result.
#[test]
fn every_split_of_the_stream_gives_the_same_result() {
    for version in VERSIONS {
        let mut transcripts = Vec::new();
        for chunk in [1, 2, 3, 7, 64, usize::MAX] {
            let mut world = World::new(5, Plan { chunk: Some(chunk), ..Plan::calm(version) });
            world.connect();
            for number in 0..30 {
                world.publish(Role::Client, QOS[number % 3]);
                world.publish(Role::Server, QOS[number / 3 % 3]);
            }
            world.settle();
            world.check_each_arrived_once();
            transcripts.push(world.arrivals());
        }
        assert!(transcripts.windows(2).all(|pair| pair[0] == pair[1]), "{version:?}");
    }
}

// S2: the same with a stream that was recorded: the same events, and the same bytes in answer, wherever it is split.
#[test]
fn a_recorded_stream_split_at_any_byte_gives_the_same_events_and_answers() {
    for version in VERSIONS {
        for from in ROLES {
            let stream = replay::record(version, from);
            let whole = replay::play(version, from, &[&stream]);
            assert!(whole.events > 10, "{version:?} {from:?}: {whole:?}");
            for at in 0..stream.len() {
                let (left, right) = stream.split_at(at);
                assert_eq!(replay::play(version, from, &[left, right]), whole, "{version:?} {from:?} split at {at}");
            }
            assert_eq!(replay::play(version, from, &stream.chunks(1).collect::<Vec<_>>()), whole);
            for_each_seed(1, |seed| {
                let pieces = replay::pieces(&stream, seed);
                assert_eq!(replay::play(version, from, &pieces), whole, "{version:?} {from:?}");
            });
        }
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
