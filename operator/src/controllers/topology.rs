//! Controller of topologies: plans each, writes what the plan says, and reports in its status.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ::telemetry::{chain, jittered};
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::{
    controller::{self, Action},
    watcher,
};
use tokio::{task, time::Instant};
use tracing::Instrument;

use super::{Context, Error, key_of, retry::Failures};
use crate::{
    apply::{self, Done, Fresh},
    observe::{Entry, Key, TopologyKey},
    plan::{self, Computed, Facts, Lag, Memo, Observed, Plan, Unattached, Versions},
    status::{self, Now},
    telemetry::trace_id,
};

/// Topologies that are worked on at once.
const CONCURRENCY: u16 = 8;
/// Plans of one topology in one go: creation takes four, the rest is for others who write at the same time.
const ROUNDS: usize = 8;
/// The least time between two statuses that say the same in other words, as answers to what fails may.
const REWORDED: Duration = Duration::from_secs(60);

/// How long a topology that another replica has begun to create is left to it.
const HOLD: Duration = Duration::from_millis(500);
/// How long a watch may be behind what another replica has written; a connection that died in silence is
/// noticed by then. After that what is written is taken for wrong: by a hand, or from before a restore of etcd.
const LAG_MAX: Duration = Duration::from_secs(150);
/// Events of pods that are under way at once.
const EVENTS: usize = 8;

/// The controller of topologies.
struct Topologies {
    context: Context,
    failures: Failures,
    known: Mutex<HashMap<Key, Known>>,
}

/// What this replica knows of one topology beside what is observed.
#[derive(Default)]
struct Known {
    uid: String,
    memo: Memo,
    generation: i64,
    since: Option<Instant>,
    /// When a status was last written in other words only.
    reworded: Option<Instant>,
    /// Unattached pods, by uid and reason, that have an event already.
    told: HashSet<(String, String)>,
    /// Until when the topology is left to another replica that has begun with it.
    held_until: Option<Instant>,
    /// Changes that are written and that the watches have not told of, and since when.
    lag: Option<(Versions, Instant)>,
    /// The same of the status.
    status_lag: Option<(Versions, Instant)>,
    /// Changes that the watches have not told of for [`LAG_MAX`].
    disbelieved: Versions,
}

/// Runs until `stop`, then finishes what is in hand.
pub async fn run(context: Context, stop: impl Future<Output = ()> + Send + 'static) {
    let store = context.cache.topology_store();
    let queue = stream::unfold(context.cache.clone(), |cache| async move {
        Some((Ok::<_, watcher::Error>(cache.next_topology().await), cache))
    });
    let topologies = Arc::new(Topologies {
        context,
        failures: Failures::default(),
        known: Mutex::default(),
    });
    let known = Arc::clone(&topologies);
    let config = controller::Config::default().concurrency(CONCURRENCY);
    let reconcile = |object: Arc<TopologyKey>, topologies: Arc<Topologies>| {
        let key = key_of(&object);
        let span = tracing::error_span!("reconcile", topology = %key, trace_id = trace_id());
        // Of its own task: a panic is the end of that task, and one object's error.
        task::spawn(async move { topologies.reconcile(&key).await }.instrument(span))
            .map(|result| result.unwrap_or_else(|panic| Err(Error::Panicked(panic))))
            .boxed()
    };
    let on_error = |object: Arc<TopologyKey>, error: &Error, topologies: Arc<Topologies>| {
        topologies.retry(&key_of(&object), error)
    };
    controller::applier(
        reconcile,
        on_error,
        topologies,
        store,
        Box::pin(queue.take_until(stop)),
        config,
    )
    .for_each(|result| {
        if let Err(controller::Error::ObjectNotFound(object)) = result {
            known.forget(&Key {
                namespace: object.namespace.unwrap_or_default(),
                name: object.name,
            });
        }
        std::future::ready(())
    })
    .await;
}

/// uid of a pod, and why it is not attached.
fn fact(pod: &Unattached) -> (String, String) {
    (pod.pod.uid.clone(), pod.reason.clone())
}

/// The newest changes that a plan was made from.
#[derive(Clone, Copy, Default)]
struct PlannedFrom {
    /// Those that concerned the topology.
    basis: Versions,
    /// Those that the watches had told of.
    heard: Versions,
}

/// Outcome of the last plan.
struct Settled {
    plan: Plan,
    versions: PlannedFrom,
    is_settled: bool,
    is_overtaken: bool,
    error: Option<apply::Error>,
}

impl Topologies {
    async fn reconcile(&self, key: &Key) -> Result<Action, Error> {
        let started = Instant::now();
        let result = self.look_at(key).await;
        let reason = result.as_ref().map(|_| ()).map_err(Error::reason);
        self.context.metrics.reconciled(
            crds::MicroServiceTopology::KIND,
            started.elapsed(),
            reason,
        );
        result
    }

    fn retry(&self, key: &Key, error: &Error) -> Action {
        let delay = self.failures.failed(key);
        tracing::warn!(topology = %key, error = %chain(error), ?delay, "failed, will try again");
        Action::requeue(delay)
    }

