//! Status and events of a topology.

use std::collections::HashSet;

use ::telemetry::chain;
use futures::{StreamExt, stream};
use k8s_openapi::jiff::Timestamp;

use super::Topologies;
use crate::{
    controllers::Error,
    observe::Key,
    plan::{Facts, Plan, Unattached, Versions},
    status::{self, Now},
};

/// Events of pods that are under way at once.
const EVENTS: usize = 8;

/// uid of a pod, and why it is not attached.
fn fact(pod: &Unattached) -> (String, String) {
    (pod.pod.uid.clone(), pod.reason.clone())
}

/// Newest versions that a plan was computed from.
#[derive(Clone, Copy, Default)]
pub(super) struct PlannedFrom {
    /// Versions that concern the topology.
    pub(super) basis: Versions,
    /// Versions that the watches have delivered.
    pub(super) heard: Versions,
}

impl Topologies {
    /// Writes the status when it changes, then the events. False when another replica was faster.
    ///
    /// While writing `is_failing` the same is not said in other words all the time: each try may fail in
    /// another one, and a status that is written has every replica try again.
    pub(super) async fn tell_status(
        &self,
        key: &Key,
        uid: &str,
        facts: &Facts,
        versions: PlannedFrom,
        is_failing: bool,
    ) -> Result<bool, Error> {
        let Some(entry) = self.context.cache.entry(key) else {
            return Ok(true);
        };
        // The object is another one by now: it is planned again anyway.
        if entry.uid != uid || entry.generation != facts.generation {
            return Ok(false);
        }
        let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let now = Now {
            time: &time,
            waited: self.memories.waited(key),
        };
        let mut next = status::next(facts, &entry.status, now);
        if next == entry.status {
            return Ok(true);
        }
        let Ok(written): Result<Versions, _> = entry.status.observed_versions.parse();
        if !self.memories.may_replace(key, written, versions.heard) {
            tracing::debug!(topology = %key, "status is newer than the caches, not written");
            return Ok(false);
        }
        if is_failing && status::is_reworded(&entry.status, &next) && !self.memories.may_reword(key)
        {
            return Ok(true);
        }
        next.observed_versions = if versions.heard.covers(written) {
            versions.basis.max(written).to_string()
        } else {
            versions.basis.to_string()
        };
        match self.context.writer.write_status(&entry, &next).await {
            Ok(()) => {}
            Err(error) if error.is_conflict() => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        for event in status::events(&entry.status, &next) {
            tracing::info!(topology = %key, reason = %event.reason, "{}", event.message);
            if let Err(error) = self.context.writer.tell(&entry, &event).await {
                tracing::debug!(topology = %key, error = %chain(&error), "event not written");
            }
        }
        Ok(true)
    }

    /// Writes an event for each pod that cannot be attached, once.
    pub(super) async fn tell_pods(&self, key: &Key, plan: &Plan) {
        let told = self.memories.take_told(key);
        let (known, new): (Vec<&Unattached>, Vec<&Unattached>) = plan
            .unattached
            .iter()
            .partition(|pod| told.contains(&fact(pod)));
        let mut told: HashSet<(String, String)> = known.into_iter().map(fact).collect();
        let telling: Vec<_> = new.into_iter().map(|pod| self.tell_pod(key, pod)).collect();
        let mut answers = stream::iter(telling).buffer_unordered(EVENTS);
        while let Some(answer) = answers.next().await {
            told.extend(answer);
        }
        self.memories.keep_told(key, told);
    }

    /// Reason and message of the event that was written for the pod; `None` when the write failed.
    async fn tell_pod(&self, key: &Key, pod: &Unattached) -> Option<(String, String)> {
        match self.context.writer.tell_pod(key, pod).await {
            Ok(()) => Some(fact(pod)),
            Err(error) => {
                tracing::debug!(topology = %key, error = %chain(&error), "event not written");
                None
            }
        }
    }
}
