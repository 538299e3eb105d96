//! The command lines of `pub` and `sub`, against a broker of bytes that does as each test says: exit codes, and what is printed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

const PUB: &str = env!("CARGO_BIN_EXE_pub");
const SUB: &str = env!("CARGO_BIN_EXE_sub");

const CONNACK_V3: &[u8] = &[0x20, 2, 0, 0];
const CONNACK_V5: &[u8] = &[0x20, 3, 0, 0, 0];

/// A broker for one client.
struct Peer(TcpStream);

impl Peer {
    fn receive(&mut self) -> Vec<u8> {
        let mut header = [0; 2];
        self.0.read_exact(&mut header).unwrap();
        assert!(header[1] < 0x80, "short packets only");
        let mut body = vec![0; usize::from(header[1])];
        self.0.read_exact(&mut body).unwrap();
        [&header, body.as_slice()].concat()
    }

    /// Reads the next packet, which must be of this type, and answers.
    fn answer(&mut self, packet_type: u8, answer: &[u8]) -> Vec<u8> {
        let packet = self.receive();
        assert_eq!(packet[0] >> 4, packet_type, "{packet:02x?}");
        self.0.write_all(answer).unwrap();
        packet
    }
}

/// Does what `script` says with the one client that comes; gives the port.
fn broker(script: impl FnOnce(&mut Peer) + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let thread = spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        script(&mut Peer(stream));
    });
    (port, thread)
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

/// Exit code, standard output, standard error.
fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

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

/// Runs a program that reads `input`.
fn run_with(program: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
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
