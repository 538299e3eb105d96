//! A scene run a number of times, for `valgrind --tool=callgrind`, which counts instructions repeatably:
//! run it twice with different counts, the difference is what the messages cost.
//!
//! `cargo bench -p mqtt-broker-core --bench instructions -- pairs 1000`
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]
mod scene;

use mqtt_broker_core::Durability;
use mqtt_broker_core::codec::{AckKind, Qos};
use scene::{Bench, ack, mixed_filters, publish};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let [name, count] = words.as_slice() else {
        println!("scenes: pairs pairs1 synced1 pairs2 batch nobody fan group mixed, and how often");
        return;
    };
    let count: usize = count.parse().unwrap();
    let mut bench = Bench::new();
    match name.as_str() {
        "pairs" => {
            bench.client("to", &["bench/a".into()], Qos::AtMostOnce);
            let from = bench.client("from", &[], Qos::AtMostOnce);
            let message = publish("bench/a", Qos::AtMostOnce);
            (0..count).for_each(|_| bench.input(from, &message));
        }
        "pairs1" => {
            let to = bench.client("to", &["bench/a".into()], Qos::AtLeastOnce);
            let from = bench.client("from", &[], Qos::AtMostOnce);
            let message = publish("bench/a", Qos::AtLeastOnce);
            for id in (1..=u16::MAX).cycle().take(count) {
                bench.input(from, &message);
                bench.input(to, &[0x40, 2, id.to_be_bytes()[0], id.to_be_bytes()[1]]);
            }
        }
        "synced1" => {
            bench = Bench::durable(Durability::Synced);
            let to = bench.join("to", &["bench/a".into()], Qos::AtLeastOnce, false);
            let from = bench.client("from", &[], Qos::AtMostOnce);
            let message = publish("bench/a", Qos::AtLeastOnce);
            for id in (1..=u16::MAX).cycle().take(count) {
                bench.input(from, &message);
                bench.input(to, &[0x40, 2, id.to_be_bytes()[0], id.to_be_bytes()[1]]);
            }
        }
        "pairs2" => {
            let to = bench.client("to", &["bench/a".into()], Qos::ExactlyOnce);
            let from = bench.client("from", &[], Qos::AtMostOnce);
            let (message, release) = (publish("bench/a", Qos::ExactlyOnce), ack(AckKind::Pubrel));
            for id in (1..=u16::MAX).cycle().take(count) {
                bench.input(from, &message);
                bench.input(to, &[0x50, 2, id.to_be_bytes()[0], id.to_be_bytes()[1]]);
                bench.input(to, &[0x70, 2, id.to_be_bytes()[0], id.to_be_bytes()[1]]);
                bench.input(from, &release);
            }
        }
        "batch" => {
            bench.client("to", &["bench/a".into()], Qos::AtMostOnce);
            let from = bench.client("from", &[], Qos::AtMostOnce);
            let messages = publish("bench/a", Qos::AtMostOnce).repeat(100);
            (0..count / 100).for_each(|_| bench.input(from, &messages));
        }
        "nobody" => {
            let from = bench.client("from", &[], Qos::AtMostOnce);
            let message = publish("bench/a", Qos::AtMostOnce);
            (0..count).for_each(|_| bench.input(from, &message));
        }
        "fan" => {
            for n in 0..1_000 {
                bench.client(&format!("to{n}"), &["bench/+".into()], Qos::AtMostOnce);
            }
            let from = bench.client("from", &[], Qos::AtMostOnce);
            let message = publish("bench/a", Qos::AtMostOnce);
            (0..count / 1_000).for_each(|_| bench.input(from, &message));
        }
        "group" => {
            for n in 0..100 {
                bench.client(&format!("to{n}"), &["$share/g/bench/+".into()], Qos::AtMostOnce);
            }
            let from = bench.client("from", &[], Qos::AtMostOnce);
            let message = publish("bench/a", Qos::AtMostOnce);
            (0..count).for_each(|_| bench.input(from, &message));
        }
        "mixed" => {
            for n in 0..1_000 {
                bench.client(&format!("to{n}"), &mixed_filters(n), Qos::AtMostOnce);
            }
            let from = bench.client("from", &[], Qos::AtMostOnce);
            for n in 0..count {
                bench.input(from, &publish(&format!("site/{}/dev/{}/temp", n % 89, n % 97), Qos::AtMostOnce));
            }
        }
        other => println!("no scene {other}"),
    }
    println!("{count} messages, {} bytes out", bench.sent);
}
