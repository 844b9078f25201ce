//! The operator on a real API server.

mod cluster;
mod first;

use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Trial, run};

type Test = fn() -> Result<()>;

fn main() -> ExitCode {
    let missing = e2e::needs_servers();
    e2e::tell(missing.as_deref());
    let tests: Vec<(&str, Test)> = vec![("a_topology_is_computed", first::a_topology_is_computed)];
    let trials = tests
        .into_iter()
        .map(|(name, test)| e2e::trial(name, missing.as_deref(), test));
    let trials: Vec<Trial> = trials.collect();
    run(&Arguments::from_args(), trials).exit_code()
}
