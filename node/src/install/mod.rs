//! Puts the CNI plugin where the runtime finds it, and keeps it there.
//!
//! Knows: the runtime's directories, which configuration comes first, what becomes of it. Refuses to
//! know: pods, topologies, Kubernetes. Files of others are read and never written.
//!
//! ```text
//! conf dir, bin dir -- observe --> Seen -- plan (pure) --> Plan -- apply --> program, then list
//!      ^ inotify, timer        mode, readiness --^           '--> Report --> log, probe, metrics
//! ```
//! The list goes in last, only while the daemon can answer, and stays when the daemon ends: the
//! plugin then says that it should be asked again, which no runtime takes for an attached pod.

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

/// Time between two looks when nothing is heard.
const LOOK: Duration = Duration::from_secs(30);
/// Writers in place need a moment to be done.
const SETTLE: Duration = Duration::from_millis(100);

/// Time after which what failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps the installation as it should be.
#[derive(Debug)]
pub struct Installer {
    mode: Mode,
    places: Places,
    entry: serde_json::Value,
    /// Held while the disk is waited for. Who needs both takes it first.
    work: Mutex<Work>,
    /// Held for a moment.
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Work {
    pace: Pace,
    /// The directories are there, and nothing that a killed daemon left in them.
    is_prepared: bool,
}

/// What others are told.
#[derive(Debug)]
struct Told {
    report: Report,
    /// Times that something was written or removed.
    writes: u64,
    /// It was told to let go.
    is_over: bool,
}

impl Installer {
    /// An installer that has not looked yet. `entry` is our plugin as a list has it.
    pub fn new(mode: Mode, places: Places, entry: serde_json::Value) -> Installer {
        let report = Report {
            missing: (mode != Mode::None).then(|| "not looked at yet".to_owned()),
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

    /// The installer that `config` asks for.
    pub fn of(config: &Config) -> Installer {
        let places = Places {
            conf_dir: config.cni_conf_dir.clone(),
            bin_dir: config.cni_bin_dir.clone(),
            program: program(),
        };
        let entry = conflist::entry(&config.socket, &config.state_dir);
        Installer::new(config.install_cni, places, entry)
    }

    /// How things stand; waits for no disk.
    pub fn report(&self) -> Report {
        self.told().report.clone()
    }

    /// How the plugin gets to the runtime.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Where it is put.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Times that something was written or removed.
    pub fn writes(&self) -> u64 {
        self.told().writes
    }

    /// Looks, and makes good what is amiss. Returns how long that has to wait, where it has to.
    ///
    /// # Errors
    /// [`Error::File`]: to be tried again.
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
            plan.report.displaced = Some("somebody else keeps changing our list".to_owned());
        }
        let mut told = self.told();
        told.writes += writes(&plan);
        told.tell(plan.report);
        Ok(wait)
    }

    /// Lets go, and removes our list: from then on no new pod comes. May be called again.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn withdraw(&self) -> Result<(), Error> {
        // A step that is under way is done before.
        let _work = self.work();
        self.told().is_over = true;
        match self.mode {
            Mode::None => return Ok(()),
            Mode::Binary | Mode::Chained => self.places.remove_conflist()?,
        }
        self.told().report.missing = Some("uninstalled".to_owned());
        Ok(())
    }

    /// Looks at once, then whenever something changes, until it is told to let go.
    pub async fn keep(self: Arc<Self>, mut ready: watch::Receiver<bool>) {
        if self.mode == Mode::None {
            return;
        }
        let changed = Arc::new(Notify::new());
        let mut watch = None;
        loop {
            // Before the look: what changes after it is heard.
            self.renew(&mut watch, &changed);
            let is_ready = *ready.borrow_and_update();
            let installer = Arc::clone(&self);
            let step = move || installer.step(is_ready, Instant::now());
            // A panic in it is logged by the runtime's hook; the next look tries again.
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

    /// Listens, or listens anew where a directory was removed and made again.
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
            Err(error) => tracing::debug!(error = chain(&error), "the CNI directories"),
        }
    }

    // Every change leaves the values whole, so a panic elsewhere does not spoil them.

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many things it changes.
fn writes(plan: &Plan) -> u64 {
    u64::from(plan.writes_binary) + u64::from(plan.conflist != Conflist::Keep)
}

impl Told {
    /// Logs what is new; what goes on is told once.
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
                None if before.is_some() => tracing::info!("no longer: {what}"),
                Some(_) | None => {}
            }
        }
    }
}

/// The plugin of this version: beside the daemon's own program, or where `BEEMESH_CNI` says.
fn program() -> PathBuf {
    let named = std::env::var_os("BEEMESH_CNI").map(PathBuf::from);
    named.unwrap_or_else(|| {
        let own = std::env::current_exe().unwrap_or_default();
        own.with_file_name(conflist::PLUGIN)
    })
}

#[cfg(test)]
mod tests;
