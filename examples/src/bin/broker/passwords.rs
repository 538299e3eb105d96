//! The password file: lines `user:hash` with Argon2id hashes, read at start and written by `broker passwd`.

use crate::Failure;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params};
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

/// What a CONNECT can carry, bytes.
const LONGEST: usize = 65_535;

/// Who may connect, and the hashes of their passwords.
pub(crate) struct Passwords {
    hashes: HashMap<String, PasswordHash>,
    /// The first hash of the file: what an unknown user is checked against, to cost the same as a known one.
    decoy: Option<PasswordHash>,
}

/// A line that is not understood. Never holds the line: there is a hash in it.
#[derive(Debug, PartialEq)]
struct BadLine {
    number: usize,
    what: &'static str,
}

impl Passwords {
    /// Reads a password file.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
        Self::parse(&text)
            .map_err(|bad| Failure::Usage(format!("{}, line {}: {}", path.display(), bad.number, bad.what)))
    }

    fn parse(text: &str) -> Result<Self, BadLine> {
        let mut passwords = Self { hashes: HashMap::new(), decoy: None };
        for (line, number) in text.lines().zip(1..) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            passwords.add(line).map_err(|what| BadLine { number, what })?;
        }
        Ok(passwords)
    }

    fn add(&mut self, line: &str) -> Result<(), &'static str> {
        let (user, hash) = line.split_once(':').ok_or("no `:` between user name and hash")?;
        if user.is_empty() {
            return Err("no user name before the `:`");
        }
        let hash = usable_hash(hash.trim())
            .ok_or("what follows the user name is no Argon2 hash (`broker passwd` writes them)")?;
        self.decoy.get_or_insert_with(|| hash.clone());
        match self.hashes.insert(user.to_owned(), hash) {
            None => Ok(()),
            Some(_) => Err("this user name stands in an earlier line already"),
        }
    }

    /// Whether there is nobody.
    pub(crate) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether this is the user's password. Takes tens of milliseconds and megabytes, known user or not.
    pub(crate) fn verify(&self, user: &str, password: &[u8]) -> bool {
        let known = self.hashes.get(user);
        let Some(hash) = known.or(self.decoy.as_ref()) else {
            return false;
        };
        let matches = Argon2::default().verify_password(password, hash).is_ok();
        matches && known.is_some()
    }
}

/// A hash that can be checked, so that a bad one is found at start and not when its user connects.
fn usable_hash(text: &str) -> Option<PasswordHash> {
    let hash = PasswordHash::new(text).ok()?;
    Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    Params::try_from(&hash).ok()?;
    (hash.salt.is_some() && hash.hash.is_some()).then_some(hash)
}

/// Sets the password of `user` in the file at `path`: its other lines stay as they are.
pub(crate) fn set(path: &Path, user: &str) -> Result<(), Failure> {
    if user.is_empty() || user.starts_with('#') || user.contains([':', '\n', '\r', '\0']) {
        return Err(Failure::Usage(
            "a user name is not empty, does not begin with `#`, and holds no `:` and no line break".into(),
        ));
    }
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(Failure::Usage(format!("cannot read {}: {error}", path.display())));
        }
    };
    let password = ask(user)?;
    let hash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| Failure::Runtime(format!("cannot hash the password: {error}")))?;
    let text = with_user(&text, user, &hash.to_string());
    replace(path, text.as_bytes())
        .map_err(|error| Failure::Runtime(format!("cannot write {}: {error}", path.display())))
}

/// The text of a password file with the user's line replaced, or added at its end.
fn with_user(text: &str, user: &str, hash: &str) -> String {
    let new = format!("{user}:{hash}");
    let is_users = |line: &str| line.split_once(':').is_some_and(|(name, _)| name == user);
    let mut lines: Vec<&str> = text.lines().collect();
    match lines.iter().position(|line| is_users(line)) {
        Some(place) => lines.splice(place..=place, [new.as_str()]).for_each(drop),
        None => lines.push(&new),
    }
    lines.join("\n") + "\n"
}

/// Asks for a password: twice on a terminal, without showing it; else one line of standard input.
fn ask(user: &str) -> Result<String, Failure> {
    let unreadable = |error: io::Error| Failure::Usage(format!("cannot read the password: {error}"));
    let password = if io::stdin().is_terminal() {
        let password = rpassword::prompt_password(format!("Password of {user}: ")).map_err(unreadable)?;
        if rpassword::prompt_password("The same again: ").map_err(unreadable)? != password {
            return Err(Failure::Usage("the two passwords differ".into()));
        }
        password
    } else {
        let mut line = String::new();
        io::stdin().lock().take(LONGEST as u64 + 3).read_line(&mut line).map_err(unreadable)?;
        let line = line.strip_suffix('\n').unwrap_or(&line);
        line.strip_suffix('\r').unwrap_or(line).to_owned()
    };
    match password.len() {
        0 => Err(Failure::Usage("an empty password is none".into())),
        1..=LONGEST => Ok(password),
        _ => Err(Failure::Usage(format!("a password has at most {LONGEST} bytes"))),
    }
}

/// Writes a file that is whole at every moment, old or new, and that only its owner may read.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new: PathBuf = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(password: &str) -> String {
        let params = Params::new(Params::MIN_M_COST, 1, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, argon2::Version::default(), params);
        argon2.hash_password(password.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn only_the_right_password_of_a_known_user_is_right() {
        let text = format!("# who may connect\n\nada:{}\nbob:{}\n", hash("one"), hash("two"));
        let passwords = Passwords::parse(&text).unwrap();
        let rows = [
            ("ada", "one", true),
            ("bob", "two", true),
            ("ada", "two", false),
            ("eve", "one", false),
            ("", "one", false),
            ("ada", "", false),
        ];
        for (user, password, expected) in rows {
            assert_eq!(passwords.verify(user, password.as_bytes()), expected, "{user} {password}");
        }
    }

    #[test]
    fn nobody_is_let_in_by_an_empty_file() {
        let passwords = Passwords::parse("# nobody yet\n").unwrap();
        assert!(passwords.is_empty());
        assert!(!passwords.verify("ada", b"one"));
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let good = hash("one");
        let rows = [
            (format!("ada:{good}\n\nbob\n"), 3, "no `:`"),
            (format!(":{good}"), 1, "no user name"),
            ("ada:secret".to_owned(), 1, "what follows"),
            ("ada:".to_owned(), 1, "what follows"),
            ("ada:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ".to_owned(), 1, "what follows"),
            (
                "ada:$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E"
                    .to_owned(),
                1,
                "what follows",
            ),
            (format!("ada:{good}\nada:{good}"), 2, "this user name"),
        ];
        for (text, number, what) in rows {
            let Err(bad) = Passwords::parse(&text) else { panic!("{text} was taken") };
            assert_eq!(bad.number, number, "{text}");
            assert!(bad.what.starts_with(what), "{text} gave {}", bad.what);
        }
    }

    #[test]
    fn a_new_password_replaces_the_line_of_its_user_alone() {
        let text = "# team\nada:old\nadam:stays";
        assert_eq!(with_user(text, "ada", "new"), "# team\nada:new\nadam:stays\n");
        assert_eq!(with_user(text, "eve", "new"), "# team\nada:old\nadam:stays\neve:new\n");
        assert_eq!(with_user("", "eve", "new"), "eve:new\n");
    }
}
