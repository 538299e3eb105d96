//! The broker as a program: reads flags and configuration, opens the listeners, wires the parts together.
//!
//! What MQTT says is decided in `mqtt-broker-core`; here are sockets, files, passwords, signals and log lines.

mod admin;
mod auth;
mod config;
mod connections;
mod event_loop;
mod gate;
mod hook;
mod listeners;
mod logging;
mod passwords;
mod proxy;
mod signals;
mod store;
mod trace;
mod transport;

use auth::Answers;
use clap::{Parser, Subcommand};
use config::{Address, Listener, Settings, TraceTopic};
use event_loop::{EventLoop, Manner, Others, Watch, epoch};
use gate::Gate;
use logging::LogFormat;
use mio::Waker;
use mqtt_broker_core::store::Unrestored;
use mqtt_broker_core::{Broker, Instant};
use mqtt_topic::HashSeed;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use store::{Disk, Keeper};
use tracing::{info, warn};

/// An MQTT broker (3.1, 3.1.1 and 5.0) on one thread.
///
/// Without a password file, anonymous clients are let in on loopback addresses only.
#[derive(Parser)]
#[command(name = "broker", version, args_conflicts_with_subcommands = true)]
struct Flags {
    /// Where to listen: `127.0.0.1:1883`, `[::]:1883`, `unix:/run/mqtt.sock`; repeatable; replaces those of the configuration file
    #[arg(long, value_name = "ADDR")]
    listen: Vec<Address>,
    /// Configuration file (TOML); examples/broker.toml documents every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Who may connect: lines `user:hash`, written by `broker passwd`; replaces that of the configuration file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Who may do what: lines `user`, `topic` and `pattern` as in mosquitto's; replaces that of the configuration file
    #[arg(long, value_name = "FILE")]
    acl_file: Option<PathBuf>,
    /// Folder for what is to survive a restart: sessions with their messages, retained messages, wills, bans; replaces that of the configuration file
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Log warnings and errors only
    #[arg(short, long)]
    quiet: bool,
    /// Log more, dropped messages included
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,
    /// How to log: text for people, or JSON
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Follow a client in the log, message by message (its topics, not its payloads); repeatable
    #[arg(long, value_name = "CLIENT_ID")]
    trace_client: Vec<String>,
    /// Follow what is published, delivered and subscribed to under a topic filter; repeatable
    #[arg(long, value_name = "FILTER")]
    trace_topic: Vec<TraceTopic>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Set the password of a user: asked on the terminal, or one line of standard input
    Passwd {
        /// The password file; made if it does not exist
        file: PathBuf,
        /// The user name
        user: String,
    },
    /// Print what is in a store; the broker that uses it must have ended
    ///
    /// Of several `client` lines under a name the last counts: the others are what it was before. The will of a client that has not ended
    /// stands there too; under `Wills` are those that fire and wait for a decision.
    Inspect {
        /// The folder that --data named
        dir: PathBuf,
    },
}

/// Descriptors beside those of connections: listeners, files, pipes, those of the hook and the admin listener.
#[cfg(unix)]
const SPARE: usize = 64;

/// Why the program does not start, or stops.
pub(crate) enum Failure {
    /// What the user asked for cannot be done: a flag, a key, a line of a file. Exit code 2.
    Usage(String),
    /// The system did not let us. Exit code 1.
    Runtime(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(message) | Self::Runtime(message)) = self;
        f.write_str(message)
    }
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let outcome = match &flags.command {
        Some(Command::Passwd { file, user }) => passwords::set(file, user),
        Some(Command::Inspect { dir }) => store::inspect(dir),
        None => serve(&flags),
    };
    let Err(failure) = outcome else {
        return ExitCode::SUCCESS;
    };
    // a closed standard error is no reason to panic
    let _ = writeln!(io::stderr(), "broker: {failure}");
    match failure {
        Failure::Usage(_) => ExitCode::from(2),
        Failure::Runtime(_) => ExitCode::FAILURE,
    }
}

fn serve(flags: &Flags) -> Result<(), Failure> {
    let settings = settings(flags)?;
    let _written_at_the_end = logging::start(settings.log_level, settings.log_format);

    let mut watch = Watch::new()?;
    let (answers, verdicts) = Answers::new(watch.waker());
    let disk = settings.data.as_deref().map(|folder| Disk::open(folder, true)).transpose();
    let disk = disk.map_err(|error| Failure::Runtime(error.to_string()))?;
    let gate = Gate::open(&settings, &answers, disk.as_ref().map(Disk::reader))?;
    let mut bound = Vec::new();
    for listener in &settings.listeners {
        bound.push(watch.listen(listener)?);
    }
    warn_about_doors(&settings, &bound);
    make_room(settings.core.max_connections);

    let waker = watch.waker();
    let traces = settings.traces()?;
    let manner = Manner { packet_sizes: settings.packet_sizes(), traces, events: settings.core.events };
    let mut broker =
        Broker::new(settings.core, gate, HashSeed::random()).map_err(|error| Failure::Usage(error.to_string()))?;

    let keeper = disk.map(|disk| restore(&mut broker, disk, Arc::clone(&waker))).transpose()?;
    let mut asked = Others { verdicts: Some(verdicts), questions: None, keeper };
    if let Some(admin) = &settings.admin {
        let (address, questions) = admin::start(admin, waker)?;
        info!("administration at http://{address}");
        asked.questions = Some(questions);
    }
    announce(&settings.listeners, &bound);
    EventLoop::new(watch, broker, asked, manner).run()
}

