//! `cut`, `heal`, `kill`: faults on demand.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::args::{CutArgs, HealArgs, KillArgs};
use crate::convergence::wait::{self, explain, missing};
use crate::convergence::watch::{Statuses, Watch};
use crate::faults;
use crate::running::Running;
use crate::state::directory::{Faults, Lock};
use crate::verbs::status::changed;
use console::failure::Failure;

/// Timeout of convergence after a fault: detection, computation, and as many status writes.
fn patience(forwarders: usize) -> Duration {
    Duration::from_secs(10) + Duration::from_millis(40) * u32::try_from(forwarders).unwrap_or(0)
}

/// Cuts a link, and waits for convergence (not after a silent cut, which is undetectable).
///
/// # Errors
/// [`Failure::NotFound`]; [`Failure::TimedOut`] without convergence: the link stays cut.
pub(crate) fn cut(args: &CutArgs) -> Result<(), Failure> {
    let (mut running, lock) = Running::join_to_change(&args.file.file)?;
    let links = running.links(&args.link)?;
    let faults = &mut running.record.faults;
    let kind = if args.silent {
        &mut faults.silent
    } else {
        &mut faults.cut
    };
    kind.extend(links.iter().cloned());
    // Recorded first: a recorded fault can be healed.
    running.directory.write_record(&running.record)?;
    for link in &links {
        running.set_link(
            link,
            if args.silent {
                State::Silent
            } else {
                State::Down
            },
        )?;
    }
    drop(lock);
    let links = links.join(", ");
    if args.silent {
        return changed(&running, args.output, &format!("{links} drops all packets"));
    }
    running.wait_converged()?;
    changed(&running, args.output, &format!("{links} is cut"))
}

/// Cuts a Forwarder off, and waits for convergence.
///
/// # Errors
/// As [`cut`].
pub(crate) fn kill(args: &KillArgs) -> Result<(), Failure> {
    let (mut running, lock) = Running::join_to_change(&args.file.file)?;
    let netns = faults::netns(running.forwarder(&args.forwarder)?);
    running.record.faults.killed.insert(args.forwarder.clone());
    running.directory.write_record(&running.record)?;
    faults::set_powered(&netns, false)?;
    drop(lock);
    running.wait_converged()?;
    changed(
        &running,
        args.output,
        &format!("{} is dead", args.forwarder),
    )
}

/// Heals cuts and kills, of one link or Forwarder or of all, and waits for convergence.
///
/// # Errors
/// [`Failure::NotFound`] for an unknown link or Forwarder; [`Failure::TimedOut`].
pub(crate) fn heal(args: &HealArgs) -> Result<(), Failure> {
    let (mut running, lock): (Running, Lock) = Running::join_to_change(&args.file.file)?;
    let healed = match &args.name {
        None => running.record.faults.clone(),
        Some(name) if name.contains('/') => {
            let links: BTreeSet<String> = running.links(name)?.into_iter().collect();
            Faults {
                cut: links.clone(),
                silent: links,
                killed: BTreeSet::new(),
            }
        }
        Some(name) => {
            running.forwarder(name)?;
            Faults {
                killed: BTreeSet::from([name.clone()]),
                ..Faults::default()
            }
        }
    };
    let faults = &mut running.record.faults;
    faults.cut.retain(|link| !healed.cut.contains(link));
    faults.silent.retain(|link| !healed.silent.contains(link));
    faults
        .killed
        .retain(|forwarder| !healed.killed.contains(forwarder));
    running.heal(&healed)?;
    running.directory.write_record(&running.record)?;
    drop(lock);
    running.wait_converged()?;
    let what = args.name.as_deref().unwrap_or("everything");
    changed(&running, args.output, &format!("{what} is healed"))
}

/// State of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Usable, without drops.
    Up,
    /// Both ends down.
    Down,
    /// Carrier up, all packets dropped.
    Silent,
}

impl Running {
    /// Sets both ends of a link to a state.
    ///
    /// # Errors
    /// [`Failure::Failed`] with the kernel's refusal.
    pub(crate) fn set_link(&self, link: &str, state: State) -> Result<(), Failure> {
        let ends = faults::ends(&self.forwarders, link)
            .ok_or_else(|| Failure::NotFound(format!("no link {link:?}")))?;
        match state {
            State::Down => faults::set_up(&ends, false),
            State::Silent => faults::set_silent(&ends, true),
            State::Up => {
                faults::set_silent(&ends, false)?;
                faults::set_up(&ends, true)
            }
        }
    }

    /// Repairs the faults in `healed`, unless a remaining fault keeps a part down.
    fn heal(&self, healed: &Faults) -> Result<(), Failure> {
        for name in &healed.killed {
            let netns = faults::netns(self.forwarder(name)?);
            faults::set_powered(&netns, true)?;
        }
        let left = self.record.faults.clone();
        let links = healed
            .cut
            .union(&healed.silent)
            .filter(|link| !left.cut.contains(*link));
        for link in links {
            self.set_link(
                link,
                if left.silent.contains(link) {
                    State::Silent
                } else {
                    State::Up
                },
            )?;
        }
        // Links that came up with their Forwarder and have a cut of their own.
        for link in &left.cut {
            self.set_link(link, State::Down)?;
        }
        for name in &left.killed {
            faults::set_powered(&faults::netns(self.forwarder(name)?), false)?;
        }
        Ok(())
    }

    /// Waits until every status shows the state with the remaining faults.
    ///
    /// # Errors
    /// [`Failure::TimedOut`] with the Forwarders that do not show it.
    pub(crate) fn wait_converged(&self) -> Result<(), Failure> {
        let mut watch = Watch::new(&self.directory.status())
            .map_err(|error| Failure::Failed(format!("failed to watch the lab: {error}")))?;
        self.wait_converged_on(&mut watch)
    }

    /// As [`Running::wait_converged`], with an existing watch.
    pub(crate) fn wait_converged_on(&self, watch: &mut Watch) -> Result<(), Failure> {
        let expected = wait::expected(&self.forwarders, &self.record)?;
        let patience = patience(self.forwarders.len());
        let is_done = |statuses: &Statuses| missing(&expected, statuses).is_empty();
        let done = watch
            .wait(Instant::now() + patience, is_done)
            .map_err(|error| Failure::Failed(format!("failed to watch the lab: {error}")))?;
        if done {
            return Ok(());
        }
        let missing = missing(&expected, watch.statuses());
        let words = explain(&missing, &expected, watch.statuses());
        let seconds = patience.as_secs();
        Err(Failure::TimedOut(format!(
            "the tables have not converged in {seconds} s:\n  {words}"
        )))
    }
}
