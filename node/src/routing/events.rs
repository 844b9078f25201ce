//! Link events: marks on Forwarders, link-state reports, and incremental SPF.
//!
//! Dead links are already evicted from the next-hop groups: see [`crate::routing::failover`].

use std::collections::{BTreeMap, BTreeSet};

use linkstate::End as ReportedEnd;
use rayon::prelude::*;
use topology::{AppliedChange, LinkIndex, Spf};

use super::Engine;
use super::forwarder::{End, Local};
use super::pace::retry::Work;
use crate::mailbox::LinkEvent;
use crate::routing::link_state;
use crate::routing::live_topology::Mesh;
use ::telemetry::chain;
use crds::TopologyKey;

/// Largest number of distances and next hops that are kept for all Forwarders; beyond it, they are
/// recomputed on demand (0.1 ms for 1,000 Forwarders).
const KEPT_LABELS: usize = 250_000;

/// Changes of one network's graph that are not yet applied to shortest paths.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// All changes.
    graph: Vec<AppliedChange>,
    /// True when the table of every Forwarder is recomputed.
    is_for_all: bool,
    /// Forwarders at the ends of newly opened links, whose tables are recomputed first.
    at_ends: BTreeSet<String>,
}

impl Engine {
    /// Handles kernel events of links.
    pub(super) fn take_links(&mut self, links: &BTreeMap<(String, String), LinkEvent>) {
        if links.is_empty() {
            return;
        }
        let object_by_netns: BTreeMap<String, String> = self
            .locals
            .iter()
            .map(|(object, local)| (local.netns.clone(), object.clone()))
            .collect();
        let (mut vanished, mut returned) = (Vec::new(), Vec::new());
        for ((netns, interface), event) in links {
            let local = object_by_netns
                .get(netns)
                .and_then(|object| self.locals.get_mut(object));
            let Some(local) = local else { continue };
            let Some(id) = local.link_of(interface).map(str::to_owned) else {
                let mut pods = local.wires.iter().filter(|(_, end)| *end == interface);
                if let Some((key, end)) = pods.next() {
                    // The link was down, at either end: routes and neighbours that depended on it
                    // are missing.
                    local.is_structure_due = true;
                    returned.extend(event.is_up.then(|| (key.clone(), end.clone())));
                }
                continue;
            };
            let outcome = match event {
                LinkEvent { is_up: true, .. } => "link up, observed before its use",
                LinkEvent { exists: true, .. } => "link down, no carrier",
                LinkEvent { exists: false, .. } => "link down, interface deleted",
            };
            tracing::info!(forwarder = local.object(), link = id, "{outcome}");
            // It may have been down in between, when the kernel flushed routes and neighbours. So
            // it is reported as up only after an observation and repair, and counts as in use once
            // routes over it are programmed.
            local.in_use.remove(&id);
            if !event.is_up {
                let end = match event.exists {
                    true => End::NoCarrier,
                    false => End::Missing,
                };
                local.ends.insert(id, end);
            }
            local.are_ends_due = true;
            local.is_watch_due = true;
            local.link_epoch += 1;
            local.reroute();
            local.is_structure_due = true;
            local.is_status_due = true;
            if !event.exists {
                vanished.extend(local.peer_netns(interface));
            }
        }
        for netns in vanished {
            // The veth was deleted from one of its ends, or together with a namespace.
            self.mark(&netns, |local| local.is_structure_due = true);
        }
        for (key, interface) in returned {
            self.parts.service.restore(&key, &interface);
        }
    }

    /// Handles changed verdicts of the liveness protocol, which the link-state database holds. A link is used by its ends first when it
    /// is alive again.
    pub(super) fn take_paths(&mut self, paths: &BTreeSet<(String, String)>) {
        for (netns, interface) in paths {
            self.mark(netns, |local| {
                if let Some(id) = local.link_of(interface).map(str::to_owned) {
                    local.in_use.remove(&id);
                    local.are_ends_due = true;
                    local.is_status_due = true;
                    local.reroute();
                }
            });
        }
    }

