//! One of the cluster's machines as the kernel sees it: a process that holds namespaces, and what runs in them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::layout::Layout;
use crate::kubectl::{Ran, run};
use crate::{ensure, eventually};

const HOLDER: &str = include_str!("holder.sh");
const STARTED: Duration = Duration::from_secs(20);

/// The control plane, the switch or a node.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) layout: Layout,
}

impl Place {
    /// Makes the namespaces and starts their process 1.
    pub(super) fn start(&self) -> Result<()> {
        let (state, boot) = (self.layout.state(&self.name), self.layout.boot(&self.name));
        fs::create_dir_all(&state)?;
        fs::create_dir_all(&boot)?;
        fs::create_dir_all(self.layout.logs())?;
        let script = boot.join("holder.sh");
        fs::write(&script, HOLDER)?;
        let log = File::create(self.layout.log(&self.name, "holder"))?;
        let mut command = Command::new("unshare");
        command
            .args(["--net", "--mount", "--uts", "--ipc", "--pid", "--fork"])
            .args(["sh".as_ref(), script.as_os_str()])
            .args([self.name.as_ref(), state.as_os_str(), boot.as_os_str()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let mut outer = command.spawn().context("failed to run unshare")?;
        let pid = outer.id();
        let holder = eventually("process 1 has made its mounts", STARTED, || {
            if let Some(status) = outer.try_wait()? {
                return Ok(Err(status));
            }
            ensure(boot.join("ready").exists(), || "not yet".to_owned())?;
            child_of(pid).map(Ok).context("it has no process")
        })?;
        match holder {
            Ok(holder) => fs::write(self.pid_file(), holder.to_string())?,
            Err(status) => bail!("process 1 of {}: {status}: {}", self.name, self.words()),
        }
        // It outlives this program; while this program lives, it leaves no zombie.
        std::thread::spawn(move || outer.wait());
        Ok(())
    }

    /// The process id of its process 1, as the machine counts. `None` when it does not run.
    pub(super) fn holder(&self) -> Option<u32> {
        let pid: u32 = fs::read_to_string(self.pid_file()).ok()?.parse().ok()?;
        // A number may have gone to another process since.
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let script = self.layout.boot(&self.name).join("holder.sh");
        line.contains(script.to_str()?).then_some(pid)
    }

    /// A command that runs in its network namespace, with the machine's files.
    pub(super) fn in_network(&self) -> Result<Command> {
        let pid = self.running()?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{pid}/ns/net")).arg("--");
        Ok(command)
    }

    /// A command that runs in all its namespaces, and says numbers and words as they are read here.
    pub(super) fn inside(&self) -> Result<Command> {
        let pid = self.running()?;
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &pid.to_string(), "--wd=/"])
            .args(["--net", "--mount", "--uts", "--ipc", "--pid", "--"])
            .current_dir("/")
            .env("LC_ALL", "C");
        Ok(command)
    }

    /// Runs `script` (sh) in all its namespaces.
    pub(super) fn shell(&self, script: &str) -> Result<Ran> {
        let mut command = self.inside()?;
        command.args(["sh", "-c", script]);
        run(command, "")
    }

    /// Starts a program that goes on by itself; its words are appended to its log.
    pub(super) fn launch(&self, program: &str, line: &[String], path: &str) -> Result<()> {
        let script = "name=$1 log=$2 file=$3; shift 3; setsid \"$@\" </dev/null >>\"$log\" 2>&1 & echo $! >\"$file\"";
        let mut command = self.inside()?;
        command
            .args(["sh", "-c", script, "sh", program])
            .arg(self.layout.log(&self.name, program))
            .arg(self.program_file(program))
            .args(line)
            .env("PATH", path);
        run(command, "")?.ok().map(drop)
    }

    /// SIGKILL to a program that [`Place::launch`] has started, and waits for its end.
    pub(super) fn kill(&self, program: &str) -> Result<()> {
        let file = self.program_file(program);
        let Ok(pid) = fs::read_to_string(&file) else {
            return Ok(());
        };
        // Its number counts in its own namespace; a zombie has ended.
        let script = "kill -9 \"$1\" 2>/dev/null; while [ -d /proc/$1 ] && ! grep -q '^State:.Z' /proc/$1/status 2>/dev/null; \
                      do sleep 0.02; done";
        let mut command = self.inside()?;
        command.args(["sh", "-c", script, "sh", pid.trim()]);
        run(command, "")?;
        Ok(fs::remove_file(file)?)
    }

    /// Ends all of it at once, as when the power goes: what runs in its namespaces dies with process 1.
    pub(super) fn power_off(&self) -> Result<()> {
        let Some(holder) = self.holder() else {
            return Ok(());
        };
        let pids = self.pids();
        kill(Pid::from_raw(i32::try_from(holder)?), Signal::SIGKILL)?;
        eventually("all processes have ended", STARTED, || {
            let alive = pids.iter().find(|pid| is_alive(**pid));
            ensure(alive.is_none(), || {
                format!("process {alive:?} of {}", self.name)
            })
        })
    }

    /// All processes in its namespaces, containers' too, as the machine counts.
    pub(super) fn pids(&self) -> Vec<u32> {
        let link = |pid: u32, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
        let Some(holder) = self.holder() else {
            return Vec::new();
        };
        let tree = descendants();
        let own = link(holder, "pid");
        let mut found: Vec<u32> = all_pids().filter(|&pid| link(pid, "pid") == own).collect();
        // Containers have PID namespaces of their own, and a parent in ours.
        let mut next = 0;
        while next < found.len() {
            let parent = found[next];
            for &(pid, of) in &tree {
                if of == parent && !found.contains(&pid) {
                    found.push(pid);
                }
            }
            next += 1;
        }
        found
    }

    /// Output of its process 1.
    fn words(&self) -> String {
        fs::read_to_string(self.layout.log(&self.name, "holder")).unwrap_or_default()
    }

    fn running(&self) -> Result<u32> {
        self.holder()
            .with_context(|| format!("{} does not run", self.name))
    }

    fn pid_file(&self) -> PathBuf {
        self.layout.boot(&self.name).join("holder.pid")
    }

    fn program_file(&self, program: &str) -> PathBuf {
        self.layout.boot(&self.name).join(format!("{program}.pid"))
    }
}

/// Each process 1 of the cluster in `dir`, also one that no file names because its runner was killed while it started.
pub(super) fn holders(dir: &Path) -> Vec<u32> {
    let is_holder = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        let (program, script) = (words.next(), words.next().unwrap_or_default());
        let script = Path::new(OsStr::from_bytes(script));
        // Others may name the file: an editor, the `unshare` that waits for it.
        program == Some(b"sh") && script.starts_with(dir) && script.ends_with("boot/holder.sh")
    };
    all_pids().filter(is_holder).collect()
}

fn all_pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Pairs of process and parent.
fn descendants() -> Vec<(u32, u32)> {
    all_pids()
        .filter_map(|pid| Some((pid, stat(pid)?.1)))
        .collect()
}

fn child_of(parent: u32) -> Option<u32> {
    all_pids().find(|&pid| stat(pid).is_some_and(|(_, of)| of == parent))
}

/// State and parent.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Orphans stay zombies until their exit status is read: those are dead.
pub(super) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}
