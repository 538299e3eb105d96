//! Every pitfall of the wire reference and every class of failure is named by a test that keeps it away.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "txt") {
            files.push(path);
        }
    }
}

/// All tests of the crates, as text.
fn texts() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for package in ["mqtt-topic", "mqtt-codec", "mqtt-session", "mqtt-broker-core", "examples"] {
        collect(&root.join(package).join("tests"), &mut files);
    }
    files.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// The numbers behind `pitfall 7`, `pitfalls 1 and 2`, `pitfalls 3, 4`.
fn pitfalls(text: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for rest in text.split("pitfall").skip(1) {
        let rest = rest.strip_prefix('s').unwrap_or(rest);
        for word in rest.split([' ', ',']).filter(|word| !word.is_empty() && *word != "and") {
            let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
            let Ok(number) = digits.parse() else { break };
            found.insert(number);
            if digits.len() < word.len() {
                break; // a full stop, the end of the line
            }
        }
    }
    found
}

/// Whether `S<number>` stands there as a word.
fn names_class(text: &str, number: u32) -> bool {
    let name = format!("S{number}");
    text.match_indices(&name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_') && !after.is_some_and(|c| c.is_alphanumeric())
    })
}

#[test]
fn every_pitfall_is_named_by_a_test() {
    let named: BTreeSet<u32> = texts().iter().flat_map(|text| pitfalls(text)).collect();
    let missing: Vec<u32> = (1..=60).filter(|n| !named.contains(n)).collect();
    assert!(missing.is_empty(), "no test names these pitfalls: {missing:?}");
}

#[test]
fn every_class_of_failure_is_named_by_a_test() {
    let texts = texts();
    // S20 and S21 come with persistence and with transports
    let missing: Vec<u32> = (1..=19).filter(|n| !texts.iter().any(|text| names_class(text, *n))).collect();
    assert!(missing.is_empty(), "no test names these classes: {missing:?}");
}
