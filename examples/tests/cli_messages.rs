//! What `pub` sends and `sub` prints, as their command lines ask, against a broker of bytes that does as each test says.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/peer.rs"]
mod peer;
#[path = "support/run.rs"]
mod run;

use peer::*;
use run::*;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn pub_takes_its_message_from_the_command_line_a_file_or_standard_input_or_sends_none() {
    let file = format!("{}/message-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    std::fs::write(&file, "of a\nfile\n").unwrap();
    let rows: [(&[&str], &'static [u8]); 5] = [
        (&["-m", "-5"], b"-5"),
        (&["-f", &file], b"of a\nfile\n"),
        (&["-s"], b"all\nof it"),
        (&["-n"], b""),
        (&["-m", ""], b""),
    ];
    for (arguments, expected) in rows {
        let (port, thread) = broker(move |peer| {
            peer.answer(1, CONNACK_V3);
            let publish = peer.receive();
            assert_eq!(publish, [&[0x30, 3 + expected.len() as u8, 0, 1, b'a'], expected].concat());
            assert_eq!(peer.receive(), [0xE0, 0]);
        });
        let output = run_with(PUB, &[&["-h", "127.0.0.1", "-p", &port, "-t", "a"], arguments].concat(), b"all\nof it");
        assert_eq!(told(&output), (0, String::new(), String::new()), "{arguments:?}");
        thread.join().unwrap();
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn pub_sends_each_line_when_it_comes_and_ends_with_the_input() {
    let (sent, seen) = std::sync::mpsc::channel();
    let (port, thread) = broker(move |peer| {
        peer.answer(1, CONNACK_V3);
        for _ in 0..4 {
            let publish = peer.receive();
            assert_eq!(publish[..5], [0x32, publish[1], 0, 1, b'a']);
            peer.0.write_all(&[0x40, 2, publish[5], publish[6]]).unwrap();
            sent.send(String::from_utf8(publish[7..].to_vec()).unwrap()).unwrap();
        }
        assert_eq!(peer.receive(), [0xE0, 0]);
    });
    let mut command = Command::new(PUB);
    command.args(["-h", "127.0.0.1", "-p", &port, "-t", "a", "-l", "-q", "1"]).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // each is there before the next is written
    for (line, expected) in [("one\n", "one"), ("\n", ""), ("two\r\n", "two")] {
        input.write_all(line.as_bytes()).unwrap();
        assert_eq!(seen.recv_timeout(Duration::from_secs(30)).unwrap(), expected);
    }
    input.write_all(b"no line end").unwrap();
    drop(input);
    assert_eq!(seen.recv_timeout(Duration::from_secs(30)).unwrap(), "no line end");
    assert!(child.wait().unwrap().success());
    thread.join().unwrap();
}

#[test]
fn many_lines_arrive_whole_and_in_order() {
    const COUNT: usize = 5000;
    for qos in ["0", "1"] {
        let (port, thread) = broker(move |peer| {
            peer.answer(1, CONNACK_V3);
            let answered = usize::from(qos == "1");
            for number in 0..COUNT {
                let publish = peer.receive();
                assert_eq!(publish[5 + 2 * answered..], *number.to_string().as_bytes());
                if answered == 1 {
                    peer.0.write_all(&[0x40, 2, publish[5], publish[6]]).unwrap();
                }
            }
            assert_eq!(peer.receive(), [0xE0, 0]);
        });
        let input: String = (0..COUNT).map(|number| format!("{number}\n")).collect();
        let arguments = ["-h", "127.0.0.1", "-p", &port, "-t", "a", "-l", "-q", qos];
        let output = run_with(PUB, &arguments, input.as_bytes());
        thread.join().unwrap();
        assert_eq!(told(&output), (0, String::new(), String::new()));
    }
}

#[test]
fn no_more_messages_are_on_their_way_than_asked() {
    let (port, thread) = broker(|peer| {
        peer.answer(1, CONNACK_V3);
        for _ in 0..2 {
            let publish = peer.receive();
            peer.0.write_all(&[0x40, 2, publish[5], publish[6]]).unwrap();
        }
        assert_eq!(peer.receive(), [0xE0, 0]);
    });
    let output =
        run_with(PUB, &["-h", "127.0.0.1", "-p", &port, "-t", "a", "-l", "-q", "1", "-M", "1", "-d"], b"1\n2\n");
    thread.join().unwrap();
    let (code, _, packets) = told(&output);
    let names: Vec<_> = packets.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!((code, names), (0, vec!["CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBLISH", "PUBACK", "DISCONNECT"]));
}

#[test]
fn pub_repeats_its_message_and_pauses_in_between() {
    let (port, thread) = broker(|peer| {
        peer.answer(1, CONNACK_V3);
        let mut times = Vec::new();
        for _ in 0..3 {
            let publish = peer.receive();
            times.push(std::time::Instant::now());
            assert_eq!(publish[7..], *b"x");
            peer.0.write_all(&[0x40, 2, publish[5], publish[6]]).unwrap();
        }
        assert!(times[2] - times[0] >= Duration::from_millis(150), "{times:?}");
        assert_eq!(peer.receive(), [0xE0, 0]);
    });
    let more = ["-t", "a", "-m", "x", "-q", "1", "--repeat", "3", "--repeat-delay", "0.1"];
    let output = run(PUB, &[&["-h", "127.0.0.1", "-p", &port][..], &more].concat());
    thread.join().unwrap();
    assert_eq!(told(&output), (0, String::new(), String::new()));
}

#[test]
fn the_will_stands_in_the_connect() {
    for program in [PUB, SUB] {
        let (port, thread) = broker(|peer| {
            let connect = peer.answer(1, &[0x20, 2, 0, 5]);
            let expected = b"\x10\x18\0\x04MQTT\x04\x2e\0\x3c\0\x02me\0\x03w/t\0\x03bye";
            assert_eq!(connect, expected, "{connect:02x?}");
        });
        let will = ["--will-topic", "w/t", "--will-payload", "bye", "--will-qos", "1", "--will-retain"];
        let about: &[&str] = if program == PUB { &["-t", "a", "-m", "x"] } else { &["-t", "a"] };
        let (code, ..) = told(&run(program, &[&["-h", "127.0.0.1", "-p", &port, "-i", "me"], about, &will].concat()));
        thread.join().unwrap();
        assert_eq!(code, 5);
    }
}

#[test]
fn properties_stand_in_the_packets_they_are_for() {
    let (port, thread) = broker(|peer| {
        let connect = peer.answer(1, CONNACK_V5);
        assert_eq!(connect[12..16], [3, 0x21, 0, 7], "receive maximum: {connect:02x?}");
        let publish = peer.receive();
        let properties = b"\x0c\x03\0\x02te\x26\0\x01n\0\x01v";
        assert_eq!(publish, [b"\x30\x11\0\x01a", &properties[..], b"x"].concat(), "{publish:02x?}");
        assert_eq!(peer.receive(), b"\xe0\x07\0\x05\x1f\0\x02ok");
    });
    let mut arguments = vec!["-h", "127.0.0.1", "-p", &port, "-V", "5", "-t", "a", "-m", "x"];
    for property in [
        &["publish", "content-type", "te"][..],
        &["publish", "user-property", "n", "v"],
        &["connect", "receive-maximum", "7"],
        &["disconnect", "reason-string", "ok"],
    ] {
        arguments.push("-D");
        arguments.extend(property);
    }
    let output = run(PUB, &arguments);
    thread.join().unwrap();
    assert_eq!(told(&output), (0, String::new(), String::new()));
}

#[test]
fn sub_asks_with_properties_and_leaves_other_topics() {
    let (port, thread) = broker(|peer| {
        peer.answer(1, CONNACK_V5);
        let subscribe = peer.answer(8, &[0x90, 4, 0, 1, 0, 0]);
        assert_eq!(subscribe[4..], *b"\x02\x0b\x07\0\x01a\0", "{subscribe:02x?}");
        let unsubscribe = peer.receive();
        assert_eq!(unsubscribe[0], 0xA2);
        assert_eq!(unsubscribe[4..], *b"\x07\x26\0\x01n\0\x01v\0\x03b/#\0\x01c", "{unsubscribe:02x?}");
        peer.0.write_all(&[0xB0, 5, unsubscribe[2], unsubscribe[3], 0, 0x11, 0x87]).unwrap();
        peer.0.write_all(&[0x30, 5, 0, 1, b'a', 0, b'1']).unwrap();
        assert_eq!(peer.receive()[0], 0xE0);
    });
    let properties =
        ["-D", "subscribe", "subscription-identifier", "7", "-D", "unsubscribe", "user-property", "n", "v"];
    let more = ["-V", "5", "-t", "a", "-U", "b/#", "-U", "c", "-C", "1"];
    let output = run(SUB, &[&["-h", "127.0.0.1", "-p", &port], &properties[..], &more].concat());
    thread.join().unwrap();
    assert_eq!(told(&output), (0, "1\n".into(), "the broker refuses 'c': not authorized (0x87)\n".into()));
}

#[test]
fn a_session_is_kept_as_long_as_asked() {
    let rows: [(&[&str], u8, &'static [u8]); 5] = [
        (&[], 2, &[0]),
        (&["-c"], 0, &[5, 0x11, 0xff, 0xff, 0xff, 0xff]),
        (&["-x", "258"], 2, &[5, 0x11, 0, 0, 1, 2]),
        (&["-c", "-x", "258"], 0, &[5, 0x11, 0, 0, 1, 2]),
        (&["-x", "-1"], 2, &[5, 0x11, 0xff, 0xff, 0xff, 0xff]),
    ];
    for (arguments, flags, properties) in rows {
        let (port, thread) = broker(move |peer| {
            let connect = peer.answer(1, &[0x20, 3, 0, 0x87, 0]);
            assert_eq!(connect[9], flags, "{connect:02x?}");
            assert_eq!(connect[12..12 + properties.len()], *properties, "{connect:02x?}");
        });
        let all = [&["-h", "127.0.0.1", "-p", &port, "-V", "5", "-i", "me", "-t", "a"], arguments].concat();
        assert_eq!(told(&run(SUB, &all)).0, 135);
        thread.join().unwrap();
    }
}

/// What `sub` prints of `messages`, with these arguments, and its exit code.
fn printed(arguments: &[&str], messages: &'static [&[u8]]) -> (i32, String) {
    let (port, thread) = broker(move |peer| {
        peer.answer(1, CONNACK_V5);
        peer.answer(8, &[0x90, 4, 0, 1, 0, 0]);
        peer.0.write_all(&messages.concat()).unwrap();
        assert_eq!(peer.receive()[0], 0xE0);
    });
    let (code, out, errors) =
        told(&run(SUB, &[&["-h", "127.0.0.1", "-p", &port, "-V", "5", "-t", "#"], arguments].concat()));
    assert_eq!(errors.replace("timed out\n", ""), "");
    thread.join().unwrap();
    (code, out)
}

#[test]
fn sub_prints_in_the_format_asked_for() {
    const MESSAGE: &[u8] = &[0x31, 9, 0, 3, b'a', b'/', b'b', 0, b'h', 0xc3, 0xa9];
    let one = |format| printed(&["-C", "1", "-F", format], &[MESSAGE]);
    assert_eq!(one("%t|%p|%q|%r|%l|%x|%%|@"), (0, "a/b|hé|0|1|3|68c3a9|%|@\n".into()));
    assert_eq!(one(r"%t\t%p\\\e[0m"), (0, "a/b\thé\\\u{1b}[0m\n".into()));

    let (_, times) = one("%U %I");
    let (unix, iso) = times.trim().split_once(' ').unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((0.0..60.0).contains(&(now - unix.parse::<f64>().unwrap())), "{times}");
    assert_eq!(unix.split_once('.').unwrap().1.len(), 9, "{times}");
    assert!(iso.len() == 24 && iso.starts_with("20") && iso.ends_with("+0000"), "{times}");
}

#[test]
fn sub_prints_an_object_a_line() {
    let messages: &[&[u8]] = &[
        b"\x30\x19\0\x01a\x13\x01\x01\x03\0\x01t\x0b\x07\x26\0\x01n\0\x01\"\x09\0\x01\xffhi",
        &[0x31, 5, 0, 1, b'b', 0, 0xfe],
    ];
    for arguments in [["-C", "2", "--format", "json"], ["-C", "2", "-F", "%j"]] {
        let (code, lines) = printed(&arguments, messages);
        assert_eq!(code, 0);
        let mut objects: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        for object in &mut objects {
            assert!(object.as_object_mut().unwrap().remove("tst").unwrap().as_str().unwrap().ends_with("+0000"));
        }
        let first = serde_json::json!({
            "topic": "a", "qos": 0, "retain": 0, "payloadlen": 2, "payload": "hi",
            "properties": {
                "payload-format-indicator": 1, "content-type": "t", "correlation-data-hex": "ff",
                "subscription-identifiers": [7], "user-properties": [["n", "\""]],
            },
        });
        let second = serde_json::json!({"topic": "b", "qos": 0, "retain": 1, "payloadlen": 1, "payload_hex": "fe"});
        assert_eq!(objects, [first, second]);
    }
}

#[test]
fn sub_passes_over_what_is_not_wanted() {
    const MESSAGES: &[&[u8]] = &[
        &[0x31, 5, 0, 1, b'a', 0, b'1'],
        &[0x31, 5, 0, 1, b'b', 0, b'2'],
        &[0x30, 5, 0, 1, b'a', 0, b'3'],
        &[0x30, 5, 0, 1, b'c', 0, b'4'],
        &[0x30, 5, 0, 1, b'd', 0, b'5'],
    ];
    assert_eq!(printed(&["-C", "5"], MESSAGES), (0, "1\n2\n3\n4\n5\n".into()));
    assert_eq!(printed(&["-C", "3", "-R"], MESSAGES), (0, "3\n4\n5\n".into()));
    assert_eq!(printed(&["--retained-only"], MESSAGES), (0, "1\n2\n".into()));
    assert_eq!(printed(&["-C", "2", "-T", "a", "-T", "c/#"], MESSAGES), (0, "2\n5\n".into()));
    assert_eq!(printed(&["-C", "5", "-N"], MESSAGES), (0, "12345".into()));
    assert_eq!(printed(&["-C", "2", "-v", "-N"], MESSAGES), (0, "a 1b 2".into()));
    assert_eq!(printed(&["-W", "1", "-R", "-T", "#"], MESSAGES), (27, String::new()));
}
