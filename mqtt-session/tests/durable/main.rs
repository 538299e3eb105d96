//! What a restart would contradict is not said: two ends that crash, with stores that lose what was not confirmed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../pair/random.rs"]
mod random;
mod world;

use mqtt_session::codec::{Qos, Role, Version};
use world::{Plan, World};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const ROLES: [Role; 2] = [Role::Client, Role::Server];

fn for_each_seed(seeds: std::ops::Range<u64>, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("the run with seed {seed} failed");
            std::panic::resume_unwind(panic);
        }
    }
}

fn plan(version: Version, window: u16) -> Plan {
    Plan { version, window, recording: true, through_snapshots: false }
}

// S16, pitfall 43. After every step the changes so far, applied to the last snapshot, are the state; nothing unconfirmed is relied upon
// on the wire; and in the end all is there, QoS 2 once.
#[test]
fn crashes_at_any_time_lose_nothing_and_double_nothing_but_qos_1() {
    for_each_seed(0..3_000, |seed| {
        let mut world = World::new(seed, plan(VERSIONS[seed as usize % 3], 1 + seed as u16 % 5));
        for _ in 0..200 {
            world.step();
        }
        world.settle();
        world.check();
    });
}

/// One thing after the other, always in the same order, so that a moment is a number.
struct Schedule {
    world: World,
    /// Confirmations come after so many steps.
    sync_every: usize,
    moment: usize,
}

impl Schedule {
    fn new(version: Version, sync_every: usize) -> Self {
        let mut world = World::new(1, plan(version, 2));
        world.connect();
        for role in ROLES {
            world.publish(role, Qos::ExactlyOnce);
            world.publish(role, Qos::AtLeastOnce);
            world.publish(role, Qos::ExactlyOnce);
        }
        Self { world, sync_every, moment: 0 }
    }

    /// The smallest things there are: one end writes, one packet arrives, one answer is given, one end's store confirms.
    fn step(&mut self) {
        self.world.connect();
        let role = ROLES[self.moment / 3 % 2];
        match self.moment % 3 {
            0 => self.world.write(role),
            1 => {
                self.world.carry(role);
            }
            _ => {
                self.world.answer(role, 0, self.moment.is_multiple_of(2));
            }
        }
        self.moment += 1;
        if self.moment.is_multiple_of(self.sync_every) {
            self.world.end(ROLES[self.moment / self.sync_every % 2]).sync();
        }
    }

    /// How long until all is said.
    fn len(version: Version, sync_every: usize) -> usize {
        let mut schedule = Self::new(version, sync_every);
        for moment in 0..2_000 {
            schedule.step();
            if moment > 20 && schedule.world.client.session().is_empty() && schedule.world.server.session().is_empty() {
                return moment;
            }
        }
        panic!("it does not end");
    }

    fn run_to(&mut self, moment: usize) {
        while self.moment < moment {
            self.step();
        }
    }

    fn end(mut self) {
        self.world.settle();
        self.world.check();
    }
}

// S16, S20: a crash of either end at every moment, with every part of the unconfirmed end of its log lost.
#[test]
fn a_crash_at_every_moment_with_every_torn_tail() {
    let mut runs = 0;
    for version in VERSIONS {
        for sync_every in [1, 4, 9] {
            for moment in 0..=Schedule::len(version, sync_every) {
                for role in ROLES {
                    for tail in 0.. {
                        let mut schedule = Schedule::new(version, sync_every);
                        schedule.run_to(moment);
                        if tail > schedule.world.end(role).unsynced() {
                            break;
                        }
                        schedule.world.crash(role, tail);
                        schedule.end();
                        runs += 1;
                    }
                }
            }
        }
    }
    println!("{runs} crashes");
    assert!(runs > 1_000);
}

// S16: and a second one, at every moment after the first.
#[test]
fn two_crashes_at_every_two_moments() {
    for (version, sync_every) in [(Version::V5, 3), (Version::V311, 14)] {
        two_crashes(version, sync_every);
    }
}

fn two_crashes(version: Version, sync_every: usize) {
    let len = Schedule::len(version, sync_every);
    for first in 0..=len {
        for second in first + 1..=(first + 40).min(len + 12) {
            for (one, other) in [
                (Role::Client, Role::Client),
                (Role::Client, Role::Server),
                (Role::Server, Role::Client),
                (Role::Server, Role::Server),
            ] {
                let mut schedule = Schedule::new(version, sync_every);
                schedule.run_to(first);
                schedule.world.crash(one, first % 2);
                schedule.run_to(second);
                let tail = schedule.world.end(other).unsynced().min(second % 3);
                schedule.world.crash(other, tail);
                schedule.end();
            }
        }
    }
}

#[test]
fn a_session_that_went_through_its_snapshot_says_what_it_would_have_said() {
    for_each_seed(0..1_000, |seed| {
        let run = |through_snapshots| {
            let (version, window) = (VERSIONS[seed as usize % 3], 1 + seed as u16 % 5);
            let mut world = World::new(seed, Plan { version, window, recording: false, through_snapshots });
            for _ in 0..200 {
                world.step();
            }
            world.settle();
            world.written()
        };
        assert_eq!(run(false), run(true));
    });
}

// The cost of being recorded is an order of sending, not another one.
#[test]
fn a_recorded_session_says_the_same_when_its_store_confirms_at_once() {
    // one direction, so that nothing else decides what is written when
    for version in VERSIONS {
        let run = |recording| {
            let mut world = World::new(3, Plan { recording, ..plan(version, 3) });
            world.connect();
            for number in 0..20 {
                world.publish(Role::Server, [Qos::AtLeastOnce, Qos::ExactlyOnce][number % 2]);
            }
            world.settle();
            world.written().1
        };
        assert_eq!(run(true), run(false), "{version:?}");
    }
}
