//! One run of every job, for `valgrind --tool=callgrind`: see `.ci/callgrind-codec`. Prints what each dump counts:
//! title, version, codec and packets, apart by tabs; or, instead of the packets, why the codec cannot do the row.
use mqtt_codec_peers::{Job, SMALL, jobs};
use std::hint::black_box;

fn main() {
    let only = std::env::args().skip(1).find(|word| !word.starts_with("--"));
    jobs(SMALL, |row, codec, job| {
        if only.as_ref().is_some_and(|only| !codec.contains(&**only)) {
            return;
        }
        match job {
            Ok(mut job) => {
                job.prepare();
                job.run();
                job.prepare();
                measured(&mut *job);
                println!("{}\t{}\t{codec}\t{}", row.title, row.level(), row.packets.len());
            }
            Err(reason) => println!("{}\t{}\t{codec}\t{}", row.title, row.level(), reason.replace(['\n', '\t'], " ")),
        }
    });
}

#[inline(never)]
fn measured(job: &mut dyn Job) -> usize {
    job.run();
    black_box(0) // a call in the last place would be a jump, and the counter would miss the end
}
