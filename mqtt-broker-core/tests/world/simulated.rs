//! Simulated worlds: thousands of them, each decided by its seed, judged by a naive reference broker.
use crate::simulation::{Faults, Options, run};

/// `MQTT_SEED=n` plays one, `MQTT_WORLDS=n` so many.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn worlds(many: u64, options: &Options) {
    let seeds = number("MQTT_SEED").map_or(0..number("MQTT_WORLDS").unwrap_or(many), |seed| seed..seed + 1);
    for seed in seeds {
        if let Err(failure) = run(seed, options) {
            failure.tell();
            panic!("{}", failure.story());
        }
    }
}

#[test]
fn in_small_worlds_the_broker_does_what_the_reference_says() {
    worlds(4_000, &Options::SMALL);
}

#[test]
fn in_worlds_of_eight_clients_the_broker_does_what_the_reference_says() {
    worlds(500, &Options { clients: 8, steps: 300, ..Options::SMALL });
}

#[test]
fn through_a_day_the_broker_does_what_the_reference_says() {
    worlds(500, &Options { day: true, ..Options::SMALL });
}

#[test]
fn in_worlds_without_faults_the_broker_does_what_the_reference_says() {
    worlds(1_000, &Options { faults: Faults::NONE, ..Options::SMALL });
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in 0..20 {
        let once = run(seed, &Options::SMALL).map_err(|failure| failure.story()).unwrap();
        let again = run(seed, &Options::SMALL).map_err(|failure| failure.story()).unwrap();
        assert_eq!(once, again);
    }
}
