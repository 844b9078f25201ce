//! Verbs that make faults, and `heal`.
//!
//! ```text
//! inject: lock -> record with the fault   -> parts of the lab
//! mend:   lock -> parts of the lab        -> record without the fault
//! ```
//! So each fault of a part is in the record, and a killed verb is finished by `heal`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::args::{CutArgs, FreezeArgs, HealArgs, KillArgs, OneWayArgs, PartitionArgs, SlowArgs};
use crate::convergence::wait::{self, explain, missing};
use crate::convergence::watch::{Statuses, Watch};
use crate::faults::{self, nodes};
use crate::hosts::daemons;
use crate::running::Running;
use crate::state::directory::{Faults, Limit};
use crate::verbs::status::changed;
use console::failure::Failure;
use console::output::Output;

/// Timeout of convergence after a fault: detection, computation, and as many status writes. A link that failed too often rests
/// for 30 s at most, before it is preferred again.
fn patience(forwarders: usize) -> Duration {
    Duration::from_secs(45) + Duration::from_millis(40) * u32::try_from(forwarders).unwrap_or(0)
}

/// Records faults, then makes them.
///
/// # Errors
/// [`Failure::Failed`] with the kernel's refusal: the fault stays recorded.
pub(crate) fn inject(running: Running, add: impl FnOnce(&mut Faults)) -> Result<Running, Failure> {
    let (mut running, _lock) = running.locked()?;
    let before = running.record.faults.clone();
    add(&mut running.record.faults);
    running.directory.write_record(&running.record)?;
    running.enforce(&before)?;
    Ok(running)
}

/// Repairs faults, then forgets them.
///
/// # Errors
/// [`Failure::Failed`] with the kernel's refusal: the faults stay recorded.
pub(crate) fn mend(running: Running, remove: impl FnOnce(&mut Faults)) -> Result<Running, Failure> {
    let (mut running, _lock) = running.locked()?;
    let before = running.record.faults.clone();
    remove(&mut running.record.faults);
    running.enforce(&before)?;
    running.directory.write_record(&running.record)?;
    Ok(running)
}

/// Waits for convergence after a fault, and prints the result.
fn made(running: &Running, output: Output, sentence: &str) -> Result<(), Failure> {
    running.wait_converged()?;
    changed(running, output, sentence)
}

/// Cuts a link, and waits for convergence.
///
/// # Errors
/// [`Failure::NotFound`]; [`Failure::TimedOut`] without convergence: the link stays cut.
pub(crate) fn cut(args: &CutArgs) -> Result<(), Failure> {
    let running = Running::join(&args.file.file)?;
    let links = running.links(&args.link)?;
    let running = inject(running, |faults| match args.silent {
        true => faults.silent.extend(links.iter().cloned()),
        false => faults.cut.extend(links.iter().cloned()),
    })?;
    let links = links.join(", ");
    let sentence = match args.silent {
        true => format!("{links} drops all packets"),
        false => format!("{links} is cut"),
    };
    made(&running, args.output, &sentence)
}

/// Drops the packets of one direction of a link.
///
/// # Errors
/// As [`cut`].
pub(crate) fn one_way(args: &OneWayArgs) -> Result<(), Failure> {
    let running = Running::join(&args.file.file)?;
    let directions = running.directions(&args.link)?;
    let (to, links): (Vec<_>, Vec<_>) = directions
        .iter()
        .map(|it| (it.to.as_str(), it.link.as_str()))
        .unzip();
    let sentence = format!("{} drops what goes to {}", links.join(", "), to[0]);
    let running = inject(running, |faults| {
        faults.one_way.extend(directions.iter().cloned());
    })?;
    made(&running, args.output, &sentence)
}

/// Limits the rate of a link.
///
/// # Errors
/// As [`cut`], and without the kernel's token bucket filter.
pub(crate) fn slow(args: &SlowArgs) -> Result<(), Failure> {
    let running = Running::join(&args.file.file)?;
    let links = running.links(&args.link)?;
    let limit = Limit {
        bits_per_second: args.rate,
        queue_ms: u32::try_from(args.delay.as_millis()).unwrap_or(u32::MAX),
    };
    let running = inject(running, |faults| {
        let limited = links.iter().map(|link| (link.clone(), limit));
        faults.slow.extend(limited);
    })?;
    let sentence = format!("{} carries {}", links.join(", "), limit.text());
    made(&running, args.output, &sentence)
}

