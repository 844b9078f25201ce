//! Installation of the CNI plugin in the runtime's directories, and its supervision.
//!
//! Knows: the runtime's directories, the order of configurations, chaining. Refuses to know: pods,
//! topologies, Kubernetes. Foreign files are read and never written.
//!
//! ```text
//! conf dir, bin dir -- observe --> Seen -- plan (pure) --> Plan -- apply --> program, then list
//!      ^ inotify, timer        mode, readiness --^           '--> Report --> log, probe, metrics
//! ```
//! The conflist is written last, only while the daemon can answer, and stays when the daemon ends:
//! the plugin then answers "try again later", which no runtime takes as success.

use ::telemetry::chain;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

pub mod conflist;
pub mod files;
pub mod node_lifecycle;
pub mod node_object;
mod pace;
pub mod plan;
pub mod uninstall;

pub use files::Places;
pub use plan::{Report, Wanted};

use crate::Config;
pub use crate::config::InstallCni as Mode;
use crate::error::Error;
use crate::host::file_watch::Watch;
use pace::Pace;
use plan::{Conflist, Plan};

/// Interval between two checks without a file event.
const LOOK: Duration = Duration::from_secs(30);
/// Debounce time: files that are written in place need a moment.
const SETTLE: Duration = Duration::from_millis(100);

/// Pause before a retry.
const RETRY: Duration = Duration::from_secs(5);

/// Supervisor of the installation.
#[derive(Debug)]
pub struct Installer {
    mode: Mode,
    places: Places,
    entry: serde_json::Value,
    /// Held during disk I/O. Lock order: before `told`.
    work: Mutex<Work>,
    /// Held briefly, without I/O.
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Work {
    pace: Pace,
    /// True when the directories exist and are free of a killed daemon's temporary files.
    is_prepared: bool,
}

/// State that is published to probes, metrics and log.
#[derive(Debug)]
struct Told {
    report: Report,
    /// Number of writes and removals.
    writes: u64,
    /// True after a withdrawal.
    is_over: bool,
}

impl Installer {
    /// Installer in its initial state. `entry` is our plugin's entry in a conflist.
    pub fn new(mode: Mode, places: Places, entry: serde_json::Value) -> Installer {
        let report = Report {
            missing: (mode != Mode::None).then(|| "not checked yet".to_owned()),
            ..Report::default()
        };
        let told = Told {
            report,
            writes: 0,
            is_over: false,
        };
        Installer {
            mode,
            places,
            entry,
            work: Mutex::default(),
            told: Mutex::new(told),
        }
    }

    /// Installer for the settings in `config`.
    pub fn of(config: &Config) -> Installer {
        let places = Places {
            conf_dir: config.cni_conf_dir.clone(),
            bin_dir: config.cni_bin_dir.clone(),
            program: program(),
        };
        let entry = conflist::entry(&config.socket, &config.state_dir);
        Installer::new(config.install_cni, places, entry)
    }

    /// Current report, without disk I/O.
    pub fn report(&self) -> Report {
        self.told().report.clone()
    }

    /// Installation mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Directories of the runtime.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Number of writes and removals.
    pub fn writes(&self) -> u64 {
        self.told().writes
    }

    /// Observes and repairs the installation. Returns the pause before a repair that has to wait.
    ///
    /// # Errors
    /// [`Error::File`]: transient, retry.
    pub fn step(&self, is_ready: bool, now: Instant) -> Result<Option<Duration>, Error> {
        let mut work = self.work();
        if self.told().is_over || self.mode == Mode::None {
            return Ok(None);
        }
        let result = self.step_with(&mut work, is_ready, now);
        if let Err(error) = &result {
            let mut report = self.report();
            report.missing = Some(chain(error));
            self.told().tell(report);
        }
        result
    }

