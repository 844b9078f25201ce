//! Children that die with us, and whose words are kept.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, mpsc};
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

type Answer = io::Result<Child>;
type Order = (Command, mpsc::Sender<Answer>);

/// Linux kills such children when the *thread* that started them ends, and tests end their threads:
/// one thread that never ends starts them all.
static SPAWNER: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for (mut command, answer) in inbox {
            // The caller may be gone: then the child is not needed.
            let _ = answer.send(command.spawn());
        }
    });
    Mutex::new(orders)
});

/// A child process with its log file. Killed when dropped, and by the kernel when this process ends.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Running {
    /// Starts `command` with both outputs appended to `log`.
    pub(crate) fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let die_with_us = || Ok(prctl::set_pdeathsig(Signal::SIGKILL)?);
        // SAFETY: after fork and before exec only a system call that is safe there (prctl) is made.
        unsafe { command.pre_exec(die_with_us) };
        let (answer, inbox) = mpsc::channel();
        let orders = SPAWNER
            .lock()
            .map_err(|_| anyhow!("the spawner panicked"))?
            .clone();
        orders
            .send((command, answer))
            .context("the spawner is gone")?;
        let child = inbox.recv().context("the spawner is gone")?;
        let child = child.with_context(|| format!("failed to start {name}"))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            log: log.to_owned(),
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `Err` with the end of the log when the process has ended.
    pub(crate) fn ensure_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(anyhow!(
                "{} ended: {status}\n{}",
                self.name,
                self.log_tail()
            )),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid())?);
        kill(pid, signal).with_context(|| format!("failed to send {signal} to {}", self.name))
    }

    /// Kills it (SIGKILL) and waits for its end. An ended process is no failure.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(())
    }

    /// The exit status once it has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// All that it has written so far.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last 25 lines that it has written.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A stopped (SIGSTOP) process dies of SIGKILL as well.
        let _ = self.kill();
    }
}

/// True when a signal ended the process, not the program itself.
pub(crate) fn was_killed(status: ExitStatus) -> bool {
    status.signal().is_some()
}
