//! The program `chaos` from outside: each QoS keeps its promise over cuts, and a seed is a run.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
use std::process::Command;

/// Exit code and standard output.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_chaos")).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn count(text: &str, verb: &str) -> usize {
    text.lines().filter(|line| line.split_whitespace().next() == Some(verb)).count()
}

#[test]
fn each_qos_keeps_its_promise_over_many_cuts() {
    for (qos, promise) in [("0", "at most once"), ("1", "at least once"), ("2", "exactly once")] {
        for seed in ["1", "2", "3"] {
            let (code, text) = run(&["--seed", seed, "--messages", "100", "--qos", qos, "--cut-per-mille", "100"]);
            let verdict = text.lines().last().unwrap();
            assert!(verdict.starts_with(&format!("verdict   QoS {qos}, {promise}: kept; 100 published")), "{verdict}");
            assert_eq!(code, Some(0), "{verdict}");
            assert!(count(&text, "cut") > 5, "{verdict}");
            assert_eq!(count(&text, "resent") > 0, qos != "0", "{verdict}");
        }
    }
}

#[test]
fn what_is_counted_is_what_was_printed() {
    let (_, text) = run(&["--seed", "4", "--messages", "50", "--qos", "1", "--cut-per-mille", "100"]);
    let verdict = text.lines().last().unwrap();
    let says = |what: String| assert!(verdict.contains(&what), "{verdict}: {what}");
    says(format!("{} resent", count(&text, "resent")));
    says(format!("{} cuts", count(&text, "cut")));
    assert!(count(&text, "delivered") >= 50);
    assert_eq!(count(&text, "sent"), 50);
}

#[test]
fn a_seed_is_a_run_and_another_seed_another() {
    let arguments = |seed| ["--seed", seed, "--messages", "30", "--cut-per-mille", "80"];
    assert_eq!(run(&arguments("7")), run(&arguments("7")));
    assert_ne!(run(&arguments("7")).1, run(&arguments("8")).1);
}

#[test]
fn without_cuts_nothing_is_sent_again() {
    let (code, text) = run(&["--messages", "20", "--cut-per-mille", "0"]);
    assert_eq!((code, count(&text, "delivered"), count(&text, "resent")), (Some(0), 20, 0));
    assert_eq!(run(&["--qos", "3"]).0, Some(2), "a QoS that is none");
}
