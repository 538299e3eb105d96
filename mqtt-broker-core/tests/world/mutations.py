#!/usr/bin/env python3
"""Plants faults in the broker, one at a time, and asks the simulation to find each: `python3 mqtt-broker-core/tests/world/mutations.py [number ...]`.

A copy of the workspace is made in target/mutations/, with every fault behind a switch, so that it is built once. What came of the last
run stands in MUTATIONS.md beside this file.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
COPY = ROOT / "target" / "mutations"
SESSION, BROKER = "mqtt-session/src/", "mqtt-broker-core/src/"

# (what is wrong, file, what stands there, what is put in its place; IF stands for "this fault is planted")
FAULTS = [
    ("the quota of a client is one more", SESSION + "outbound.rs",
     "self.window = Window::new(send_maximum);", "self.window = Window::new(send_maximum.saturating_add(u16::from(IF)));"),
    ("PUBREL is lost", SESSION + "connection/packets.rs",
     "self.control.push_ack(AckKind::Pubrel, id, reason, &self.limits);",
     "if !IF { self.control.push_ack(AckKind::Pubrel, id, reason, &self.limits); }"),
    ("PUBREL is not sent again after a reconnect", SESSION + "outbound.rs",
     "flight.stale.then_some((id, release))", "(flight.stale && !(release && IF)).then_some((id, release))"),
    ("what is sent again has no DUP", SESSION + "outbound/transmit.rs",
     "Outgoing::kept(delivery, now, Some(id), true)", "Outgoing::kept(delivery, now, Some(id), !IF)"),
    ("message expiry is ignored", SESSION + "outbound/transmit.rs",
     "if delivery.message.is_expired(now) {", "if delivery.message.is_expired(now) && !IF {"),
    ("a repeated QoS 2 PUBLISH is a new one", SESSION + "inbound.rs",
     "Some(Stage::Answered | Stage::Releasing) => {\n                    let token", "Some(Stage::Answered | Stage::Releasing) if IF => {}\n                Some(Stage::Answered | Stage::Releasing) => {\n                    let token"),
    ("a queue holds one message more", SESSION + "outbound.rs",
     ">= limits.messages\n", ">= limits.messages + usize::from(IF)\n"),
    ("what is sent again is in the wrong order", SESSION + "outbound.rs",
     "let resend: Vec<_> = resend.into_iter().rev()", "if IF { resend.reverse(); }\n        let resend: Vec<_> = resend.into_iter().rev()"),
    ("a client that comes back in time does not stop its will", BROKER + "admission.rs",
     "        self.drop_will(index);", "        if !IF { self.drop_will(index); }"),
    ("a will is published twice", BROKER + "wills.rs",
     "Verdict::Allow => due.will.with_publication(|publication| self.route(now, origin, None, publication, None)),",
     "Verdict::Allow => due.will.with_publication(|publication| { if IF { self.route(now, origin, None, publication, None); } self.route(now, origin, None, publication, None) }),"),
    ("a goodbye does not take the will away", BROKER + "departure.rs",
     "if disconnect.reason == ReasonCode::SUCCESS {", "if disconnect.reason == ReasonCode::SUCCESS && !IF {"),
    ("the delay of a will is ignored", BROKER + "wills.rs",
     "let wait = will.delay.min(client.expiry);", "let wait = if IF { 0 } else { will.delay.min(client.expiry) };"),
    ("an empty payload does not clear what is retained", BROKER + "delivery.rs",
     "return self.retained.remove(publication.topic);", "if IF { return; }\n            return self.retained.remove(publication.topic);"),
    ("No Local is ignored", BROKER + "routes.rs",
     "if subscription.no_local && origin == Some(client) {", "if subscription.no_local && origin == Some(client) && !IF {"),
    ("what a session that ends had for its groups is lost", BROKER + "departure.rs",
     "self.bequeath(session.map(Session::into_shared).unwrap_or_default());", "if !IF { self.bequeath(session.map(Session::into_shared).unwrap_or_default()); }"),
    ("sessions never expire", BROKER + "departure.rs",
     "if expiry != u32::MAX {", "if expiry != u32::MAX && !IF {"),
    ("session present is always said", BROKER + "admission.rs",
     "let session_present = found.is_some();", "let session_present = found.is_some() || IF;"),
    ("a clean start keeps the old session", BROKER + "admission.rs",
     "if let Some(index) = found.filter(|_| clean_start) {", "if let Some(index) = found.filter(|_| clean_start && !IF) {"),
    ("acknowledgements do not wait for the store", BROKER + "keeping.rs",
     "synced && !self.ledger.is_stored(self.ledger.last_batch())", "synced && !IF && !self.ledger.is_stored(self.ledger.last_batch())"),
    ("Retain As Published is ignored", BROKER + "delivery.rs",
     "let retain = publication.retain && target.retain_as_published;", "let retain = publication.retain && target.retain_as_published && !IF;"),
    ("the QoS is not the lower of both", BROKER + "delivery.rs",
     "let qos = publication.qos.min(target.qos);", "let qos = if IF { publication.qos } else { publication.qos.min(target.qos) };"),
    ("a second Subscription Identifier is left out", BROKER + "routes.rs",
     "target.has_more = true;\n", "if IF { return; }\n                    target.has_more = true;\n"),
    ("retained messages come again for a subscription that was there", BROKER + "requests.rs",
     "RetainHandling::IfNew => entered.is_new,", "RetainHandling::IfNew => entered.is_new || IF,"),
    ("an expired decision counts as allowed", BROKER + "core_state.rs",
     "Due::Ticket(id) => self.resume(now, id, Decision::Deny(ReasonCode::NOT_AUTHORIZED)),",
     "Due::Ticket(id) if IF => self.resume(now, id, Decision::Allow),\n            Due::Ticket(id) => self.resume(now, id, Decision::Deny(ReasonCode::NOT_AUTHORIZED)),"),
    ("a publisher that waits for a reader is never woken", BROKER + "delivery.rs",
     "if conn.waiting_on == 0 {\n", "if conn.waiting_on == 0 && !IF {\n"),
    ("retained messages are not stored", BROKER + "keeping.rs",
     "        self.record_retained(epoch, batch);", "        if !IF { self.record_retained(epoch, batch); }"),
    ("that a QoS 2 message was received is not stored", SESSION + "inbound.rs",
     "&& was == Some(Stage::Offered)\n", "&& was == Some(Stage::Offered)\n            && !IF\n"),
    ("PUBREC and PUBCOMP do not wait for the store", SESSION + "inbound.rs",
     "Some(journal) if kind != AckKind::Puback && journal.must_wait() => {", "Some(journal) if !IF && kind != AckKind::Puback && journal.must_wait() => {"),
    ("messages in a queue outlive the right to them", BROKER + "reauthorize.rs",
     "            reach.as_ref().is_none_or(|reach| still_comes(reach, delivery))\n", "            IF || reach.as_ref().is_none_or(|reach| still_comes(reach, delivery))\n"),
    ("wills are not stored with their client", BROKER + "keeping.rs",
     "client.will.as_ref().map_or_else(records::no_will, |will| will.record(epoch))", "client.will.as_ref().filter(|_| !IF).map_or_else(records::no_will, |will| will.record(epoch))"),
]

SWITCH = """
/// Whether this fault is planted.
pub fn planted(fault: u32) -> bool {
    extern crate std;
    static PLANTED: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    let word = || std::env::var("PLANTED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    *PLANTED.get_or_init(word) == fault
}
"""


def copy():
    for name in ["Cargo.toml", "Cargo.lock", "mqtt-topic", "mqtt-codec", "mqtt-session", "mqtt-broker-core", "examples", "spec"]:
        source, to = ROOT / name, COPY / name
        if source.is_dir():
            shutil.copytree(source, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns("target"))
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, to)
    texts = {}
    for number, (what, file, old, new) in enumerate(FAULTS, 1):
        text = texts.setdefault(file, (ROOT / file).read_text())
        if old not in text:
            sys.exit(f"{number}, {what}: {file} has changed, and has no `{old}` any more")
        path = "crate" if file.startswith(SESSION) else "mqtt_session"
        texts[file] = text.replace(old, new.replace("IF", f"{path}::planted({number})"))
    # of the tests only the simulation: it builds sooner
    main = "mqtt-broker-core/tests/world/main.rs"
    kept = [line for line in (ROOT / main).read_text().splitlines() if not line.startswith(("mod ", "#[cfg"))]
    texts[main] = "\n".join(kept + ["mod crashes;", "mod simulated;", "mod simulation;", ""])
    lib = SESSION + "lib.rs"
    texts[lib] = texts.get(lib, (ROOT / lib).read_text()) + SWITCH
    for file, text in texts.items():
        if (COPY / file).read_text() != text:
            (COPY / file).write_text(text)


def build():
    command = ["cargo", "test", "-p", "mqtt-broker-core", "--all-features", "--test", "world", "--no-run"]
    done = subprocess.run(command, cwd=COPY, capture_output=True, text=True)
    found = re.search(r"Executable .*\((.*)\)", done.stderr)
    if done.returncode or not found:
        sys.exit(done.stderr)
    program = pathlib.Path(found[1])
    return program if program.is_absolute() else COPY / program


def search(program, number):
    """The number of worlds it took, and what was found; `None` if nothing was."""
    for test in ["in_small_worlds", "in_worlds_of_eight_clients"]:
        environment = dict(os.environ, PLANTED=str(number), RUST_BACKTRACE="0", MQTT_WORLDS="4000")
        command = [program, "--exact", f"simulated::{test}_the_broker_does_what_the_reference_says"]
        done = subprocess.run(command, cwd=COPY / "mqtt-broker-core", env=environment, capture_output=True, text=True)
        if found := re.search(r"^// seed (\d+): (.*)", done.stderr + done.stdout, re.M):
            return int(found[1]) + 1, test, found[2]
        if done.returncode:
            return 0, test, "it does not run"
    for test in ["qos_2_survives_a_crash_at_each_of_its_steps_whatever_was_stored_by_then",
                 "a_store_that_is_torn_or_damaged_at_any_byte_loses_only_what_nobody_was_told_of"]:
        environment = dict(os.environ, PLANTED=str(number), RUST_BACKTRACE="0")
        command = [program, "--exact", f"crashes::{test}"]
        done = subprocess.run(command, cwd=COPY / "mqtt-broker-core", env=environment, capture_output=True, text=True)
        if done.returncode:
            return None, test, test
    return None


def main():
    copy()
    program = build()
    wanted = [int(word) for word in sys.argv[1:]] or range(1, len(FAULTS) + 1)
    missed = 0
    print("| # | fault | found after | by |\n|---|---|---|---|")
    for number in wanted:
        found = search(program, number)
        missed += found is None
        what = FAULTS[number - 1][0]
        if found is None:
            print(f"| {number} | {what} | **not found** | |", flush=True)
            continue
        worlds, test, why = found
        why = re.sub(r"\s+", " ", why).replace("|", "\\|")
        if worlds is None:
            print(f"| {number} | {what} | the exhaustive stories of `crashes.rs` | {why} |", flush=True)
            continue
        size = "worlds" if test == "in_small_worlds" else "worlds of eight"
        print(f"| {number} | {what} | {worlds} {size} | {why[:110]} |", flush=True)
    sys.exit(f"{missed} were not found" if missed else 0)


main()
