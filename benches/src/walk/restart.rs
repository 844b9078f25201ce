//! Daemons of a lab, ended and started again as they were: `lab up` itself needs an inotify instance.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use dataplane::netns::Netns;
use e2e::eventually;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{lab::Lab, memory};

const LIMIT: Duration = Duration::from_secs(20);

/// Daemons that were ended, ready to start.
pub(crate) struct Stopped(Vec<(Netns, Command)>);

/// Daemons that were started again; they end with the value.
pub(crate) struct Restarted(Vec<Child>);

impl Stopped {
    /// Ends each daemon of the lab.
    ///
    /// # Errors
    /// When there is none, or one goes on.
    pub(crate) fn all(beemesh: &Path, lab: &Lab) -> Result<Self> {
        let processes = memory::processes_of_lab(beemesh, &lab.topology)?;
        ensure!(!processes.is_empty(), "the lab has no daemon");
        let stopped = processes.iter().map(|process| stop(process, beemesh));
        Ok(Self(stopped.collect::<Result<_>>()?))
    }

    /// Starts them anew, with their arguments, in their namespaces.
    ///
    /// # Errors
    /// When one does not start.
    pub(crate) fn start(self) -> Result<Restarted> {
        let mut restarted = Restarted(vec![]);
        for (netns, mut command) in self.0 {
            restarted.0.push(netns.run(|| command.spawn())??);
        }
        Ok(restarted)
    }
}

impl Restarted {
    /// Fails when one of them has found an inotify instance.
    ///
    /// # Errors
    /// With the number of instances.
    pub(crate) fn have_no_inotify(&self) -> Result<()> {
        let mut found = 0;
        for daemon in &self.0 {
            for file in fs::read_dir(format!("/proc/{}/fd", daemon.id()))? {
                let target = fs::read_link(file?.path()).unwrap_or_default();
                found += usize::from(target == Path::new("anon_inode:inotify"));
            }
        }
        ensure!(found == 0, "the daemons have {found} inotify instances");
        Ok(())
    }
}

fn stop(process: &Path, beemesh: &Path) -> Result<(Netns, Command)> {
    let arguments = fs::read_to_string(process.join("cmdline"))?;
    let arguments = arguments.split_terminator('\0').skip(1);
    let netns = Netns::open_path(&process.join("ns/net"))?;
    // The log goes on.
    let log = File::options().append(true).open(process.join("fd/2"))?;
    let pid = process
        .file_name()
        .and_then(|pid| pid.to_str()?.parse().ok());
    kill(Pid::from_raw(pid.context("no process")?), Signal::SIGTERM)?;
    eventually("the daemon has ended", LIMIT, || {
        ensure!(!process.exists(), "it goes on");
        Ok(())
    })?;
    let mut command = Command::new(beemesh);
    command.arg0("beemesh").args(arguments).current_dir("/");
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok((netns, command))
}

impl Drop for Restarted {
    fn drop(&mut self) {
        for daemon in &mut self.0 {
            // It may have ended by itself.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}