    /// Publishes changed link ends to the other nodes, and applies them to the graph.
    pub(super) fn publish(&mut self) {
        let mut told = Vec::new();
        for (object, local) in &mut self.locals {
            // Before the first observation there is nothing to report.
            if !local.are_ends_due || local.ends.len() < local.structure.interfaces.len() {
                continue;
            }
            local.are_ends_due = false;
            let link_states = &self.parts.link_states;
            let observations = local.observations();
            match link_states.publish(object, &observations, self.through, link_state::now()) {
                Ok(_) => local.succeeded(Work::Report),
                Err(error) => local.failed(Work::Report, chain(&error)),
            }
            if let Some(report) = link_states.own(object) {
                told.push((local.network.clone(), object.clone(), report));
            }
        }
        for (network, object, report) in told {
            self.take_report(&network, &object, &report.ends);
        }
    }

    /// Applies the report of one Forwarder's ends to the graph.
    pub(super) fn take_report(
        &mut self,
        network: &TopologyKey,
        object: &str,
        ends: &BTreeMap<String, ReportedEnd>,
    ) {
        let Some(mesh) = self.meshes.get_mut(network) else {
            return;
        };
        let reported = mesh.report(object, ends);
        let mut are_interfaces_new = false;
        for (id, end) in ends {
            let peer = mesh.peer(object, id).filter(|peer| *peer != object);
            if let Some(local) = peer.and_then(|peer| self.locals.get_mut(peer)) {
                are_interfaces_new |= local.set_peer_end(id, end, &self.parts.site);
            }
        }
        let changes = self.changes.entry(network.clone()).or_default();
        changes.graph.extend(reported.changes);
        changes.is_for_all |= !reported.fallen.is_empty() || !reported.released.is_empty();
        for &link in &reported.opened {
            changes.at_ends.extend(keys_at(mesh, link));
        }
        for link in reported.fallen {
            let id = mesh.topology.link_id(link);
            for key in keys_at(mesh, link) {
                let Some(local) = self.locals.get_mut(&key) else {
                    continue;
                };
                local.reroute();
                // When the link recovers, the tables at its ends are recomputed first again.
                local.are_ends_due |= local.in_use.remove(&id);
            }
        }
        if are_interfaces_new {
            self.bind_failover();
        }
    }

    /// Updates distances and next hops of every Forwarder to the current graph.
    pub(super) fn follow_changes(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        if self.locals.is_empty() {
            return;
        }
        let labels: usize = self
            .locals
            .values()
            .filter_map(|local| self.meshes.get(&local.network))
            .map(|mesh| mesh.graph.forwarder_count())
            .sum();
        let meshes = &self.meshes;
        let follow = |local: &mut Local| {
            let Some(mesh) = meshes.get(&local.network) else {
                return;
            };
            let changed = changes.get(&local.network);
            if let Some(changed) = changed {
                // A Forwarder without a table does not wait.
                let is_due = changed.is_for_all
                    || changed.at_ends.contains(local.object())
                    || local.programmed.is_none() && !changed.graph.is_empty();
                if is_due {
                    local.recompute();
                    local.is_status_due = true;
                }
            }
            let changed = changed.map(|changed| &changed.graph[..]);
            let changed = changed.filter(|changed| !changed.is_empty());
            if labels > KEPT_LABELS {
                local.spf = None;
                return;
            }
            match (&mut local.spf, changed) {
                (Some(spf), Some(changes)) => spf.update(&mesh.graph, changes),
                (Some(_), None) => {}
                (spf @ None, _) => {
                    let root = mesh.index(&local.key);
                    *spf = root.map(|root| Spf::compute(&mesh.graph, root));
                }
            }
        };
        self.locals
            .par_iter_mut()
            .for_each(|(_, local)| follow(local));
    }
}

/// Keys of the Forwarders at the ends of a link.
fn keys_at(mesh: &Mesh, link: LinkIndex) -> [String; 2] {
    let declared = &mesh.topology.links()[link.position()];
    [declared.a, declared.b].map(|end| mesh.key(end).to_owned())
}
