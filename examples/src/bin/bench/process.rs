//! What a process costs, read from `/proc` (Linux).

use std::fs;
use std::time::Duration;

/// A process, by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(u32);

/// Bytes of memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident.
    pub(crate) resident: u64,
    /// Proportional: pages shared with other processes count in part.
    pub(crate) proportional: u64,
}

impl Process {
    /// The process of this number, if it can be watched.
    pub(crate) fn new(pid: u32) -> Result<Self, String> {
        let process = Self(pid);
        process.cpu().map(|_| process)
    }

    /// This process.
    pub(crate) fn own() -> Self {
        Self(std::process::id())
    }

    /// CPU time up to now, of user and system.
    ///
    /// The scheduler's own nanoseconds, summed over the threads that live; where it keeps none, ticks of 10 ms.
    pub(crate) fn cpu(self) -> Result<Duration, String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0)).map_err(|error| self.failed(&error))?;
        let times = tasks.map(|task| {
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split_ascii_whitespace().next()?.parse::<u64>().ok()
        });
        match times.sum::<Option<u64>>() {
            Some(nanoseconds) if nanoseconds > 0 => Ok(Duration::from_nanos(nanoseconds)),
            _ => self.ticks(),
        }
    }

    fn ticks(self) -> Result<Duration, String> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0)).map_err(|error| self.failed(&error))?;
        // the name, in parentheses, may hold anything: utime and stime are the 12th and 13th words behind it
        let words = text.rsplit_once(')').map_or("", |(_, words)| words).split_ascii_whitespace();
        let ticks: u64 = words.skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Memory now.
    pub(crate) fn memory(self) -> Result<Memory, String> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", self.0));
        let status = read("status").map_err(|error| self.failed(&error))?;
        let resident = kilobytes(&status, "VmRSS:");
        let proportional = read("smaps_rollup").map_or(resident, |text| kilobytes(&text, "Pss:"));
        Ok(Memory { resident: resident * 1024, proportional: proportional * 1024 })
    }

    fn failed(self, error: &std::io::Error) -> String {
        format!("cannot watch process {}: {error}", self.0)
    }
}

fn kilobytes(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}
