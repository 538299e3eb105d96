//! The switches and limits of a profile, each both ways, and that a profile which asks for nothing changes nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
mod common;

use common::{connect, parse, rows};
use mqtt_codec::{DecodeError, DecodeErrorKind, Level3, Packet, Profile, Reader, ReasonCode, Role, Version};

const LIMIT: u32 = 1 << 20;

/// The strict profile with one switch thrown.
fn switched(name: &str) -> Profile {
    let mut profile = Profile::STRICT;
    match name {
        "refuse_control_characters" => profile.refuse_control_characters = true,
        "refuse_non_characters" => profile.refuse_non_characters = true,
        "refuse_bad_filters" => profile.refuse_bad_filters = true,
        "v31_as_v311" => profile.level_3 = Level3::As311,
        "v31_lenient" => profile.level_3 = Level3::Lenient,
        "ignore_flags" => profile.ignore_flags = true,
        "bridge_levels" => profile.bridge_levels = true,
        "max_user_properties" => profile.max_user_properties = 2,
        "max_user_property_bytes" => profile.max_user_property_bytes = 20,
        "max_filters" => profile.max_filters = 2,
        _ => panic!("{name}?"),
    }
    profile
}

fn verdict(decoded: Result<Packet<'_>, DecodeError>) -> String {
    match decoded {
        Ok(packet) => format!("ok {packet}"),
        Err(DecodeError { kind: DecodeErrorKind::UnsupportedLevel(level), .. }) => format!("level {level}"),
        Err(error) => format!("{:02X}", error.reason.0),
    }
}

/// What a reader of this profile makes of the packet, behind a CONNECT if it needs one.
fn read(profile: Profile, bytes: &[u8], version: Version, from: Role) -> String {
    let mut reader = match from {
        Role::Server => Reader::of_server(version, LIMIT),
        Role::Client => Reader::of_client(LIMIT, LIMIT),
    }
    .with_profile(profile);
    if from == Role::Client && bytes[0] >> 4 != 1 {
        assert!(reader.read(&connect(version)).next().unwrap().is_some());
    }
    let mut packets = reader.read(bytes);
    let verdict = verdict(packets.next().map(|packet| packet.expect("a whole packet")));
    if !verdict.starts_with("ok") {
        assert!(packets.next().is_err(), "an error is for good");
    }
    verdict
}

#[test]
fn each_switch_changes_what_it_says_and_nothing_else() {
    // [X5-UTF-1], [X311-UTF-1], S13
    let mut switches = std::collections::BTreeMap::new();
    for (number, line) in include_str!("vectors/profile.txt").lines().enumerate() {
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let fields: Vec<_> = line.split(" | ").map(str::trim).collect();
        let [switch, versions, sender, note, bytes, by_default, with_switch] = fields[..] else {
            panic!("line {}: seven fields, please", number + 1)
        };
        let profile = switched(switch);
        let seen: &mut (bool, bool) = switches.entry(switch).or_default();
        if by_default == with_switch {
            seen.0 = true
        } else {
            seen.1 = true
        }
        let bytes = parse(bytes);
        for version in versions.split(' ') {
            let version = match version {
                "3.1" => Version::V31,
                "3.1.1" => Version::V311,
                _ => Version::V5,
            };
            let senders: &[Role] = match sender {
                "client" => &[Role::Client],
                "server" => &[Role::Server],
                _ => &[Role::Client, Role::Server],
            };
            for &from in senders {
                let told = format!("line {} {switch} {version:?} {from:?} {note}", number + 1);
                let strict = Packet::decode(&bytes, version, from);
                let switched = Packet::decode_with(&bytes, version, from, &profile);
                for error in [strict, switched].into_iter().filter_map(Result::err) {
                    let number = error.statement.split_once(' ').map_or("", |(_, number)| number);
                    assert!(
                        matches!(error.kind, DecodeErrorKind::UnsupportedLevel(_)) || note.contains(number),
                        "{told}: {error}"
                    );
                    assert!(error.offset <= bytes.len(), "{told}: {error}");
                }
                assert_eq!(verdict(strict).trim_end(), by_default, "{told}");
                assert_eq!(verdict(switched).trim_end(), with_switch, "{told}");
                // A reader answers a first packet that does not begin like a CONNECT otherwise.
                if bytes[0] != 0x11 {
                    assert_eq!(read(Profile::STRICT, &bytes, version, from).trim_end(), by_default, "{told}, read");
                    assert_eq!(read(profile, &bytes, version, from).trim_end(), with_switch, "{told}, read");
                }
            }
        }
    }
    assert_eq!(switches.len(), 10);
    for (switch, seen) in switches {
        assert_eq!(seen, (true, true), "{switch}: a row that it changes and one that it does not");
    }
}

#[test]
fn a_profile_that_asks_for_nothing_is_the_strict_one() {
    assert_eq!(Profile::default(), Profile::STRICT);
    for row in rows() {
        assert_eq!(
            Packet::decode_with(&row.bytes, row.version, row.from, &Profile::STRICT),
            Packet::decode(&row.bytes, row.version, row.from),
            "{}",
            row.place
        );
    }
}

#[test]
fn what_a_profile_refuses_is_found_at_its_byte() {
    let mut profile = Profile::STRICT;
    profile.refuse_control_characters = true;
    profile.refuse_bad_filters = true;
    profile.max_filters = 2;
    profile.max_user_properties = 1;
    let at = |text: &str| {
        let bytes = parse(text);
        let error = Packet::decode_with(&bytes, Version::V5, Role::Client, &profile).unwrap_err();
        (error.offset, error.to_string())
    };
    let (offset, line) = at(r#"30 LL 00 03 61 62 07 ()"#);
    assert_eq!(offset, 6);
    assert_eq!(line, "malformed packet: a string holds a control character (byte 6, v5 [X5-UTF-1], reason code 0x81)");
    assert_eq!(at(r#"82 LL 00 01 () s"ok" 00 s"a/b+" 00"#).0, 15);
    let (offset, line) = at(r#"A2 LL 00 01 () s"a" s"b" s"c""#);
    assert_eq!(offset, 13);
    assert_eq!(
        line,
        "limit exceeded: more filters than are taken in one packet (byte 13, v5 section 2.4, reason code 0x97)"
    );
    assert_eq!(at(r#"30 LL s"a" (26 s"a" s"b" 26 s"k" s"v") "x""#).0, 16);
}

#[test]
fn a_limit_answers_with_a_code_that_connack_and_disconnect_have() {
    let mut profile = Profile::STRICT;
    profile.max_user_properties = 0;
    let bytes = parse(r#"10 LL s"MQTT" 05 02 00 3C (26 s"a" s"b") s"c""#);
    let error = Packet::decode_with(&bytes, Version::V5, Role::Client, &profile).unwrap_err();
    assert_eq!((error.kind, error.reason), (DecodeErrorKind::LimitExceeded, ReasonCode::QUOTA_EXCEEDED));
    let mut reader = Reader::of_client(LIMIT, LIMIT).with_profile(profile);
    assert_eq!(reader.read(&bytes).next(), Err(error));
    assert_eq!(reader.version(), Some(Version::V5), "so that the answer is in the right form");
}
