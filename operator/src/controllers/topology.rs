//! Brings one topology after the other to where its declaration wants it.

use std::{
    collections::HashMap,
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
    plan::{self, Computed, Memo, Plan, World},
    status::{self, Facts, Now},
    telemetry::trace_id,
};

/// Topologies that are worked on at once.
const CONCURRENCY: u16 = 8;
/// Plans of one topology in one go: creation takes four, the rest is for others who write at the same time.
const ROUNDS: usize = 8;
/// The least time between two statuses that say the same in other words, as answers to what fails may.
const REWORDED: Duration = Duration::from_secs(60);

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
    /// Pods that were told already why they are not attached.
    told: Vec<(String, String)>,
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

/// What the last plan led to.
struct Settled {
    plan: Plan,
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
        if entry.topology.is_none() {
            let facts = Facts::unreadable(entry.generation, entry.problems.clone());
            let told = self.tell_status(key, &entry.uid, &facts, false).await?;
            return Ok(self.next(key, told));
        }
        let Some(mut settled) = self.settle(key, &entry.uid).await? else {
            return Ok(Action::await_change());
        };
        if settled.is_overtaken {
            // What was seen is old already: whoever was quicker knows better what to say.
            return Ok(self.next(key, false));
        }
        let facts = &mut settled.plan.facts;
        if let Some(error) = &settled.error
            && self.failures.is_lasting(key, error)
        {
            facts.writing.blocked.get_or_insert_with(|| error.told());
        }
        let is_failing = settled.error.is_some();
        let told = self.tell_status(key, &entry.uid, facts, is_failing).await?;
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
            let world = self.context.cache.world(key);
            let Some(world) = world.filter(|world| world.uid == uid) else {
                return Ok(None);
            };
            let Some((mut plan, done)) = self.carry_out(key, world).await? else {
                return Ok(None);
            };
            if round < ROUNDS && done.is_clean() && done.written > 0 {
                continue;
            }
            let is_settled = done.is_clean() && plan.is_settled();
            self.record(key, uid, &mut plan);
            return Ok(Some(Settled {
                plan,
                is_settled,
                is_overtaken: done.conflicts > 0 && done.error.is_none(),
                error: done.error,
            }));
        }
        Ok(None)
    }

    /// Makes one plan and takes its steps as far as they go now. `None` when the topology is gone.
    async fn carry_out(&self, key: &Key, world: World) -> Result<Option<(Plan, Done)>, Error> {
        let writer = &self.context.writer;
        let (mut world, mut plan) = self.plan(key, world).await?;
        let mut done = writer.prepare(&world, &plan).await;
        if !done.is_clean() || done.written > 0 {
            return Ok(Some((plan, done)));
        }
        if plan.needs_fresh_look() {
            let first = plan;
            world = match writer.look(world, &first.doubtful_nodes).await? {
                Fresh::World(fresh) => *fresh,
                Fresh::Gone => return Ok(None),
            };
            (world, plan) = self.plan(key, world).await?;
            let was_looked_at = |node| first.doubtful_nodes.contains(node);
            let is_prepared = plan.create.is_empty() && plan.claim_count == 0;
            if !is_prepared || !plan.doubtful_nodes.iter().all(was_looked_at) {
                done.conflicts += 1;
                return Ok(Some((plan, done)));
            }
            let persisted = writer.persist(&world, &plan, &mut done).await;
            if done.conflicts > 0 {
                return Ok(Some((plan, done)));
            }
            // One that is refused keeps back what it gives, not what is written out of the one before.
            if let Some(persisted) = persisted {
                world.allocation = Some(persisted);
                (world, plan) = self.plan(key, world).await?;
            }
        }
        writer.fill(&world, &plan, &mut done).await;
        Ok(Some((plan, done)))
    }

    /// Makes a plan, off the threads that do I/O.
    async fn plan(&self, key: &Key, world: World) -> Result<(World, Plan), Error> {
        let mut memo = self
            .known()
            .get_mut(key)
            .map(|known| std::mem::take(&mut known.memo))
            .unwrap_or_default();
        let metrics = self.context.metrics.clone();
        let planned = task::spawn_blocking(move || {
            let started = Instant::now();
            let plan = plan::plan_with(&world, &mut memo);
            metrics.computed(started.elapsed());
            (world, plan, memo)
        });
        let (world, plan, memo) = planned.await?;
        if let Some(known) = self.known().get_mut(key) {
            known.memo = memo;
        }
        Ok((world, plan))
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
        let next = status::next(facts, &entry.status, now);
        if next == entry.status {
            return Ok(true);
        }
        if is_failing && status::is_reworded(&entry.status, &next) && !self.may_reword(key) {
            return Ok(true);
        }
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

    /// Tells pods why they are not attached, each once.
    async fn tell_pods(&self, key: &Key, plan: &Plan) {
        let told = self
            .known()
            .get(key)
            .map(|known| known.told.clone())
            .unwrap_or_default();
        let mut telling = Vec::with_capacity(plan.unattached.len());
        for unattached in &plan.unattached {
            let fact = (unattached.pod.uid.clone(), unattached.reason.clone());
            if !told.contains(&fact)
                && let Err(error) = self.context.writer.tell_pod(key, unattached).await
            {
                tracing::debug!(topology = %key, error = %chain(&error), "event not written");
                continue;
            }
            telling.push(fact);
        }
        if let Some(known) = self.known().get_mut(key) {
            known.told = telling;
        }
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