    fn step_with(
        &self,
        work: &mut Work,
        is_ready: bool,
        now: Instant,
    ) -> Result<Option<Duration>, Error> {
        if !work.is_prepared {
            self.places.prepare()?;
            work.is_prepared = true;
        }
        let seen = self.places.observe()?;
        let wanted = Wanted {
            mode: self.mode,
            is_ready,
            entry: self.entry.clone(),
        };
        let mut plan = plan::plan(&seen, &wanted);
        let wait = work.pace.wait(&plan.conflist, now);
        if wait.is_some() {
            plan.conflist = Conflist::Keep;
        }
        self.places.apply(&plan)?;
        work.pace.done(&plan.conflist, now);
        if wait.is_some() && plan.report.displaced.is_none() {
            plan.report.displaced = Some("another program keeps changing our conflist".to_owned());
        }
        let mut told = self.told();
        told.writes += writes(&plan);
        told.tell(plan.report);
        Ok(wait)
    }

    /// Ends the supervision and removes our conflist, so that no new pod is attached. May be called
    /// again.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn withdraw(&self) -> Result<(), Error> {
        // A running step ends before.
        let _work = self.work();
        self.told().is_over = true;
        match self.mode {
            Mode::None => return Ok(()),
            Mode::Binary | Mode::Chained => self.places.remove_conflist()?,
        }
        self.told().report.missing = Some("uninstalled".to_owned());
        Ok(())
    }

    /// Checks at once, then at each change, until the withdrawal.
    pub async fn keep(self: Arc<Self>, mut ready: watch::Receiver<bool>) {
        if self.mode == Mode::None {
            return;
        }
        let changed = Arc::new(Notify::new());
        let mut watch = None;
        loop {
            // Before the check, so that a later change raises an event.
            self.renew(&mut watch, &changed);
            let is_ready = *ready.borrow_and_update();
            let installer = Arc::clone(&self);
            let step = move || installer.step(is_ready, Instant::now());
            // The panic is logged by the runtime's hook; the next check retries.
            let result = tokio::task::spawn_blocking(step).await;
            let wait = match result {
                Ok(Ok(wait)) => wait.unwrap_or(LOOK),
                Ok(Err(_)) | Err(_) => RETRY,
            };
            if self.told().is_over {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = changed.notified() => tokio::time::sleep(SETTLE).await,
                Ok(()) = ready.changed() => {}
            }
        }
    }

    /// Watches the directories, again where one was removed and recreated.
    fn renew(&self, watch: &mut Option<Watch>, changed: &Arc<Notify>) {
        if let Some(watch) = watch {
            watch.renew();
            return;
        }
        let directories: Vec<PathBuf> = [&self.places.conf_dir, &self.places.bin_dir]
            .map(Clone::clone)
            .into();
        let changed = Arc::clone(changed);
        match Watch::start(directories, move |_| changed.notify_one()) {
            Ok(started) => *watch = Some(started),
            Err(error) => tracing::debug!(error = chain(&error), "CNI directories not watched"),
        }
    }

    // Every change leaves the values whole, so a panic of another thread does not corrupt them.

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Number of changes in a plan.
fn writes(plan: &Plan) -> u64 {
    u64::from(plan.writes_binary) + u64::from(plan.conflist != Conflist::Keep)
}

impl Told {
    /// Logs changes of the report once.
    fn tell(&mut self, report: Report) {
        let before = std::mem::replace(&mut self.report, report);
        let after = &self.report;
        let all = [
            (
                "the plugin is not installed",
                &before.missing,
                &after.missing,
            ),
            (
                "the plugin is displaced",
                &before.displaced,
                &after.displaced,
            ),
            (
                "the primary CNI configuration is wrong",
                &before.primary,
                &after.primary,
            ),
        ];
        for (what, before, after) in all {
            match after {
                Some(reason) if before.as_ref() != Some(reason) => tracing::warn!(reason, "{what}"),
                None if before.is_some() => tracing::info!("resolved: {what}"),
                Some(_) | None => {}
            }
        }
    }
}

/// Plugin binary of this version: beside the daemon's own, or at `BEEMESH_CNI`.
fn program() -> PathBuf {
    let named = std::env::var_os("BEEMESH_CNI").map(PathBuf::from);
    named.unwrap_or_else(|| {
        let own = std::env::current_exe().unwrap_or_default();
        own.with_file_name(conflist::PLUGIN)
    })
}

#[cfg(test)]
mod tests;
