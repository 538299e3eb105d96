//! The command lines of `pub` and `sub`, against a broker of bytes that does as each test says: what is refused, exit codes, goodbyes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/peer.rs"]
mod peer;
#[path = "support/run.rs"]
mod run;

use peer::*;
use run::*;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

#[test]
fn a_command_line_that_is_wrong_says_which_rule_it_breaks_and_where() {
    let rows: &[(&str, &[&str], &str)] = &[
        (PUB, &["-t", "a/#", "-m", "x"], "wildcard, '+' or '#' (at byte 2)"),
        (PUB, &["-t", "", "-m", "x"], "at least one character"),
        (PUB, &["-t", "a"], "--message"),
        (PUB, &["-t", "a", "-m", "x", "-q", "3"], "QoS is 0, 1 or 2"),
        (PUB, &["-t", "a", "-m", "x", "-V", "4"], "known are 31, 311 and 5"),
        (PUB, &["-t", "a", "-m", "x", "-P", "secret"], "--username"),
        (PUB, &["-t", "a", "-m", "x", "-c"], "--id"),
        (PUB, &["-t", "a", "-m", "x", "-n"], "cannot be used with"),
        (PUB, &["-t", "a", "-l", "--repeat", "2"], "cannot be used with"),
        (PUB, &["-t", "a", "-m", "x", "--repeat", "0"], "--repeat"),
        (
            PUB,
            &["-t", "a", "-m", "x", "--repeat", "2", "--repeat-delay", "-1"],
            "a number of seconds, such as 2 or 0.5",
        ),
        (PUB, &["-t", "a", "-f", "/no/such/file"], "cannot read '/no/such/file'"),
        (PUB, &["-t", "a", "-m", "x", "-x", "60"], "session expiry (-x) needs -V 5"),
        (PUB, &["-t", "a", "-m", "x", "-D", "publish", "content-type", "text/plain"], "a property (-D) needs -V 5"),
        (SUB, &["-t", "a/#/b"], "'#' must be the whole last level of a topic filter (at byte 2)"),
        (SUB, &["-t", "ok/+", "-t", "a/b+"], "'+' must be a whole level of a topic filter (at byte 3)"),
        (SUB, &["-t", "$share/group"], "\"$share/name\" needs a '/' and a topic filter behind it"),
        (SUB, &[], "--topic"),
        (SUB, &["-t", "a", "-T", "b#"], "'#' must be the whole last level"),
        (SUB, &["-t", "a", "-U", "b#"], "'#' must be the whole last level"),
        (SUB, &["-t", "a", "-R", "--retained-only"], "cannot be used with"),
        (SUB, &["-t", "a", "-F", "%t %k"], "'%k' is unknown; known are %t %p %q %r %l %I %U %x %j and %%"),
        (SUB, &["-t", "a", "-F", "100%"], "a '%' at the end"),
        (SUB, &["-t", "a", "-F", r"\q"], r"'\q' is unknown"),
        (SUB, &["-t", "a", "-V", "5", "-x", "soon"], "4,294,967,295 seconds"),
    ];
    for (program, arguments, expected) in rows {
        let (code, _, errors) = told(&run(program, arguments));
        assert_eq!(code, 1, "{arguments:?}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
        assert!(!errors.contains("secret"), "a password is shown: {errors}");
    }
}

#[test]
fn h_is_the_host_and_help_has_no_letter() {
    for program in [PUB, SUB] {
        let (code, help, _) = told(&run(program, &["--help"]));
        assert_eq!(code, 0);
        assert!(
            help.contains("-h, --host") && help.contains("-V, --protocol-version") && help.contains("--help"),
            "{help}"
        );
        let (code, version, _) = told(&run(program, &["--version"]));
        assert_eq!(code, 0);
        assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    }
}

#[test]
fn a_broker_that_is_not_there_is_said_so() {
    // bound and given back: nobody listens there
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    for (program, arguments) in [(PUB, &["-t", "a", "-m", "x"][..]), (SUB, &["-t", "a"])] {
        let (code, _, errors) = told(&run(program, &[&["-h", "127.0.0.1", "-p", &port], arguments].concat()));
        assert_eq!(code, 1);
        assert!(errors.contains(&format!("cannot connect to 127.0.0.1:{port}: Connection refused")), "{errors}");
    }
}

#[test]
fn the_exit_code_of_a_refused_connection_is_that_of_the_connack() {
    let rows: [(&str, &'static [u8], i32, &str); 7] = [
        ("31", &[0x20, 2, 0, 2], 2, "client identifier not valid"),
        ("311", &[0x20, 2, 0, 1], 1, "unsupported protocol version"),
        ("311", &[0x20, 2, 0, 4], 4, "bad user name or password"),
        ("311", &[0x20, 2, 0, 5], 5, "not authorized"),
        ("mqttv311", &[0x20, 2, 0, 3], 3, "server unavailable"),
        ("5", &[0x20, 3, 0, 0x87, 0], 135, "not authorized (0x87)"),
        ("mqttv5", &[0x20, 3, 0, 0x86, 0], 134, "bad user name or password (0x86)"),
    ];
    for (version, connack, expected, words) in rows {
        for (program, arguments) in [(PUB, &["-t", "a", "-m", "x"][..]), (SUB, &["-t", "a"])] {
            let (port, thread) = broker(move |peer| drop(peer.answer(1, connack)));
            let (code, _, errors) =
                told(&run(program, &[&["-h", "127.0.0.1", "-p", &port, "-V", version], arguments].concat()));
            thread.join().unwrap();
            assert_eq!(code, expected, "{version}: {errors}");
            assert!(errors.contains(words), "{version}: {errors}");
        }
    }
}

#[test]
fn a_filter_that_is_refused_is_named_and_the_others_go_on() {
    let (port, thread) = broker(|peer| {
        peer.answer(1, CONNACK_V5);
        peer.answer(8, &[0x90, 5, 0, 1, 0, 0x87, 0x01]);
        peer.0.write_all(&[0x30, 6, 0, 1, b'b', 0, b'h', b'i']).unwrap();
        assert_eq!(peer.receive()[0], 0xE0);
    });
    let (code, payloads, errors) =
        told(&run(SUB, &["-h", "127.0.0.1", "-p", &port, "-V", "5", "-t", "a/#", "-t", "b", "-q", "1", "-C", "1"]));
    thread.join().unwrap();
    assert_eq!((code, payloads.as_str()), (0, "hi\n"));
    assert_eq!(errors, "the broker refuses 'a/#': not authorized (0x87)\n");
}

#[test]
fn with_no_filter_granted_there_is_nothing_to_wait_for() {
    let (port, thread) = broker(|peer| {
        peer.answer(1, CONNACK_V3);
        peer.answer(8, &[0x90, 4, 0, 1, 0x80, 0x80]);
    });
    let (code, _, errors) = told(&run(SUB, &["-h", "127.0.0.1", "-p", &port, "-t", "a", "-t", "b"]));
    thread.join().unwrap();
    assert_eq!(code, 1);
    assert!(
        errors.contains("'a'") && errors.contains("'b'") && errors.contains("no topic is left to wait for"),
        "{errors}"
    );
}

#[test]
fn sub_ends_after_its_time_with_a_goodbye_and_code_27() {
    let (port, thread) = broker(|peer| {
        peer.answer(1, CONNACK_V3);
        peer.answer(8, &[0x90, 3, 0, 1, 0]);
        assert_eq!(peer.receive(), [0xE0, 0]);
    });
    let (code, payloads, _) = told(&run(SUB, &["-h", "127.0.0.1", "-p", &port, "-t", "a", "-W", "1"]));
    thread.join().unwrap();
    assert_eq!((code, payloads.as_str()), (27, ""));
}

#[test]
fn sub_ends_after_its_count_and_prints_no_more_than_that() {
    let (port, thread) = broker(|peer| {
        peer.answer(1, CONNACK_V3);
        peer.answer(8, &[0x90, 3, 0, 1, 0]);
        let messages = [[0x30, 4, 0, 1, b'a', b'1'], [0x31, 4, 0, 1, b'a', b'2'], [0x30, 4, 0, 1, b'a', b'3']];
        peer.0.write_all(messages.as_flattened()).unwrap();
        assert_eq!(peer.receive(), [0xE0, 0]);
    });
    let (code, payloads, _) = told(&run(SUB, &["-h", "127.0.0.1", "-p", &port, "-t", "a", "-C", "2", "-v"]));
    thread.join().unwrap();
    assert_eq!((code, payloads.as_str()), (0, "a 1\na 2\n"));
}

#[test]
fn messages_that_come_with_the_connack_are_printed_too() {
    let (port, thread) = broker(|peer| {
        // what was queued for a session that goes on does not wait for a SUBSCRIBE
        peer.answer(1, &[0x20, 2, 1, 0, 0x32, 6, 0, 1, b'a', 0, 9, b'1']);
        let acknowledged = [peer.receive(), peer.receive()].contains(&vec![0x40, 2, 0, 9]);
        assert!(acknowledged);
    });
    let (code, payloads, _) =
        told(&run(SUB, &["-h", "127.0.0.1", "-p", &port, "-t", "a", "-q", "1", "-i", "me", "-c", "-C", "1"]));
    thread.join().unwrap();
    assert_eq!((code, payloads.as_str()), (0, "1\n"));
}

#[test]
fn pub_waits_until_its_qos_2_message_is_complete() {
    let (port, thread) = broker(|peer| {
        peer.answer(1, CONNACK_V3);
        let publish = peer.answer(3, &[]);
        assert_eq!(publish[..5], [0x35, 6, 0, 1, b'a']);
        let id = [publish[5], publish[6]];
        peer.0.write_all(&[0x50, 2, id[0], id[1]]).unwrap();
        peer.answer(6, &[0x70, 2, id[0], id[1]]);
        assert_eq!(peer.receive(), [0xE0, 0]);
    });
    let output = run(PUB, &["-h", "127.0.0.1", "-p", &port, "-t", "a", "-m", "x", "-q", "2", "-r", "-d", "-i", "me"]);
    thread.join().unwrap();
    let (code, _, packets) = told(&output);
    assert_eq!(code, 0);
    let packets: Vec<_> = packets.lines().collect();
    assert_eq!(
        packets,
        [
            "-> CONNECT 3.1.1 as 'me', clean 1, keep alive 60 s",
            "<- CONNACK 0x00, session present 0",
            "-> PUBLISH d0 q2 r1 m1 'a' (1 bytes)",
            "<- PUBREC m1 0x00",
            "-> PUBREL m1 0x00",
            "<- PUBCOMP m1 0x00",
            "-> DISCONNECT 0x00",
        ]
    );
}

#[test]
fn a_message_the_broker_does_not_take_is_a_failure() {
    let (port, thread) = broker(|peer| {
        peer.answer(1, CONNACK_V5);
        peer.answer(3, &[0x40, 3, 0, 1, 0x97]);
    });
    let (code, _, errors) =
        told(&run(PUB, &["-h", "127.0.0.1", "-p", &port, "-V", "5", "-t", "a", "-m", "x", "-q", "1"]));
    thread.join().unwrap();
    assert_eq!((code, errors.as_str()), (1, "the broker does not take the message: quota exceeded (0x97)\n"));
}

#[test]
fn a_broker_that_breaks_the_protocol_is_told_so() {
    let rows: [(&'static [u8], &str); 3] = [
        (&[0xE0, 1, 0x8B], "the broker disconnects: server shutting down (0x8B)"),
        (&[0x36, 4, 0, 1, b'a', 0], "the broker does not keep to the protocol"),
        (&[], "the broker has closed the connection"),
    ];
    for (bytes, expected) in rows {
        let (port, thread) = broker(move |peer| {
            peer.answer(1, CONNACK_V5);
            peer.answer(8, bytes);
        });
        let (code, _, errors) = told(&run(SUB, &["-h", "127.0.0.1", "-p", &port, "-V", "5", "-t", "a"]));
        thread.join().unwrap();
        assert_eq!(code, 1);
        assert!(errors.contains(expected), "{errors}");
    }
}

#[cfg(unix)]
#[test]
fn sub_says_goodbye_on_ctrl_c() {
    let (port, thread) = broker(|peer| {
        peer.answer(1, CONNACK_V3);
        peer.answer(8, &[0x90, 3, 0, 1, 0]);
        assert_eq!(peer.receive(), [0xE0, 0]);
    });
    let mut sub = Command::new(SUB);
    let mut sub = sub.args(["-h", "127.0.0.1", "-p", &port, "-t", "a", "-d"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(sub.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("<- SUBACK")));
    assert!(Command::new("kill").args(["-INT", &sub.id().to_string()]).status().unwrap().success());
    assert!(sub.wait().unwrap().success());
    thread.join().unwrap();
}

#[test]
fn a_property_that_cannot_be_is_refused_before_anything_is_sent() {
    let rows: &[(&str, &[&str], &str)] = &[
        (PUB, &["publish", "colour", "red"], "-D publish: 'colour' is unknown; known are payload-format-indicator, "),
        (PUB, &["publish", "receive-maximum", "1"], "-D publish: 'receive-maximum' is no property of this packet"),
        (PUB, &["subscribe", "subscription-identifier", "1"], "'subscribe' is none of the packets"),
        (SUB, &["publish", "content-type", "x"], "'publish' is none of the packets"),
        (PUB, &["puback", "reason-string", "x"], ": connect, will, publish, disconnect"),
        (PUB, &["publish", "payload-format-indicator", "2"], "'2': 0 or 1"),
        (PUB, &["publish", "message-expiry-interval", "4294967296"], "a whole number of at most 32 bits"),
        (PUB, &["publish", "response-topic", "a/#"], "wildcard"),
        (PUB, &["connect", "receive-maximum", "0"], "not 0"),
        (SUB, &["subscribe", "subscription-identifier", "268435456"], "from 1 to 268,435,455"),
        (PUB, &["publish", "user-property", "name"], "a name and a value are needed"),
        (PUB, &["publish", "content-type", "a", "b"], "'b' is none of the packets"),
        (PUB, &["publish", "content-type", "a", "-D", "publish", "content-type", "b"], "given twice"),
        (PUB, &["will", "content-type", "a"], "needs --will-topic"),
        (PUB, &["publish", "content-type"], "3 values required"),
    ];
    for (program, property, expected) in rows {
        let about: &[&str] = if *program == PUB { &["-t", "a", "-m", "x"] } else { &["-t", "a"] };
        // nobody listens on port 1: an attempt to connect would be another error
        let all = [about, &["-h", "127.0.0.1", "-p", "1", "-V", "5", "-D"], property].concat();
        let (code, _, errors) = told(&run(program, &all));
        assert_eq!(code, 1, "{property:?}");
        assert!(errors.contains(expected), "{property:?}: {errors}");
    }
}
