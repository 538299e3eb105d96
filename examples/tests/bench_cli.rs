//! The load generator: every scenario at a tiny size against the broker, and faults it must not overlook against brokers that commit them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

use mqtt_codec::{Packet, Role, Version, frame_len};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

const BENCH: &str = env!("CARGO_BIN_EXE_bench");
const BROKER: &str = env!("CARGO_BIN_EXE_broker");

/// A broker that ends with the test.
struct Broker {
    child: Child,
    port: String,
}

impl Broker {
    fn start() -> Self {
        Self::serve(Command::new(BROKER).args(["-q", "--listen", "127.0.0.1:0"]))
    }

    fn serve(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim_end().strip_prefix("listening on 127.0.0.1:").unwrap().to_owned();
        Self { child, port }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bench(arguments: &[&str]) -> Output {
    Command::new(BENCH).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A path for a file of this test, which is not there yet.
fn file(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}"));
    let _ = std::fs::remove_file(&path);
    path
}

/// Runs a scenario and returns its exit code with what it wrote as JSON.
fn run(name: &str, port: &str, arguments: &[&str]) -> (i32, Value) {
    let json = file(&format!("{name}.json"));
    let to = ["--port", port, "--json", json.to_str().unwrap()];
    let output = bench(&[&["run"], arguments, &to].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = std::fs::read_to_string(&json).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {told}"));
    (output.status.code().unwrap(), serde_json::from_str(&text).unwrap())
}

fn check(outcome: &Value, name: &str) -> u64 {
    outcome["checks"][name].as_u64().unwrap_or_else(|| panic!("{outcome}"))
}

fn figure(outcome: &Value, name: &str) -> f64 {
    let figures = outcome["figures"].as_array().unwrap();
    let figure = figures.iter().find(|figure| figure["name"] == name).unwrap_or_else(|| panic!("no {name}: {outcome}"));
    figure["value"].as_f64().unwrap()
}

#[test]
fn every_scenario_ends_well_with_the_broker() {
    // the scenario at its smallest, deliveries it has, a figure of it
    let rows: [(&[&str], u64, &str); 11] = [
        (&["pairs", "-n", "3", "-m", "300"], 300, "deliveries per second"),
        (&["fan-out", "-n", "7", "-m", "50"], 350, "deliveries per second"),
        (&["fan-in", "-n", "7", "-m", "300"], 300, "deliveries per second"),
        (&["mixed", "-n", "20", "-m", "200"], 0, "deliveries per second"),
        (&["latency", "-n", "3", "-m", "200", "--rate", "2000"], 200, "latency p99 us"),
        (&["flood", "-n", "1", "-m", "200"], 200, "deliveries per second"),
        (&["idle", "-n", "20"], 0, "RSS MiB before"),
        (&["connect", "-n", "60"], 0, "connects per second"),
        (&["retained", "-m", "150"], 450, "replay ms"),
        (&["offline", "-m", "150"], 150, "drain ms"),
        (&["stalled", "-m", "200"], 200, "peak RSS growth MiB"),
    ];
    let broker = Broker::start();
    let pid = broker.child.id().to_string();
    for (arguments, deliveries, name) in rows {
        for (qos, version) in [("0", "3.1.1"), ("1", "5.0"), ("2", "3.1.1"), ("2", "5.0")] {
            let load = [arguments, &["--qos", qos, "--mqtt", version, "--pid", &pid]].concat();
            let (code, outcome) = run("every", &broker.port, &load);
            assert_eq!(code, 0, "{load:?}: {outcome}");
            for fault in ["lost", "duplicates", "misordered", "unexpected", "unacknowledged", "refused", "closed"] {
                assert_eq!(check(&outcome, fault), 0, "{load:?}: {outcome}");
            }
            assert_eq!(check(&outcome, "delivered"), check(&outcome, "expected"), "{load:?}: {outcome}");
            assert!(deliveries == 0 || check(&outcome, "delivered") == deliveries, "{load:?}: {outcome}");
            assert!(figure(&outcome, name).is_finite());
        }
    }
}

#[test]
fn payloads_of_all_sizes_arrive() {
    let broker = Broker::start();
    for size in ["16", "100", "130", "20000", "300000"] {
        let (code, outcome) = run("sizes", &broker.port, &["pairs", "-n", "2", "-m", "40", "-q", "1", "--size", size]);
        assert_eq!((code, check(&outcome, "delivered")), (0, 40), "{size}: {outcome}");
    }
}

#[test]
fn a_forwarder_is_the_floor_of_pairs() {
    let forwarder = Broker::serve(Command::new(BENCH).args(["forward", "--listen", "127.0.0.1:0"]));
    for qos in ["0", "1", "2"] {
        let (code, outcome) = run("floor", &forwarder.port, &["pairs", "--floor", "-n", "3", "-m", "300", "-q", qos]);
        assert_eq!((code, check(&outcome, "delivered")), (0, 300), "{outcome}");
    }
    let refused = bench(&["run", "fan-out", "--floor", "--port", &forwarder.port]);
    assert_eq!(refused.status.code(), Some(1));
}

/// What a dishonest broker does with the publications of one client, in place of passing them on.
type Fault = fn(&mut Vec<Vec<u8>>);

/// A broker for one pair that passes on every publication to everybody, ten at a time, with a fault in each ten.
fn dishonest(fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let subscriber = Arc::new(Mutex::new(None));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, subscriber) = (stream.unwrap(), Arc::clone(&subscriber));
            thread::spawn(move || serve(stream, &subscriber, fault));
        }
    });
    port
}