/// Takes back what an earlier process had stored, and begins to store. What is damaged is told, and stays where it is.
fn restore(broker: &mut Broker<Gate>, mut disk: Disk, waker: Arc<Waker>) -> Result<Keeper, Failure> {
    let (now, started) = (Instant::ZERO, std::time::Instant::now());
    let lost =
        store::restore(broker, &mut disk, now, epoch(now)).map_err(|error| Failure::Runtime(error.to_string()))?;
    for Unrestored { key, error, .. } in lost {
        warn!("not restored, {:?} {:?}: {error}", key.table, String::from_utf8_lossy(&key.name));
    }
    let stats = broker.stats();
    let (sessions, retained, took) = (stats.sessions, stats.retained, started.elapsed());
    info!("restored: {sessions} sessions, {retained} retained messages, in {} ms", took.as_millis());
    // a loop that cannot be woken has ended
    let keeper = Keeper::start(disk, move || drop(waker.wake()));
    keeper.map_err(|error| Failure::Runtime(format!("cannot start the thread of the store: {error}")))
}

/// The settings of the configuration file with what the flags say instead.
fn settings(flags: &Flags) -> Result<Settings, Failure> {
    let mut settings = match &flags.config {
        Some(path) => Settings::load(path)?,
        None => Settings::default(),
    };
    if !flags.listen.is_empty() {
        settings.listeners = flags.listen.iter().cloned().map(Listener::new).collect();
        settings.tell_core_of_listeners();
    }
    if let Some(path) = &flags.password_file {
        settings.password_file = Some(path.clone());
    }
    if let Some(path) = &flags.acl_file {
        settings.acl_file = Some(path.clone());
    }
    if let Some(folder) = &flags.data {
        settings.data = Some(folder.clone());
    }
    settings.settle_durability()?;
    settings.log_format = flags.log_format.unwrap_or(settings.log_format);
    settings.trace_clients.extend(flags.trace_client.iter().cloned());
    settings.trace_topics.extend(flags.trace_topic.iter().cloned());
    match (flags.quiet, flags.verbose) {
        (true, _) => settings.log_level = tracing::Level::WARN,
        (_, true) => settings.log_level = tracing::Level::DEBUG,
        (false, false) => {}
    }
    settings.core.events.drops = settings.log_level >= tracing::Level::DEBUG;
    Ok(settings)
}

/// Says which listeners let in nobody, or anybody from anywhere: neither is likely to be meant.
fn warn_about_doors(settings: &Settings, bound: &[Address]) {
    let asked = |listener: &Listener| !settings.hook_admits(listener);
    for (listener, address) in settings.listeners.iter().zip(bound).filter(|(listener, _)| asked(listener)) {
        let anybody = settings.lets_anybody_in(listener);
        if anybody && !address.is_local() {
            warn!("{address} is no loopback address and lets anybody in (allow_anonymous = true)");
        }
        if !anybody && settings.password_file_of(listener).is_none() {
            warn!("{address} refuses everybody: there is no password file, and allow_anonymous is not true");
        }
    }
}

/// Has the system allow a descriptor for each connection, as far as it does, and says if it does not.
#[cfg(unix)]
fn make_room(connections: usize) {
    let wanted = connections.saturating_add(SPARE);
    match rlimit::increase_nofile_limit(u64::try_from(wanted).unwrap_or(u64::MAX)) {
        Ok(allowed) if usize::try_from(allowed).is_ok_and(|allowed| allowed < wanted) => {
            warn!("the system allows {allowed} descriptors, too few for max_connections = {connections}");
        }
        Ok(_) => {}
        Err(error) => warn!("how many descriptors the system allows is not known: {error}"),
    }
}

#[cfg(not(unix))]
fn make_room(_: usize) {}

/// Says where the broker listens: for people on the log, for programs on standard output.
fn announce(listeners: &[Listener], bound: &[Address]) {
    let mut stdout = io::stdout().lock();
    for (listener, address) in listeners.iter().zip(bound) {
        let wrapping = match (listener.tls.is_some(), listener.websocket) {
            (false, false) => "",
            (true, false) => " (TLS)",
            (false, true) => " (WebSocket)",
            (true, true) => " (WebSocket over TLS)",
        };
        info!("listening on {address}{wrapping}");
        let _ = writeln!(stdout, "listening on {address}{wrapping}");
    }
    let _ = stdout.flush();
}
