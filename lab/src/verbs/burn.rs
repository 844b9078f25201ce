//! `burn`: load on all processors, by busy loops of this process, so that its end in any way ends the load.

use std::hint::black_box;
use std::time::Instant;

use crate::args::BurnArgs;
use crate::faults::nodes::{now, process};
use crate::hosts::processes::Process;
use crate::running::Running;
use crate::state::directory::Burn;
use crate::verbs::status::changed;
use console::failure::Failure;

/// Loads the processors for the time of the arguments.
///
/// # Errors
/// [`Failure::NotFound`] when the lab does not run; [`Failure::Failed`] while another burn runs.
pub(crate) fn run(args: &BurnArgs) -> Result<(), Failure> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.map_or(processors, usize::from);
    let own = Process::of(std::process::id().cast_signed())
        .ok_or_else(|| Failure::Failed("failed to read /proc".to_owned()))?;
    let burn = Burn {
        process: own.id,
        started: own.started,
        threads,
        until: now() + args.time.as_secs(),
    };
    let (mut running, lock) = Running::join_to_change(&args.file.file)?;
    let other = running.record.faults.burn;
    if let Some(other) = other.filter(|burn| process(*burn).is_alive()) {
        let id = other.process;
        return Err(Failure::Failed(format!(
            "process {id} burns already: `beemesh lab heal` ends it"
        )));
    }
    running.record.faults.burn = Some(burn);
    running.directory.write_record(&running.record)?;
    drop(lock);
    spin(threads, Instant::now() + args.time);
    let (mut running, lock) = running.locked()?;
    let burns = &mut running.record.faults.burn;
    *burns = burns.filter(|other| *other != burn);
    running.directory.write_record(&running.record)?;
    drop(lock);
    let seconds = args.time.as_secs_f64();
    let sentence = format!("{threads} threads were busy for {seconds} s");
    changed(&running, args.output, &sentence)
}

fn spin(threads: usize, until: Instant) {
    /// Loops between two looks at the clock: some microseconds.
    const LOOPS: u32 = 10_000;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(move || {
                while Instant::now() < until {
                    (0..LOOPS).for_each(|number| {
                        black_box(number);
                    });
                }
            });
        }
    });
}
