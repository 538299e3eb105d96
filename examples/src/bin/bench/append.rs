//! The floor of what a disk takes: the messages of a load at the end of a file, as many at once as may be under way, and a sync after each such group.

use crate::ledger::Checks;
use crate::load::Load;
use crate::outcome::{Meter, Outcome};
use crate::wire::{Stamp, Template};
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

/// Writes and syncs in a file of its own in `folder`.
pub(crate) fn run(load: &Load, folder: &Path) -> Result<Outcome, String> {
    let path = folder.join(format!("bench-append-{}", std::process::id()));
    let template = Template::new(load.version, "bench/pair/0", load.qos, false, load.size)?;
    let nobody =
        crate::load::Target { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), process: None, floor: true };
    let meter = Meter::start(&nobody)?;
    let written = append(load, &template, &path);
    let cost = meter.cost();
    let _ = fs::remove_file(&path);
    written.map_err(|error| format!("{}: {error}", path.display()))?;
    let cost = cost?;
    let mut outcome = Outcome::new(load, Checks::default());
    outcome.push("deliveries per second", f64::from(load.messages) / cost.elapsed.as_secs_f64());
    outcome.push_cost(&cost, load.messages.into(), "delivery");
    Ok(outcome)
}

fn append(load: &Load, template: &Template, path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    let group = u32::try_from(load.clients).unwrap_or(u32::MAX).saturating_mul(load.window);
    let (mut sequence, mut bytes) = (0, Vec::new());
    while sequence < load.messages {
        bytes.clear();
        for _ in 0..group.min(load.messages - sequence) {
            template.append(&mut bytes, 1, Stamp { stream: 0, sequence, due: 0 });
            sequence += 1;
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
    }
    Ok(())
}
