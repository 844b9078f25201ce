//! Folders of running servers, and the sweep of those that a killed test left.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

const PREFIX: &str = "beemesh-e2e-";

/// A new folder that goes with its value. The process id is in its name, so that [`sweep`] knows whose it was.
pub(crate) fn create() -> Result<TempDir> {
    sweep();
    tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .tempdir()
        .context("failed to make a folder for the servers")
}

/// Removes directories of ended processes: those killed, and those that kept their server in a static.
fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        let Some(pid) = owner.and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        if !Path::new(&format!("/proc/{pid}")).exists() {
            // Somebody else's, or swept by another test at this moment.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
