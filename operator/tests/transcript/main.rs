//! docs/kubectl.md is a session on a real API server with a real operator: what it shows is what happens.
//!
//! Its `console` blocks are run in order, each `$` line as a shell command; what they print must be what is
//! written, but for times and what the server makes up. `UPDATE_GOLDEN=1` writes what they print.

mod blocks;
mod normal;
mod stage;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, run};

use crate::{blocks::Part, normal::normal, stage::Stage};

fn main() -> ExitCode {
    let missing = e2e::needs_servers();
    e2e::tell(missing.as_deref());
    let trial = e2e::trial("the_session_in_docs_is_real", missing.as_deref(), session);
    run(&Arguments::from_args(), vec![trial]).exit_code()
}

fn session() -> Result<()> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/kubectl.md"));
    let written = fs::read_to_string(&path).context("docs/kubectl.md")?;
    let mut parts = blocks::parse(&written);
    let stage = Stage::set()?;
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut differences = Vec::new();
    for part in &mut parts {
        let Part::Command { command, output } = part else {
            continue;
        };
        let accepted = |printed: &str| !is_update && normal(printed) == normal(output);
        let printed = stage.run(command, accepted)?;
        if normal(&printed) != normal(output) {
            differences.push(format!("$ {command}\n{}", difference(output, &printed)));
            *output = printed;
        }
    }
    if is_update {
        return Ok(fs::write(path, blocks::print(&parts))?);
    }
    ensure!(
        differences.is_empty(),
        "docs/kubectl.md is not what happens (UPDATE_GOLDEN=1 writes it anew):\n{}\noperator:\n{}",
        differences.join("\n\n"),
        stage.last_words()
    );
    Ok(())
}

/// Both texts in the form in which they were compared.
fn difference(written: &str, printed: &str) -> String {
    format!(
        "written:\n{}\nprinted:\n{}",
        normal(written),
        normal(printed)
    )
}
