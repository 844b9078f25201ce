//! Checks of liveness and readiness, as Kubernetes' own components have them.

mod heartbeat;

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

pub use self::heartbeat::Heartbeat;

/// Result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// All is well.
    Ok,
    /// Needs attention while the daemon serves; the reason.
    Warning(String),
    /// The daemon does not serve; the reason.
    Failed(String),
}

impl Check {
    /// Failed for a reason, if there is one.
    pub fn failed(reason: Option<String>) -> Self {
        reason.map_or(Self::Ok, Self::Failed)
    }

    /// A warning for a reason, if there is one.
    pub fn warning(reason: Option<String>) -> Self {
        reason.map_or(Self::Ok, Self::Warning)
    }

    pub(crate) fn has_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// One check of liveness and any number of readiness, each with a name. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Probes(Arc<Inner>);

struct Inner {
    live: Named,
    is_stopping: AtomicBool,
    ready: RwLock<Vec<Named>>,
}

struct Named {
    name: &'static str,
    check: Box<dyn Fn() -> Check + Send + Sync>,
}

impl Named {
    fn new(name: &'static str, check: impl Fn() -> Check + Send + Sync + 'static) -> Self {
        let check = Box::new(check);
        Self { name, check }
    }

    fn look(&self) -> (&'static str, Check) {
        (self.name, (self.check)())
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").finish_non_exhaustive()
    }
}

impl Probes {
    /// Probes of a daemon that is alive while `check` does not fail, and ready while no check fails.
    pub fn new(name: &'static str, check: impl Fn() -> Check + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            live: Named::new(name, check),
            is_stopping: AtomicBool::new(false),
            ready: RwLock::default(),
        }))
    }

    /// Adds a check of readiness. It must return at once, and is called at each probe.
    pub fn ready_when(
        &self,
        name: &'static str,
        check: impl Fn() -> Check + Send + Sync + 'static,
    ) {
        let mut ready = self.0.ready.write().unwrap_or_else(PoisonError::into_inner);
        ready.push(Named::new(name, check));
    }

    /// Makes the daemon unready because it ends; it stays alive.
    pub fn stop(&self) {
        self.0.is_stopping.store(true, Ordering::Relaxed);
    }

    /// True when no readiness check fails.
    pub fn is_ready(&self) -> bool {
        !self.ready().iter().any(|(_, check)| check.has_failed())
    }

    /// Every check of liveness, with its name. None of them asks the API server.
    pub(crate) fn live(&self) -> Vec<(&'static str, Check)> {
        vec![self.0.live.look()]
    }

    /// Every check of readiness, with its name.
    pub(crate) fn ready(&self) -> Vec<(&'static str, Check)> {
        let is_stopping = self.0.is_stopping.load(Ordering::Relaxed);
        let stopping = is_stopping.then(|| "the process ends".to_owned());
        let ready = self.0.ready.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.live();
        all.extend(ready.iter().map(Named::look));
        all.push(("shutdown", Check::failed(stopping)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_asks_every_check_and_ends_with_the_process() {
        let probes = Probes::new("heart", || Check::Ok);
        probes.ready_when("peers", || Check::Warning("1 of 2".to_owned()));
        assert!(probes.is_ready(), "a warning is no failure");
        probes.ready_when("cni", || Check::Failed("none".to_owned()));
        let failed = |probes: &Probes| -> Vec<&str> {
            let checks = probes.ready().into_iter();
            let failed = checks.filter(|(_, check)| check.has_failed());
            failed.map(|(name, _)| name).collect()
        };
        assert_eq!(failed(&probes), ["cni"]);
        assert!(!probes.is_ready());
        probes.stop();
        assert_eq!(failed(&probes), ["cni", "shutdown"]);
        assert_eq!(probes.live(), [("heart", Check::Ok)]);
    }
}
