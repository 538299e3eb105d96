//! The broker is killed again and again while clients publish, come and go: with `synced`, what was acknowledged arrives, and what has QoS 2
//! arrives once (S16, S20).
//!
//! `MQTT_CRASHES=20 MQTT_SEED=7 cargo test -p mqtt-examples --test crash` kills more often, at other moments.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
#![cfg(unix)]

#[path = "crash/clients.rs"]
mod clients;
#[path = "support/program.rs"]
mod program;

use clients::{Random, Subscriber, Told, Writer, fresh_retained};
use program::{Client, Log, PATIENCE, Program, connect, file};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

const BROKER: &str = env!("CARGO_BIN_EXE_broker");
const WRITERS: u32 = 4;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().map_or(otherwise, |text| text.parse().unwrap())
}

/// A folder with nothing in it.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn serve(data: &Path, config: &str) -> (Program, SocketAddr) {
    let name = data.file_name().unwrap().to_str().unwrap();
    let config = file(&format!("{name}-crash.toml"), config);
    let (config, data) = (config.to_str().unwrap(), data.to_str().unwrap());
    Program::serve(BROKER, &["-q", "--config", config, "--listen", "127.0.0.1:0", "--data", data])
}

#[test]
fn what_was_acknowledged_arrives_though_the_broker_is_killed() {
    let (crashes, seed) = (number("MQTT_CRASHES", 5), number("MQTT_SEED", 1));
    let mut random = Random::new(seed);
    let data = folder("crash");
    let config = "durability = \"synced\"\n[limits]\nqueue_messages = 1000000\n";
    let (mut broker, address) = serve(&data, config);
    let told = Arc::new(Told::new(address));

    // one is nearly always there, one seldom
    let subscribers: Vec<_> = [(4, 400), (5, 20)]
        .map(|(level, stays)| Subscriber::new(&format!("s{stays}"), level, stays, &told, random.next()).start())
        .into_iter()
        .collect();
    told.wait_until("the subscribers have subscribed", |told| told.subscribed.load(Ordering::SeqCst) == 2);
    let writers: Vec<_> = (0..WRITERS).map(|n| Writer::new(n, [4, 5][n as usize % 2], &told).start()).collect();

    for crash in 0..crashes {
        let enough = told.acknowledged.load(Ordering::SeqCst) + random.below(600);
        told.wait_until("acknowledgements come", |told| told.acknowledged.load(Ordering::SeqCst) >= enough);
        // anywhere in what is done between two acknowledgements
        thread::sleep(Duration::from_micros(random.below(4_000)));
        drop(broker); // SIGKILL
        let address;
        (broker, address) = serve(&data, config);
        told.moved(address);
        println!("crash {crash}: {} acknowledged", told.acknowledged.load(Ordering::SeqCst));
    }
    told.stop.store(true, Ordering::SeqCst);
    let acknowledged: BTreeMap<u32, u32> =
        writers.into_iter().map(|writer| writer.join().unwrap()).map(|writer| (writer.number, writer.sent)).collect();
    // once more, while the subscribers are behind
    drop(broker);
    let (mut broker, address) = serve(&data, config);
    told.moved(address);
    told.all_sent.set(acknowledged.clone()).unwrap();

    for subscriber in subscribers {
        let subscriber = subscriber.join().unwrap();
        for (writer, sent) in &acknowledged {
            for number in 0..*sent {
                let times = subscriber.received.get(&(*writer, number)).copied().unwrap_or_default();
                let right = if Writer::is_exactly_once(number) { times == 1 } else { times >= 1 };
                assert!(right, "seed {seed}: {} got {writer}/{number} {times} times", subscriber.name);
            }
        }
        assert_eq!(subscriber.disorders, 0, "seed {seed}: {} got later ones first", subscriber.name);
        let redelivered = subscriber.received.values().filter(|times| **times > 1).count();
        println!("{}: {} messages, {redelivered} more than once", subscriber.name, subscriber.received.len());
    }
    // what is retained is the last that was
    let retained = fresh_retained(address, WRITERS);
    for (writer, sent) in acknowledged {
        let last = (0..sent).rev().find(|number| Writer::is_retained(*number)).unwrap();
        assert_eq!(retained[&writer], last, "seed {seed}");
    }
    broker.signal("TERM");
    assert_eq!(broker.0.wait().unwrap().code(), Some(0));
}

