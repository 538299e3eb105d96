//! Plays simulated worlds: a broker with its clients, judged by a naive reference of it.
//!
//! ```console
//! $ cargo run --release --bin simulate -- --seed 7 --clients 8 --steps 300 --faults all
//! $ cargo run --release --bin simulate -- --seed 0 --worlds 100000 --clients 8 --steps 300
//! ```
//!
//! The same seed always gives the same run. What goes wrong is told with its seed, as a test of as few steps as lead to it.
use clap::Parser;
use simulation::{Faults, Options, Played};
use std::process::ExitCode;
use std::time::Instant;

#[path = "../../../mqtt-broker-core/tests/world/simulation/mod.rs"]
mod simulation;

#[derive(Parser)]
#[command(about = "Plays simulated worlds: a broker with its clients, judged by a naive reference of it.")]
struct Arguments {
    /// The first world.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many worlds, each with the next seed.
    #[arg(long, default_value_t = 1)]
    worlds: u64,
    /// At most so many clients: each world has 2 or more.
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// What happens in each.
    #[arg(long, default_value_t = 300)]
    steps: usize,
    /// What goes wrong: `none`, `all`, or some of `links`, `rules`, `policy`, `crashes`, with commas between them.
    #[arg(long, default_value = "all", value_parser = faults)]
    faults: Faults,
    /// Time passes in minutes, not in seconds.
    #[arg(long)]
    day: bool,
    /// Prints all that happens in a world that goes wrong.
    #[arg(long)]
    tell: bool,
    /// Tells all steps of a world that goes wrong, and does not look which can be left out.
    #[arg(long)]
    whole: bool,
    /// How many worlds are played at once.
    #[arg(long, default_value_t = 1)]
    threads: u64,
}

fn faults(text: &str) -> Result<Faults, String> {
    Faults::named(text).ok_or_else(|| format!("no such faults: {text}"))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    simulation::be_quiet();
    let begin = Instant::now();
    let threads = arguments.threads.max(1);
    let (mut all_played, mut failed) = (Played::default(), false);
    std::thread::scope(|scope| {
        let arguments = &arguments;
        let all: Vec<_> =
            (0..threads).map(|first| scope.spawn(move || play_share(arguments, first, threads))).collect();
        for thread in all {
            match thread.join() {
                Ok(Some(played)) => all_played.and(played),
                Ok(None) | Err(_) => failed = true,
            }
        }
    });
    if failed {
        return ExitCode::FAILURE;
    }
    let Played { trace, published, received, crashes, time } = all_played;
    println!(
        "{} worlds from seed {}, trace {trace:016x}: {published} messages published, {received} received, {crashes} crashes, {} hours; nothing is wrong, after {:.1} s",
        arguments.worlds,
        arguments.seed,
        time / 3_600_000,
        begin.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}

/// Every `threads`th world; what all of them came to, unless something was wrong.
fn play_share(arguments: &Arguments, first: u64, threads: u64) -> Option<Played> {
    let mut all = Played::default();
    let mut at = first;
    while at < arguments.worlds {
        let seed = arguments.seed + at;
        let options = Options {
            clients: arguments.clients,
            steps: arguments.steps,
            faults: arguments.faults,
            day: arguments.day,
            whole: arguments.whole,
        };
        match simulation::run(seed, &options) {
            Ok(played) => all.and(played),
            Err(failure) => {
                if arguments.tell {
                    failure.tell();
                }
                println!("{}", failure.story());
                return None;
            }
        }
        at += threads;
    }
    Some(all)
}
