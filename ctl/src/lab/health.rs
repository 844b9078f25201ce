//! Health of a running lab as kernels and plugin have it: what is said to be up was seen.
//!
//! ```text
//! kernel of each host: routes, addresses, pods' routes --.
//! CHECK of each instance: interface, address, route ------+-> problems
//! ```
//! What `cut` and `kill` took out is no problem.

use std::time::{Duration, Instant};

use super::attach::broken;
use super::running::Running;
use super::{KernelCheck, OfLab};
use crate::failure::Failure;

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest time that a daemon may be away while it is asked about an attachment.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks until there are no problems or `deadline` has passed, once at least; returns those of the last look, one
/// line each. `tell` gets their number.
///
/// # Errors
/// No plugin; Forwarders that are no graph.
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
    let placed = super::placed(running)?;
    let killed = &running.record.faults.killed;
    let seen = check(&OfLab::new(running), &placed.topology, &placed.forwarders);
    let is_dead = |object: &str| {
        let mut forwarders = running.forwarders.iter();
        let of = |name: &str| object == name || object == format!("fwd/{name}");
        forwarders.any(|it| {
            killed.contains(&it.spec.name) && (of(&it.metadata.name) || of(&it.spec.name))
        })
    };
    let seen = seen.into_iter().filter(|(object, _)| !is_dead(object));
    let mut problems: Vec<String> = seen
        .map(|(object, what)| format!("{object}: {what}"))
        .collect();
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
