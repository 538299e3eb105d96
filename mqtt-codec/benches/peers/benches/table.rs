//! Prints the table of the README: what each codec takes for each row, and ours as a part of the best peer's.
//!
//! `table` reads what criterion has left in `target/criterion`: nanoseconds per packet, medians. `table FILE` reads lines of title, version,
//! codec and instructions per packet, apart by tabs, as `.ci/callgrind-codec` makes them.
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs, io};

const OURS: &str = "mqttkit-codec";

/// The goals of the rows: ours in parts of the best peer's time.
const GOALS: &[(&str, &str, f64)] = &[
    ("decode PUBLISH QoS 0, 64 B", "3.1.1", 0.45),
    ("decode PUBLISH QoS 0, 64 B", "5.0", 0.18),
    ("decode PUBLISH QoS 1, 1 KiB", "3.1.1", 0.5),
    ("decode PUBLISH QoS 1, 1 KiB", "5.0", 0.23),
    ("decode PUBLISH 256 B, 5 properties", "5.0", 0.25),
    ("decode PUBACK", "3.1.1", 0.4),
    ("decode PUBACK", "5.0", 0.25),
    ("decode CONNECT with will, user, password", "3.1.1", 0.4),
    ("decode CONNECT with will, user, password", "5.0", 0.22),
    ("decode SUBSCRIBE of 10 filters, grammar checked", "3.1.1", 0.33),
    ("decode SUBSCRIBE of 10 filters, grammar checked", "5.0", 0.33),
    ("decode mixed 10,000", "3.1.1", 0.5),
    ("decode mixed 10,000", "5.0", 0.28),
    ("decode mixed 10,000 in 1,460-byte chunks", "3.1.1", 0.5),
    ("decode mixed 10,000 in 1,460-byte chunks", "5.0", 0.28),
    ("encode PUBLISH QoS 0, 64 B", "3.1.1", 0.8),
    ("encode PUBLISH QoS 0, 64 B", "5.0", 0.8),
    ("encode PUBLISH QoS 0, 1 KiB", "3.1.1", 0.9),
    ("encode PUBLISH QoS 0, 1 KiB", "5.0", 0.9),
    ("encode PUBLISH 256 B, 5 properties", "5.0", 0.5),
    ("encode CONNECT with will, user, password", "3.1.1", 0.75),
    ("encode CONNECT with will, user, password", "5.0", 0.55),
    ("encode mixed 10,000", "3.1.1", 0.85),
    ("encode mixed 10,000", "5.0", 0.45),
];

/// Figures by title and version, then by codec.
type Figures = BTreeMap<(String, String), BTreeMap<String, f64>>;

fn main() -> io::Result<()> {
    let mut figures = Figures::new();
    let unit = match env::args().skip(1).find(|word| !word.starts_with("--")) {
        Some(file) => {
            for line in fs::read_to_string(file)?.lines() {
                let mut words = line.split('\t').map(str::to_owned);
                if let (Some(title), Some(version), Some(codec), Some(figure)) =
                    (words.next(), words.next(), words.next(), words.next())
                    && let Ok(figure) = figure.parse()
                {
                    figures.entry((title, version)).or_default().insert(codec, figure);
                }
            }
            "instructions"
        }
        None => {
            let target = env::var("CARGO_TARGET_DIR")
                .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/target").to_owned());
            measured(&Path::new(&target).join("criterion"), &mut figures)?;
            "ns"
        }
    };
    println!("| row | version | {OURS}, {unit} | ratio to the best peer | goal | peers, best first, {unit} |");
    println!("|---|---|--:|--:|--:|---|");
    for (title, version, goal) in GOALS {
        let Some(row) = figures.get(&((*title).to_owned(), (*version).to_owned())) else {
            continue;
        };
        let mut peers: Vec<_> = row.iter().filter(|(codec, _)| *codec != OURS).collect();
        peers.sort_by(|a, b| a.1.total_cmp(b.1));
        let (Some(&ours), Some(&(_, &best))) = (row.get(OURS), peers.first()) else {
            continue;
        };
        let digits = if unit == "ns" && ours < 100.0 { 1 } else { 0 };
        let others: Vec<_> = peers.iter().map(|(codec, figure)| format!("{figure:.0} `{codec}`")).collect();
        let others = others.join(", ");
        println!("| {title} | {version} | {ours:.digits$} | **{:.2}** | {goal} | {others} |", ours / best);
    }
    Ok(())
}

/// Walks criterion's folders: `benchmark.json` says what was measured, `estimates.json` beside it how long it took.
fn measured(folder: &Path, figures: &mut Figures) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if path.file_name().is_some_and(|name| name != "new") {
            measured(&path, figures)?;
            continue;
        }
        let read = |name| io::Result::Ok(serde_json::from_slice::<Value>(&fs::read(path.join(name))?)?);
        let (benchmark, estimates) = (read("benchmark.json")?, read("estimates.json")?);
        let word = |name: &str| benchmark[name].as_str().unwrap_or_default().to_owned();
        let packets = benchmark["throughput"]["Elements"].as_f64().unwrap_or(1.0);
        let taken = estimates["median"]["point_estimate"].as_f64().unwrap_or_default();
        figures.entry((word("group_id"), word("value_str"))).or_default().insert(word("function_id"), taken / packets);
    }
    Ok(())
}
