//! QoS 1 and 2 against a reference of the standard's state machine, packet by packet: every schedule up to a length, and seeded long ones.
//!
//! After each step what both ends wrote, what their hosts saw and what can be seen of their state is what the reference says; and each
//! schedule is played to its end, where QoS 1 has come at least once, QoS 2 exactly once, in order, and nothing is kept.
//! `MQTT_RUNS` and `MQTT_SEED` are as in the pair tests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod link;
#[path = "../pair/random.rs"]
mod random;
mod reference;

use link::{Action, Link, Setup};
use mqtt_session::codec::{Role, Version};
use random::Random;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

const ALONE: Setup = Setup {
    version: Version::V5,
    manual: true,
    maximum: 10,
    from_client: &[],
    from_server: &[],
    cuts: 2,
    refuses: true,
    forgets: false,
};

/// Plays `schedule`; what can happen next. A failure names the schedule.
fn play(setup: &Setup, schedule: &[Action]) -> Vec<Action> {
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut link = Link::new(setup);
        schedule.iter().for_each(|&action| link.act(action));
        let possible = link.possible();
        link.finish();
        possible
    }));
    played.unwrap_or_else(|panic| {
        eprintln!("{setup:?}: {schedule:?} failed");
        resume_unwind(panic)
    })
}

/// Plays every schedule of up to `depth` steps; how many there are.
fn play_all(setup: &Setup, depth: usize) -> usize {
    let (mut schedule, mut count) = (Vec::new(), 0);
    // for each step of the schedule, what is still to be tried in its place
    let mut untried = vec![play(setup, &schedule)];
    while let Some(actions) = untried.last_mut() {
        match actions.pop() {
            Some(action) => {
                schedule.push(action);
                count += 1;
                let possible = play(setup, &schedule);
                untried.push(if schedule.len() < depth { possible } else { Vec::new() });
            }
            None => {
                untried.pop();
                schedule.pop();
            }
        }
    }
    println!("{count} schedules of {setup:?}");
    count
}

// S16. v5 [MQTT-4.3.3-1], v4 [MQTT-4.3.3-1], v5 [MQTT-4.4.0-1], v4 [MQTT-4.4.0-1]; pitfall 6.
#[test]
fn one_qos_2_message_survives_every_schedule_of_cuts_in_either_direction() {
    for version in VERSIONS {
        for from_client in [true, false] {
            let list: &[u8] = &[2];
            let (from_client, from_server) = if from_client { (list, &[][..]) } else { (&[][..], list) };
            let count = play_all(&Setup { version, from_client, from_server, cuts: 3, ..ALONE }, 13);
            assert!(count > 1_000, "{count}");
        }
    }
}

// S16, pitfall 8, pitfall 42: each direction has identifiers of its own, and both begin with 1.
#[test]
fn the_same_identifier_in_both_directions_is_never_mixed_up() {
    for version in VERSIONS {
        for manual in [true, false] {
            let setup = Setup { version, manual, from_client: &[2], from_server: &[2], ..ALONE };
            let count = play_all(&setup, if manual { 8 } else { 9 });
            assert!(count > 5_000, "{count}");
        }
    }
}

// v5 [MQTT-4.6.0-1], v5 [MQTT-4.6.0-2], v5 [MQTT-4.6.0-3], v5 [MQTT-4.6.0-4], v4 [MQTT-4.6.0-1]: the order of what is sent again, of answers, of releases.
#[test]
fn several_messages_keep_their_order_whatever_the_hosts_answer_first() {
    for (version, maximum) in [(Version::V311, 10), (Version::V5, 10), (Version::V5, 2), (Version::V5, 1)] {
        for (from_client, from_server) in [(&[2, 1, 2][..], &[][..]), (&[], &[2, 2, 1])] {
            let setup = Setup { version, maximum, from_client, from_server, cuts: 1, ..ALONE };
            let count = play_all(&setup, 10);
            assert!(count > 300, "{count}");
        }
    }
}

// v5 [MQTT-3.2.2-5]: what was not acknowledged is begun anew with a server that has nothing.
#[test]
fn a_server_that_forgets_at_any_step_gets_every_message_at_least_once() {
    for version in [Version::V311, Version::V5] {
        let setup = Setup { version, from_client: &[2, 1], cuts: 2, forgets: true, refuses: false, ..ALONE };
        assert!(play_all(&setup, 8) > 1_000);
    }
}

#[test]
fn long_schedules_with_many_messages_follow_the_reference() {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse::<u64>().expect("a number"));
    let seeds = match number("MQTT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MQTT_RUNS").unwrap_or(5_000),
    };
    for seed in seeds {
        let mut random = Random::new(seed);
        let setup = Setup {
            version: VERSIONS[random.below(3) as usize],
            manual: random.chance(50),
            maximum: 1 + random.below(5) as u16,
            cuts: usize::MAX,
            ..ALONE
        };
        let played = catch_unwind(AssertUnwindSafe(|| {
            let mut link = Link::new(&setup);
            for _ in 0..120 {
                if random.chance(20) {
                    let role = if random.chance(50) { Role::Client } else { Role::Server };
                    link.act(Action::Publish(role, 1 + random.below(2) as u8));
                    continue;
                }
                let mut possible = link.possible();
                // a cut is always possible, and so would be most of what happens
                possible.retain(|action| !matches!(action, Action::Cut | Action::Restart(_)) || random.chance(10));
                if !possible.is_empty() {
                    link.act(possible[random.below(possible.len() as u64) as usize]);
                }
            }
            link.finish();
        }));
        if let Err(panic) = played {
            eprintln!("the run with seed {seed} failed: MQTT_SEED={seed} runs it alone");
            resume_unwind(panic);
        }
    }
}
