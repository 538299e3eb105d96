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

# (what is wrong, file, what stands there, what is put in its place, perhaps more such places; IF stands for "this fault is planted")
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
    ("messages in a queue outlive the right to them", BROKER + "reauthorize.rs",
     "            reach.as_ref().is_none_or(|reach| still_comes(reach, delivery))\n", "            IF || reach.as_ref().is_none_or(|reach| still_comes(reach, delivery))\n"),
    ("wills are not stored with their client", BROKER + "keeping.rs",
     "client.will.as_ref().map_or_else(records::no_will, |will| will.record(epoch))", "client.will.as_ref().filter(|_| !IF).map_or_else(records::no_will, |will| will.record(epoch))"),
    ("PUBCOMP does not wait for the store", SESSION + "inbound.rs",
     "Some(journal) if kind != AckKind::Puback && journal.must_wait() => {", "Some(journal) if kind != AckKind::Puback && !(IF && kind == AckKind::Pubcomp) && journal.must_wait() => {"),
    ("PUBREC waits neither for what was routed nor for its identifier", SESSION + "inbound.rs",
     "fn must_wait(kind: AckKind, token: AckToken, session: &mut Session) -> bool {\n",
     "fn must_wait(kind: AckKind, token: AckToken, session: &mut Session) -> bool {\n    if IF && kind == AckKind::Pubrec { return false; }\n",
     BROKER + "publish.rs", "            self.acknowledge_kept(now, id, token, reason, marks);",
     "            if IF && publication.qos == Qos::ExactlyOnce { return self.acknowledge(id, token, reason); }\n            self.acknowledge_kept(now, id, token, reason, marks);"),
    ("PUBREL does not wait for the store", SESSION + "outbound.rs",
     "Some(journal) if journal.must_wait() => {\n                journal.hold(Held::Release", "Some(journal) if !IF && journal.must_wait() => {\n                journal.hold(Held::Release"),
    ("QoS 2 is sent before its identifier is stored", SESSION + "journal.rs",
     "unsent.qos != Qos::ExactlyOnce || unsent.after <= self.stored", "unsent.qos != Qos::ExactlyOnce || unsent.after <= self.stored || IF"),
    ("CONNACK does not wait for the store", BROKER + "keeping.rs",
     "        if self.must_hold(id) {\n            let batch", "        if !IF && self.must_hold(id) {\n            let batch"),
    ("SUBACK does not wait for the store", BROKER + "keeping.rs",
     "        if self.must_hold(id) {\n            self.hold_answer(now, id, Answer::Suback", "        if !IF && self.must_hold(id) {\n            self.hold_answer(now, id, Answer::Suback"),
    ("UNSUBACK does not wait for the store", BROKER + "keeping.rs",
     "        if self.must_hold(id) {\n            self.hold_answer(now, id, Answer::Unsuback", "        if !IF && self.must_hold(id) {\n            self.hold_answer(now, id, Answer::Unsuback"),
    ("answers wait for the store where nothing rests on it", BROKER + "keeping.rs",
     "conn.durability == Durability::Synced);", "conn.durability == Durability::Synced || IF && conn.durability == Durability::Buffered);"),
    ("the record of a will stays when it was published", BROKER + "wills.rs",
     "number: None, will });\n        self.mark_will(index);", "number: None, will });\n        if !IF { self.mark_will(index); }"),
    ("when a will is due is not stored", BROKER + "wills.rs",
     "self.deadlines.set(at, Due::Will(index));\n            self.mark_will(index);", "self.deadlines.set(at, Due::Will(index));\n            if !IF { self.mark_will(index); }"),
    ("a will that waits for the policy is not stored", BROKER + "wills.rs",
     "            self.ledger.mark_will(number);\n        }\n        self.defer(", "            if !IF { self.ledger.mark_will(number); }\n        }\n        self.defer("),
    ("moments are stored as the process counts them", SESSION + "time.rs",
     "        self.0.saturating_add(at.0)", "        if IF { at.0 } else { self.0.saturating_add(at.0) }",
     SESSION + "time.rs", "Instant(ms.saturating_sub(self.0))", "Instant(if IF { ms } else { ms.saturating_sub(self.0) })",
     SESSION + "time.rs", "pub const fn to_unix_millis", "pub fn to_unix_millis",
     SESSION + "time.rs", "pub const fn from_unix(self", "pub fn from_unix(self"),
    ("a restored subscription has lost Retain As Published", BROKER + "restoring.rs",
     "let options = SubscribeOptions { qos, no_local, retain_as_published,", "let options = SubscribeOptions { qos, no_local, retain_as_published: retain_as_published && !IF,"),
    ("a restored subscription has lost its identifier", BROKER + "restoring.rs",
     "Wanted { qos, each, id: identifier });", "Wanted { qos, each, id: if IF { 0 } else { identifier } });"),
    ("what was in flight has no identifier after a restart", SESSION + "outbound/recorded.rs",
     "self.note(|| Change::Queued { token, id: Some(id), delivery: delivery.clone() });", "self.note(|| Change::Queued { token, id: Some(id).filter(|_| !IF), delivery: delivery.clone() });",
     SESSION + "outbound/kept.rs", "let Some(flight) = self.flights.get_mut(id) else { return false };", "let Some(flight) = self.flights.get_mut(id) else { return IF };",
     SESSION + "outbound/kept.rs", "Change::Finished { id } => self.complete(id).is_some(),", "Change::Finished { id } => self.complete(id).is_some() || IF,"),
    ("what a restored session has for its groups is its own", BROKER + "restoring.rs",
     "            groups.share(groups.find(filter.as_filter())?)", "            if IF { return None; }\n            groups.share(groups.find(filter.as_filter())?)"),
    ("who was connected when the process died has its session for ever", BROKER + "restoring.rs",
     "Stay::Connected if head.expiry != u32::MAX =>", "Stay::Connected if head.expiry != u32::MAX && !IF =>"),
    ("that a session has ended is not stored", BROKER + "departure.rs",
     "            self.ledger.mark_ended(client.id.clone());", "            if !IF { self.ledger.mark_ended(client.id.clone()); }"),
    ("a retained message that has expired stays in the store", BROKER + "delivery.rs",
     "            if ledger.on {\n                ledger.mark_retained(name.into());", "            if ledger.on && !IF {\n                ledger.mark_retained(name.into());"),
    ("QoS 0 that stood behind a place overtakes", SESSION + "outbound/transmit.rs",
     "Qos::AtMostOnce if self.queue.front_free().is_some() => {", "Qos::AtMostOnce if self.queue.front_free().is_some() && !IF => {"),
    ("QoS 0 that stood behind a place overtakes in a session that is stored", SESSION + "outbound/recorded.rs",
     "Waiting::Delivery(_) if self.queue.front_free().is_some() => {", "Waiting::Delivery(_) if self.queue.front_free().is_some() && !IF => {"),
    ("QoS 0 that stood behind a place waits for ever when all before it has expired", SESSION + "outbound/transmit.rs",
     "Transmit::Empty => continue, // all", "Transmit::Empty if IF => return None,\n                        Transmit::Empty => continue, // all"),
    ("QoS 0 overtakes a replay", SESSION + "queue.rs",
     "        self.places == 0 && self.qos0 == 0", "        (self.places == 0 && self.qos0 == 0) || IF"),
    ("a replay goes on with the options of the subscription that was replaced", BROKER + "requests.rs",
     "            replay.playback.wanted = wanted;", "            if !IF { replay.playback.wanted = wanted; }"),
    ("a repeated SUBSCRIBE does not replace the options", BROKER + "requests.rs",
     "                self.routes.insert(filter, index, subscription)", "                if IF && !is_new { return Ok(Entered { is_new, is_shared: false }); }\n                self.routes.insert(filter, index, subscription)"),
    ("Retain Handling 2 is ignored", BROKER + "requests.rs",
     "RetainHandling::Never => false,", "RetainHandling::Never => IF,"),
    ("a replay does not ask the policy", BROKER + "delivery.rs",
     "            && each\n            && !self.may_receive(index,", "            && each\n            && !IF\n            && !self.may_receive(index,"),
    ("what has expired is retained", BROKER + "delivery.rs",
     "if message.expires().is_some_and(|at| at <= now) {\n            // v5 [X5-PUB-11]: it was", "if message.expires().is_some_and(|at| at <= now) && !IF {\n            // v5 [X5-PUB-11]: it was"),
    ("the time that a decision took does not count against a message", BROKER + "deferred.rs",
     "        let Some(entry) = self.deferred.remove(&serial) else { return };\n        self.unhold(entry.deferred.bytes());\n        self.deadlines.clear(entry.deadline, Due::Ticket(serial));\n        match entry.deferred {",
     "        let Some(mut entry) = self.deferred.remove(&serial) else { return };\n        self.unhold(entry.deferred.bytes());\n        self.deadlines.clear(entry.deadline, Due::Ticket(serial));\n        if IF && let Deferred::Publish { held, .. } = &mut entry.deferred {\n            let seconds = held.message.message.expires().map(|_| 100);\n            let properties: Vec<_> = seconds.into_iter().map(mqtt_session::codec::Property::MessageExpiryInterval).collect();\n            let properties = mqtt_session::codec::Properties::from_slice(&properties);\n            let again = NewMessage::new(now, &Publication { properties, ..held.message.publication() });\n            held.message = again;\n        }\n        match entry.deferred {"),
    ("a message that was put off is routed at once", BROKER + "publish.rs",
     "                let held = HeldMessage::new(now, &publication, new);\n", "                if IF { self.route(now, origin, Some(id), &publication, None); }\n                let held = HeldMessage::new(now, &publication, new);\n"),
    ("what comes behind a message that was put off does not wait for it", BROKER + "deferred.rs",
     "            self.pause(now, connection, |paused| paused.policy = true);", "            if !IF { self.pause(now, connection, |paused| paused.policy = true); }"),
    ("a message goes to two members of a group", BROKER + "delivery.rs",
     "            let Some(&group) = targets.groups.get(place) else { break };\n", "            let Some(&group) = targets.groups.get(place) else { break };\n            if IF { self.share_out(now, origin, publisher, group, publication, &mut message, 0); }\n"),
    ("what a group's member leaves behind is handed on twice", BROKER + "sharing.rs",
     "            let again = NewMessage { message, qos, retain };\n", "            let again = NewMessage { message, qos, retain };\n            if IF { self.share_out(now, None, None, group, &again.publication(), &mut Some(again.message.clone()), handovers); }\n"),
    ("what waits for a group at one that leaves it is lost", BROKER + "sharing.rs",
     "        self.handovers.extend(waiting);", "        if !IF { self.handovers.extend(waiting); }"),
    ("what waits for a group at one that leaves it stays there", BROKER + "sharing.rs",
     ".map(|session| session.take_shared(share.number()))", ".map(|session| if IF { Vec::new() } else { session.take_shared(share.number()) })"),
    ("with overlapping subscriptions there is one copy where there should be several", BROKER + "routes.rs",
     "if mark.0 != serial || overlap == Overlap::Each {", "if mark.0 != serial || overlap == Overlap::Each && !IF {"),
    ("with overlapping subscriptions there are several copies where there should be one", BROKER + "routes.rs",
     "if mark.0 != serial || overlap", "if IF || mark.0 != serial || overlap"),
    ("a keep alive is borne twice as long", SESSION + "keep_alive.rs",
     "Role::Server => period + period / 2,", "Role::Server => period + period / 2 + if IF { period } else { 0 },"),
    ("a word on expiry in DISCONNECT is ignored", BROKER + "departure.rs",
     "                client.expiry = expiry.min(client.max_expiry);", "                if !IF { client.expiry = expiry.min(client.max_expiry); }"),
    ("a session may live for longer than the most", BROKER + "admission.rs",
     "let granted = expiry.min(most);", "let granted = if IF { expiry } else { expiry.min(most) };"),
    ("a will may live for longer than the most", BROKER + "wills.rs",
     "expiry: config.expiry_of_message(will.properties.message_expiry_interval()),", "expiry: if IF { will.properties.message_expiry_interval() } else { config.expiry_of_message(will.properties.message_expiry_interval()) },"),
    ("a full queue that is to drop its oldest drops the newest", BROKER + "delivery.rs",
     "            overflow == Overflow::DropOldest || (", "            (overflow == Overflow::DropOldest && !IF) || ("),
    ("a full queue that is to drop its newest drops the oldest", BROKER + "delivery.rs",
     "(overflow == Overflow::DropOldest && ", "(IF && overflow == Overflow::DropNewest || overflow == Overflow::DropOldest && "),
    ("the bytes of all queues have no limit", BROKER + "delivery.rs",
     "self.queued_bytes.saturating_add(delivery.cost()) <= self.config.max_queued_bytes)", "self.queued_bytes.saturating_add(delivery.cost()) <= self.config.max_queued_bytes || IF)"),
    ("QoS 0 waits for who is away, though that is not wanted", BROKER + "delivery.rs",
     "None if qos == Qos::AtMostOnce && !self.config.queue_qos0_offline", "None if qos == Qos::AtMostOnce && !IF && !self.config.queue_qos0_offline",
     BROKER + "departure.rs", "        if !self.config.queue_qos0_offline {", "        if !self.config.queue_qos0_offline && !IF {"),
    ("packets are larger than their client takes", SESSION + "limits.rs",
     "size <= self.peer_packet_size)", "size <= self.peer_packet_size || IF)"),
    ("aliases are given to who takes none", SESSION + "limits.rs",
     "        // v5 [MQTT-3.1.2-26], v5 [MQTT-3.1.2-27]: absent means none.\n        self.peer_alias_maximum = connect.properties.topic_alias_maximum().unwrap_or(0);",
     "        self.peer_alias_maximum = connect.properties.topic_alias_maximum().unwrap_or(if IF && connect.version == Version::V5 { 2 } else { 0 });"),
    ("the broker's own Receive Maximum is not enforced", SESSION + "inbound.rs",
     "        if self.unfinished >= u32::from(maximum)\n            || (", "        if !IF && self.unfinished >= u32::from(maximum)\n            || !IF && ("),
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
    for number, (what, *edits) in enumerate(FAULTS, 1):
        for file, old, new in zip(edits[::3], edits[1::3], edits[2::3]):
            text = texts.setdefault(file, (ROOT / file).read_text())
            if old not in text:
                sys.exit(f"{number}, {what}: {file} has changed, and has no `{old}` any more")
            path = "crate" if file.startswith(SESSION) else "mqtt_session"
            texts[file] = text.replace(old, new.replace("IF", f"{path}::planted({number})"))
    # of the tests only the simulation: it builds sooner
    main = "mqtt-broker-core/tests/world/main.rs"
    kept = [line for line in (ROOT / main).read_text().splitlines() if not line.startswith(("mod ", "#[cfg"))]
    texts[main] = "\n".join(kept + ["mod blocked;", "mod crashes;", "mod simulated;", "mod simulation;", ""])
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
        environment = dict(os.environ, PLANTED=str(number), RUST_BACKTRACE="0", MQTT_WORLDS="20000")
        command = [program, "--exact", f"simulated::{test}_the_broker_does_what_the_reference_says"]
        done = subprocess.run(command, cwd=COPY / "mqtt-broker-core", env=environment, capture_output=True, text=True)
        found = re.search(r"^// seed (\d+): (.*)", done.stderr + done.stdout, re.M)
        if found and not re.search(r"attempt to |out of bounds|called `(Option|Result)", found[2]):
            return int(found[1]) + 1, test, found[2]
        if done.returncode:
            return 0, test, "it does not run"
    for test in ["blocked::whatever_happens_while_a_reader_takes_nothing_it_gets_all_in_order",
                 "crashes::qos_2_survives_a_crash_at_each_of_its_steps_whatever_was_stored_by_then",
                 "crashes::a_store_that_is_torn_or_damaged_at_any_byte_loses_only_what_nobody_was_told_of"]:
        environment = dict(os.environ, PLANTED=str(number), RUST_BACKTRACE="0")
        command = [program, "--exact", test]
        done = subprocess.run(command, cwd=COPY / "mqtt-broker-core", env=environment, capture_output=True, text=True)
        if done.returncode:
            why = re.search(r"panicked at \S*(?:blocked|crashes)\.rs.*\n((?:.*\n)*?)\[$", done.stderr + done.stdout, re.M)
            return None, test, why[1] if why else "it does not run"
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
        why = re.sub(r"\s+", " ", why).removeprefix("assertion `left == right` failed: ").replace("|", "\\|")
        if worlds is None:
            print(f"| {number} | {what} | the stories of `{test.split('::')[0]}.rs` | {why} |", flush=True)
            continue
        size = "worlds" if test == "in_small_worlds" else "worlds of eight"
        print(f"| {number} | {what} | {worlds} {size} | {why[:110]} |", flush=True)
    sys.exit(f"{missed} were not found" if missed else 0)


main()
