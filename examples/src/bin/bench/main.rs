//! A load generator for MQTT brokers: it measures what a broker costs, and checks that nothing is lost, repeated or out of order.
//!
//! It must cost clearly less than what it measures: packets are encoded once and patched in place, and of what comes back no more
//! is read than the stamp that every payload begins with.

mod append;
mod clients;
mod compare;
mod forward;
mod ledger;
mod load;
mod net;
mod outcome;
mod plan;
mod plot;
mod process;
mod progress;
mod sessions;
mod stalled;
mod stored;
mod traffic;
mod wire;

use clap::{Args, Parser, Subcommand};
use compare::Contender;
use load::{Load, Options, Scenario, Target};
use outcome::Outcome;
use process::Process;
use serde::Serialize;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Measures MQTT brokers, and checks that nothing is lost, repeated or out of order.
///
/// Exits with 0 when all is well, 1 when something is missing or does not work, 2 when the command line is wrong.
#[derive(Parser)]
#[command(name = "bench", version)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Put one load on a broker that runs
    Run(Run),
    /// Start several brokers and put the same load on each, in turns
    Compare(Compare),
    /// Forward the bytes of pairs, without any protocol: the floor
    Forward {
        /// Address and port to listen on
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1883")]
        listen: SocketAddr,
    },
    /// Draw the JSON of comparisons as bars
    Plot {
        /// Files that `bench compare --json` has written
        #[arg(required = true, value_name = "JSON")]
        input: Vec<PathBuf>,
        /// The picture
        #[arg(required = true, value_name = "SVG")]
        output: PathBuf,
        /// Which figure; what the broker costs if not given
        #[arg(long, value_name = "NAME")]
        figure: Option<String>,
    },
}

#[derive(Args)]
struct Run {
    /// What to measure
    scenario: Scenario,
    /// The host to connect to
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port to connect to
    #[arg(short, long, default_value_t = 1883)]
    port: u16,
    /// The broker's process, whose CPU time and memory are read from /proc
    #[arg(long)]
    pid: Option<u32>,
    /// The other side is `bench forward` (pairs, latency, flood)
    #[arg(long)]
    floor: bool,
    /// Write the result here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
struct Compare {
    /// What to measure
    #[arg(long)]
    scenario: Scenario,
    /// A broker: `name=command line`, in which `{port}` stands for its port and `{config:FILE}` for a copy of FILE with its port;
    /// `{data:DIR}` for a new folder in DIR; `name=forward` is `bench forward`, `name=append:DIR` writes the messages to a file in
    /// DIR and syncs. Repeatable; ratios are to the first
    #[arg(long = "broker", value_name = "NAME=COMMAND", required = true, value_parser = Contender::parse)]
    brokers: Vec<Contender>,
    /// How often each is measured
    #[arg(long, default_value = "3")]
    rounds: NonZeroU32,
    /// Write all results here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let outcome = match Flags::parse().command {
        Command::Run(flags) => run(&flags),
        Command::Compare(flags) => compare(&flags),
        Command::Forward { listen } => forward::run(listen).map(|()| true),
        Command::Plot { input, output, figure } => plot::run(&input, &output, figure.as_deref()).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Run) -> Result<bool, String> {
    let load = Load::new(flags.scenario, &flags.options)?;
    let mut addresses = (flags.host.as_str(), flags.port).to_socket_addrs().map_err(|error| error.to_string())?;
    let target = Target {
        address: addresses.next().ok_or("a host without address")?,
        process: flags.pid.map(Process::new).transpose()?,
        floor: flags.floor,
    };
    let outcome = measure(&load, &target)?;
    outcome.print();
    write_json(flags.json.as_deref(), &outcome)?;
    Ok(outcome.checks.good(load.allow_loss))
}

fn compare(flags: &Compare) -> Result<bool, String> {
    let load = Load::new(flags.scenario, &flags.options)?;
    let comparison = compare::run(&load, &flags.brokers, flags.rounds.get(), measure);
    comparison.print();
    write_json(flags.json.as_deref(), &comparison)?;
    Ok(comparison.good(load.allow_loss))
}

fn measure(load: &Load, target: &Target) -> Result<Outcome, String> {
    let pairs = matches!(load.scenario, Scenario::Pairs | Scenario::Latency | Scenario::Flood);
    if target.floor && !pairs {
        return Err("a forwarder knows pairs only".into());
    }
    match load.scenario {
        Scenario::Idle => sessions::idle(load, target),
        Scenario::Connect => sessions::connect(load, target),
        Scenario::Retained => stored::retained(load, target),
        Scenario::Offline => stored::offline(load, target),
        Scenario::Stalled => stalled::run(load, target),
        _ => traffic::run(load, target),
    }
}

fn write_json(path: Option<&Path>, result: &impl Serialize) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(result).map_err(|error| error.to_string())?;
    std::fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))
}
