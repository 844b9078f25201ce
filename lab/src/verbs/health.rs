//! Health of a running lab, from daemons, kernels and plugin: reported state is compared with
//! observed state.
//!
//! ```text
//! status of each Forwarder: links, epoch ----------------.
//! kernel of each host: routes, addresses, pods' routes ---+-> problems
//! CHECK of each instance: interface, address, route -----'
//! ```
//! Faults are no problem. Kernels are compared with the reported links: without
//! the statuses, a link that is down on its own would be no problem, as its routes are correctly
//! absent.

use std::time::{Duration, Instant};

use crate::KernelCheck;
use crate::apply::attach::broken;
use crate::convergence::wait;
use crate::running::Running;
use console::failure::Failure;

/// Pause between two checks.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest time that a daemon may not answer about an attachment.
const PATIENCE: Duration = Duration::from_secs(1);

/// Checks until there are no problems or `deadline` has passed, at least once; returns the problems
/// of the last check, one line each. `tell` gets their number.
///
/// # Errors
/// The plugin was not found; the Forwarders form no graph.
pub(crate) fn settled(
    running: &Running,
    deadline: Instant,
    check: KernelCheck,
    tell: impl Fn(usize),
) -> Result<Vec<String>, Failure> {
    loop {
        let problems = problems(running, check)?;
        if problems.is_empty() || Instant::now() >= deadline {
            return Ok(problems);
        }
        tell(problems.len());
        std::thread::sleep(PAUSE);
    }
}

fn problems(running: &Running, check: KernelCheck) -> Result<Vec<String>, Failure> {
    // Read before the kernels: an outdated status then differs from them.
    let forwarders = running.reported();
    let expected = wait::expected(&running.forwarders, &running.record)?;
    let reported = forwarders.iter();
    let reported = reported.filter(|it| !it.status.epoch.is_empty());
    let statuses = reported
        .map(|it| (it.metadata.name.clone(), it.status.clone()))
        .collect();
    let faults = &running.record.faults;
    // Daemons that are frozen, dead or apart have no common state to compare with.
    let (unreported, seen) = match faults.hides_changes() {
        true => (Vec::new(), Vec::new()),
        false => (
            wait::missing(&expected, &statuses),
            check(running, &forwarders)?,
        ),
    };
    let is_dead = |object: &str| {
        let mut all = running.forwarders.iter();
        let of = |name: &str| object == name || object == format!("fwd/{name}");
        all.any(|it| {
            faults.killed.contains(&it.spec.name) && (of(&it.metadata.name) || of(&it.spec.name))
        })
    };
    let seen = seen.into_iter().filter(|(object, _)| !is_dead(object));
    let mut problems: Vec<String> = unreported
        .into_iter()
        .map(|name| format!("{name}: {}", wait::why(name, &expected[name], &statuses)))
        .collect();
    problems.extend(seen.map(|(object, what)| format!("{object}: {what}")));
    let broken = broken(
        &running.directory,
        &running.record,
        &running.forwarders,
        PATIENCE,
    )?;
    problems.extend(
        broken
            .into_iter()
            .map(|(name, why)| format!("{name}: {why}")),
    );
    Ok(problems)
}
