//! Folders of cgroups that the kubelets' trees hang below.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::layout::cgroup;

const MOUNTED: &str = "/sys/fs/cgroup";
/// Only hierarchies of version 2 have it.
const CONTROLLERS: &str = "cgroup.controllers";

/// Makes the folder of the node `name` in every hierarchy.
pub(super) fn create(root: &Path, name: &str) -> Result<()> {
    create_in(Path::new(MOUNTED), root, name)
}

fn create_in(mounted: &Path, root: &Path, name: &str) -> Result<()> {
    for hierarchy in hierarchies(mounted)? {
        let own = hierarchy.join(cgroup(root));
        fs::create_dir_all(&own)?;
        for (file, words) in settings(&hierarchy, &own)? {
            fs::write(&file, &words)
                .with_context(|| format!("failed to write {words:?} to {}", file.display()))?;
        }
        fs::create_dir_all(own.join(name))?;
    }
    Ok(())
}

/// Cgroup files and their values, in order, written before nodes' directories are created in `own`,
/// which is directly below `hierarchy`.
fn settings(hierarchy: &Path, own: &Path) -> Result<Vec<(PathBuf, String)>> {
    let read = |file: &str| {
        let file = hierarchy.join(file);
        fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))
    };
    if hierarchy.join(CONTROLLERS).exists() {
        // Version 2: a folder has what all above it hand down, and a kubelet without its controllers ends.
        let controllers = read(CONTROLLERS)?;
        let handed = [hierarchy, own].into_iter().flat_map(|folder| {
            let file = folder.join("cgroup.subtree_control");
            let names = controllers.split_whitespace();
            names.map(move |name| (file.clone(), format!("+{name}")))
        });
        return Ok(handed.collect());
    }
    if !own.join("cpuset.cpus").exists() {
        return Ok(Vec::new());
    }
    // A cpuset with no processor takes no process; children copy ours.
    let copied = ["cpuset.cpus", "cpuset.mems"].map(|file| Ok((own.join(file), read(file)?)));
    let inherited = Ok((own.join("cgroup.clone_children"), "1".to_owned()));
    copied.into_iter().chain([inherited]).collect()
}

/// Removes what is left below the folder of the node `name`, whose processes have ended.
pub(super) fn remove_node(root: &Path, name: &str) -> Result<()> {
    for hierarchy in hierarchies(Path::new(MOUNTED))? {
        remove(&hierarchy.join(cgroup(root)).join(name))?;
    }
    Ok(())
}

/// Removes all folders of the cluster.
pub(super) fn remove_all(root: &Path) -> Result<()> {
    for hierarchy in hierarchies(Path::new(MOUNTED))? {
        remove(&hierarchy.join(cgroup(root)))?;
    }
    Ok(())
}

/// All folders of the cluster.
pub(super) fn all(root: &Path) -> Result<Vec<PathBuf>> {
    let hierarchies = hierarchies(Path::new(MOUNTED))?;
    let own = hierarchies.into_iter().map(|h| h.join(cgroup(root)));
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

fn hierarchies(mounted: &Path) -> Result<Vec<PathBuf>> {
    if mounted.join(CONTROLLERS).exists() {
        return Ok(vec![mounted.to_owned()]);
    }
    // Some are links to others.
    let entries = fs::read_dir(mounted)?.flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(folders.map(|entry| entry.path()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "/var/tmp/made-up";

    /// A folder of `mounted` with `files` in it, as the kernel would make them.
    fn folder(mounted: &Path, name: &str, files: &[(&str, &str)]) -> Result<PathBuf> {
        let folder = mounted.join(name);
        fs::create_dir_all(&folder)?;
        for (file, words) in files {
            fs::write(folder.join(file), words)?;
        }
        Ok(folder)
    }

    #[test]
    fn version_2_alone_hands_all_controllers_down_to_nodes() -> Result<()> {
        let tree = tempfile::tempdir()?;
        let mounted = folder(
            tree.path(),
            "cgroup",
            &[("cgroup.controllers", "cpuset cpu memory\n")],
        )?;
        let control = mounted.join("cgroup.subtree_control");
        // Where a parent cgroup delegates cpuset, the kernel creates these; the root has none to copy from.
        let own = folder(
            &mounted,
            &cgroup(Path::new(ROOT)),
            &[("cpuset.cpus", ""), ("cpuset.mems", "")],
        )?;
        let handed = own.join("cgroup.subtree_control");
        let words = ["+cpuset", "+cpu", "+memory"];
        let both = [&control, &handed]
            .into_iter()
            .flat_map(|file| words.map(|word| (file.clone(), word.to_owned())));
        assert_eq!(settings(&mounted, &own)?, both.collect::<Vec<_>>());

        create_in(&mounted, Path::new(ROOT), "n1")?;
        assert!(own.join("n1").is_dir());
        for file in [control, handed] {
            assert_eq!(fs::read_to_string(file)?, "+memory", "the last of them");
        }
        assert!(!own.join("cgroup.clone_children").exists());
        Ok(())
    }

    #[test]
    fn version_1_copies_processors_and_leaves_other_hierarchies_alone() -> Result<()> {
        let tree = tempfile::tempdir()?;
        let own_name = cgroup(Path::new(ROOT));
        let cpuset = folder(
            tree.path(),
            "cpuset",
            &[("cpuset.cpus", "0-1\n"), ("cpuset.mems", "0\n")],
        )?;
        let own = folder(
            &cpuset,
            &own_name,
            &[("cpuset.cpus", ""), ("cpuset.mems", "")],
        )?;
        let memory = folder(tree.path(), "memory", &[])?;
        create_in(tree.path(), Path::new(ROOT), "n1")?;
        for (file, words) in [
            ("cpuset.cpus", "0-1\n"),
            ("cpuset.mems", "0\n"),
            ("cgroup.clone_children", "1"),
        ] {
            assert_eq!(fs::read_to_string(own.join(file))?, words, "{file}");
        }
        assert!(own.join("n1").is_dir());
        assert_eq!(settings(&memory, &memory.join(&own_name))?, Vec::new());
        assert!(memory.join(&own_name).join("n1").is_dir());
        Ok(())
    }
}
