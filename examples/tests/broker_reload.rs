//! SIGHUP has the broker read passwords and rules again, and those who lost their account or their rights feel it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/program.rs"]
mod program;

use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params};
use program::*;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const BROKER: &str = env!("CARGO_BIN_EXE_broker");
const ACCEPTED: [u8; 4] = [0x20, 2, 0, 0];
const BAD_PASSWORD: [u8; 4] = [0x20, 2, 0, 4];
const PING: [u8; 2] = [0xC0, 0];
const PONG: [u8; 2] = [0xD0, 0];

/// A folder of its own for each test.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn broker(folder: &Path, config: &str) -> (Program, SocketAddr, Log) {
    let path = folder.join("broker.toml");
    fs::write(&path, config).unwrap();
    let (mut program, address) = Program::serve(BROKER, &["--config", path.to_str().unwrap()]);
    let log = Log::of(&mut program);
    (program, address, log)
}

fn enter(address: SocketAddr, name: &str, password: &str) -> (Client, Vec<u8>) {
    let mut client = Client::open(address);
    let answer = client.send(&connect(4, name, Some((name, password)))).packet();
    (client, answer)
}

/// A 5.0 client of that name, let in.
fn enter_v5(address: SocketAddr, name: &str, password: &str) -> Client {
    let mut client = Client::open(address);
    let connack = client.send(&connect(5, name, Some((name, password)))).packet();
    assert_eq!((connack[0], connack[3]), (0x20, 0), "{name}");
    client
}

#[test]
fn who_lost_the_account_or_its_password_is_disconnected_and_nobody_else() {
    let folder = folder("reload-passwords");
    let passwords = folder.join("passwords");
    for user in ["ada", "bob", "eve"] {
        set_password(BROKER, &passwords, user, "first");
    }
    let (broker, address, mut log) = broker(&folder, "listen = [\"127.0.0.1:0\"]\npassword_file = \"passwords\"\n");
    let [mut ada, mut bob, mut eve] = ["ada", "bob", "eve"].map(|user| enter_v5(address, user, "first"));

    // bob's password is another one, and eve is gone
    set_password(BROKER, &passwords, "bob", "second");
    let text = fs::read_to_string(&passwords).unwrap();
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("eve:")).collect();
    fs::write(&passwords, kept.join("\n")).unwrap();
    broker.signal("HUP");
    log.wait_for("was read again");
    for lost in [&mut bob, &mut eve] {
        let disconnect = lost.packet();
        assert_eq!((disconnect[0], disconnect[2]), (0xE0, 0x87), "not authorized");
        assert!(lost.is_closed());
    }
    assert_eq!(ada.send(&PING).packet(), PONG);
    assert_eq!(enter(address, "bob", "first").1, BAD_PASSWORD);
    assert_eq!(enter(address, "bob", "second").1, ACCEPTED);
    assert_eq!(enter(address, "eve", "first").1, BAD_PASSWORD);
}

#[test]
fn a_password_that_was_right_when_the_file_changed_is_not_let_in() {
    let folder = folder("reload-meanwhile");
    // hashes that take a while to check, so that the file changes meanwhile
    let slow = Params::new(65_536, 6, 1, None).unwrap();
    let hash = |password: &[u8]| {
        let argon = Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, slow.clone());
        argon.hash_password(password).unwrap().to_string()
    };
    fs::write(folder.join("passwords"), format!("ada:{}\n", hash(b"first"))).unwrap();
    let (broker, address, mut log) = broker(&folder, "listen = [\"127.0.0.1:0\"]\npassword_file = \"passwords\"\n");
    let other = format!("ada:{}\n", hash(b"second"));
    let mut ada = Client::open(address);
    ada.send(&connect(4, "ada", Some(("ada", "first"))));
    // the check has begun once the broker answers the next one, who shows no password
    assert_eq!(Client::open(address).send(&connect(4, "next", None)).packet(), [0x20, 2, 0, 5]);
    fs::write(folder.join("passwords"), other).unwrap();
    broker.signal("HUP");
    log.wait_for("was read again");
    assert_eq!(ada.packet(), [0x20, 2, 0, 3], "she may try again");
}

