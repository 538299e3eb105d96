//! When a client tries again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

use core::time::Duration;
use mqtt_session::Backoff;

#[test]
fn each_wait_is_up_to_twice_the_last_and_never_above_the_bound() {
    for seed in 0..1000 {
        let mut backoff = Backoff::new(seed);
        backoff.first = Duration::from_millis(100);
        backoff.most = Duration::from_secs(5);
        for attempt in 0..200 {
            let ceiling = Duration::from_millis(100_u64.saturating_mul(1 << attempt.min(20))).min(backoff.most);
            let delay = backoff.delay(attempt);
            assert!(delay >= ceiling / 2 && delay <= ceiling, "{seed} {attempt}: {delay:?}");
        }
    }
}

// S19
#[test]
fn clients_that_lost_the_same_server_come_back_spread_over_time() {
    let mut buckets = [0; 10];
    for seed in 0..10_000 {
        let delay = Backoff::new(seed).delay(5).as_millis() as usize; // between 16 and 32 s
        buckets[(delay - 16_000) * 10 / 16_001] += 1;
    }
    for bucket in buckets {
        assert!((850..1150).contains(&bucket), "{buckets:?}");
    }
}

#[test]
fn no_setting_and_no_number_of_attempts_overflows() {
    for (first, most) in
        [(Duration::ZERO, Duration::MAX), (Duration::MAX, Duration::MAX), (Duration::MAX, Duration::ZERO)]
    {
        let mut backoff = Backoff::new(u64::MAX);
        (backoff.first, backoff.most) = (first, most);
        for attempt in [0, 1, 31, 63, 64, 65, u32::MAX] {
            assert!(backoff.delay(attempt) <= most);
        }
    }
}
