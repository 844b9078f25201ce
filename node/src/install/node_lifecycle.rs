//! Node lifecycle: startup taint, events of the node, and the watch for the uninstall annotation.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::telemetry::Probes;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::watch;

use crate::install::Installer;
use crate::install::node_object::{self, Standing};
use crate::objects::kubernetes::client;
use crate::objects::own_pod::{OwnPod, UninstallRequest};
use crate::objects::pods::Pods;

/// Interval between two checks.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between two retries of a write.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Time for which a state must last before it is reported.
const STEADY: Duration = Duration::from_secs(30);

/// Returns when the annotation of the daemon's own pod requests uninstallation. `permit` becomes
/// true when the daemon is ready and its pod was observed without the annotation.
pub(crate) async fn stand(
    own: Option<&OwnPod>,
    pods: &dyn Pods,
    mut readiness: watch::Receiver<bool>,
    permit: watch::Sender<bool>,
) {
    loop {
        let is_ready = *readiness.borrow_and_update();
        // Without an own pod there is no annotation.
        match own.map_or(UninstallRequest::Stay, |own| own.word(&pods.here())) {
            UninstallRequest::Leave => return,
            UninstallRequest::Stay => {
                let set = |it: &mut bool| std::mem::replace(it, is_ready) != is_ready;
                permit.send_if_modified(set);
            }
            UninstallRequest::Unknown => {}
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            Ok(()) = readiness.changed() => {}
        }
    }
}

/// Writer of the daemon's own node to the API server.
pub(crate) struct OwnNode {
    /// Path of the kubeconfig; `None` for the in-cluster configuration or the environment.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Name of the node.
    pub(crate) name: String,
    /// Key of the taint that keeps pods away until the daemon is ready.
    pub(crate) startup_taint: Option<String>,
    /// Checks that make the node ready.
    pub(crate) probes: Probes,
    /// Installer, which reports a displaced conflist.
    pub(crate) installer: Arc<Installer>,
}

impl OwnNode {
    /// Removes the startup taint once the node is ready, and emits an event when our conflist is
    /// displaced or back in force. Both run independently.
    pub(crate) async fn run(self) {
        tokio::join!(self.untaint(), self.tell());
    }

    async fn untaint(&self) {
        let Some(key) = &self.startup_taint else {
            return;
        };
        loop {
            tokio::time::sleep(PAUSE).await;
            if !self.probes.is_ready() {
                continue;
            }
            match client::client(self.kubeconfig.as_deref()).await {
                Ok(client) => return node_object::remove_taint(client, &self.name, key).await,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "startup taint not removed, retried"
                    );
                }
            }
        }
    }

    async fn tell(&self) {
        let mut steady = Steady::new(Instant::now());
        let mut pause = PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            let displaced = self.installer.report().displaced;
            let standing = displaced.map_or(Standing::InForce, Standing::Displaced);
            let Some(since) = steady.see(standing, Instant::now()) else {
                pause = PAUSE;
                continue;
            };
            let told = async {
                // The client is created on demand, which is rare.
                let client = client::client(self.kubeconfig.as_deref()).await?;
                node_object::tell_standing(client, &self.name, &steady.seen, since).await?;
                anyhow::Ok(())
            };
            let Err(error) = told.await else {
                steady.told();
                pause = PAUSE;
                continue;
            };
            if pause == PAUSE {
                let error = format!("{error:#}");
                tracing::warn!(error, "event of the node not written, retried");
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}

/// State of our conflist and the last reported state, with a minimum duration.
struct Steady {
    told: Standing,
    seen: Standing,
    /// Time of the first observation.
    moment: Timestamp,
    /// Time since when it differs from the reported state.
    since: Instant,
}

impl Steady {
    fn new(now: Instant) -> Steady {
        Steady {
            told: Standing::InForce,
            seen: Standing::InForce,
            moment: Timestamp::now(),
            since: now,
        }
    }

    /// Observation time of a state that lasted long enough to be reported.
    fn see(&mut self, standing: Standing, now: Instant) -> Option<Timestamp> {
        if standing != self.seen {
            let are_displaced = matches!(
                (&self.seen, &standing),
                (Standing::Displaced(_), Standing::Displaced(_))
            );
            // A reason that keeps changing does not hide the state itself.
            if !are_displaced || self.told != Standing::InForce {
                self.since = now;
            }
            self.seen = standing;
            self.moment = Timestamp::now();
        }
        let is_due = self.seen != self.told && now.duration_since(self.since) >= STEADY;
        is_due.then_some(self.moment)
    }

    fn told(&mut self) {
        self.told.clone_from(&self.seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events for a series of observations, whose times are in units of [`STEADY`].
    fn told(sights: &[(f64, &str)]) -> Vec<String> {
        let start = Instant::now();
        let mut steady = Steady::new(start);
        let mut all = Vec::new();
        for (at, why) in sights {
            let standing = match *why {
                "" => Standing::InForce,
                why => Standing::Displaced(why.to_owned()),
            };
            if steady.see(standing, start + STEADY.mul_f64(*at)).is_some() {
                steady.told();
                all.push((*why).to_owned());
            }
        }
        all
    }

    #[test]
    fn what_lasts_is_told_once() {
        let sights = [(1.0, "a"), (1.5, "a"), (2.0, "a"), (3.0, "a"), (4.0, "")];
        assert_eq!(told(&sights), ["a"]);
        let over = [&sights[..], &[(5.0, ""), (6.0, "a"), (7.0, "a")]].concat();
        assert_eq!(told(&over), ["a", "", "a"]);
    }

    #[test]
    fn what_is_over_at_once_is_not_told() {
        let flaps = [(1.0, "a"), (1.9, "a"), (2.0, ""), (2.5, "a"), (3.0, "a")];
        assert!(told(&flaps).is_empty());
        let flaps = [(1.0, "a"), (2.0, "a"), (2.5, ""), (3.0, "a"), (4.0, "a")];
        assert_eq!(told(&flaps), ["a"]);
    }

    #[test]
    fn one_of_many_reasons_is_told() {
        let sights = [(1.0, "a"), (1.5, "b"), (2.0, "c"), (2.5, "b"), (3.2, "c")];
        assert_eq!(told(&sights), ["c"]);
        let later = [&sights[..], &[(3.5, "b"), (4.5, "b")]].concat();
        assert_eq!(told(&later), ["c", "b"]);
    }

    #[test]
    fn what_is_not_taken_is_seen_anew_before_it_is_told_again() {
        let now = Instant::now();
        let mut steady = Steady::new(now);
        let displaced = || Standing::Displaced("a".to_owned());
        assert_eq!(steady.see(displaced(), now), None);
        let first = steady.see(displaced(), now + STEADY);
        // Of the same moment: two events would have two names.
        assert!(first.is_some() && steady.see(displaced(), now + 2 * STEADY) == first);
        assert_eq!(steady.see(Standing::InForce, now + 3 * STEADY), None);
        assert_eq!(steady.see(Standing::InForce, now + 4 * STEADY), None);
    }
}
