//! Whether the daemon lives, and whether it is ready, in the form of Kubernetes' own components.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use super::Vitals;

/// What a check finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// All is well.
    Ok,
    /// Something is to be looked at, and the node serves all the same; why.
    Warning(String),
    /// The node does not do what it is for; why.
    Failed(String),
}

/// Heartbeat and named checks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Probes(Arc<Inner>);

struct Inner {
    vitals: Vitals,
    is_stopping: AtomicBool,
    checks: RwLock<Vec<Named>>,
}

struct Named {
    name: &'static str,
    check: Box<dyn Fn() -> Check + Send + Sync>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").finish_non_exhaustive()
    }
}

impl Check {
    /// Failed for a reason, if there is one.
    pub fn failed(reason: Option<String>) -> Check {
        reason.map_or(Check::Ok, Check::Failed)
    }

    /// A warning for a reason, if there is one.
    pub fn warning(reason: Option<String>) -> Check {
        reason.map_or(Check::Ok, Check::Warning)
    }
}

impl Probes {
    /// A daemon with this engine, ready when that is and as soon as no check is against it.
    pub fn new(vitals: Vitals) -> Probes {
        Probes(Arc::new(Inner {
            vitals,
            is_stopping: AtomicBool::new(false),
            checks: RwLock::default(),
        }))
    }

    /// From now on readiness asks this too. The check must be quick.
    pub fn ready_when(
        &self,
        name: &'static str,
        check: impl Fn() -> Check + Send + Sync + 'static,
    ) {
        let check = Box::new(check);
        let mut checks = self
            .0
            .checks
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        checks.push(Named { name, check });
    }

    /// From now on the daemon is not ready: it is going. It still lives.
    pub fn stop(&self) {
        self.0.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Every check of liveness, with its name. None of them asks the API server.
    pub fn live(&self) -> Vec<(&'static str, Check)> {
        let silence = self.0.vitals.silence(Instant::now());
        let silence = silence.map(|late| format!("the engine is late by {} s", late.as_secs()));
        vec![("engine", Check::failed(silence))]
    }

    /// Every check of readiness, with its name.
    pub fn ready(&self) -> Vec<(&'static str, Check)> {
        let is_ready = self.0.vitals.is_ready();
        let state = (!is_ready).then(|| "the desired state was not read yet".to_owned());
        let is_stopping = self.0.is_stopping.load(Ordering::Relaxed);
        let stopping = is_stopping.then(|| "the daemon is going".to_owned());
        let checks = self.0.checks.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.live();
        all.push(("desired-state", Check::failed(state)));
        all.extend(checks.iter().map(|named| (named.name, (named.check)())));
        all.push(("shutdown", Check::failed(stopping)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_asks_every_check_and_ends_with_the_daemon() {
        let vitals = Vitals::default();
        let probes = Probes::new(vitals.clone());
        probes.ready_when("peers", || Check::Warning("1 of 2".to_owned()));
        probes.ready_when("cni", || Check::Failed("none".to_owned()));
        let failed = |probes: &Probes| -> Vec<&str> {
            let checks = probes.ready().into_iter();
            let failed = checks.filter(|(_, check)| matches!(check, Check::Failed(_)));
            failed.map(|(name, _)| name).collect()
        };
        assert_eq!(failed(&probes), ["desired-state", "cni"]);
        vitals.set_ready(true);
        assert_eq!(failed(&probes), ["cni"]);
        probes.stop();
        assert_eq!(failed(&probes), ["cni", "shutdown"]);
        assert_eq!(probes.live(), [("engine", Check::Ok)]);
    }
}
