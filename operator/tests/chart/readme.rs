//! The chart's README.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::helm;

pub(crate) fn the_readme_is_made_from_the_values() -> Result<()> {
    let mut command = Command::new(e2e::tools::find("helm-docs")?);
    command
        .args(["--dry-run", "--log-level=error", "--chart-search-root"])
        .arg(helm::root().join("charts"));
    let made = helm::output(&mut command)?;
    let written = fs::read_to_string(helm::chart().join("README.md"))?;
    ensure!(
        made.trim() == written.trim(),
        "charts/beemesh/README.md is stale: make generate"
    );
    let bare = written.lines().find(|line| line.ends_with("|  |"));
    ensure!(bare.is_none(), "a value without a comment: {bare:?}");
    Ok(())
}
