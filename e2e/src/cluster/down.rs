//! The end of a cluster, from whatever state, and the proof that nothing of it is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroups;
use super::layout::{Layout, cgroup};
use super::place::{Place, holders, is_alive};
use crate::{ensure, eventually};

const GONE: Duration = Duration::from_secs(20);

/// Ends all processes of the cluster in the folder `dir`, and removes all that is its own. Logs go to [`kept_logs`].
///
/// Works after a failed start too; no cluster is no failure.
///
/// # Errors
/// Something is left, with its name.
pub fn down(dir: &Path) -> Result<()> {
    let layout = Layout {
        root: dir.to_owned(),
    };
    for name in places(dir) {
        let place = Place {
            name,
            layout: layout.clone(),
        };
        place.power_off()?;
    }
    end_strays(dir)?;
    cgroups::remove_all(dir)?;
    keep_logs(&layout)?;
    remove(&layout).with_context(|| format!("failed to remove {}", dir.display()))?;
    // The kernel ends namespaces a moment after their last process.
    eventually("nothing of the cluster is left", GONE, || {
        let left = left_over(dir)?;
        ensure(left.is_empty(), || left.join("\n"))
    })
}

/// Ends each process 1 that no file of the cluster names, and with it all in its namespaces.
fn end_strays(dir: &Path) -> Result<()> {
    let strays = holders(dir);
    for &pid in &strays {
        // The process has just ended, as desired.
        let _ = kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL);
    }
    eventually("each process 1 has ended", GONE, || {
        let alive = strays.iter().find(|pid| is_alive(**pid));
        ensure(alive.is_none(), || format!("process {alive:?}"))
    })
}

/// Directory of the logs of the stopped cluster in `dir`, until the next one of that name is
/// stopped.
#[must_use]
pub fn kept_logs(dir: &Path) -> PathBuf {
    let name = dir.file_name().unwrap_or_default();
    artifacts().join("logs").join(name)
}

/// Directory of artifacts of stories and clusters.
pub(super) fn artifacts() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    target.unwrap_or(tree).join("e2e")
}

/// Nodes first: the switch is the last.
fn places(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("boot").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_by_key(|name| !name.starts_with('n'));
    names
}

fn keep_logs(layout: &Layout) -> Result<()> {
    let kept = kept_logs(&layout.root);
    if !layout.logs().exists() {
        return Ok(());
    }
    if kept.exists() {
        fs::remove_dir_all(&kept)?;
    }
    fs::create_dir_all(&kept)?;
    for entry in fs::read_dir(layout.logs())?.flatten() {
        fs::copy(entry.path(), kept.join(entry.file_name()))?;
    }
    Ok(())
}

/// Removes the directory. The file that marks a cluster goes last: after a partial removal it can still be taken down.
fn remove(layout: &Layout) -> std::io::Result<()> {
    let settings = layout.settings();
    if !layout.root.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(&layout.root)? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(&path)?;
        } else if path != settings {
            fs::remove_file(&path)?;
        }
    }
    fs::remove_dir_all(&layout.root)
}

/// All that names the cluster on this machine: processes, mounts, cgroups, files.
fn left_over(dir: &Path) -> Result<Vec<String>> {
    let path = dir.display().to_string();
    let own_cgroup = cgroup(dir);
    let mut left = Vec::new();
    if dir.exists() {
        left.push(format!("folder {path}"));
    }
    left.extend(
        cgroups::all(dir)?
            .iter()
            .map(|folder| format!("cgroup {}", folder.display())),
    );
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let own_mounts = mounts
        .lines()
        .filter(|line| line.contains(&format!("{path}/")));
    left.extend(own_mounts.map(|line| format!("mount {line}")));
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if is_alive(pid) && is_of(pid, &path, &own_cgroup) {
            left.push(format!("process {pid}"));
        }
    }
    Ok(left)
}

/// True for a process in the cluster's cgroups, or in a mount namespace with the cluster's
/// directory mounted.
fn is_of(pid: u32, path: &str, own_cgroup: &str) -> bool {
    let holds = |file: &str, text: &str| {
        let words = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        words.contains(text)
    };
    holds("cgroup", &format!("/{own_cgroup}/")) || holds("mountinfo", &format!("{path}/"))
}

/// True when there is a cluster in `dir`, running or not.
#[must_use]
pub fn exists(dir: &Path) -> bool {
    let root = dir.to_owned();
    Layout { root }.settings().exists()
}

/// Refuses a directory of another owner.
///
/// # Errors
/// When `dir` holds something, but no cluster.
pub fn check_is_cluster(dir: &Path) -> Result<()> {
    let is_empty = fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    if !is_empty && !exists(dir) {
        bail!("{} holds no cluster, and is left as it is", dir.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn clusters_that_share_the_stories_keep_their_logs_apart() {
        let kept = ["/var/tmp/stories", "/var/tmp/stories-2"].map(|dir| kept_logs(Path::new(dir)));
        assert_ne!(kept[0], kept[1]);
    }

    #[test]
    fn a_process_1_that_no_file_names_is_ended_and_others_are_not() -> Result<()> {
        let tree = tempfile::tempdir()?;
        let [dir, other] = ["two", "two-more"].map(|name| tree.path().join(name));
        let start = |dir: &Path| {
            let boot = dir.join("n1/boot");
            fs::create_dir_all(&boot)?;
            let script = boot.join("holder.sh");
            // Its input never ends while the test holds it.
            fs::write(&script, "read -r line")?;
            let mut command = Command::new("sh");
            command.arg(script).arg("n1").stdin(Stdio::piped());
            anyhow::Ok(command.spawn()?)
        };
        let (mut stray, mut neighbour) = (start(&dir)?, start(&other)?);
        let outcome = down(&dir);
        let ended = stray.try_wait()?.is_some();
        let is_left = neighbour.try_wait()?.is_none();
        for process in [&mut stray, &mut neighbour] {
            process.kill()?;
            process.wait()?;
        }
        outcome?;
        assert!(ended, "the stray goes on");
        assert!(is_left, "that of another folder was ended");
        assert!(!dir.exists());
        Ok(())
    }
}
