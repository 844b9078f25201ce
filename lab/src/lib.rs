//! `beemesh lab`: a topology on this host, in network namespaces, with the same code as on the
//! nodes of a cluster.
//!
//! ```text
//! file -> desired (pure) -> apply -> hosts (namespaces on a bridge), objects (files), daemons
//!                                      | beemesh node, one for each host: the real one
//!                                      | beemesh-cni, once for each App instance: the real one
//! status files <- watch -------------- +
//! ```
//! Knows: hosts, processes, faults, and the files of a lab. Refuses to know: how a Forwarder is
//! programmed (`node`), how a pod is attached (`beemesh-cni`).
//!
//! Every namespace's name is in a journal before its creation, and every daemon of a lab runs in
//! one of them, so that `down` finds all of both after a crash. Faults are in the record before they are made.

mod apply;
mod args;
mod convergence;
mod desired;
mod faults;
mod hosts;
mod instances;
mod objects;
mod progress;
mod running;
mod state;
mod verbs;

use std::time::Duration;

use console::failure::Failure;

pub use args::Args;
use args::Verb;
pub use running::{Running, common};
pub use state::directory::Directory;
pub use state::record::{Faults, Host, Instance, Record};

// A host of a lab is a node: this program runs its daemon and its diagnosis too.
pub use node::{Arguments as DaemonArguments, diagnose::Arguments as InspectArguments};

/// Longest wait for killed processes to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Compares the kernels of all hosts with the tables of their Forwarders: objects with their problems.
pub type KernelCheck = fn(&Running, &[crds::Forwarder]) -> Result<Vec<(String, String)>, Failure>;

/// Runs one verb of the lab; `check` is the comparison of `beemesh validate`.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: Args, check: KernelCheck) -> Result<(), Failure> {
    match args.verb {
        Verb::Up(args) => verbs::life::up(&args, check),
        Verb::Down(args) => verbs::life::down(&args),
        Verb::Status(args) => verbs::status::status(&args, check),
        Verb::List(args) => verbs::life::list(args.output),
        Verb::Exec(args) => verbs::exec::exec(&args),
        Verb::Ping(args) => verbs::exec::ping(&args),
        Verb::Trace(args) => verbs::trace::run(&args),
        Verb::Cut(args) => verbs::faults::cut(&args),
        Verb::OneWay(args) => verbs::faults::one_way(&args),
        Verb::Slow(args) => verbs::faults::slow(&args),
        Verb::Flap(args) => verbs::flap::run(&args),
        Verb::Kill(args) => verbs::faults::kill(&args),
        Verb::Freeze(args) => verbs::faults::freeze(&args),
        Verb::Partition(args) => verbs::faults::partition(&args),
        Verb::Burn(args) => verbs::burn::run(&args),
        Verb::Heal(args) => verbs::faults::heal(&args),
        Verb::Test(args) => verbs::verify::run(&args),
        Verb::Conflist(args) => verbs::status::conflist(&args),
        Verb::HoldNamespaces { base } => hosts::rootless::hold(&base),
    }
}
