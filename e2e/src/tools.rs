//! Lookup of programs: the user's `KUBEBUILDER_ASSETS`, or the cache that `e2e/tools/fill` builds.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

/// Results of [`find`]: kubectl is looked up hundreds of times.
static FOUND: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

/// Without these there is no API server.
const SERVERS: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];

/// The sentence that says what to install before a real API server can be started; `None` when one can.
///
/// Looks only: builds nothing.
pub fn needs_servers() -> Option<String> {
    needs(&SERVERS)
}

/// Like [`needs_servers`], for the programs in `names` (`helm`, `promcheck`, ...).
pub fn needs(names: &[&str]) -> Option<String> {
    let missing: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| in_assets(name).is_none())
        .collect();
    if missing.is_empty() {
        return None;
    }
    let checked = Command::new(filler()).arg("--check").output();
    let reason = match checked {
        Ok(output) if output.status.success() => return None,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    let missing = missing.join(", ");
    Some(format!(
        "needs {missing}: install Go 1.26 (https://go.dev/dl), which builds them once, or name a folder that has them \
         in KUBEBUILDER_ASSETS ({reason})"
    ))
}

/// The path of the program `name`, built first when it is not there.
///
/// # Errors
/// When it is in no folder and cannot be built.
pub fn find(name: &str) -> Result<PathBuf> {
    find_of(name, None)
}

/// Like [`find`]; the programs of Kubernetes itself are those of its minor version `minor`, such as `1.35`.
///
/// # Errors
/// When it is in no folder and cannot be built.
pub fn find_of(name: &str, minor: Option<&str>) -> Result<PathBuf> {
    let key = format!("{name} {}", minor.unwrap_or_default());
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = found.get(&key) {
        return Ok(path.clone());
    }
    let path = match in_assets(name) {
        Some(path) if minor.is_none() => path,
        _ => fill(name, minor)?,
    };
    found.insert(key, path.clone());
    Ok(path)
}

fn fill(name: &str, minor: Option<&str>) -> Result<PathBuf> {
    let mut command = Command::new(filler());
    command.arg(name);
    if let Some(minor) = minor {
        command.env("BEEMESH_KUBERNETES", minor);
    }
    let output = command.output();
    let output = output.context("failed to run e2e/tools/fill")?;
    if !output.status.success() {
        bail!(
            "failed to build {name}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let folder = String::from_utf8(output.stdout).context("e2e/tools/fill prints no path")?;
    Ok(Path::new(folder.trim_end()).join(name))
}

fn in_assets(name: &str) -> Option<PathBuf> {
    let path = Path::new(&env::var_os("KUBEBUILDER_ASSETS")?).join(name);
    path.is_file().then_some(path)
}

fn filler() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/fill")
}
