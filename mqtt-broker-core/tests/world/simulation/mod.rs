//! Small worlds made by a seed, each with a broker and a naive reference of it side by side.
//!
//! `plan` decides all that happens up front, `world` does it and lets `reference` judge what comes of it. A world in which
//! something is wrong panics; `shrink` then leaves out what it can, and `story` tells the rest as a test.
#![allow(missing_docs, unreachable_pub, dead_code)]
mod keeper;
mod plan;
mod reference;
mod wire;
mod world;

// the program that plays seeds needs no words for stories by hand
#[allow(unused_imports)]
pub use plan::{Asked, Connect, Faults, Loss, Publish, Shape, Step};
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::World;

/// Which worlds.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub clients: usize,
    pub steps: usize,
    pub faults: Faults,
    /// Time passes in minutes, not seconds.
    pub day: bool,
    /// A world in which something is wrong is told with all of its steps.
    pub whole: bool,
}

impl Options {
    pub const SMALL: Self = Self { clients: 4, steps: 100, faults: Faults::ALL, day: false, whole: false };
}

/// Something that must not be.
pub struct Failure {
    pub seed: u64,
    pub why: String,
    pub shape: Shape,
    /// What is left of the steps.
    pub steps: Vec<Step>,
}

/// What a world has come to, or many together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// A hash of all that was sent and when: the same for the same seed.
    pub trace: u64,
    /// Messages that were published, and that clients got.
    pub published: u64,
    pub received: u64,
    pub crashes: u64,
    /// Milliseconds of the world.
    pub time: u64,
}

impl Played {
    pub fn and(&mut self, other: Self) {
        self.trace ^= other.trace;
        self.published += other.published;
        self.received += other.received;
        self.crashes += other.crashes;
        self.time += other.time;
    }
}

/// One world.
///
/// # Errors
/// What is wrong, with as few steps as lead to it.
pub fn run(seed: u64, options: &Options) -> Result<Played, Box<Failure>> {
    let (shape, steps) = plan::plan(seed, options.clients, options.steps, options.faults, options.day);
    match play(&shape, &steps) {
        Ok(mut played) => {
            played.trace = played.trace.rotate_left((seed % 64) as u32);
            Ok(played)
        }
        Err(why) => {
            let steps = if options.whole { steps } else { shrink(&shape, steps) };
            let why = if options.whole { why } else { play(&shape, &steps).err().unwrap_or(why) };
            Err(Box::new(Failure { seed, why, shape, steps }))
        }
    }
}

/// Plays a story from beginning to end.
///
/// # Errors
/// What is wrong.
pub fn play(shape: &Shape, steps: &[Step]) -> Result<Played, String> {
    let run = || {
        let mut world = World::new(shape);
        steps.iter().for_each(|step| world.step(step));
        world.settle();
        let time = world.time();
        world.all_ends();
        Played { time, ..world.played }
    };
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

/// Leaves out steps as long as something is wrong without them: halves, quarters, single ones.
fn shrink(shape: &Shape, mut steps: Vec<Step>) -> Vec<Step> {
    let mut size = steps.len().div_ceil(2);
    let mut tries = 0;
    while size > 0 && tries < 3_000 {
        let (mut at, mut less) = (0, false);
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            tries += 1;
            if play(shape, &fewer).is_err() {
                (steps, less) = (fewer, true);
            } else {
                at += size;
            }
        }
        if !less || size > 1 {
            size /= 2;
        }
    }
    steps
}

impl Failure {
    /// The story as a test.
    pub fn story(&self) -> String {
        let mut story =
            format!("// seed {}: {}\n#[test]\nfn seed_{}() {{\n", self.seed, self.why.replace('\n', " "), self.seed);
        story += &format!("    let shape = {:?};\n    let steps = [\n", self.shape);
        for step in &self.steps {
            story += &format!("        {step:?},\n");
        }
        story + "    ];\n    play(&shape, &steps).unwrap();\n}\n"
    }
}

/// Panics are expected where something is wrong, and told by [`Failure`]: they are not printed.
pub fn be_quiet() {
    std::panic::set_hook(Box::new(|_| {}));
}

/// Whether what happens is printed, to look at one world.
static TELLS: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

fn tells() -> bool {
    TELLS.load(std::sync::atomic::Ordering::Relaxed)
}

impl Failure {
    /// Plays what is left of it once more, and prints all that happens.
    pub fn tell(&self) {
        TELLS.store(true, std::sync::atomic::Ordering::Relaxed);
        let _ = play(&self.shape, &self.steps);
        TELLS.store(false, std::sync::atomic::Ordering::Relaxed);
    }
}
