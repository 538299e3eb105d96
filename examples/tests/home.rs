//! The worked example prints what `home.txt` holds.
#![allow(missing_docs)]

use std::process::Command;

#[test]
fn the_house_tells_the_same_story_every_time() {
    let output = Command::new(env!("CARGO_BIN_EXE_home")).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let expected = include_str!("home.txt");
    let first = expected.lines().zip(printed.lines()).position(|(expected, printed)| expected != printed);
    assert_eq!(
        printed,
        expected,
        "differs first in line {:?}; to accept it: cargo run --bin home > examples/tests/home.txt",
        first.map(|line| line + 1)
    );
}
