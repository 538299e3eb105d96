//! The password file, lines `user:hash` with Argon2id hashes, read at start and written by `broker passwd`; and the file of rules.

use crate::Failure;
use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use mqtt_broker_core::{Acl, Passwords};
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a CONNECT can carry, bytes.
const LONGEST: usize = 65_535;

/// Reads a password file.
pub(crate) fn load(path: &Path) -> Result<Arc<Passwords>, Failure> {
    let text = read(path)?;
    Passwords::parse(&text).map(Arc::new).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

/// Reads a file of rules.
pub(crate) fn load_rules(path: &Path) -> Result<Acl, Failure> {
    let text = read(path)?;
    Acl::parse(&text).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))
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

    #[test]
    fn a_new_password_replaces_the_line_of_its_user_alone() {
        let text = "# team\nada:old\nadam:stays";
        assert_eq!(with_user(text, "ada", "new"), "# team\nada:new\nadam:stays\n");
        assert_eq!(with_user(text, "eve", "new"), "# team\nada:old\nadam:stays\neve:new\n");
        assert_eq!(with_user("", "eve", "new"), "eve:new\n");
    }
}
