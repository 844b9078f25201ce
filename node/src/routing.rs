//! Routing engine, the loop that programs this node's Forwarders: observe, plan, apply.
//!
//! ```text
//! mailbox -> own ends reported -> SPF, incremental -> routes by diff -> status
//!            source, underlay, resync -> structure by diff --^
//! ```
//! Work is kept as marks on Forwarders, not as a queue: an object marked twice is handled once.
//! Long work is sliced; link failures are handled between two slices.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
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
use crate::routing::liveness::LinkWatcher;
use crate::telemetry::Heartbeat;
use crds::TopologyKey;

pub mod desired;
mod events;
pub mod failover;
mod forwarder;
pub mod link_state;
pub mod live_topology;
pub mod liveness;
mod load;
mod pace;
mod programming;
mod status;
mod structure;
#[cfg(test)]
mod tests;

use events::Changes;
use forwarder::Local;
use pace::gather::Gather;
use pace::resync::{Looks, processor_time};

/// Least time between two rounds of status reports.
const STATUS_INTERVAL: Duration = Duration::from_millis(50);

/// Dependencies of the engine.
pub struct Parts {
    /// Name of this node, and UDP port of its tunnels.
    pub site: Site,
    /// Source of Forwarders and sink of their status.
    pub source: Box<dyn Source>,
    /// Pods of this node, as reported by Kubernetes.
    pub pods: Arc<dyn Pods>,
    /// Sender of the desired state to other tasks.
    pub views: watch::Sender<Arc<Snapshot>>,
    /// Link-state database, to which the ends of links are reported.
    pub link_states: Arc<LinkStates>,
    /// Failover: evicts dead links from next-hop groups.
    pub failover: Arc<Failover>,
    /// Detector of silent failures of links.
    pub liveness: Arc<dyn LinkWatcher>,
    /// The port to next hops, groups and routes.
    pub fib: Arc<dyn Fib>,
    /// The port to namespaces and links.
    pub structure: Arc<dyn Structure>,
    /// Mailbox of changes.
    pub mailbox: Arc<Mailbox>,
    /// Attachment service.
    pub service: Arc<AttachService<KernelPodWiring>>,
    /// Kernel event monitor; `None` where events cannot be received.
    pub monitor: Option<Arc<Monitor>>,
    /// Registry of the namespaces that this node created and may delete.
    pub owned: NetnsRegistry,
    /// Least time between two full resyncs.
    pub resync: Duration,
    /// Heartbeat, read by probes and metrics.
    pub heartbeat: Heartbeat,
}

/// State of the loop.
pub struct Engine {
    parts: Parts,
    snapshot: Arc<Snapshot>,
    /// True after the first complete desired state: from then on unwanted objects may be deleted.
    may_delete: bool,
    is_underlay_known: bool,
    /// MTU in bytes by address of the host.
    underlay: BTreeMap<IpAddr, u32>,
    source: Gather,
    meshes: BTreeMap<TopologyKey, Mesh>,
    changes: BTreeMap<TopologyKey, Changes>,
    /// Number of the last link event that is taken into account.
    through: u64,
    locals: BTreeMap<String, Local>,
    /// The admission catalog is outdated.
    is_catalog_due: bool,
    is_removal_due: bool,
    /// The detector may watch Forwarders that left this node.
    is_watch_stale: bool,
    status_after: Instant,
    looks: Looks,
    round: Round,
}

/// Counters since the engine was last idle.
#[derive(Debug)]
struct Round {
    started: Instant,
    /// Writes to the kernel.
    writes: u64,
    /// Number of Forwarders whose routes were compared with the kernel.
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
    /// Engine in its initial state.
    pub fn new(parts: Parts) -> Engine {
        let now = Instant::now();
        Engine {
            looks: Looks::new(parts.resync, now, processor_time()),
            parts,
            snapshot: Arc::default(),
            may_delete: false,
            is_underlay_known: false,
            underlay: BTreeMap::new(),
            source: Gather::new(now),
            meshes: BTreeMap::new(),
            changes: BTreeMap::new(),
            through: 0,
            locals: BTreeMap::new(),
            is_catalog_due: true,
            is_removal_due: false,
            is_watch_stale: true,
            status_after: now,
            round: Round::new(),
        }
    }

    /// Runs until a stop request, and leaves the kernel state in place.
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
        self.take_paths(&pending.paths);
        if self.source.is_due(pending.source, Instant::now()) {
            self.load();
        }
        self.take_reports(&pending.reports);
        for netns in &pending.routing {
            self.mark(netns, |local| local.are_routes_due = true);
        }
        if pending.kernel_lost {
            tracing::warn!("kernel events lost, full resync");
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

    /// Handles marked work, most urgent first; returns early when a link fails.
    fn work(&mut self) {
        if !self.is_underlay_known {
            return;
        }
        // Rerouting comes first: creating links takes longer.
        if !self.route() {
            return;
        }
        if self.make_structures() && !self.route() {
            return;
        }
        self.watch_links();
        self.remove_unwanted();
        self.publish_catalog();
        self.report();
        self.report_heartbeat();
        self.end_round();
    }

    /// Publishes own link ends, updates shortest paths, programs routes. False when a more urgent
    /// event interrupted it.
    fn route(&mut self) -> bool {
        self.publish();
        self.follow_changes();
        let is_done = self.program();
        // Links that are in use now.
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
            // Steady state, every few seconds.
            tracing::debug!(writes, compared, failures, took_ms, "converged");
        } else {
            tracing::info!(writes, compared, failures, took_ms, "converged");
        }
        self.round = Round::new();
    }

    /// Time of the next run without an event.
    fn deadline(&self) -> Instant {
        let now = Instant::now();
        let source = self.source.due();
        if !self.is_underlay_known {
            // Before the underlay is known there is no other timed work.
            return source.unwrap_or(now + self.parts.resync);
        }
        if self.is_busy() {
            return now;
        }
        let retries = self.locals.values();
        let retries = retries.filter_map(|local| local.retries.due());
        let status = self.locals.values().any(Local::may_report);
        let status = status.then_some(self.status_after);
        retries
            .chain(status)
            .chain(source)
            .chain(self.looks.due())
            .min()
            .unwrap_or(now + self.parts.resync)
    }

    fn take_time(&mut self) {
        let now = Instant::now();
        // Pending work goes first: a new resync would never end where it takes long.
        if !self.is_busy() && self.looks.begin(now, processor_time()) {
            self.parts.heartbeat.count(|counts| counts.resyncs += 1);
            self.load();
            self.mark_all();
        }
        for local in self.locals.values_mut() {
            local.wake(now);
        }
    }

    /// True while work is pending without a pause.
    fn is_busy(&self) -> bool {
        self.locals.values().any(Local::is_due)
    }

    fn mark_all(&mut self) {
        self.locals.values_mut().for_each(Local::mark_all);
        self.is_removal_due = true;
    }

    /// Marks the Forwarder of a namespace; foreign namespaces are ignored.
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
