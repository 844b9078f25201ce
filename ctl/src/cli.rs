//! The command line: one subcommand for each verb.

use crate::bundle;
use crate::completion;
use crate::connectivity;
use crate::drain;
use crate::gc;
use crate::generate;
use crate::graph;
use crate::lint;
use crate::path;
use crate::plan;
use crate::routes;
use crate::status;
use crate::trace;
use crate::uninstall;
use crate::validate;
use clap::{CommandFactory, Parser, Subcommand};
use console::failure::Failure;

const EXIT_CODES: &str = "\
Exit codes:
  0 done   1 failed   2 usage or invalid input   3 not found   4 timed out";

/// Declared, routed networks for distributed applications.
#[derive(Debug, Parser)]
#[command(
    name = "beemesh",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check topologies offline, as admission does
    Lint(lint::Args),
    /// Print a topology of a shape and a size as YAML
    Generate(generate::Args),
    /// Draw a topology, its distances or its shortest paths
    Graph(graph::Args),
    /// Print the next hops of each Forwarder
    Routes(routes::Args),
    /// Print the routes that would change
    Plan(plan::Args),
    /// Print the status of topologies in a cluster
    Status(status::Args),
    /// Compare each layer of a topology in a cluster with the next
    Validate(validate::Args),
    /// Print the computed paths from one place to another
    Path(path::Args),
    /// Trace the paths from one pod to another, beside the computed ones
    Trace(trace::Args),
    /// List orphaned objects on nodes and in the API
    Check(gc::CheckArgs),
    /// Remove orphaned objects
    Gc(gc::GcArgs),
    /// Test a topology over all nodes with temporary pods
    Connectivity(connectivity::Args),
    /// Write a support archive, without secrets
    Bundle(bundle::Args),
    /// Drain forwarders or links of a topology in a cluster
    Drain(drain::Args),
    /// Undrain forwarders or links
    Undrain(drain::UndrainArgs),
    /// Run a topology on this machine, in network namespaces
    Lab(lab::Args),
    /// Uninstall beemesh from all nodes of a cluster, and verify that nothing is left
    Uninstall(uninstall::Args),
    /// Print a script that completes verbs and options in a shell
    Completion(completion::Args),
    /// Run the daemon of one host of a lab (started by the lab; nodes run beemesh-node)
    #[command(hide = true)]
    Node(lab::DaemonArguments),
    /// Print the state of one host of a lab as JSON (nodes run beemesh-node)
    #[command(hide = true)]
    Inspect(lab::InspectArguments),
    /// Run one end of a connectivity test (started in its pods)
    #[command(hide = true)]
    Probe(connectivity::peer::Args),
}

impl Cli {
    /// Runs the verb.
    ///
    /// # Errors
    /// Failure of the verb; see [`Failure`].
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::Lint(args) => lint::run(&args),
            Verb::Generate(args) => generate::run(&args),
            Verb::Graph(args) => graph::run(&args),
            Verb::Routes(args) => routes::run(&args),
            Verb::Plan(args) => plan::run(&args),
            Verb::Status(args) => status::run(&args),
            Verb::Validate(args) => validate::run(&args),
            Verb::Path(args) => path::run(&args),
            Verb::Trace(args) => trace::run(&args),
            Verb::Check(args) => gc::check(&args),
            Verb::Gc(args) => gc::run(&args),
            Verb::Connectivity(args) => connectivity::run(&args),
            Verb::Bundle(args) => bundle::run(&args),
            Verb::Drain(args) => drain::run(&args),
            Verb::Undrain(args) => drain::run_undrain(&args),
            Verb::Lab(args) => lab::run(args, validate::lab_problems),
            Verb::Uninstall(args) => uninstall::run(&args),
            Verb::Completion(args) => completion::run(&args, Self::command()),
            Verb::Inspect(args) => args.run().map_err(|error| Failure::failed(&error)),
            Verb::Probe(args) => connectivity::peer::run(&args),
            Verb::Node(args) => args.run().map_err(|error| Failure::failed(&error)),
        }
    }
}

#[cfg(test)]
mod tests;
