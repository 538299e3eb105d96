//! The ready policy: rules against a naive matcher, names that would widen a pattern (S10), empty and broken lists (S11).
#![cfg(feature = "acl")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params};
use mqtt_broker_core::codec::{Connect, OutBuf, Packet, Properties, Utf8, Version};
use mqtt_broker_core::topic::{HashSeed, TopicFilter, TopicName};
use mqtt_broker_core::{Accounts, Acl, Broker, ClientInfo, Config, Instant, ListError, Passwords, Peer};
use proptest::prelude::*;
use std::sync::LazyLock;

fn topic(text: &str) -> TopicName<'_> {
    TopicName::new(text).unwrap()
}

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

/// What a client may do, by topic: `p`ublish, `r`eceive.
fn may(acl: &mut Acl, id: &str, user: Option<&str>, name: &str) -> String {
    let peer = Peer::default();
    let client = ClientInfo::new(id, user, &peer, Version::V5);
    let rights = [(acl.may_publish(&client, topic(name)), 'p'), (acl.may_receive(&client, topic(name)), 'r')];
    rights.into_iter().filter(|(may, _)| *may).map(|(_, letter)| letter).collect()
}

const HOUSE: &str = "
# for clients that name no user
topic read news/#

user ada
topic readwrite home/#
topic deny home/safe/#
topic write orders

pattern write devices/%c/state
user bob
pattern users/%u/#
topic read home/+/temperature
";

#[test]
fn each_rule_is_for_whom_it_says() {
    let mut acl = Acl::parse(HOUSE).unwrap();
    let rows = [
        (None, "news/today", "r"),
        (None, "home/a", ""),
        (Some("ada"), "news/today", ""),
        (Some("ada"), "home/a", "pr"),
        (Some("ada"), "home/safe/code", ""),
        (Some("ada"), "orders", "p"),
        (Some("ada"), "users/ada/x", "pr"),
        (Some("ada"), "users/bob/x", ""),
        (Some("bob"), "home/attic/temperature", "r"),
        (Some("bob"), "home/a", ""),
        (Some("eve"), "home/a", ""),
        (Some("eve"), "users/eve/x", "pr"),
        (None, "devices/lamp/state", "p"),
        (Some("ada"), "devices/lamp/state", "p"),
        (Some("ada"), "devices/other/state", ""),
        (None, "users/None/x", ""),
    ];
    for (user, name, rights) in rows {
        assert_eq!(may(&mut acl, "lamp", user, name), rights, "{user:?} {name}");
    }
}

#[test]
fn a_name_never_widens_a_pattern() {
    // S10
    let mut acl = Acl::parse("pattern %c/#\npattern read u/%u/x").unwrap();
    for id in ["+", "#", "a+", "a/b", "", "/", "$SYS", "+/+", "\u{0}"] {
        for name in ["a/b/c", "$SYS/x", "x", "u/a/x", "/x"] {
            assert_eq!(may(&mut acl, id, Some(id), name), "", "{id:?} {name}");
        }
    }
    // a name that looks like a pattern is a name
    assert_eq!(may(&mut acl, "%u", Some("ada"), "%u/x"), "pr");
    assert_eq!(may(&mut acl, "%u", Some("ada"), "ada/x"), "");
    // and where it denies, who could slip through is denied everything
    let mut acl = Acl::parse("user eve\ntopic #\npattern deny devices/%c/secret").unwrap();
    assert_eq!(may(&mut acl, "c", Some("eve"), "devices/c/secret"), "");
    assert_eq!(may(&mut acl, "c", Some("eve"), "devices/d/secret"), "pr");
    assert_eq!(may(&mut acl, "c/d", Some("eve"), "devices/d/secret"), "");
}

#[test]
fn a_filter_is_granted_for_what_it_may_bring() {
    let peer = Peer::default();
    let mut acl = Acl::parse("user ada\ntopic read home/#\ntopic deny home/safe\ntopic write out").unwrap();
    let rows = [
        ("home/attic/#", true, true),
        ("home/+", true, false),
        ("#", true, false),
        ("home/safe", false, false),
        ("out", false, false),
        ("other/#", false, false),
        ("$share/g/home/attic/#", true, true),
        ("$share/g/other", false, false),
        ("$SYS/#", false, false),
    ];
    for (text, some, all) in rows {
        let client = ClientInfo::new("c", Some("ada"), &peer, Version::V5);
        let answers = (acl.may_subscribe(&client, filter(text)), acl.may_receive_all(&client, filter(text)));
        assert_eq!(answers, (some, all), "{text}");
    }
}

