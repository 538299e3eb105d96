//! The table of features names tests that exist.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]
use std::collections::HashSet;
use std::fs;
use std::path::Path;

const TABLE: &str = include_str!("../FEATURES.md");

/// `story::test` for every test of the world.
fn tests() -> HashSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/world");
    let mut found = HashSet::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue; // what stories are told with
        }
        let story = path.file_stem().unwrap().to_str().unwrap().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let mut marked = false;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("fn ").filter(|_| marked) {
                found.insert(format!("{story}::{}", rest.split('(').next().unwrap()));
            }
            marked = line == "#[test]" || (marked && line.starts_with("//"));
        }
    }
    found
}

#[test]
fn every_row_names_tests_that_exist() {
    let tests = tests();
    let rows = TABLE.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut named = 0;
    for row in rows {
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {row}");
        for name in names {
            assert!(tests.contains(name), "there is no test `{name}`: {row}");
            named += 1;
        }
    }
    assert!(named > 50, "{named}");
}
