//! A progress bar on standard error, where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// How often it is drawn: a run must not pay for its bar.
const PAUSE: Duration = Duration::from_millis(100);

/// A bar; invisible where nobody looks.
pub(crate) struct Progress {
    bar: ProgressBar,
    next: Instant,
}

impl Progress {
    /// A bar for `total` steps.
    pub(crate) fn new(what: &str, total: u64) -> Self {
        let bar = ProgressBar::new(total);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_owned());
        Self { bar, next: Instant::now() }
    }

    /// So many are done.
    pub(crate) fn set(&mut self, done: u64, now: Instant) {
        if now >= self.next {
            self.next = now + PAUSE;
            self.bar.set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
