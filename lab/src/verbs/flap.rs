//! `flap`: a link that goes down and comes back, again and again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::args::FlapArgs;
use crate::running::Running;
use crate::state::directory::Faults;
use crate::verbs::faults::{inject, mend};
use crate::verbs::status::changed;
use console::failure::Failure;

/// Cuts and heals a link, and waits for convergence after the last repair. The lab is locked during each change only, so that
/// other verbs work meanwhile.
///
/// # Errors
/// [`Failure::NotFound`]; [`Failure::Failed`] when the link has such a fault already; [`Failure::TimedOut`] without convergence.
pub(crate) fn run(args: &FlapArgs) -> Result<(), Failure> {
    let mut running = Running::join(&args.file.file)?;
    let links = running.links(&args.link)?;
    let is_cut = chosen(&mut running.record.faults, args.silent)
        .iter()
        .find(|link| links.contains(link));
    if let Some(link) = is_cut {
        return Err(Failure::Failed(format!(
            "{link} is cut already: `beemesh lab heal` repairs it"
        )));
    }
    let half = Duration::from_secs_f64(0.5 / args.hz);
    let started = Instant::now();
    for number in 0..args.times {
        sleep_until(started + half * (2 * number));
        running = inject(running, |faults| {
            chosen(faults, args.silent).extend(links.iter().cloned());
        })?;
        sleep_until(started + half * (2 * number + 1));
        running = mend(running, |faults| {
            chosen(faults, args.silent).retain(|link| !links.contains(link));
        })?;
    }
    running.wait_converged()?;
    let (links, times) = (links.join(", "), args.times);
    let sentence = format!("{links} was cut and healed {times} times");
    changed(&running, args.output, &sentence)
}

fn chosen(faults: &mut Faults, is_silent: bool) -> &mut BTreeSet<String> {
    match is_silent {
        true => &mut faults.silent,
        false => &mut faults.cut,
    }
}

fn sleep_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}
