//! State of this replica for each topology, beside the observed objects.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ::telemetry::jittered;
use tokio::time::Instant;

use crate::{
    observe::{Entry, Key},
    plan::{Lag, Memo, Versions},
};

/// The least time between two statuses that say the same in other words, as answers to what fails may.
const REWORDED: Duration = Duration::from_secs(60);
/// Time for which a topology is left to another replica that has begun to create its objects.
const HOLD: Duration = Duration::from_millis(500);
/// Longest accepted lag of a watch behind the writes of another replica; a dead connection is
/// noticed by then. After that, the written versions count as wrong: edited by hand, or from before
/// a restore of etcd.
const LAG_MAX: Duration = Duration::from_secs(150);

/// Memory about one topology.
#[derive(Default)]
struct Memory {
    uid: String,
    memo: Memo,
    generation: i64,
    since: Option<Instant>,
    /// Time of the last status write that changed only messages.
    reworded: Option<Instant>,
    /// Unattached pods, by uid and reason, that have an event already.
    told: HashSet<(String, String)>,
    /// End of the time for which the topology is left to another replica.
    held_until: Option<Instant>,
    /// Written versions that the watches have not delivered, and the time since when.
    lag: Option<(Versions, Instant)>,
    /// The same of the status.
    status_lag: Option<(Versions, Instant)>,
    /// Written versions that the watches have not delivered for [`LAG_MAX`].
    disbelieved: Versions,
}

/// Memories, topology by topology.
#[derive(Default)]
pub(super) struct Memories {
    by_key: Mutex<HashMap<Key, Memory>>,
}

impl Memories {
    /// Notes when a generation is seen for the first time.
    pub(super) fn notice(&self, entry: &Entry) {
        let mut all = self.lock();
        let known = all.entry(entry.key.clone()).or_default();
        if known.uid != entry.uid {
            *known = Memory {
                uid: entry.uid.clone(),
                ..Memory::default()
            };
        }
        if known.generation != entry.generation {
            known.generation = entry.generation;
            // One that was settled before this process began has not been waiting for it.
            let is_new = entry.status.observed_generation != Some(entry.generation);
            known.since = is_new.then_some(entry.seen);
        }
    }

    pub(super) fn waited(&self, key: &Key) -> Option<Duration> {
        let known = self.lock();
        known.get(key)?.since.map(|since| since.elapsed())
    }

    /// True when the last status write that changed only messages is long ago; records the time of
    /// this one.
    pub(super) fn may_reword(&self, key: &Key) -> bool {
        let mut all = self.lock();
        let known = all.entry(key.clone()).or_default();
        let is_due = known.reworded.is_none_or(|last| last.elapsed() >= REWORDED);
        if is_due {
            known.reworded = Some(Instant::now());
        }
        is_due
    }

    /// Leaves a topology that another replica has begun to create to that one for a while.
    pub(super) fn hold(&self, key: &Key) {
        if let Some(known) = self.lock().get_mut(key) {
            known.held_until = Some(Instant::now() + jittered(HOLD));
        }
    }

    /// Remaining time for which the topology is left to another replica.
    pub(super) fn held(&self, key: &Key) -> Option<Duration> {
        let until = self.lock().get(key)?.held_until?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Written versions that no watch delivers, and that are therefore ignored.
    pub(super) fn disbelieved(&self, key: &Key, lag: Option<Lag>) -> Versions {
        let mut all = self.lock();
        let Some(known) = all.get_mut(key) else {
            return Versions::default();
        };
        match (lag, known.lag) {
            (Some(Lag::Watches(missing)), Some((since, at))) if since == missing => {
                if at.elapsed() >= LAG_MAX {
                    tracing::warn!(topology = %key, %missing, "written object versions never delivered by a watch, ignored");
                    known.disbelieved = known.disbelieved.max(missing);
                }
            }
            (Some(Lag::Watches(missing)), _) => known.lag = Some((missing, Instant::now())),
            _ => known.lag = None,
        }
        known.disbelieved
    }

    /// True when a replica with the versions `heard` may replace a status that was computed from
    /// `written`.
    pub(super) fn may_replace(&self, key: &Key, written: Versions, heard: Versions) -> bool {
        let mut all = self.lock();
        let known = all.entry(key.clone()).or_default();
        if heard.max(known.disbelieved).covers(written) {
            known.status_lag = None;
            return true;
        }
        match known.status_lag {
            Some((since, at)) if since == written => {
                if at.elapsed() >= LAG_MAX {
                    known.disbelieved = known.disbelieved.max(written);
                }
            }
            _ => known.status_lag = Some((written, Instant::now())),
        }
        false
    }

    pub(super) fn take_memo(&self, key: &Key) -> Memo {
        let mut all = self.lock();
        all.get_mut(key)
            .map(|known| std::mem::take(&mut known.memo))
            .unwrap_or_default()
    }

    pub(super) fn keep_memo(&self, key: &Key, memo: Memo) {
        if let Some(known) = self.lock().get_mut(key) {
            known.memo = memo;
        }
    }

    /// Takes the pods, by uid and reason, that have an event already.
    pub(super) fn take_told(&self, key: &Key) -> HashSet<(String, String)> {
        let mut all = self.lock();
        all.get_mut(key)
            .map(|known| std::mem::take(&mut known.told))
            .unwrap_or_default()
    }

    pub(super) fn keep_told(&self, key: &Key, told: HashSet<(String, String)>) {
        if let Some(known) = self.lock().get_mut(key) {
            known.told = told;
        }
    }

    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Memory>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