#[test]
fn empty_and_broken_lists_are_not_taken() {
    // S11
    for text in ["", "# nothing yet\n", "user ada\n"] {
        assert_eq!(Acl::parse(text).unwrap_err(), ListError::Empty, "{text:?}");
        assert_eq!(Passwords::parse(text.strip_prefix("user").map_or(text, |_| "")).unwrap_err(), ListError::Empty);
    }
    for (text, line) in [
        ("topic", 1),
        ("topic a/#/b", 1),
        ("\ntopic read", 0),
        ("topic read a\nallow b", 2),
        ("topic read a\ntopic read %c/x", 2),
        ("pattern read %c/a+", 1),
        ("topic #\nuser", 2),
    ] {
        match Acl::parse(text) {
            Err(ListError::Line { line: found, .. }) => assert_eq!(found, line, "{text:?}"),
            other => assert_eq!((line, other.is_ok()), (0, true), "{text:?}"), // a topic may be called `read`
        }
    }
    for text in ["ada", ":x", "ada:secret", "ada:", "ada:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ"] {
        assert!(matches!(Passwords::parse(text), Err(ListError::Line { line: 1, .. })), "{text}");
    }
    let twice = format!("ada:{0}\nada:{0}", *HASH);
    assert!(matches!(Passwords::parse(&twice), Err(ListError::Line { line: 2, .. })));
}

/// The hash of `one`, with the least that Argon2 takes.
static HASH: LazyLock<String> = LazyLock::new(|| {
    let params = Params::new(Params::MIN_M_COST, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, argon2::Version::default(), params);
    argon2.hash_password_with_salt(b"one", b"salt of the test").unwrap().to_string()
});

fn log_in(broker: &mut Broker<Accounts<Passwords>>, peer: Peer, user: Option<&str>, password: Option<&str>) -> u8 {
    let now = Instant::from_millis(0);
    let id = broker.handle_open(now, peer).unwrap();
    let connect = Connect {
        version: Version::V5,
        clean_start: true,
        keep_alive: 0,
        properties: Properties::EMPTY,
        client_id: Utf8::new("c").unwrap(),
        will: None,
        user_name: user.and_then(Utf8::new),
        password: password.map(str::as_bytes),
    };
    let mut bytes = Vec::new();
    Packet::Connect(connect).encode(Version::V5, &mut bytes).unwrap();
    broker.handle_input(now, id, &bytes);
    let mut out = OutBuf::default();
    broker.poll_transmit(now, id, &mut out);
    let reason = out.chunk()[3];
    broker.handle_closed(now, id);
    reason
}

#[test]
fn who_is_known_or_proven_or_written_out_is_let_in_and_nobody_else() {
    // S6, S11
    let accounts = || {
        let passwords = Passwords::parse(&format!("# team\n\nada:{}\n", *HASH)).unwrap();
        Accounts::new(Acl::parse(HOUSE).unwrap(), passwords)
    };
    let mut broker = Broker::new(Config::default(), accounts(), HashSeed::new(1, 2)).unwrap();
    let nowhere = Peer::default();
    let rows = [
        (Some("ada"), Some("one"), 0),
        (Some("ada"), Some("two"), 0x86),
        (Some("ada"), None, 0x86),
        (Some("ada"), Some(""), 0x86),
        (Some("eve"), Some("one"), 0x86),
        (Some(""), Some("one"), 0x86),
        (None, Some("one"), 0x87),
        (None, None, 0x87),
    ];
    for (user, password, expected) in rows {
        assert_eq!(log_in(&mut broker, nowhere.clone(), user, password), expected, "{user:?} {password:?}");
    }
    assert_eq!(log_in(&mut broker, Peer::default().with_identity("ada"), None, None), 0);
    let mut broker = Broker::new(Config::default(), accounts().allow_anonymous_on(7), HashSeed::new(1, 2)).unwrap();
    assert_eq!(log_in(&mut broker, Peer::new(None, 7), None, None), 0);
    assert_eq!(log_in(&mut broker, Peer::new(None, 8), None, None), 0x87);
    assert_eq!(log_in(&mut broker, Peer::new(None, 7), Some("ada"), Some("two")), 0x86);
}

// --- the naive matcher -----------------------------------------------------------------------------------------------

#[derive(Clone, Debug)]
struct Line {
    /// Of this user, of nobody's, or (for a pattern) of everybody.
    of: Option<Option<&'static str>>,
    access: &'static str,
    levels: Vec<&'static str>,
}

/// One name in the place of the signs of one level, or nothing if it may not stand there.
fn named(level: &str, id: &str, user: Option<&str>) -> Option<String> {
    let mut text = String::new();
    let mut letters = level.chars().peekable();
    while let Some(letter) = letters.next() {
        let name = match (letter, letters.peek()) {
            ('%', Some('c')) => Some(id),
            ('%', Some('u')) => Some(user?),
            _ => None,
        };
        match name {
            Some(name) if name.is_empty() || name.chars().any(|c| "+#/".contains(c)) => return None,
            Some(name) => {
                letters.next();
                text += name;
            }
            None => text.push(letter),
        }
    }
    Some(text)
}