    async fn look_at(&self, key: &Key) -> Result<Action, Error> {
        let Some(entry) = self.context.cache.entry(key) else {
            self.forget(key);
            return Ok(Action::await_change());
        };
        if entry.is_going {
            return Ok(Action::await_change());
        }
        self.notice(&entry);
        if let Some(left) = self.held(key) {
            return Ok(Action::requeue(left));
        }
        if entry.topology.is_none() {
            let facts = Facts::unreadable(entry.generation, entry.problems.clone());
            let versions = PlannedFrom::default();
            let told = self
                .tell_status(key, &entry.uid, &facts, versions, false)
                .await?;
            return Ok(self.next(key, told));
        }
        let Some(mut settled) = self.settle(key, &entry.uid).await? else {
            return Ok(Action::await_change());
        };
        if settled.is_overtaken || settled.plan.lag.is_some() {
            // The plan is older than what is written: whoever was quicker knows better what to say.
            return Ok(self.next(key, false));
        }
        let facts = &mut settled.plan.facts;
        if let Some(error) = &settled.error
            && self.failures.is_lasting(key, error)
        {
            facts.writing.blocked.get_or_insert_with(|| error.told());
        }
        let is_failing = settled.error.is_some();
        let versions = settled.versions;
        let told = self
            .tell_status(key, &entry.uid, facts, versions, is_failing)
            .await?;
        self.tell_pods(key, &settled.plan).await;
        match settled.error {
            Some(error) => Err(error.into()),
            None => Ok(self.next(key, told && settled.is_settled)),
        }
    }

    /// Looks again soon, each time a little later, or when something has changed; slowly in any case.
    fn next(&self, key: &Key, is_settled: bool) -> Action {
        if is_settled {
            self.failures.succeeded(key);
            Action::requeue(jittered(self.context.resync))
        } else {
            Action::requeue(self.failures.failed(key))
        }
    }

    /// Plans and writes until nothing is to be written any more, or someone else is at it.
    async fn settle(&self, key: &Key, uid: &str) -> Result<Option<Settled>, Error> {
        for round in 1.. {
            let observed = self.context.cache.observed(key);
            let Some(observed) = observed.filter(|observed| observed.uid == uid) else {
                return Ok(None);
            };
            let versions = PlannedFrom {
                basis: observed.basis,
                heard: observed.heard.max(observed.basis),
            };
            let Some((mut plan, done)) = self.carry_out(key, observed).await? else {
                return Ok(None);
            };
            if round < ROUNDS && done.is_clean() && done.written > 0 {
                continue;
            }
            let is_settled = done.is_clean() && plan.is_settled();
            self.record(key, uid, &mut plan);
            return Ok(Some(Settled {
                plan,
                versions,
                is_settled,
                is_overtaken: done.conflicts > 0 && done.error.is_none(),
                error: done.error,
            }));
        }
        Ok(None)
    }

    /// Makes one plan and takes its steps as far as they go now. `None` when the topology is gone.
    async fn carry_out(
        &self,
        key: &Key,
        observed: Observed,
    ) -> Result<Option<(Plan, Done)>, Error> {
        let writer = &self.context.writer;
        let (mut observed, mut plan) = self.plan(key, observed).await?;
        if matches!(plan.lag, Some(Lag::Watches(_))) {
            return Ok(Some((plan, Done::default())));
        }
        let mut done = writer.prepare(&observed, &plan).await;
        if done.conflicts > 0 {
            self.hold(key);
        }
        if !done.is_clean() || done.written > 0 {
            return Ok(Some((plan, done)));
        }
        if plan.needs_fresh_look() {
            let first = plan;
            observed = match writer.look(observed, &first).await? {
                Fresh::Observed(fresh) => *fresh,
                Fresh::Gone => return Ok(None),
            };
            (observed, plan) = self.plan(key, observed).await?;
            let were_looked_at = |nodes: &[String], all: &[String]| {
                let all: HashSet<&String> = all.iter().collect();
                nodes.iter().all(|node| all.contains(node))
            };
            let is_prepared = plan.create.is_empty() && plan.claim_count == 0;
            if !is_prepared
                || !were_looked_at(&plan.doubtful_nodes, &first.doubtful_nodes)
                || !were_looked_at(&plan.crowded_nodes, &first.crowded_nodes)
            {
                done.conflicts += 1;
                return Ok(Some((plan, done)));
            }
            let persisted = writer.persist(&observed, &plan, &mut done).await;
            if done.conflicts > 0 {
                return Ok(Some((plan, done)));
            }
            // One that is refused keeps back what it gives, not what is written out of the one before.
            if let Some(persisted) = persisted {
                observed.allocation = Some(persisted);
                (observed, plan) = self.plan(key, observed).await?;
            }
        }
        writer.fill(&observed, &plan, &mut done).await;
        Ok(Some((plan, done)))
    }

