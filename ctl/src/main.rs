//! The `beemesh` command: offline verbs that read a topology and say what it means, and the lab
//! that makes it real on this machine.
//!
//! Knows: arguments, files, formats, pictures, exit codes. Refuses to know: how shortest paths
//! are found (`topology`), what a valid declaration is (`crds`), how a kernel is programmed
//! (`node`, `dataplane`).
//!
//! ```text
//! file -> input -> crds::read -> lint -> topology::Topology -> verb -> output -> stdout
//!                      \_ problems -> stderr, exit 2                 table|json|yaml|dot|svg
//! ```

mod cli;
mod cluster;
mod completion;
mod drain;
mod draw;
mod failure;
mod generate;
mod graph;
mod input;
mod lab;
mod lint;
mod nearest;
mod output;
mod plan;
mod probe;
mod progress;
mod routes;
mod status;
mod tables;
mod validate;

use clap::Parser;
use failure::{Exit, Failure};
use std::process::ExitCode;

fn main() -> ExitCode {
    // clap prints help and usage errors itself; usage errors exit 2.
    let cli = cli::Cli::parse();
    match cli.run() {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            report(&failure);
            failure.exit().into()
        }
    }
}

/// Prints `failure` to stderr, one `error:` line for each thing that is wrong.
fn report(failure: &Failure) {
    use std::io::Write;
    for line in failure.lines() {
        // A closed stderr leaves the exit code to tell.
        let _ = writeln!(std::io::stderr(), "error: {line}");
    }
}

/// Tells something on stderr that is neither a result nor a failure.
fn note(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "note: {text}");
}
