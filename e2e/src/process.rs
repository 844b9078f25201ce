//! A program under test, such as the operator, run against a server.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::spawn::{Running, was_killed};
use crate::{cpu_seconds, eventually, peak_bytes, resident_bytes};

/// A running program whose log is kept. Killed when dropped, and by the kernel when the test ends.
#[derive(Debug)]
pub struct Process {
    program: PathBuf,
    arguments: Vec<String>,
    kubeconfig: PathBuf,
    log: PathBuf,
    name: String,
    running: Running,
}

impl Process {
    /// Starts `program` with `arguments` and `KUBECONFIG`; its log is `folder`/`name`.log.
    ///
    /// `program` is usually `env!("CARGO_BIN_EXE_...")`, the folder [`crate::ApiServer::folder`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        program: impl AsRef<Path>,
        name: &str,
        arguments: &[&str],
        kubeconfig: &Path,
        folder: &Path,
    ) -> Result<Self> {
        let program = program.as_ref().to_owned();
        let arguments: Vec<String> = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        let log = folder.join(format!("{name}.log"));
        let running = launch(&program, name, &arguments, kubeconfig, &log)?;
        let (kubeconfig, name) = (kubeconfig.to_owned(), name.to_owned());
        Ok(Self {
            program,
            arguments,
            kubeconfig,
            log,
            name,
            running,
        })
    }

    /// Its process id; another one after [`Process::restart`].
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// `Err` with the end of its log when it has ended.
    ///
    /// # Errors
    /// When it has ended.
    pub fn ensure_alive(&mut self) -> Result<()> {
        self.running.ensure_alive()
    }

    /// SIGKILL, and waits for its end.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.running.kill()
    }

    /// SIGTERM, and waits for its end within `deadline`; the exit status.
    ///
    /// # Errors
    /// When it goes on, or was ended by a signal that it should have handled.
    pub fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.running.signal(Signal::SIGTERM)?;
        let running = &mut self.running;
        let status = eventually("the process has ended", deadline, || {
            running.ended()?.context("it runs on after SIGTERM")
        })?;
        crate::ensure(!was_killed(status), || format!("{}: {status}", self.name))?;
        Ok(status)
    }

    /// Freezes it (SIGSTOP), as a starved or suspended machine would.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> Result<()> {
        self.running.signal(Signal::SIGSTOP)
    }

    /// Thaws it (SIGCONT).
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&self) -> Result<()> {
        self.running.signal(Signal::SIGCONT)
    }

    /// Kills it if it runs and starts it again with the same command line; the log goes on.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        self.running.kill()?;
        self.running = launch(
            &self.program,
            &self.name,
            &self.arguments,
            &self.kubeconfig,
            &self.log,
        )?;
        Ok(())
    }

    /// All that it has written so far, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        self.running.log()
    }

    /// Its resident memory in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident_bytes(&self) -> Result<u64> {
        resident_bytes(self.pid())
    }

    /// The most resident memory that it has had since its last start, in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn peak_bytes(&self) -> Result<u64> {
        peak_bytes(self.pid())
    }

    /// The processor seconds that it has used since its last start.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.pid())
    }
}

fn launch(
    program: &Path,
    name: &str,
    arguments: &[String],
    kubeconfig: &Path,
    log: &Path,
) -> Result<Running> {
    let mut command = Command::new(program);
    command.args(arguments).env("KUBECONFIG", kubeconfig);
    Running::start(name, command, log)
}