fn fits(filter: &[String], name: &[&str]) -> bool {
    match (filter.split_first(), name.split_first()) {
        (Some((first, _)), _) if first == "#" => true,
        (Some((first, rest)), Some((level, levels))) => (first == "+" || first == level) && fits(rest, levels),
        (None, None) => true,
        _ => false,
    }
}

fn naive(lines: &[Line], id: &str, user: Option<&str>, name: &str, wants: &str) -> bool {
    let levels: Vec<&str> = name.split('/').collect();
    let mut allowed = false;
    for line in lines {
        if line.of.is_some_and(|of| of != user) {
            continue;
        }
        let names = |level: &&str| if line.of.is_none() { named(level, id, user) } else { Some(level.to_string()) };
        let filter: Option<Vec<String>> = line.levels.iter().map(names).collect();
        let widened = |filter: &Vec<String>| filter[0].starts_with('$') && !line.levels[0].starts_with('$');
        let Some(filter) = filter.filter(|filter| !widened(filter)) else {
            if line.access == "deny" {
                return false;
            }
            continue;
        };
        let hidden = name.starts_with('$') && (filter[0] == "+" || filter[0] == "#");
        if hidden || !fits(&filter, &levels) {
            continue;
        }
        match line.access {
            "deny" => return false,
            access => allowed |= access == wants || access == "readwrite",
        }
    }
    allowed
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let plain = prop::sample::select(vec!["a", "b", "+", "$s", ""]);
    let signs = prop::sample::select(vec!["a", "+", "%c", "%u", "x%c", "%c%u", "$s", "%", "b%"]);
    let access = prop::sample::select(vec!["read", "write", "readwrite", "deny"]);
    let of = prop::sample::select(vec![Some(None), Some(Some("a")), Some(Some("b")), None]);
    let line = (of, access, prop::collection::vec(plain, 1..4), prop::collection::vec(signs, 1..4), any::<bool>());
    let line = line.prop_map(|(of, access, plain, signs, hash)| {
        let mut levels = if of.is_some() { plain } else { signs };
        if hash {
            levels.push("#");
        }
        Line { of, access, levels }
    });
    prop::collection::vec(line, 1..8)
        .prop_filter("an empty filter is none", |lines| lines.iter().all(|line| line.levels.join("/").trim() != ""))
}

fn written(lines: &[Line]) -> String {
    let mut text = String::new();
    // those without a user stand first
    for line in lines.iter().filter(|line| line.of == Some(None)) {
        text += &format!("topic {} {}\n", line.access, line.levels.join("/"));
    }
    for line in lines {
        match line.of {
            Some(Some(user)) => text += &format!("user {user}\ntopic {} {}\n", line.access, line.levels.join("/")),
            Some(None) => {}
            None => text += &format!("pattern {} {}\n", line.access, line.levels.join("/")),
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn rules_say_what_the_naive_matcher_says(
        lines in lines(),
        id in prop::sample::select(vec!["a", "b", "+", "#", "a/b", "%u", "%c", "$s", "", "xa"]),
        user in prop::sample::select(vec![None, Some("a"), Some("b"), Some("+"), Some("a/b"), Some("%c"), Some("$s"), Some("")]),
        names in prop::collection::vec(prop::sample::select(vec!["a", "b", "xa", "$s", "", "%u", "aa", "b%", "%"]), 1..4),
        asked in prop::collection::vec(prop::sample::select(vec!["a", "b", "+", "$s", "xa"]), 1..3),
        open_end in any::<bool>(),
    ) {
        // S10
        let text = names.join("/");
        prop_assume!(!text.is_empty());
        let mut acl = Acl::parse(&written(&lines)).unwrap();
        let rights = may(&mut acl, id, user, &text);
        prop_assert_eq!(rights.contains('p'), naive(&lines, id, user, &text, "write"));
        prop_assert_eq!(rights.contains('r'), naive(&lines, id, user, &text, "read"));
        // a filter, as far as this topic tells
        let asked = asked.join("/") + if open_end { "/#" } else { "" };
        let peer = Peer::default();
        let client = ClientInfo::new(id, user, &peer, Version::V5);
        if filter(&asked).matches(topic(&text)) {
            prop_assert!(!acl.may_receive_all(&client, filter(&asked)) || rights.contains('r'));
            prop_assert!(acl.may_subscribe(&client, filter(&asked)) || !rights.contains('r'));
        }
    }
}
