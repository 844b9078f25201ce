//! `beemesh lab`: a topology on this machine, in network namespaces, through the code that runs on
//! the nodes of a cluster.
//!
//! ```text
//! file -> desired (pure) -> apply -> hosts (namespaces on a bridge), objects (files), daemons
//!                                      | beemesh node, one for each host: the real one
//!                                      | beemesh-cni, once for each App instance: the real one
//! status files <- watch -------------- +
//! ```
//! Knows: hosts, processes, faults, and what a lab's files mean. Refuses to know: how a Forwarder
//! is made (`node`), how a pod is wired (`beemesh-cni`).
//!
//! Every namespace's name is in a journal before anyone makes it, and every process of a lab runs in
//! one of them, so that `down` finds all of both, whatever crashed.

mod apply;
mod args;
mod attach;
mod computed;
mod conflist;
mod converge;
mod cuts;
mod daemons;
mod desired;
mod disturb;
mod drop;
mod external;
mod faults;
mod health;
mod hosts;
mod life;
mod names;
mod objects;
mod place;
mod plugin;
mod processes;
mod progress;
mod reach;
mod record;
mod rootless;
mod running;
mod show;
mod state;
mod test;
mod trace;
mod underlay;
mod watch;

use std::time::Duration;

pub(crate) use args::Args;
use args::Verb;
pub(crate) use hosts::OfLab;
pub(crate) use running::{Running, common};

// A host of a lab is a node: this program runs its daemon and its diagnosis too.
pub(crate) use node::{Arguments as DaemonArguments, diagnose::Arguments as InspectArguments};

use crate::cluster::placed::{Placed, Pod, of_forwarders};
use crate::failure::Failure;
use crate::nodes::Nodes;

/// How long processes may take to be gone once they were killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The topology of a running lab with its instances, and what its daemons report.
///
/// # Errors
/// [`Failure::Failed`] when the lab's objects are no topology.
pub(crate) fn placed(running: &Running) -> Result<Placed, Failure> {
    let record = &running.record;
    let mut reported = watch::read_all(&running.directory.status());
    let mut forwarders = running.forwarders.clone();
    for forwarder in &mut forwarders {
        forwarder.status = reported
            .remove(&forwarder.metadata.name)
            .unwrap_or_default();
    }
    let topology = computed::declared(&forwarders)?;
    let mut placed = of_forwarders(&record.namespace, &record.topology, topology, forwarders);
    placed.pods = record
        .instances
        .iter()
        .map(|(name, instance)| pod(name, instance))
        .collect();
    Ok(placed)
}

fn pod(name: &str, instance: &state::Instance) -> Pod {
    Pod {
        name: name.to_owned(),
        app: instance.app.clone(),
        forwarder: instance.forwarder.clone(),
        node: instance.node.clone(),
        addresses: instance
            .addresses
            .iter()
            .map(ipnetwork::IpNetwork::ip)
            .collect(),
        found_by: ["--netns".to_owned(), instance.netns.clone()],
    }
}

/// Compares the kernels of all hosts with the tables of their Forwarders: objects with their problems.
pub(crate) type KernelCheck =
    fn(&dyn Nodes, &topology::Topology, &[crds::Forwarder]) -> Vec<(String, String)>;

/// Runs one verb of the lab; `check` is the comparison of `beemesh validate`.
///
/// # Errors
/// See [`Failure`].
pub(crate) fn run(args: Args, check: KernelCheck) -> Result<(), Failure> {
    match args.verb {
        Verb::Up(args) => life::up(&args, check),
        Verb::Down(args) => life::down(&args),
        Verb::Status(args) => show::status(&args, check),
        Verb::List(args) => life::list(args.output),
        Verb::Exec(args) => reach::exec(&args),
        Verb::Ping(args) => reach::ping(&args),
        Verb::Trace(args) => trace::run(&args),
        Verb::Cut(args) => disturb::cut(&args),
        Verb::Heal(args) => disturb::heal(&args),
        Verb::Kill(args) => disturb::kill(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Conflist(args) => show::conflist(&args),
        Verb::HoldNamespaces { base } => rootless::hold(&base),
    }
}
