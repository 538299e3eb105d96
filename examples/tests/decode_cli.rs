//! The program `decode` from outside: fields, packets, marks under what is wrong, exit codes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/run.rs"]
mod program;

/// Exit code, standard output, standard error.
fn run(arguments: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let (code, output, errors) = program::told(&program::run_with(env!("CARGO_BIN_EXE_decode"), arguments, input));
    (Some(code), output, errors)
}

#[test]
fn a_packet_is_shown_field_by_field() {
    let bytes = "32 1E 00 03 61 2F 62 00 07 13 26 00 01 6B 00 03 76 0A 76 01 01 23 00 05 02 00 00 00 3C 68 69 00";
    let expected = "     0  32                       PUBLISH, DUP 0, QoS 1, RETAIN 0
     1  1E                       Remaining Length: 30
     2  00 03 61 2F 62           Topic Name: \"a/b\"
     7  00 07                    Packet Identifier: 7
     9  13                       Property Length: 19
    10  26 00 01 6B 00 03 76 0A  User Property: \"k\" = \"v\\nv\"
    18  76
    19  01 01                    Payload Format Indicator: 1
    21  23 00 05                 Topic Alias: 5
    24  02 00 00 00 3C           Message Expiry Interval: 60
    29  68 69 00                 Payload: 3 bytes \"hi\\x00\"
PUBLISH q1 r0 d0 id 7 alias 5 a/b 3 bytes
";
    assert_eq!(run(&[bytes], b""), (Some(0), expected.into(), String::new()));
}

#[test]
fn a_fault_is_marked_under_its_byte_and_named() {
    let expected = "     0  36                       PUBLISH, DUP 0, QoS 3, RETAIN 0
     1  05                       Remaining Length: 5
     2  00 01 61                 Topic Name: \"a\"
        ^^
     5  00 01                    Packet Identifier: 1
malformed packet: a PUBLISH of QoS 3 (byte 2, v4 [MQTT-3.3.1-4], reason code 0x81)
";
    let (code, stdout, stderr) = run(&["-V", "3.1.1", "36", "05", "00", "01", "61", "00", "01"], b"");
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(1), expected, ""));
    // In the middle of a field, and on its second line.
    let (code, stdout, _) = run(&["-V4", "30 0D 00 0B 61 62 63 64 65 66 67 68 69 2B 6A"], b"");
    let marked = "    10  67 68 69 2B 6A\n                 ^^\n";
    assert!(code == Some(1) && stdout.contains(marked), "{stdout}");
    assert!(
        stdout.ends_with(
            "malformed packet: a topic name holds a wildcard (byte 13, v4 [MQTT-3.3.2-2], reason code 0x81)\n"
        ),
        "{stdout}"
    );
    // Behind the last byte, where something is missing.
    let (code, stdout, _) = run(&["82 03 00 01 00"], b"");
    assert!(
        code == Some(1) && stdout.contains("     5\n        ^^\nprotocol error: a SUBSCRIBE without a filter"),
        "{stdout}"
    );
    // A length that is none.
    let (code, stdout, _) = run(&["C0 FF FF FF FF 01"], b"");
    assert!(code == Some(1) && stdout.contains("is over four bytes (byte 5, v5 [X5-VBI-1]"), "{stdout}");
}

#[test]
fn a_connect_sets_the_version_of_what_follows_and_types_tell_the_sender() {
    let stream = "
        10 0D 00 04 4D 51 54 54 04 02 00 3C 00 01 63   # CONNECT
        20 02 00 05                                    # CONNACK of 3.1.1
        82 06 00 01 00 01 61 01  E000
    ";
    let (code, stdout, stderr) = run(&[], stream.as_bytes());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let packets: Vec<_> = stdout.split("\n\n").map(|packet| packet.trim_end().lines().last().unwrap()).collect();
    assert_eq!(
        packets,
        [
            "CONNECT 3.1.1 clean 1 keep-alive 60 client c",
            "CONNACK 0x87 present 0",
            "SUBSCRIBE id 1 a q1",
            "DISCONNECT 0x00"
        ]
    );
    assert!(stdout.contains("Return Code: 5, not authorized"), "{stdout}");
    // Told otherwise, a packet may be from the wrong end.
    let (code, stdout, _) = run(&["--from", "client", "20 03 00 00 00"], b"");
    assert!(code == Some(1) && stdout.contains("this end may not send this packet"), "{stdout}");
}

#[test]
fn the_beginning_of_a_packet_is_shown_as_far_as_it_goes() {
    let (code, stdout, _) = run(&["40 03 00"], b"");
    assert_eq!(code, Some(1));
    assert!(
        stdout
            .contains("     2  00                       ? 1 bytes\nnot a whole packet yet: 2 more bytes are to come\n"),
        "{stdout}"
    );
    let (code, stdout, _) = run(&["40 80"], b"");
    assert!(code == Some(1) && stdout.ends_with("not a whole packet yet: more bytes are to come\n"), "{stdout}");
}

#[test]
fn bytes_may_be_grouped_as_one_likes_and_must_be_hexadecimal() {
    for bytes in [&["c000"][..], &["C0", "00"], &["0xC0,0x00"], &["[c0, 00]"], &["C0:00"]] {
        let (code, stdout, stderr) = run(bytes, b"");
        assert!(code == Some(0) && stdout.ends_with("PINGREQ\n"), "{bytes:?} {stdout} {stderr}");
    }
    for bytes in ["c0 0", "c0 0g", "+1", "ü0"] {
        let (code, stdout, stderr) = run(&[bytes], b"");
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{bytes}");
        assert!(stderr.contains("digits") || stderr.contains("not hexadecimal"), "{stderr}");
    }
    assert_eq!(run(&[], b"# nothing"), (Some(0), String::new(), String::new()));
    assert_eq!(run(&["--protocol-version", "6", "c000"], b"").0, Some(2));
}

#[test]
fn the_fields_taken_together_are_the_packet() {
    for bytes in [
        "10 26 00 04 4D 51 54 54 05 EE 00 0A 03 21 00 05 00 01 63 05 18 00 00 00 09 00 01 77 00 01 78 00 01 75 00 01 70",
        "90 09 00 0A 04 1F 00 01 78 00 87",
        "B0 05 00 0A 00 00 11",
        "A2 07 00 0A 00 00 02 61 62",
        "E0 08 9D 06 1C 00 03 61 62 63",
        "F0 0A 18 08 15 00 01 6D 16 00 01 64",
        "62 04 00 01 92 00",
    ] {
        let (_, stdout, _) = run(&[bytes], b"");
        let shown: String = stdout
            .lines()
            .filter(|line| line.starts_with("   "))
            .filter_map(|line| line.get(8..line.len().min(31)))
            .filter(|columns| !columns.contains('^'))
            .flat_map(|columns| columns.split_whitespace())
            .collect();
        assert_eq!(shown, bytes.replace(' ', ""), "{stdout}");
    }
}
