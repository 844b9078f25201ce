//! `up`, `down`, `list`: life of a lab.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::KernelCheck;
use crate::apply::{Apply, remove_namespaces};
use crate::args::{DownArgs, UpArgs};
use crate::desired::{desired, too_large};
use crate::faults::nodes::process;
use crate::hosts::daemons;
use crate::hosts::rootless;
use crate::hosts::underlay;
use crate::instances::plugin;
use crate::progress::Progress;
use crate::running::{LOCK_LIMIT, Running, unknown};
use crate::state::directory::{Directory, Record, remove_empty_parents};
use crate::state::paths::Place;
use crate::verbs::health;
use crate::verbs::status::changed;
use console::failure::Failure;
use console::input;
use console::note;
use console::output::{Output, table, table_text};

/// Starts a lab, or updates the existing one to the file.
///
/// # Errors
/// [`Failure::Invalid`], [`Failure::Failed`], [`Failure::TimedOut`] with the missing parts. A new
/// lab is taken down again; an existing one keeps the changes so far.
pub(crate) fn up(args: &UpArgs, check: KernelCheck) -> Result<(), Failure> {
    let started = Instant::now();
    let topology = input::object(&args.file.file)?;
    let place = Place::of_this_user()?;
    // Fails before any change: without the plugin there is no lab.
    if !topology.spec.apps.is_empty() {
        plugin::find()?;
    }
    rootless::enter(&place)?;
    let progress = Progress::new(args.quiet);
    let metadata = &topology.metadata;
    let directory = Directory::of(&place, &metadata.namespace, &metadata.name);
    let lock = directory.lock(LOCK_LIMIT)?;
    let known = directory.record()?;
    let is_new = known.as_ref().is_none_or(|record| !record.is_complete);
    if is_new {
        // Remains of an `up` that died, if any.
        clear(&directory)?;
    }
    let mut record = known.filter(|_| !is_new).unwrap_or_else(|| Record {
        namespace: metadata.namespace.clone(),
        topology: metadata.name.clone(),
        ..Record::default()
    });
    let result = change(
        args,
        &topology,
        &directory,
        &mut record,
        &progress,
        started,
        check,
    );
    drop(progress);
    if result.is_err() && is_new {
        let cleared = clear(&directory).and_then(|()| directory.remove());
        drop(lock);
        remove_empty_parents(&place);
        rootless::leave(&place);
        return result.and(cleared);
    }
    result?;
    if args.quiet {
        return Ok(());
    }
    let forwarders = directory.read_forwarders()?;
    let sentence = format!(
        "lab {}/{} is up: {} forwarders on {} hosts, {} app instances, {:.1} s",
        record.namespace,
        record.topology,
        forwarders.len(),
        record.hosts.len(),
        record.instances.len(),
        started.elapsed().as_secs_f32(),
    );
    let running = Running {
        directory,
        record,
        forwarders,
    };
    changed(&running, args.output, &sentence)
}

fn change(
    args: &UpArgs,
    topology: &crds::MicroServiceTopology,
    directory: &Directory,
    record: &mut Record,
    progress: &Progress,
    started: Instant,
    check: KernelCheck,
) -> Result<(), Failure> {
    for (app, count) in &args.instances {
        if !topology.spec.apps.iter().any(|each| each.name == *app) {
            let known = topology.spec.apps.iter().map(|app| app.name.as_str());
            return Err(unknown("App", app, known));
        }
        record.counts.insert(app.clone(), *count);
    }
    record
        .counts
        .retain(|app, _| topology.spec.apps.iter().any(|each| each.name == *app));
    let previous = directory.read_forwarders()?;
    let desired = desired(topology, &record.counts, args.nodes, record, &previous);
    let file = args.file.file.display().to_string();
    let desired = desired.map_err(|problems| {
        let problems = problems
            .into_iter()
            .map(|problem| problem.in_file(&file).to_string());
        Failure::Invalid(problems.collect())
    })?;
    if desired.hosts.len() > underlay::HOSTS_MAX as usize {
        let (found, most) = (desired.hosts.len(), underlay::HOSTS_MAX);
        return Err(Failure::Invalid(vec![format!(
            "{file}: {found} nodes: expected at most {most}, the ports of a bridge"
        )]));
    }
    record.mtu = args.mtu.or(record.mtu);
    let narrow = too_large(&desired.forwarders, record.mtu());
    if !narrow.is_empty() {
        let problems = narrow.into_iter();
        return Err(Failure::Invalid(
            problems.map(|it| format!("{file}: {it}")).collect(),
        ));
    }
    let deadline = started + Duration::from_secs(args.timeout);
    Apply {
        directory,
        record,
        progress,
        deadline,
    }
    .run(&desired, &previous)?;
    let running = Running {
        directory: directory.clone(),
        record: record.clone(),
        forwarders: desired.forwarders,
    };
    seen(&running, progress, deadline, check)
}