    /// Makes a plan, off the threads that do I/O.
    async fn plan(&self, key: &Key, mut observed: Observed) -> Result<(Observed, Plan), Error> {
        observed.disbelieved = self.disbelieved(key, observed.lag());
        let mut memo = self
            .known()
            .get_mut(key)
            .map(|known| std::mem::take(&mut known.memo))
            .unwrap_or_default();
        let metrics = self.context.metrics.clone();
        let planned = task::spawn_blocking(move || {
            let started = Instant::now();
            let plan = plan::plan_with(&observed, &mut memo);
            metrics.computed(started.elapsed());
            (observed, plan, memo)
        });
        let (observed, plan, memo) = planned.await?;
        if let Some(known) = self.known().get_mut(key) {
            known.memo = memo;
        }
        Ok((observed, plan))
    }

    /// Hands what was found to REST, metrics and the Forwarder controller.
    fn record(&self, key: &Key, uid: &str, plan: &mut Plan) {
        let computed: Option<Arc<Computed>> = plan.computed.take().map(Arc::new);
        self.context.cache.record(key, uid, plan, computed);
    }

    /// Writes the status when it changes, then the events. False when someone else was quicker.
    ///
    /// While writing `is_failing` the same is not said in other words all the time: each try may fail in
    /// another one, and a status that is written has every replica try again.
    async fn tell_status(
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
            waited: self.waited(key),
        };
        let mut next = status::next(facts, &entry.status, now);
        if next == entry.status {
            return Ok(true);
        }
        let Ok(written): Result<Versions, _> = entry.status.observed_versions.parse();
        if !self.may_replace(key, written, versions.heard) {
            tracing::debug!(topology = %key, "status is newer than what the watches have told: left as it is");
            return Ok(false);
        }
        if is_failing && status::is_reworded(&entry.status, &next) && !self.may_reword(key) {
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

    /// Whether it is long ago that a status was written in other words only; if so, it is now.
    fn may_reword(&self, key: &Key) -> bool {
        let mut all = self.known();
        let known = all.entry(key.clone()).or_default();
        let is_due = known.reworded.is_none_or(|last| last.elapsed() >= REWORDED);
        if is_due {
            known.reworded = Some(Instant::now());
        }
        is_due
    }

    /// Writes an event for each pod that cannot be attached, once.
    async fn tell_pods(&self, key: &Key, plan: &Plan) {
        let told = self
            .known()
            .get_mut(key)
            .map(|known| std::mem::take(&mut known.told));
        let told = told.unwrap_or_default();
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
        if let Some(known) = self.known().get_mut(key) {
            known.told = told;
        }
    }

    /// What was told of the pod; `None` when the event could not be written.
    async fn tell_pod(&self, key: &Key, pod: &Unattached) -> Option<(String, String)> {
        match self.context.writer.tell_pod(key, pod).await {
            Ok(()) => Some(fact(pod)),
            Err(error) => {
                tracing::debug!(topology = %key, error = %chain(&error), "event not written");
                None
            }
        }
    }

    /// Leaves a topology that another replica has begun to create to that one for a while.
    fn hold(&self, key: &Key) {
        if let Some(known) = self.known().get_mut(key) {
            known.held_until = Some(Instant::now() + jittered(HOLD));
        }
    }

    /// How long the topology is still left to another replica.
    fn held(&self, key: &Key) -> Option<Duration> {
        let until = self.known().get(key)?.held_until?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// The changes that are written but that no watch tells of, and that are therefore taken for wrong.
    fn disbelieved(&self, key: &Key, lag: Option<Lag>) -> Versions {
        let mut all = self.known();
        let Some(known) = all.get_mut(key) else {
            return Versions::default();
        };
        match (lag, known.lag) {
            (Some(Lag::Watches(missing)), Some((since, at))) if since == missing => {
                if at.elapsed() >= LAG_MAX {
                    tracing::warn!(topology = %key, %missing, "changes that are written never came over a watch: ignored");
                    known.disbelieved = known.disbelieved.max(missing);
                }
            }
            (Some(Lag::Watches(missing)), _) => known.lag = Some((missing, Instant::now())),
            _ => known.lag = None,
        }
        known.disbelieved
    }

    /// Whether a replica that has heard `heard` may write over a status that was made from `written`.
    fn may_replace(&self, key: &Key, written: Versions, heard: Versions) -> bool {
        let mut all = self.known();
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

    fn forget(&self, key: &Key) {
        self.known().remove(key);
        self.failures.succeeded(key);
    }

    /// Notes when a generation is seen for the first time.
    fn notice(&self, entry: &Entry) {
        let mut all = self.known();
        let known = all.entry(entry.key.clone()).or_default();
        if known.uid != entry.uid {
            *known = Known {
                uid: entry.uid.clone(),
                ..Known::default()
            };
        }
        if known.generation != entry.generation {
            known.generation = entry.generation;
            // One that was settled before this process began has not been waiting for it.
            let is_new = entry.status.observed_generation != Some(entry.generation);
            known.since = is_new.then_some(entry.seen);
        }
    }

    fn waited(&self, key: &Key) -> Option<Duration> {
        let known = self.known();
        known.get(key)?.since.map(|since| since.elapsed())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
