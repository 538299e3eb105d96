//! Ours against `rumqttc`, `mqtt-proto` and `mqtt-protocol-core`: what we accept they read as the same, and what we refuse they refuse, but for
//! the differences listed in `known.rs`, each with the statement that decides.
//!
//! The first byte says which version and which sender; the rest is one frame.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use meaning::Meaning;
use mqtt_codec::{Packet, Profile, Role, Version, frame_len};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

mod known;
mod meaning;

/// One of those compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peer {
    Rumqttc,
    Proto,
    Core,
}

const PEERS: [Peer; 3] = [Peer::Rumqttc, Peer::Proto, Peer::Core];

fuzz_target!(|data: &[u8]| {
    static QUIET: Once = Once::new();
    QUIET.call_once(quiet);
    let Some((&head, frame)) = data.split_first() else { return };
    let version = if head % 2 == 0 { Version::V311 } else { Version::V5 };
    let from = if head / 2 % 2 == 0 { Role::Client } else { Role::Server };
    // all of them are given one whole packet
    if frame_len(frame, u32::MAX) != Ok(Some(frame.len())) {
        return;
    }
    let mut profile = Profile::STRICT;
    profile.refuse_bad_filters = true;
    // what a CONNECT asks for decides which of a peer's two codecs it is for
    let version = match Packet::decode_with(frame, version, from, &profile) {
        Ok(Packet::Connect(connect)) if connect.version == Version::V31 => return, // not all of them know 3.1
        Ok(Packet::Connect(connect)) => connect.version,
        Err(_) if frame.first() == Some(&0x10) && frame.get(8) == Some(&4) => Version::V311,
        Err(_) if frame.first() == Some(&0x10) && frame.get(8) == Some(&5) => Version::V5,
        _ => version,
    };
    let ours = Packet::decode_with(frame, version, from, &profile);
    for peer in PEERS {
        let theirs = read(peer, frame, version);
        match (&ours, theirs) {
            (Err(_), Err(_)) => {}
            (Ok(packet), Ok(theirs)) => {
                let ours = Meaning::of(packet);
                assert!(
                    ours == theirs || known::read_otherwise(peer, packet),
                    "{peer:?} reads {theirs:?}, we {ours:?}"
                );
            }
            (Ok(packet), Err(why)) => {
                assert!(known::refused(peer, packet, version), "{peer:?} refuses {packet:?} at {version:?}: {why}");
            }
            (Err(error), Ok(theirs)) => {
                assert!(
                    known::lenient(peer, error.statement, frame, version),
                    "{peer:?} takes {theirs:?} at {version:?}: {error}"
                );
            }
        }
    }
});

/// What a peer makes of a frame; a panic is a refusal, if not a good one.
fn read(peer: Peer, frame: &[u8], version: Version) -> Result<Meaning, String> {
    let read = || match (peer, version) {
        (Peer::Rumqttc, Version::V5) => meaning::rumqttc_v5(&mut BytesMut::from(frame)),
        (Peer::Rumqttc, _) => meaning::rumqttc_v4(&mut BytesMut::from(frame)),
        (Peer::Proto, Version::V5) => meaning::proto_v5(frame),
        (Peer::Proto, _) => meaning::proto_v4(frame),
        (Peer::Core, Version::V5) => meaning::core_v5(frame),
        (Peer::Core, _) => meaning::core_v4(frame),
    };
    THEIRS.set(true);
    let read = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("panics".into()));
    THEIRS.set(false);
    read
}

std::thread_local! {
    /// Whether a peer is at work: its panics are not ours.
    static THEIRS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

fn quiet() {
    let hook = take_hook();
    set_hook(Box::new(move |info| {
        if !THEIRS.get() {
            hook(info);
        }
    }));
}
