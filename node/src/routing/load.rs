//! Load of the desired state, and of other nodes' link-state reports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crds::Forwarder;

use super::{Engine, Local};
use crate::routing::failover::Bindings;
use crate::routing::link_state::Owners;
use crate::routing::live_topology::Mesh;
use crds::TopologyKey;

impl Engine {
    /// Loads the source and marks the affected Forwarders.
    pub(super) fn load(&mut self) {
        let began = Instant::now();
        self.take_snapshot();
        let now = Instant::now();
        self.source.end(now, now.duration_since(began));
    }

    fn take_snapshot(&mut self) {
        let snapshot = self.parts.source.load();
        for problem in &snapshot.problems {
            if !self.snapshot.problems.contains(problem) {
                tracing::warn!(problem, "object unreadable, last readable version kept");
            }
        }
        let are_nodes_new = snapshot.nodes != self.parts.site.nodes;
        if snapshot.is_complete && !self.may_delete {
            self.may_delete = true;
            self.mark_all();
        }
        self.parts.site.nodes.clone_from(&snapshot.nodes);
        self.parts.site.set_underlay(&self.underlay);
        let is_new = self.snapshot.forwarders.len() != snapshot.forwarders.len()
            || self
                .snapshot
                .forwarders
                .iter()
                .zip(&snapshot.forwarders)
                .any(|(old, new)| old.0 != new.0 || !Arc::ptr_eq(old.1, new.1))
            || self.snapshot.is_complete != snapshot.is_complete;
        let are_topologies_new = self.snapshot.topologies != snapshot.topologies;
        self.snapshot = Arc::new(snapshot);
        if is_new {
            // Owners are set before any report on new Forwarders.
            self.set_owners();
            self.rebuild_meshes();
            self.rebuild_locals();
            self.bind_failover();
        }
        if are_nodes_new {
            self.renew_structures();
        }
        self.is_catalog_due |= are_topologies_new;
        if is_new || are_nodes_new || are_topologies_new {
            self.parts.views.send_replace(Arc::clone(&self.snapshot));
        }
    }

    fn rebuild_meshes(&mut self) {
        let mut objects: BTreeMap<TopologyKey, Vec<(String, Arc<Forwarder>)>> = BTreeMap::new();
        for (key, forwarder) in &self.snapshot.forwarders {
            objects
                .entry(forwarder.topology_key())
                .or_default()
                .push((key.clone(), Arc::clone(forwarder)));
        }
        self.meshes
            .retain(|network, _| objects.contains_key(network));
        for (network, mut objects) in objects {
            objects.sort_by(|a, b| a.1.spec.name.cmp(&b.1.spec.name));
            let is_same = self.meshes.get(&network).is_some_and(|mesh| {
                let known = mesh.forwarders();
                known.len() == objects.len()
                    && known
                        .iter()
                        .zip(&objects)
                        .all(|(a, (_, b))| Arc::ptr_eq(a, b))
            });
            if is_same {
                continue;
            }
            match Mesh::new(&objects) {
                Ok(mesh) => self.install(network, mesh),
                Err(error) => {
                    let topology = &network.topology;
                    tracing::warn!(topology, %error, "topology invalid, last valid version kept");
                }
            }
        }
    }

    /// Replaces a live topology, and carries the known link states over.
    fn install(&mut self, network: TopologyKey, mut mesh: Mesh) {
        for object in mesh.keys().to_vec() {
            if let Some(local) = self.locals.get_mut(&object) {
                // The link ends are reported again, with new links included.
                local.are_ends_due = true;
            }
            if let Some(report) = self.parts.link_states.valid(&object) {
                mesh.report(&object, &report.ends);
            }
        }
        for local in self
            .locals
            .values_mut()
            .filter(|local| local.network == network)
        {
            local.spf = None;
            local.recompute();
            local.is_status_due = true;
        }
        self.changes.remove(&network);
        self.rewatch(&network);
        self.meshes.insert(network, mesh);
    }

