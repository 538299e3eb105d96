//! Shows MQTT packets field by field, from hexadecimal text on the command line or standard input, and what is wrong with them.
mod annotate;
mod hex;

use annotate::Field;
use clap::Parser;
use mqtt_codec::{DecodeError, Packet, Role, Version, frame_len};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::process::ExitCode;

/// Shows MQTT packets field by field, and what is wrong with them.
///
/// The bytes are hexadecimal, in any grouping: "30 06 00 01 61", "3006000161", "0x30,0x06". From standard input, what follows a
/// '#' on its line is a comment. A CONNECT sets the version of what follows it.
/// Exit codes: 0 if all are packets, 1 if something is wrong with one, 2 if the input is not hexadecimal.
#[derive(Parser)]
#[command(name = "decode")]
struct Arguments {
    /// The bytes; from standard input if there are none here
    bytes: Vec<String>,
    /// The version of the connection
    #[arg(short = 'V', long, value_name = "3.1|3.1.1|5.0", default_value = "5.0", value_parser = version)]
    protocol_version: Version,
    /// Who sent the bytes; if not told, whoever may send a packet of that type
    #[arg(short, long, value_name = "client|server", value_parser = role)]
    from: Option<Role>,
}

fn version(text: &str) -> Result<Version, &'static str> {
    [Version::V31, Version::V311, Version::V5]
        .into_iter()
        .find(|version| version.to_string() == text || version.level().to_string() == text)
        .ok_or("3.1, 3.1.1 or 5.0")
}

fn role(text: &str) -> Result<Role, &'static str> {
    [Role::Client, Role::Server].into_iter().find(|role| role.to_string() == text).ok_or("client or server")
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let bytes = match input(&arguments.bytes) {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let (text, good) = show_all(&bytes, arguments.protocol_version, arguments.from);
    // who reads this may have seen enough
    let _ = io::stdout().write_all(text.as_bytes());
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn input(arguments: &[String]) -> Result<Vec<u8>, String> {
    if !arguments.is_empty() {
        return hex::parse(&arguments.join(" "));
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|error| error.to_string())?;
    let lines: Vec<_> = text.lines().map(|line| line.split('#').next().unwrap_or_default()).collect();
    hex::parse(&lines.join(" "))
}

/// All packets in `bytes`; whether they are.
fn show_all(mut bytes: &[u8], mut version: Version, from: Option<Role>) -> (String, bool) {
    let mut text = String::new();
    while let Some(&first) = bytes.first() {
        let from = from.unwrap_or_else(|| sender_of(first));
        let frame = match frame_len(bytes, u32::MAX) {
            Ok(Some(len)) if len <= bytes.len() => bytes.split_at(len).0,
            Ok(len) => {
                show(&mut text, &annotate::fields(bytes, version), bytes, None);
                let missing = len.map_or("more".into(), |len| format!("{} more", len - bytes.len()));
                let _ = writeln!(text, "not a whole packet yet: {missing} bytes are to come");
                return (text, false);
            }
            Err(_) => bytes, // decoding says where
        };
        let decoded = Packet::decode(frame, version, from);
        if let Some(told) = annotate::version_of(frame) {
            version = told;
        }
        show(&mut text, &annotate::fields(frame, version), frame, decoded.as_ref().err());
        let Ok(packet) = decoded else { return (text, false) };
        let _ = writeln!(text, "{packet}");
        bytes = bytes.get(frame.len()..).unwrap_or_default();
        if !bytes.is_empty() {
            text.push('\n');
        }
    }
    (text, true)
}

/// Who may send a packet that begins with this byte: the client if both may.
fn sender_of(first: u8) -> Role {
    if matches!(first >> 4, 2 | 9 | 11 | 13) { Role::Server } else { Role::Client }
}

/// How many bytes a line shows.
const WIDTH: usize = 8;

/// The fields, one a line or more; of a fault a mark under the byte where it is, and then what it is.
fn show(text: &mut String, fields: &[Field], frame: &[u8], error: Option<&DecodeError>) {
    let mut told = error.is_none();
    for field in fields {
        let bytes = frame.get(field.range.clone()).unwrap_or_default();
        for (row, part) in bytes.chunks(WIDTH).enumerate() {
            let at = field.range.start + row * WIDTH;
            let words = if row == 0 { field.text.as_str() } else { "" };
            let line = format!("{at:>6}  {:<24} {words}", hex::show(part));
            let _ = writeln!(text, "{}", line.trim_end());
            if let Some(error) = error
                && !told
                && error.offset < at + part.len()
            {
                caret(text, error.offset - at);
                told = true;
            }
        }
    }
    if !told {
        let _ = writeln!(text, "{:>6}", frame.len());
        caret(text, 0);
    }
    if let Some(error) = error {
        let _ = writeln!(text, "{error}");
    }
}

fn caret(text: &mut String, column: usize) {
    let _ = writeln!(text, "{:width$}^^", "", width = 8 + 3 * column);
}