fn serve(mut stream: TcpStream, subscriber: &Mutex<Option<TcpStream>>, fault: Fault) {
    let (mut input, mut held) = (Vec::new(), Vec::new());
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        input.extend_from_slice(&buffer[..count]);
        while let Some(len) = frame_len(&input, 1 << 20).unwrap().filter(|&len| len <= input.len()) {
            let frame: Vec<u8> = input.drain(..len).collect();
            match Packet::decode(&frame, Version::V311, Role::Client).unwrap() {
                Packet::Connect(_) => stream.write_all(&[0x20, 2, 0, 0]).unwrap(),
                Packet::Subscribe(_) => {
                    *subscriber.lock().unwrap() = Some(stream.try_clone().unwrap());
                    stream.write_all(&[0x90, 3, 0, 1, 0]).unwrap();
                }
                Packet::Publish(_) => held.push(frame),
                _ => return,
            }
            if held.len() == 10 {
                fault(&mut held);
                subscriber.lock().unwrap().as_mut().unwrap().write_all(&held.concat()).unwrap();
                held.clear();
            }
        }
    }
}

#[test]
fn a_fault_of_the_broker_is_reported_and_fails_the_run() {
    // what the broker does with every ten messages; lost, duplicates, misordered of twenty
    let rows: [(Fault, [u64; 3]); 4] = [
        (|_| {}, [0, 0, 0]),
        (|ten| drop(ten.remove(3)), [2, 0, 0]),
        (|ten| ten.insert(4, ten[3].clone()), [0, 2, 0]),
        (|ten| ten.swap(7, 8), [0, 0, 2]),
    ];
    for (fault, expected) in rows {
        let port = dishonest(fault);
        let load = ["pairs", "-n", "1", "-m", "20", "--window", "30", "--patience", "0.3"];
        let (code, outcome) = run("fault", &port, &load);
        let found = ["lost", "duplicates", "misordered"].map(|name| check(&outcome, name));
        assert_eq!(found, expected, "{outcome}");
        assert_eq!(code, i32::from(expected != [0, 0, 0]), "{outcome}");
    }
    let port = dishonest(|ten| drop(ten.pop()));
    let load = ["pairs", "-n", "1", "-m", "20", "--window", "30", "--patience", "0.3", "--allow-loss"];
    assert_eq!(run("allowed", &port, &load).0, 0);
}

#[test]
fn a_comparison_runs_all_brokers_in_all_rounds_and_can_be_drawn() {
    let (json, config, picture) = (file("compare.json"), file("compare.toml"), file("compare.svg"));
    std::fs::write(&config, "listen = [\"127.0.0.1:{port}\"]\n").unwrap();
    let brokers = [
        format!("flags={BROKER} -q --listen 127.0.0.1:{{port}}"),
        format!("file={BROKER} -q --config {{config:{}}}", config.display()),
        "floor=forward".to_owned(),
    ];
    let load = ["compare", "--scenario", "pairs", "-n", "2", "-m", "200", "--rounds", "2"];
    let output = bench(
        &[
            &load[..],
            &[
                "--broker",
                &brokers[0],
                "--broker",
                &brokers[1],
                "--broker",
                &brokers[2],
                "--json",
                json.to_str().unwrap(),
            ],
        ]
        .concat(),
    );
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("broker CPU us per delivery"), "{said}");
    let comparison: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    for (broker, name) in comparison["brokers"].as_array().unwrap().iter().zip(["flags", "file", "floor"]) {
        assert_eq!(broker["name"], name);
        assert_eq!(broker["rounds"].as_array().unwrap().len(), 2);
        assert_eq!(broker["checks"]["delivered"], 400);
        assert!(!broker["medians"].as_array().unwrap().is_empty());
    }
    assert!(comparison["brokers"][0]["ratios"].as_array().unwrap().iter().all(|ratio| ratio["value"] == 1.0));

    let drawn = bench(&["plot", json.to_str().unwrap(), picture.to_str().unwrap()]);
    assert_eq!(drawn.status.code(), Some(0), "{}", String::from_utf8_lossy(&drawn.stderr));
    let svg = std::fs::read_to_string(&picture).unwrap();
    assert!(svg.contains("<svg") && svg.contains("floor") && svg.contains("broker CPU us per delivery"), "{svg}");
}

#[test]
fn a_broker_that_does_not_start_is_a_failure_and_no_others() {
    let gone = format!("gone={BROKER} --no-such-flag {{port}}");
    let well = format!("well={BROKER} -q --listen 127.0.0.1:{{port}}");
    let load = ["compare", "--scenario", "pairs", "-n", "1", "-m", "10", "--rounds", "1"];
    let output = bench(&[&load[..], &["--broker", &gone, "--broker", &well]].concat());
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("before it listened") && said.contains("deliveries per second"), "{said}");
}

#[test]
fn nobody_there_and_nonsense_are_told_apart() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let nobody = bench(&["run", "pairs", "--port", &port]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("cannot connect"));
    for nonsense in [&["run", "pears"][..], &["run", "pairs", "--size", "15"], &["compare", "--scenario", "pairs"]] {
        assert_eq!(bench(nonsense).status.code(), Some(2), "{nonsense:?}");
    }
}
