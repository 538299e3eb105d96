//! Every statement of the standards is cited by a line that obeys it and by a test that proves it, or is an exception with a reason.
//!
//! A citation is `v5 [MQTT-4.3.3-4]` or `v4 [MQTT-3.1.2-24]` (v4 is 3.1.1), several behind one version if need be (`v5 [MQTT-3.8.4-1]
//! [MQTT-3.8.4-5] v4 [MQTT-3.8.4-1]`), or, for the rules that have no number in the standards, `[X5-CON-1]`, `[X311-ACK-1]`, `[X31-SUB-1]`.
//! In `src/`, unit tests at the foot of a file count as tests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

const TABLES: [(&str, &str); 3] = [
    ("v5", include_str!("../mqtt5.tsv")),
    ("v4", include_str!("../mqtt311.tsv")),
    ("", include_str!("../extra.tsv")), // these identifiers name their version themselves
];
const EXCEPTIONS: &str = include_str!("../exceptions.txt");

const LIBRARIES: [&str; 4] = ["mqtt-topic", "mqtt-codec", "mqtt-session", "mqtt-broker-core"];
const PROGRAMS: &str = "examples";

/// A statement as it is cited: `v5 [MQTT-4.3.3-4]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    version: String,
    number: String,
}

impl Id {
    fn new(version: &str, number: &str) -> Self {
        // The version is part of `X5-CON-1`, whether or not the citation says it again.
        let version = if number.starts_with('X') { "" } else { version };
        Self { version: version.into(), number: number.into() }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.version.is_empty() { "" } else { " " };
        write!(f, "{}{space}[{}]", self.version, self.number)
    }
}

struct Statement {
    layer: &'static str,
    text: &'static str,
}

/// Where a statement must be cited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Source,
    Test,
}

/// Which statements are cited where, and by which line first.
#[derive(Default)]
struct Citations(BTreeMap<(Id, Place), String>);

impl Citations {
    fn has(&self, id: &Id, place: Place) -> bool {
        self.0.contains_key(&(id.clone(), place))
    }

    fn add(&mut self, text: &str, place: Place, file: &Path) {
        for (number, line) in text.lines().enumerate() {
            for id in citations(line) {
                self.0.entry((id, place)).or_insert_with(|| format!("{}:{}", file.display(), number + 1));
            }
        }
    }
}

/// What a line cites. An identifier of the standards that no version precedes has an empty one, which no table knows.
fn citations(line: &str) -> Vec<Id> {
    let mut found = Vec::new();
    let mut version = "";
    for (at, _) in line.match_indices('[') {
        let before = line[..at].trim_end();
        if let Some(mark) = ["v5", "v4", "v3"].into_iter().find(|mark| before.ends_with(mark)) {
            version = mark;
        }
        let Some((number, _)) = line[at + 1..].split_once(']') else { break };
        if ["MQTT-", "X5-", "X311-", "X31-"].iter().any(|family| number.starts_with(family)) {
            found.push(Id::new(version, number));
        }
    }
    found
}

fn statements() -> BTreeMap<Id, Statement> {
    let mut statements = BTreeMap::new();
    for (version, table) in TABLES {
        let mut lines = table.lines();
        assert_eq!(lines.next().unwrap().split('\t').take(6).last(), Some("statement"));
        for line in lines {
            let fields: Vec<_> = line.split('\t').collect();
            let statement = Statement { layer: fields[3], text: fields[5] };
            let id = Id::new(version, fields[0]);
            assert!(statements.insert(id, statement).is_none(), "{line}: a number that is there twice");
        }
    }
    statements
}

/// `statement | source, test or both | reason`: what need not be cited there.
fn exceptions() -> BTreeSet<(Id, Place)> {
    let mut exceptions = BTreeSet::new();
    for line in EXCEPTIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let fields: Vec<_> = line.split(" | ").collect();
        let [id, places, reason] = fields[..] else { panic!("{line}: three fields, please") };
        assert!(!reason.trim().is_empty(), "{line}: no reason");
        let [id] = &citations(id)[..] else { panic!("{line}: one statement, please") };
        let places: &[Place] = match places {
            "source" => &[Place::Source],
            "test" => &[Place::Test],
            "both" => &[Place::Source, Place::Test],
            _ => panic!("{line}: source, test or both"),
        };
        for &place in places {
            assert!(exceptions.insert((id.clone(), place)), "{line}: twice");
        }
    }
    exceptions
}

/// The files under `folder`, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// The citations of the libraries and of all tests, and those of the programs, which count only for what is theirs.
fn cited() -> (Citations, Citations) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (mut libraries, mut programs) = (Citations::default(), Citations::default());
    for folder in LIBRARIES.into_iter().chain([PROGRAMS]) {
        let of = if folder == PROGRAMS { &mut programs } else { &mut libraries };
        for path in files(&root.join(folder).join("src")).iter().filter(|path| is_rust(path)) {
            let text = fs::read_to_string(path).unwrap();
            let file = path.strip_prefix(root).unwrap();
            let foot = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
            of.add(&text[..foot], Place::Source, file);
            of.add(&text[foot..], Place::Test, file);
        }
        for path in files(&root.join(folder).join("tests")) {
            if let Ok(text) = fs::read_to_string(&path) {
                libraries.add(&text, Place::Test, path.strip_prefix(root).unwrap());
            }
        }
    }
    (libraries, programs)
}

#[test]
fn every_statement_is_cited_where_it_is_obeyed_and_where_it_is_proven() {
    let (statements, exceptions, (libraries, programs)) = (statements(), exceptions(), cited());
    let mut faults = Vec::new();
    for (id, Statement { layer, text }) in &statements {
        let of_programs = ["transport", "app"].contains(layer);
        for place in [Place::Source, Place::Test] {
            let cited = libraries.has(id, place) || (of_programs && programs.has(id, place));
            match (cited, exceptions.contains(&(id.clone(), place))) {
                (true, false) | (false, true) => {}
                (false, false) => faults.push(format!("{id}: no {place:?} cites it. {layer}: {text}")),
                (true, true) => faults.push(format!("{id}: the exception for {place:?} is not needed any more")),
            }
        }
    }
    for (id, _) in exceptions.iter().filter(|(id, _)| !statements.contains_key(id)) {
        faults.push(format!("{id}: an exception for what is in no table"));
    }
    for ((id, _), line) in libraries.0.iter().chain(&programs.0).filter(|((id, _), _)| !statements.contains_key(id)) {
        faults.push(format!("{line} cites {id}, which is in no table"));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_citation_names_its_version_once_for_all_that_follow() {
    let ids = |line| citations(line).iter().map(Id::to_string).collect::<Vec<_>>();
    assert_eq!(
        ids("// v5 [MQTT-1-1] [MQTT-2-2], v4 [MQTT-3-3]: why"),
        ["v5 [MQTT-1-1]", "v5 [MQTT-2-2]", "v4 [MQTT-3-3]"]
    );
    assert_eq!(ids("/// v3 [X31-SUB-1] and [X5-CON-1], see [`Packet`], list[0]"), ["[X31-SUB-1]", "[X5-CON-1]"]);
    assert_eq!(ids("[MQTT-1-1] without a version is in no table"), ["[MQTT-1-1]"]);
}