/// The HTTP status and body of a GET.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = program::stream(address);
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
}

#[test]
fn on_a_full_disk_nothing_is_acknowledged_that_is_not_there_and_the_operator_is_told() {
    let data = folder("full");
    let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = file("full.toml", &format!("admin = {{ address = \"{admin}\" }}\n"));
    // no file may grow past 4 MiB: to the broker that is a disk without room
    let script = "trap '' XFSZ; ulimit -f 8192; exec \"$0\" -q --config \"$1\" --listen 127.0.0.1:0 --data \"$2\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, BROKER, config.to_str().unwrap(), data.to_str().unwrap()]);
    let mut broker =
        Program(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let address = broker.place().parse().unwrap();
    let mut log = Log::of(&mut broker);
    assert_eq!(get(admin, "/healthz").0, 200);

    let told = Arc::new(Told::new(address));
    let mut subscriber = Subscriber::new("s", 4, 0, &told, 1);
    subscriber.subscribe_and_leave();
    let mut client = Client::open(address);
    client.send(&connect(4, "w", None)).packet();
    let mut acknowledged = 0_u32;
    let failed = loop {
        let payload = [&acknowledged.to_be_bytes()[..], &[7; 20_000]].concat();
        client.send(&clients::publish_once("t/0", 1, &payload));
        client.0.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut answer = [0; 4];
        match client.0.read_exact(&mut answer) {
            Ok(()) => assert_eq!(answer[0], 0x40),
            // slow, or never? the log says so
            Err(_) if get(admin, "/healthz").0 == 503 => break get(admin, "/healthz").1,
            Err(_) => {
                client.0.set_read_timeout(Some(PATIENCE)).unwrap();
                client.0.read_exact(&mut answer).unwrap();
            }
        }
        acknowledged += 1;
        assert!(acknowledged < 10_000, "the limit is not felt");
    };
    assert!(failed.contains("nothing is stored: cannot write"), "{failed}");
    log.wait_for("NOTHING IS STORED ANY MORE");
    assert!(get(admin, "/metrics").1.contains("mqtt_store_failed 1"));
    // it still serves: who asks for nothing that is to be kept gets it
    client.send(&[0xC0, 0]);
    let mut pong = [0; 2];
    client.0.set_read_timeout(Some(PATIENCE)).unwrap();
    client.0.read_exact(&mut pong).unwrap();
    assert_eq!(pong, [0xD0, 0], "and no acknowledgement before it");
    drop((client, broker));

    // there is room again: what was acknowledged is there
    let (_broker, address) = serve(&data, "");
    told.moved(address);
    told.all_sent.set([(0, acknowledged)].into()).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let subscriber = subscriber.start();
    while !subscriber.is_finished() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    let received = subscriber.join().unwrap().received;
    assert!(acknowledged > 20 && (0..acknowledged).all(|number| received.contains_key(&(0, number))));
}

#[test]
fn what_is_stored_can_be_looked_into_by_one_program_at_a_time() {
    let data = folder("inspect");
    let (broker, address) = serve(&data, "");
    let told = Arc::new(Told::new(address));
    Subscriber::new("away", 4, 0, &told, 1).subscribe_and_leave();
    let mut writer = Client::open(address);
    writer.send(&connect(4, "w", None)).packet();
    writer.send(&clients::publish_once("t/0", 1, b"hello")).packet();

    let folder = data.to_str().unwrap();
    let in_use = format!("broker: {folder}/mqtt.redb is in use by another broker\n");
    for arguments in [&["-q", "--listen", "127.0.0.1:0", "--data", folder][..], &["inspect", folder]] {
        assert_eq!(Program::start(BROKER, arguments).outcome(), (1, in_use.clone()));
    }
    drop(broker);
    let told = Command::new(BROKER).args(["inspect", folder]).output().unwrap();
    let said = String::from_utf8(told.stdout).unwrap();
    for words in ["Clients: 1", "\"away\"", "subscribed to t/# at QoS 2", "22 bytes of messages", "Retained: 0"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let (code, said) = Program::start(BROKER, &["inspect", "/nowhere/at-all"]).outcome();
    assert!(code == 1 && said.contains("/nowhere/at-all/mqtt.redb"), "{said}");
}