/// Waits until kernels and plugin confirm the reported state.
fn seen(
    running: &Running,
    progress: &Progress,
    deadline: Instant,
    check: KernelCheck,
) -> Result<(), Failure> {
    const SHOWN: usize = 8;
    progress.step("checking routes and attachments");
    let problems = health::settled(running, deadline, check, |count| {
        progress.update(&format!("{count} routes or attachments are missing"));
    })?;
    if problems.is_empty() {
        return Ok(());
    }
    let more = match problems.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    let shown = problems[..problems.len().min(SHOWN)].join("\n  ");
    Err(Failure::TimedOut(format!(
        "packets cannot pass everywhere:\n  {shown}{more}"
    )))
}

/// Ends all parts of a lab, and forgets it. The directory stays, with the lock only.
fn clear(directory: &Directory) -> Result<(), Failure> {
    let names: Vec<String> = directory.journaled().into_iter().collect();
    let record = directory.record()?.unwrap_or_default();
    if let Some(burn) = record.faults.burn {
        process(burn).kill();
    }
    for node in record.hosts.keys() {
        // Found by their namespaces as well; by id also where those are gone already.
        if let Some(daemon) = daemons::running(directory, node) {
            daemon.kill();
        }
    }
    remove_namespaces(&names)?;
    directory.empty()
}

/// Takes one lab down, or all of this user.
///
/// # Errors
/// [`Failure::Failed`] with the parts that could not be removed; all others are.
pub(crate) fn down(args: &DownArgs) -> Result<(), Failure> {
    let place = Place::of_this_user()?;
    let mut directories = match &args.file {
        Some(file) => {
            let topology = input::object(file)?;
            let metadata = &topology.metadata;
            vec![Directory::of(&place, &metadata.namespace, &metadata.name)]
        }
        None => Directory::all(&place),
    };
    directories.retain(Directory::exists);
    match directories.is_empty() {
        true => note("there is no such lab"),
        // Without a holder its namespaces are gone; the files are removed too.
        false => drop(rootless::enter_existing(&place)?),
    }
    let mut result = Ok(());
    let mut taken = Taken { down: Vec::new() };
    for directory in &directories {
        match take_down(directory) {
            Ok(()) => taken.down.push(directory.name()),
            Err(error) => result = result.and(Err(error)),
        }
    }
    rootless::leave(&place);
    remove_empty_parents(&place);
    args.output.print(&taken, |taken| {
        let line = |lab: &String| format!("lab {lab} is down\n");
        taken.down.iter().map(line).collect()
    })?;
    result
}

/// JSON of `down`.
#[derive(Serialize)]
struct Taken {
    /// `NAMESPACE.TOPOLOGY` of each removed lab.
    down: Vec<String>,
}

fn take_down(directory: &Directory) -> Result<(), Failure> {
    let _lock = directory.lock(LOCK_LIMIT)?;
    clear(directory)?;
    // A killed plugin may have written its last file; the lock goes with the directory.
    directory.remove()
}

/// One line of `lab list`.
#[derive(Serialize)]
struct Listed {
    namespace: String,
    topology: String,
    state: &'static str,
    forwarders: usize,
    hosts: usize,
    apps: usize,
    directory: PathBuf,
}

/// Lists the labs of this user.
///
/// # Errors
/// [`Failure::Write`] when stdout cannot be written.
pub(crate) fn list(output: Output) -> Result<(), Failure> {
    let place = Place::of_this_user()?;
    let mut labs = BTreeMap::new();
    for directory in Directory::all(&place).into_iter().filter(Directory::is_lab) {
        let record = directory.record()?.unwrap_or_default();
        let forwarders = std::fs::read_dir(directory.forwarders());
        let listed = Listed {
            state: state_of(&directory, &record),
            forwarders: forwarders.map_or(0, Iterator::count),
            hosts: record.hosts.len(),
            apps: record.instances.len(),
            directory: directory.path().to_owned(),
            namespace: record.namespace,
            topology: record.topology,
        };
        labs.insert(directory.path().to_owned(), listed);
    }
    let labs: Vec<Listed> = labs.into_values().collect();
    output.print(&labs, |labs| {
        let mut table = table(
            &[
                "NAMESPACE",
                "TOPOLOGY",
                "STATE",
                "FORWARDERS",
                "HOSTS",
                "APPS",
            ],
            &[3, 4, 5],
        );
        for lab in labs {
            let numbers = [lab.forwarders, lab.hosts, lab.apps].map(|number| number.to_string());
            let [forwarders, hosts, apps] = numbers;
            let (namespace, topology) = (lab.namespace.clone(), lab.topology.clone());
            table.add_row([
                namespace,
                topology,
                lab.state.to_owned(),
                forwarders,
                hosts,
                apps,
            ]);
        }
        table_text(&table)
    })
}

fn state_of(directory: &Directory, record: &Record) -> &'static str {
    let mut nodes = record.hosts.keys();
    if !record.is_complete {
        "incomplete"
    } else if nodes.all(|node| daemons::running(directory, node).is_some()) {
        "up"
    } else {
        "degraded"
    }
}
