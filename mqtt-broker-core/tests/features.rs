//! The table of features names tests that exist.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]
use std::collections::HashSet;
use std::fs;
use std::path::Path;

const TABLE: &str = include_str!("../FEATURES.md");
/// The tests of the programs. A package has none.
const EXAMPLES: &str = "../examples/tests";

/// `story::test` for every test of the world, and `examples/file::test` for every one of the programs.
fn tests() -> HashSet<String> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = HashSet::new();
    for (folder, prefix) in [(package.join("tests/world"), ""), (package.join(EXAMPLES), "examples/")] {
        // a story that is told in several files has a folder
        let mut paths: Vec<_> = fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().path()).collect();
        let inner: Vec<_> =
            paths.iter().filter(|path| path.is_dir()).flat_map(|path| fs::read_dir(path).unwrap()).collect();
        paths.extend(inner.into_iter().map(|file| file.unwrap().path()));
        for path in paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
            let parent = path.parent().unwrap();
            let named = if parent.ends_with("tests/world") || parent.ends_with("tests") {
                path.file_stem()
            } else {
                parent.file_name()
            };
            let story = named.unwrap().to_str().unwrap().to_string();
            let text = fs::read_to_string(&path).unwrap();
            let mut marked = false;
            for line in text.lines() {
                if let Some(rest) = line.strip_prefix("fn ").filter(|_| marked) {
                    found.insert(format!("{prefix}{story}::{}", rest.split('(').next().unwrap()));
                }
                let goes_on = line.starts_with("//") || line.starts_with("#[");
                marked = line == "#[test]" || (marked && goes_on);
            }
        }
    }
    found
}

#[test]
fn every_row_names_tests_that_exist() {
    let (tests, has_examples) = (tests(), Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLES).exists());
    let rows = TABLE.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut named = 0;
    for row in rows {
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {row}");
        for name in names.into_iter().filter(|name| has_examples || !name.starts_with("examples/")) {
            assert!(tests.contains(name), "there is no test `{name}`: {row}");
            named += 1;
        }
    }
    assert!(named > 50, "{named}");
}
