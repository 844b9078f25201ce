//! Controller of topologies: plans each, writes what the plan says, and reports in its status.

mod memory;
mod telling;

use std::{collections::HashSet, future::Future, sync::Arc};

use ::telemetry::jittered;
use kube::runtime::controller::Action;
use tokio::{task, time::Instant};

use self::{memory::Memories, telling::PlannedFrom};
use super::{
    Context, Error,
    driver::{Controller, drive},
    retry::Failures,
};
use crate::{
    apply::{self, Done, Fresh},
    observe::Key,
    plan::{self, Computed, Facts, Lag, Observed, Plan},
};

/// Plans of one topology in one go: creation takes four, the rest is for others who write at the same time.
const ROUNDS: usize = 8;

/// The controller of topologies.
struct Topologies {
    context: Context,
    failures: Failures,
    memories: Memories,
}

/// Runs until `stop`, then finishes pending writes.
pub async fn run(context: Context, stop: impl Future<Output = ()> + Send + 'static) {
    let (store, queue) = (
        context.cache.topology_store(),
        context.cache.due_topologies(),
    );
    let topologies = Topologies {
        context,
        failures: Failures::default(),
        memories: Memories::default(),
    };
    drive(topologies, store, queue, stop).await;
}

/// Outcome of the last plan.
struct Settled {
    plan: Plan,
    versions: PlannedFrom,
    is_settled: bool,
    is_overtaken: bool,
    error: Option<apply::Error>,
}

impl Controller for Topologies {
    const KIND: &'static str = crds::MicroServiceTopology::KIND;

    fn context(&self) -> &Context {
        &self.context
    }

    fn failures(&self) -> &Failures {
        &self.failures
    }

    async fn look_at(&self, key: &Key) -> Result<Action, Error> {
        let Some(entry) = self.context.cache.entry(key) else {
            self.forget(key);
            return Ok(Action::await_change());
        };
        if entry.is_going {
            return Ok(Action::await_change());
        }
        self.memories.notice(&entry);
        if let Some(left) = self.memories.held(key) {
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
            // The plan is older than the written objects: another replica reports the newer status.
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

    fn forget(&self, key: &Key) {
        self.memories.forget(key);
        self.failures.succeeded(key);
    }
}

impl Topologies {
    /// Looks again soon, each time a little later, or when something has changed; slowly in any case.
    fn next(&self, key: &Key, is_settled: bool) -> Action {
        if is_settled {
            self.failures.succeeded(key);
            Action::requeue(jittered(self.context.resync))
        } else {
            Action::requeue(self.failures.failed(key))
        }
    }

    /// Plans and writes until nothing is left to be written, or another replica is writing.
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
        let _room = self.context.memory.take(observed.claim.size()).await;
        let (mut observed, mut plan) = self.plan(key, observed).await?;
        if matches!(plan.lag, Some(Lag::Watches(_))) {
            return Ok(Some((plan, Done::default())));
        }
        let mut done = writer.prepare(&observed, &plan).await;
        if done.conflicts > 0 {
            self.memories.hold(key);
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
            // A refused allocation holds back its new grants, not the objects of the earlier one.
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
        observed.disbelieved = self.memories.disbelieved(key, observed.lag());
        let mut memo = self.memories.take_memo(key);
        let metrics = self.context.metrics.clone();
        let planned = task::spawn_blocking(move || {
            let started = Instant::now();
            let plan = plan::plan_with(&observed, &mut memo);
            metrics.computed(started.elapsed());
            (observed, plan, memo)
        });
        let (observed, plan, memo) = planned.await?;
        self.memories.keep_memo(key, memo);
        Ok((observed, plan))
    }

    /// Publishes the findings to REST, metrics and the Forwarder controller.
    fn record(&self, key: &Key, uid: &str, plan: &mut Plan) {
        let computed: Option<Arc<Computed>> = plan.computed.take().map(Arc::new);
        self.context.cache.record(key, uid, plan, computed);
    }
}
