//! The `beemesh` command: offline verbs that read and explain a topology, the lab that
//! makes it real on this machine, and verbs that ask a cluster about it (also `kubectl beemesh`).
//!
//! Knows: arguments, files, formats, pictures, exit codes. Refuses to know: how shortest paths
//! are found (`topology`), what a valid declaration is (`crds`), how a picture is laid out (`picture`), how packets are probed (`probe`), how a
//! kernel is programmed (`node`, `dataplane`).
//!
//! ```text
//! file -> input -> crds::read -> lint -> topology::Topology -> verb -> output -> stdout
//! cluster -----> crds::topology_of(Forwarders) ---/     \       table|json|yaml|dot|svg
//!                      \_ problems -> stderr, exit 2     \-> spec.drain (drain, undrain only)
//! ```

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod bundle;
mod cli;
mod cluster;
mod completion;
mod connectivity;
mod degraded;
mod drain;
mod gc;
mod generate;
mod graph;
mod lint;
mod nodes;
mod path;
mod plan;
mod plugin;
mod routes;
mod status;
mod tables;
mod trace;
mod uninstall;
mod validate;

use clap::{CommandFactory, FromArgMatches};
use clap_complete::CompleteEnv;
use cli::Cli;
use console::failure::{Exit, Failure};
use console::terminal;
use plugin::Called;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let called = Called::by(arguments.next());
    let result = match called {
        Called::Completion => plugin::print_completions(Cli::command(), arguments),
        Called::Beemesh | Called::Plugin => {
            CompleteEnv::with_factory(Cli::command).complete();
            // clap prints help and usage errors itself; usage errors exit 2.
            let matches = plugin::matches(called, Cli::command());
            let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
            cli.run()
        }
    };
    match result {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            report(&failure);
            failure.exit().into()
        }
    }
}

/// Prints `failure` to stderr, one `error:` line for each thing that is wrong.
fn report(failure: &Failure) {
    for line in failure.lines() {
        terminal::say(&format!("error: {line}"));
    }
}
