//! The loop that makes this node's Forwarders real: observe, plan, apply.
//!
//! ```text
//! mailbox -> own ends reported -> SPF, incremental -> routes by diff -> status
//!            source, underlay, resync -> structure by diff --^
//! ```
//! Work is kept as marks on Forwarders, not as a queue: what is marked twice is done once. Long work
//! is done in slices, between which a fallen link goes first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::monitor::Monitor;
use dataplane::{Fib, Structure};
use tokio::sync::watch;

use crate::attach::pod_links::KernelPodWiring;
use crate::attach::service::AttachService;
use crate::host::netns_registry::NetnsRegistry;
use crate::mailbox::{Mailbox, Pending};
use crate::objects::pods::Pods;
use crate::objects::{Snapshot, Source};
use crate::routing::desired::Site;
use crate::routing::failover::Failover;
use crate::routing::link_state::LinkStates;
use crate::routing::live_topology::Mesh;
use crate::telemetry::Heartbeat;
use crds::TopologyKey;

pub mod desired;
mod events;
pub mod failover;
mod forwarder;
pub mod link_state;
pub mod live_topology;
mod load;
mod programming;
mod resync;
mod retry;
mod status;
mod structure;
#[cfg(test)]
mod tests;

use events::Changes;
use forwarder::Local;
use resync::{Looks, processor_time};

/// Least time between two rounds of status reports.
const STATUS_INTERVAL: Duration = Duration::from_millis(50);

/// What the engine works with.
pub struct Parts {
    /// This node's name and the port of its tunnels.
    pub site: Site,
    /// Where Forwarders are declared and reported.
    pub source: Box<dyn Source>,
    /// What Kubernetes says of this node's pods.
    pub pods: Arc<dyn Pods>,
    /// Where the desired state is shown to others.
    pub views: watch::Sender<Arc<Snapshot>>,
    /// Where the ends of links are reported.
    pub link_states: Arc<LinkStates>,
    /// Who takes dead links out of the groups.
    pub failover: Arc<Failover>,
    /// The port to next hops, groups and routes.
    pub fib: Arc<dyn Fib>,
    /// The port to namespaces and links.
    pub structure: Arc<dyn Structure>,
    /// Word of what changed.
    pub mailbox: Arc<Mailbox>,
    /// Who is attached.
    pub service: Arc<AttachService<KernelPodWiring>>,
    /// What changes in the kernel; none where it cannot be watched.
    pub monitor: Option<Arc<Monitor>>,
    /// The namespaces that are ours to delete.
    pub owned: NetnsRegistry,
    /// Least time between two looks at everything.
    pub resync: Duration,
    /// Where it says how it is doing.
    pub heartbeat: Heartbeat,
}

/// The state of the loop.
pub struct Engine {
    parts: Parts,
    snapshot: Arc<Snapshot>,
    /// A complete desired state was seen: from then on what is not wanted may go.
    may_delete: bool,
    is_underlay_known: bool,
    meshes: BTreeMap<TopologyKey, Mesh>,
    changes: BTreeMap<TopologyKey, Changes>,
    /// Number of the last event of links that is taken into account.
    through: u64,
    locals: BTreeMap<String, Local>,
    /// The catalog has to be made anew.
    is_catalog_due: bool,
    is_removal_due: bool,
    status_after: Instant,
    looks: Looks,
    round: Round,
}

/// What was done since the engine was last idle.
#[derive(Debug)]
struct Round {
    started: Instant,
    /// Writes to the kernel.
    writes: u64,
    /// Forwarders whose routes were compared with the kernel.
    compared: u64,
    failures: u64,
}

impl Round {
    fn is_fresh(&self) -> bool {
        (self.writes, self.compared, self.failures) == (0, 0, 0)
    }

    fn new() -> Round {
        Round {
            started: Instant::now(),
            writes: 0,
            compared: 0,
            failures: 0,
        }
    }
}

impl Engine {
    /// An engine that has done nothing yet.
    pub fn new(parts: Parts) -> Engine {
        let now = Instant::now();
        Engine {
            looks: Looks::new(parts.resync, now, processor_time()),
            parts,
            snapshot: Arc::default(),
            may_delete: false,
            is_underlay_known: false,
            meshes: BTreeMap::new(),
            changes: BTreeMap::new(),
            through: 0,
            locals: BTreeMap::new(),
            is_catalog_due: true,
            is_removal_due: false,
            status_after: now,
            round: Round::new(),
        }
    }

