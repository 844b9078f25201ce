//! Folders of cgroups that the kubelets' trees hang below.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::layout::cgroup;

const MOUNTED: &str = "/sys/fs/cgroup";

/// Makes the folder of the node `name` in every hierarchy.
pub(super) fn create(root: &Path, name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let own = hierarchy.join(cgroup(root));
        fs::create_dir_all(&own)?;
        if own.join("cpuset.cpus").exists() {
            // A cpuset with no processor takes no process; children copy ours.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(own.join(file), fs::read(hierarchy.join(file))?)?;
            }
            fs::write(own.join("cgroup.clone_children"), "1")?;
        }
        fs::create_dir_all(own.join(name))?;
    }
    Ok(())
}

/// Removes what is left below the folder of the node `name`, whose processes have ended.
pub(super) fn remove_node(root: &Path, name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        remove(&hierarchy.join(cgroup(root)).join(name))?;
    }
    Ok(())
}

/// Removes all folders of the cluster.
pub(super) fn remove_all(root: &Path) -> Result<()> {
    for hierarchy in hierarchies()? {
        remove(&hierarchy.join(cgroup(root)))?;
    }
    Ok(())
}

/// All folders of the cluster.
pub(super) fn all(root: &Path) -> Result<Vec<PathBuf>> {
    let own = hierarchies()?.into_iter().map(|h| h.join(cgroup(root)));
    Ok(own.filter(|path| path.exists()).collect())
}

/// Only folders go, deepest first: files of a cgroup go with it.
fn remove(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(folder).with_context(|| format!("failed to remove {}", folder.display()))
}

fn hierarchies() -> Result<Vec<PathBuf>> {
    if Path::new(MOUNTED).join("cgroup.controllers").exists() {
        return Ok(vec![PathBuf::from(MOUNTED)]);
    }
    // Some are links to others.
    let entries = fs::read_dir(MOUNTED)?.flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(folders.map(|entry| entry.path()).collect())
}