#[test]
fn a_wrong_password_file_leaves_the_old_one_in_force_and_names_its_line() {
    let folder = folder("reload-bad-passwords");
    let passwords = folder.join("passwords");
    set_password(BROKER, &passwords, "ada", "first");
    let (broker, address, mut log) = broker(&folder, "listen = [\"127.0.0.1:0\"]\npassword_file = \"passwords\"\n");
    let mut ada = enter_v5(address, "ada", "first");
    let good = fs::read_to_string(&passwords).unwrap();
    for (text, what) in
        [(format!("{good}bob:secret\n"), "passwords: line 2: "), (String::new(), "there is nothing in it")]
    {
        fs::write(&passwords, text).unwrap(); // S11
        broker.signal("HUP");
        let line = log.wait_for("stays in force");
        assert!(line.contains("ERROR") && line.contains(what) && !line.contains("secret"), "{line}");
    }
    fs::remove_file(&passwords).unwrap();
    broker.signal("HUP");
    let line = log.wait_for("stays in force");
    assert!(line.contains(passwords.to_str().unwrap()), "{line}");
    assert_eq!(ada.send(&PING).packet(), PONG);
    assert_eq!(enter(address, "bob", "secret").1, BAD_PASSWORD);
    drop(ada);
    assert_eq!(enter(address, "ada", "first").1, ACCEPTED);
}

#[test]
fn rights_that_are_taken_away_are_gone_for_those_who_are_connected() {
    // S7
    let folder = folder("reload-acl");
    let acl = folder.join("acl");
    let before = "user ada\ntopic readwrite #\n\nuser bob\ntopic readwrite #\n";
    fs::write(&acl, before).unwrap();
    let config = "listen = [\"127.0.0.1:0\"]\nacl_file = \"acl\"\n";
    let (broker, address, mut log) = broker(&folder, config);
    let [(mut ada, _), (mut bob, _)] = ["ada", "bob"].map(|user| enter(address, user, "any"));
    for client in [&mut ada, &mut bob] {
        assert_eq!(client.send(&subscribe("news")).packet(), [0x90, 3, 0, 1, 0]);
    }
    let news = publish("news", b"1");
    bob.send(&news);
    assert_eq!([ada.packet(), bob.packet()], [&news[..]; 2]);

    fs::write(&acl, "user ada\ntopic write #\n\nuser bob\ntopic read #\n").unwrap();
    broker.signal("HUP");
    log.wait_for("was read again");
    // ada may write, and no longer read; bob the other way round
    ada.send(&news).send(&PING);
    assert_eq!(ada.packet(), PONG);
    assert_eq!(bob.packet(), news);
    bob.send(&news).send(&PING);
    assert_eq!(bob.packet(), PONG);
    assert_eq!(ada.send(&subscribe("news")).packet(), [0x90, 3, 0, 1, 0x80]);

    // a file that is not understood changes nothing
    fs::write(&acl, format!("{before}\ntopc read #\n")).unwrap();
    broker.signal("HUP");
    let line = log.wait_for("stays in force");
    assert!(line.contains("ERROR") && line.contains("acl: line 7: "), "{line}");
    assert_eq!(ada.send(&subscribe("news")).packet(), [0x90, 3, 0, 1, 0x80]);
}

#[test]
fn each_listener_has_its_own_users_and_rules() {
    let folder = folder("reload-listeners");
    set_password(BROKER, &folder.join("staff"), "ada", "one");
    set_password(BROKER, &folder.join("guests"), "gus", "two");
    fs::write(folder.join("guest-rules"), "user gus\ntopic read news\n").unwrap();
    let config = "password_file = \"staff\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n\n[[listen]]\naddress = \"127.0.0.1:0\"\npassword_file = \"guests\"\nacl_file = \"guest-rules\"\n";
    let path = folder.join("broker.toml");
    fs::write(&path, config).unwrap();
    let (mut broker, [staff, guests]) = Program::serve_many(BROKER, &["--config", path.to_str().unwrap()]);
    let mut log = Log::of(&mut broker);
    assert_eq!(enter(guests, "ada", "one").1, BAD_PASSWORD);
    assert_eq!(enter(staff, "gus", "two").1, BAD_PASSWORD);
    let (mut ada, mut gus) = (enter(staff, "ada", "one").0, enter(guests, "gus", "two").0);
    for (client, filter, code) in [(&mut ada, "all/#", 0), (&mut gus, "all/#", 0x80)] {
        assert_eq!(client.send(&subscribe(filter)).packet(), [0x90, 3, 0, 1, code]);
    }
    assert_eq!(gus.send(&subscribe("news")).packet(), [0x90, 3, 0, 1, 0]);
    ada.send(&publish("news", b"x"));
    assert_eq!(gus.packet(), publish("news", b"x"));
    // only the guests are others now
    fs::remove_file(folder.join("guests")).unwrap();
    set_password(BROKER, &folder.join("guests"), "gil", "three");
    broker.signal("HUP");
    log.wait_for("disconnected because their password is gone or changed: 1");
    assert!(gus.is_closed());
    assert_eq!(ada.send(&PING).packet(), PONG);
    assert_eq!(enter(guests, "gil", "three").1, ACCEPTED);
}
