//! The program `match` from outside: answers, reasons, exit codes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/run.rs"]
mod program;

/// Exit code, standard output, standard error.
fn run(arguments: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let (code, output, errors) = program::told(&program::run_with(env!("CARGO_BIN_EXE_match"), arguments, input));
    (Some(code), output, errors)
}

#[test]
fn each_topic_gets_its_answer_and_the_reason() {
    let (code, stdout, stderr) = run(&["home/+/temp", "home/kitchen/temp", "home/door"], b"");
    let expected = "home/kitchen/temp: yes: '+' takes level 2, \"kitchen\"\n\
                    home/door: no: level 3 is missing, the filter has \"temp\"\n";
    assert_eq!((code, &*stdout, &*stderr), (Some(1), expected, ""));
}

#[test]
fn all_that_match_end_well() {
    let (code, stdout, _) = run(&["home/#", "home", "home/", "home/a/b"], b"");
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.starts_with("home: yes: '#' matches the level above it too (4.7.1.2)\n"), "{stdout}");
}

#[test]
fn topics_come_from_standard_input_if_none_are_given() {
    let (code, stdout, stderr) = run(&["a/b"], b"a/b\nA/b\na/b/\n$SYS");
    let expected = "a/b: yes: equal, byte for byte\n\
                    A/b: no: level 1 is \"A\", the filter has \"a\"\n\
                    a/b/: no: level 3, \"\", is one more than the filter has\n\
                    $SYS: no: level 1 is \"$SYS\", the filter has \"a\"\n";
    assert_eq!((code, &*stdout, &*stderr), (Some(1), expected, ""));
    assert_eq!(run(&["a"], b""), (Some(0), String::new(), String::new()));
}

#[test]
fn the_dollar_rule_is_named_and_holds_inside_a_shared_filter() {
    for filter in ["#", "+/x", "$share/group/#"] {
        let (code, stdout, _) = run(&[filter, "$SYS/x"], b"");
        assert_eq!(code, Some(1), "{filter}");
        assert!(stdout.contains("4.7.2"), "{filter}: {stdout}");
    }
    assert_eq!(run(&["$share/group/jobs/+", "jobs/1"], b"").0, Some(0));
}

#[test]
fn what_is_no_good_is_named_with_rule_and_offset() {
    for (filter, fault) in [
        ("home/a+", "filter home/a+: '+' must be a whole level of a topic filter (at byte 6)"),
        ("#/a", "(at byte 0)"),
        ("", "at least one character"),
        ("$share/g", "\"$share/name\" needs a '/' and a topic filter behind it (at byte 8)"),
    ] {
        let (code, stdout, stderr) = run(&[filter, "a"], b"");
        assert_eq!((code, &*stdout), (Some(2), ""), "{filter}");
        assert!(stderr.contains(fault), "{stderr}");
    }
    // the topics beside a bad one get their answers
    let (code, stdout, stderr) = run(&["#", "a/+", "a"], b"");
    assert_eq!((code, &*stdout), (Some(2), "a: yes: '#' takes level 1 and all behind it\n"));
    assert!(stderr.contains("topic a/+") && stderr.contains("(at byte 2)"), "{stderr}");
    let (code, _, stderr) = run(&["#"], b"a\n\xFF\n");
    assert_eq!(code, Some(2));
    assert!(stderr.contains("UTF-8 (at byte 0)"), "{stderr}");
    assert_eq!(run(&[], b"").0, Some(2));
}

#[test]
fn a_topic_does_not_play_with_the_terminal() {
    let (code, stdout, _) = run(&["a/+"], b"a/\x1B[2J\n");
    assert_eq!(code, Some(0));
    assert_eq!(stdout, "a/\\u{1b}[2J: yes: '+' takes level 2, \"\\u{1b}[2J\"\n");
}