    /// Works until it is told to stop, then leaves the kernel as it is.
    pub fn run(mut self) {
        self.load();
        loop {
            let deadline = self.deadline();
            self.parts.heartbeat.beat(deadline);
            let pending = self.parts.mailbox.take(deadline);
            self.parts.heartbeat.beat(Instant::now());
            if pending.stop {
                return;
            }
            self.turn(pending);
        }
    }

    fn turn(&mut self, pending: Pending) {
        if self.round.is_fresh() {
            self.round.started = Instant::now();
        }
        if let Some(underlay) = pending.underlay {
            self.set_underlay(underlay);
        }
        self.through = self.through.max(pending.through);
        self.take_links(&pending.links);
        if pending.source {
            self.load();
        }
        self.take_reports(&pending.reports);
        for netns in &pending.routing {
            self.mark(netns, |local| local.are_routes_due = true);
        }
        if pending.kernel_lost {
            tracing::warn!("kernel events were lost");
            self.mark_all();
        }
        if pending.leases {
            self.take_leases();
        }
        if pending.pods {
            self.parts.service.hear();
        }
        self.take_time();
        self.work();
    }

    /// Does what is marked, most urgent first; leaves early when a link falls.
    fn work(&mut self) {
        if !self.is_underlay_known {
            return;
        }
        // Ways around what fell first: making links takes longer.
        if !self.route() {
            return;
        }
        if self.make_structures() && !self.route() {
            return;
        }
        self.remove_unwanted();
        self.publish_catalog();
        self.report();
        self.report_heartbeat();
        self.end_round();
    }

    /// Reports own ends, follows with shortest paths, programs. False when it was interrupted by something more urgent.
    fn route(&mut self) -> bool {
        self.publish();
        self.follow_changes();
        let is_done = self.program();
        // What is in use now.
        self.publish();
        self.follow_changes();
        is_done
    }

    fn end_round(&mut self) {
        if self.is_busy() {
            return;
        }
        self.looks.end(Instant::now(), processor_time());
        if self.round.compared == 0 {
            return;
        }
        let Round {
            started,
            writes,
            compared,
            failures,
        } = self.round;
        self.parts.heartbeat.count(|counts| {
            counts.kernel_writes += writes;
            counts.kernel_failures += failures;
        });
        self.parts.heartbeat.converged(started.elapsed());
        let took_ms = started.elapsed().as_millis() as u64;
        if (writes, failures) == (0, 0) {
            // The steady state, every few seconds.
            tracing::debug!(writes, compared, failures, took_ms, "converged");
        } else {
            tracing::info!(writes, compared, failures, took_ms, "converged");
        }
        self.round = Round::new();
    }

    /// When to look again even if nothing happens.
    fn deadline(&self) -> Instant {
        let now = Instant::now();
        if !self.is_underlay_known {
            // Nothing can be done before that is told.
            return now + self.parts.resync;
        }
        if self.is_busy() {
            return now;
        }
        let retries = self.locals.values();
        let retries = retries.filter_map(|local| local.retries.due());
        let status = self.locals.values().any(|local| local.is_status_due);
        let status = status.then_some(self.status_after);
        retries
            .chain(status)
            .chain(self.looks.due())
            .min()
            .unwrap_or(now + self.parts.resync)
    }

    fn take_time(&mut self) {
        let now = Instant::now();
        // What is under way goes first: else a look would begin anew for ever where it takes long.
        if !self.is_busy() && self.looks.begin(now, processor_time()) {
            self.parts.heartbeat.count(|counts| counts.resyncs += 1);
            self.load();
            self.mark_all();
        }
        for local in self.locals.values_mut() {
            local.wake(now);
        }
    }

    /// True while something is left to do at once.
    fn is_busy(&self) -> bool {
        self.locals.values().any(Local::is_due)
    }

    fn mark_all(&mut self) {
        self.locals.values_mut().for_each(Local::mark_all);
        self.is_removal_due = true;
    }

    /// Marks the Forwarder whose namespace this is; one that is not ours is not marked.
    fn mark(&mut self, netns: &str, mark: impl FnOnce(&mut Local)) {
        if let Some(local) = self.locals.values_mut().find(|local| local.netns == netns) {
            mark(local);
        }
    }

    fn take_leases(&mut self) {
        let attached = self.parts.service.attached();
        for local in self.locals.values_mut() {
            local.set_attached(&attached);
        }
    }

    /// Namespaces of this node's Forwarders.
    fn wanted(&self) -> BTreeSet<&str> {
        self.locals
            .values()
            .map(|local| local.netns.as_str())
            .collect()
    }
}