/// Cuts a Forwarder off, or kills the daemon of a node.
///
/// # Errors
/// As [`cut`].
pub(crate) fn kill(args: &KillArgs) -> Result<(), Failure> {
    let running = Running::join(&args.file.file)?;
    let name = &args.name;
    let is_node = args.node || running.forwarder(name).is_err() && running.node(name).is_ok();
    if is_node {
        running.node(name)?;
        let running = inject(running, |faults| {
            faults.frozen.remove(name);
            faults.killed_daemons.insert(name.clone());
        })?;
        return made(
            &running,
            args.output,
            &format!("the daemon of {name} is dead"),
        );
    }
    running.forwarder_or_node(name)?;
    let running = inject(running, |faults| {
        faults.killed.insert(name.clone());
    })?;
    made(&running, args.output, &format!("{name} is dead"))
}

/// Stops the daemon of a node.
///
/// # Errors
/// [`Failure::NotFound`]; [`Failure::Failed`] when the daemon does not run.
pub(crate) fn freeze(args: &FreezeArgs) -> Result<(), Failure> {
    let running = Running::join(&args.file.file)?;
    let node = &args.node;
    running.node(node)?;
    if daemons::running(&running.directory, node).is_none() {
        return Err(Failure::Failed(format!(
            "the daemon of {node} does not run: `beemesh lab heal {node}` or `beemesh lab up` starts it"
        )));
    }
    let running = inject(running, |faults| {
        faults.frozen.insert(node.clone());
    })?;
    made(
        &running,
        args.output,
        &format!("the daemon of {node} is frozen"),
    )
}

/// Parts the underlay into groups of nodes; a single group is whole again.
///
/// # Errors
/// [`Failure::NotFound`]; [`Failure::Invalid`] for a node in two groups.
pub(crate) fn partition(args: &PartitionArgs) -> Result<(), Failure> {
    let running = Running::join(&args.file.file)?;
    let mut groups: Vec<BTreeSet<String>> = Vec::new();
    for text in &args.groups {
        let mut group = BTreeSet::new();
        for node in text.split(',') {
            running.node(node)?;
            let is_twice = groups.iter().any(|group| group.contains(node));
            if is_twice || !group.insert(node.to_owned()) {
                let problem = format!("node {node} is named twice: expected it in one group");
                return Err(Failure::Invalid(vec![problem]));
            }
        }
        groups.push(group);
    }
    let groups = nodes::whole(groups, &running.record);
    let sentence = match groups.len() {
        0 => "all nodes reach one another".to_owned(),
        count => format!("the nodes are in {count} groups"),
    };
    let running = inject(running, |faults| faults.partition = groups)?;
    made(&running, args.output, &sentence)
}

/// Repairs the faults of one link, Forwarder or node, or all, and waits for convergence.
///
/// # Errors
/// [`Failure::NotFound`] for an unknown name; [`Failure::TimedOut`].
pub(crate) fn heal(args: &HealArgs) -> Result<(), Failure> {
    let running = Running::join(&args.file.file)?;
    let links = match &args.name {
        Some(name) if name.contains('/') => running.links(name)?,
        Some(name) => {
            running.forwarder_or_node(name)?;
            Vec::new()
        }
        None => Vec::new(),
    };
    let running = mend(running, |faults| match &args.name {
        None => *faults = Faults::default(),
        Some(name) if links.is_empty() => faults.heal_named(name),
        Some(_) => links.iter().for_each(|link| faults.heal_link(link)),
    })?;
    let what = args.name.as_deref().unwrap_or("everything");
    made(&running, args.output, &format!("{what} is healed"))
}

impl Running {
    /// Brings all parts with a fault, `before` or now, to the state of the record.
    ///
    /// # Errors
    /// [`Failure::Failed`] with the first part that could not be changed.
    pub(crate) fn enforce(&self, before: &Faults) -> Result<(), Failure> {
        let links = faults::enforce(&self.forwarders, before, &self.record.faults);
        links.and(nodes::enforce(&self.directory, &self.record, before))
    }

    /// Waits until every status shows the state with the remaining faults; not while a fault keeps daemons from learning of
    /// changes.
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
        if self.record.faults.hides_changes() {
            return Ok(());
        }
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
