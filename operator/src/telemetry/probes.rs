//! Whether the process lives, and whether it is ready, in the form of Kubernetes' own components.

use std::{
    fmt,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What a check returns: `Err` is a sentence for people.
pub type Check = Result<(), String>;

/// Heartbeat and named checks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Probes(Arc<Inner>);

struct Inner {
    started: Instant,
    /// Milliseconds from `started` to the last beat.
    beat: AtomicU64,
    is_stopping: AtomicBool,
    checks: RwLock<Vec<Named>>,
}

struct Named {
    name: String,
    check: Box<dyn Fn() -> Check + Send + Sync>,
}

/// Time between two beats.
const BEAT: Duration = Duration::from_secs(1);

/// A heart that is silent for longer does not beat: the kubelet restarts the process.
const SILENCE: Duration = Duration::from_secs(60);

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").finish_non_exhaustive()
    }
}

impl Default for Probes {
    fn default() -> Probes {
        Probes::new()
    }
}

impl Probes {
    /// A process that has just started, and is ready as soon as no check is against it.
    pub fn new() -> Probes {
        Probes(Arc::new(Inner {
            started: Instant::now(),
            beat: AtomicU64::new(0),
            is_stopping: AtomicBool::new(false),
            checks: RwLock::default(),
        }))
    }

    /// Adds a check to what readiness asks for; it must answer at once and is called at each probe.
    pub fn ready_when(
        &self,
        name: impl Into<String>,
        check: impl Fn() -> Check + Send + Sync + 'static,
    ) {
        let named = Named {
            name: name.into(),
            check: Box::new(check),
        };
        let mut checks = self.0.checks.write();
        let checks = checks
            .as_mut()
            .unwrap_or_else(|poisoned| poisoned.get_mut());
        checks.push(named);
    }

    /// Beats for ever. To be spawned on the executor that reconciles: when no task of it gets its
    /// turn any more, the beat stops. It never asks the API server.
    pub async fn beat(self) {
        let mut ticks = tokio::time::interval(BEAT);
        loop {
            ticks.tick().await;
            let now = self.0.started.elapsed().as_millis();
            self.0.beat.store(now as u64, Ordering::Relaxed);
        }
    }

    /// From now on the process is not ready: it is going. It still lives.
    pub fn stop(&self) {
        self.0.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Every check of liveness, with its name.
    pub(super) fn live(&self) -> Vec<(String, Check)> {
        vec![(
            "heartbeat".to_owned(),
            self.heartbeat(self.0.started.elapsed()),
        )]
    }

    /// Every check of readiness, with its name.
    pub(super) fn ready(&self) -> Vec<(String, Check)> {
        let stopping = match self.0.is_stopping.load(Ordering::Relaxed) {
            true => Err("the process is going".to_owned()),
            false => Ok(()),
        };
        let checks = self
            .0
            .checks
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let named = checks.iter().map(|one| (one.name.clone(), (one.check)()));
        let mut all = self.live();
        all.extend(named);
        all.push(("shutdown".to_owned(), stopping));
        all
    }

    fn heartbeat(&self, now: Duration) -> Check {
        let beat = Duration::from_millis(self.0.beat.load(Ordering::Relaxed));
        let silence = now.saturating_sub(beat);
        match silence <= SILENCE {
            true => Ok(()),
            false => Err(format!("no task got its turn for {} s", silence.as_secs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_heart_ends_liveness() {
        let probes = Probes::new();
        assert_eq!(probes.heartbeat(SILENCE), Ok(()));
        let message = probes.heartbeat(SILENCE + BEAT).expect_err("too long");
        assert_eq!(message, "no task got its turn for 61 s");
    }

    #[test]
    fn readiness_asks_every_check_and_ends_with_the_process() {
        let probes = Probes::new();
        probes.ready_when("caches/pods", || Err("not listed yet".to_owned()));
        let failed = |probes: &Probes| -> Vec<String> {
            let checks = probes.ready().into_iter();
            checks
                .filter(|(_, check)| check.is_err())
                .map(|(name, _)| name)
                .collect()
        };
        assert_eq!(failed(&probes), ["caches/pods"]);
        probes.stop();
        assert_eq!(failed(&probes), ["caches/pods", "shutdown"]);
        assert!(probes.live().iter().all(|(_, check)| check.is_ok()));
    }
}
