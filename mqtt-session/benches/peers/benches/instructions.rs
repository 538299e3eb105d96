//! Messages through a pair, for `valgrind --tool=callgrind`, which counts instructions repeatably: run it twice with different counts,
//! the difference is what the messages cost. `.ci/callgrind-session` does that for the whole table.
//!
//! `cargo bench --bench instructions -- ours 5.0 1 1000`
use mqtt_session_peers::{Carried, MESSAGES, Ours, Pair, ProtocolCore, VERSIONS, Version, check, turn};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let [who, version, qos, turns] = words.as_slice() else {
        check();
        return println!(
            "both do the same work; now: WHO (ours, core) VERSION (3.1.1, 5.0) QOS TURNS of {MESSAGES} messages"
        );
    };
    let (version, _) = VERSIONS.into_iter().find(|(_, name)| name == version).unwrap();
    let (qos, turns) = (qos.parse().unwrap(), turns.parse().unwrap());
    let messages = match who.as_str() {
        "ours" => run::<Ours>(version, qos, turns),
        "core" => run::<ProtocolCore>(version, qos, turns),
        other => panic!("who is {other}?"),
    };
    println!("{messages} messages");
}

fn run<P: Pair>(version: Version, qos: u8, turns: u64) -> u64 {
    let mut pair = P::new(version);
    let add = |sum, carried: Carried| sum + carried.messages;
    (0..turns).map(|_| turn(&mut pair, qos)).fold(0, add)
}