    /// Takes from the valid reports what a Forwarder's peers say of their ends.
    fn take_peer_ends(&mut self, object: &str) {
        let Some(local) = self.locals.get_mut(object) else {
            return;
        };
        let Some(mesh) = self.meshes.get(&local.network) else {
            return;
        };
        let forwarder = Arc::clone(&local.forwarder);
        for link in &forwarder.spec.links {
            let report = mesh.peer(object, &link.id);
            let report = report.and_then(|peer| self.parts.link_states.valid(peer));
            if let Some(end) = report.as_ref().and_then(|it| it.ends.get(&link.id)) {
                local.set_peer_end(&link.id, end, &self.parts.site);
            }
        }
    }

    fn rebuild_locals(&mut self) {
        let node = &self.parts.site.node;
        let mine: BTreeMap<_, _> = self
            .snapshot
            .forwarders
            .iter()
            .filter(|(_, f)| f.spec.node == *node)
            .collect();
        self.locals.retain(|object, _| mine.contains_key(object));
        let mut fresh = Vec::new();
        for (object, forwarder) in mine {
            match self.locals.get_mut(object) {
                Some(local) if local.netns == crds::names::netns_of(forwarder) => {
                    if !Arc::ptr_eq(&local.forwarder, forwarder) {
                        local.set_forwarder(Arc::clone(forwarder), &self.parts.site);
                    }
                }
                _ => {
                    let reported = self.parts.link_states.own(object);
                    let local = Local::new(
                        object,
                        Arc::clone(forwarder),
                        &self.parts.site,
                        reported.as_deref(),
                    );
                    self.locals.insert(object.clone(), local);
                    fresh.push(object.clone());
                }
            }
        }
        for object in &fresh {
            self.take_peer_ends(object);
        }
        tracing::info!(
            forwarders = self.snapshot.forwarders.len(),
            here = self.locals.len(),
            fresh = fresh.len(),
            "desired state loaded"
        );
        self.is_catalog_due = true;
        self.is_removal_due = true;
        self.is_watch_stale = true;
        self.take_leases();
    }

    fn renew_structures(&mut self) {
        for local in self.locals.values_mut() {
            local.set_forwarder(Arc::clone(&local.forwarder), &self.parts.site);
        }
        self.bind_failover();
        self.is_catalog_due = true;
    }

    fn set_owners(&mut self) {
        let nodes = self.snapshot.forwarders.iter();
        let nodes = nodes.map(|(key, forwarder)| (key.clone(), forwarder.spec.node.clone()));
        self.parts.link_states.set_owners(Owners {
            node_by_forwarder: nodes.collect(),
            is_complete: self.snapshot.is_complete,
        });
    }

    /// Passes the interfaces of this node's Forwarders to failover.
    pub(super) fn bind_failover(&self) {
        let mut bindings = Bindings::default();
        for (object, local) in &self.locals {
            let netns = &local.netns;
            let guard = Arc::clone(&local.guard);
            bindings.guards.insert(netns.clone(), guard);
            let mesh = self.meshes.get(&local.network);
            for (id, name) in &local.structure.interfaces {
                let interface = (netns.clone(), name.clone());
                if let Some(peer) = mesh.and_then(|mesh| mesh.peer(object, id)) {
                    let end = (peer.to_owned(), id.clone());
                    bindings
                        .interface_by_peer_end
                        .insert(end, interface.clone());
                }
                let end = (object.clone(), id.clone());
                bindings.end_by_interface.insert(interface, end);
            }
        }
        self.parts.failover.bind(bindings);
    }

    /// Replaces the host's underlay addresses.
    pub(super) fn set_underlay(&mut self, underlay: BTreeMap<IpAddr, u32>) {
        self.is_underlay_known = true;
        self.underlay = underlay;
        if self.parts.site.set_underlay(&self.underlay) {
            self.renew_structures();
        }
    }

    /// Applies the reports of other nodes on these Forwarders.
    pub(super) fn take_reports(&mut self, forwarders: &BTreeSet<String>) {
        for object in forwarders {
            let Some(forwarder) = self.snapshot.forwarders.get(object) else {
                continue;
            };
            let network = forwarder.topology_key();
            let report = self.parts.link_states.valid(object);
            let ends = report.map(|report| report.ends.clone()).unwrap_or_default();
            self.take_report(&network, object, &ends);
        }
    }
}
