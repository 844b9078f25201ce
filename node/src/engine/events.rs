//! What happens to links: first the dead ones leave the groups, then everybody is told.

use std::collections::BTreeMap;

use dataplane::{Kernel, LinuxKernel};
use rayon::prelude::*;
use topology::{LinkIndex, Spf};

use super::Engine;
use super::local::{End, Local};
use super::retry::Work;
use super::structure::chain;
use crate::inbox::LinkNews;
use crate::leases::Network;

/// Distances and next hops are kept for each Forwarder while there are no more than this many in
/// all; beyond, they are computed again where they are needed (0.1 ms for 1,000 Forwarders).
const KEPT_LABELS: usize = 250_000;

impl Engine {
    /// Takes the kernel's word on links of ours.
    pub(super) fn take_links(&mut self, links: &BTreeMap<(String, String), LinkNews>) {
        if links.is_empty() {
            return;
        }
        let object_by_netns: BTreeMap<String, String> = self
            .locals
            .iter()
            .map(|(object, local)| (local.netns.clone(), object.clone()))
            .collect();
        let (mut fallen, mut vanished, mut returned) = (Vec::new(), Vec::new(), Vec::new());
        for ((netns, interface), news) in links {
            let local = object_by_netns
                .get(netns)
                .and_then(|object| self.locals.get_mut(object));
            let Some(local) = local else { continue };
            let Some(id) = local.link_of(interface).map(str::to_owned) else {
                let mut pods = local.wires.iter().filter(|(_, end)| *end == interface);
                if let Some((key, end)) = pods.next() {
                    // It was down, at either end: what went with it is missing.
                    local.is_structure_due = true;
                    returned.extend(news.is_up.then(|| (key.clone(), end.clone())));
                }
                continue;
            };
            let end = match news {
                LinkNews { is_up: true, .. } => End::Up,
                LinkNews { exists: true, .. } => End::NoCarrier,
                LinkNews { exists: false, .. } => End::Missing,
            };
            if local.ends.get(&id) == Some(&End::Up) && end != End::Up {
                fallen.push((netns.clone(), interface.clone()));
            }
            tracing::info!(
                forwarder = local.object(),
                link = id,
                up = news.is_up,
                "link state changed"
            );
            // Also when nothing is new: the kernel may have flushed routes in between.
            local.ends.insert(id, end);
            local.are_ends_due = true;
            local.reroute();
            // Whether it was taken down by hand is seen by looking; and so is what a link lacks that
            // was made from its other end while this one rested.
            local.is_structure_due |= end != End::Up || local.retries.rests(Work::Structure);
            local.is_status_due = true;
            if !news.exists {
                vanished.extend(local.peer_netns(interface));
            }
        }
        for netns in vanished {
            // A veth that went was taken from one of its two ends, or with a whole namespace.
            self.mark(&netns, |local| local.is_structure_due = true);
        }
        evict(&fallen, &mut self.round.writes);
        self.publish();
        for (key, interface) in returned {
            self.parts.desk.restore(&key, &interface);
        }
    }

    /// Tells the other nodes of ends that changed, and takes them into the graph.
    pub(super) fn publish(&mut self) {
        let mut told = Vec::new();
        for (object, local) in &mut self.locals {
            // Before the first look there is nothing to tell.
            if !local.are_ends_due || local.ends.len() < local.structure.interfaces.len() {
                continue;
            }
            let up = local.up_by_link();
            local.are_ends_due = false;
            match self.parts.link_states.publish(object, &up) {
                Ok(_) => local.succeeded(Work::Report),
                // Our own graph is told all the same.
                Err(error) => local.failed(Work::Report, chain(&error)),
            }
            told.push((local.network.clone(), object.clone(), up));
        }
        for (network, object, up) in told {
            self.take_report(&network, &object, &up);
        }
        self.evict_fallen();
    }

    /// Takes the report of one Forwarder's ends into the graph.
    pub(super) fn take_report(
        &mut self,
        network: &Network,
        object: &str,
        up: &BTreeMap<String, bool>,
    ) {
        let Some(mesh) = self.meshes.get_mut(network) else {
            return;
        };
        let reported = mesh.report(object, up);
        self.changes
            .entry(network.clone())
            .or_default()
            .extend(reported.changes);
        self.fallen.extend(
            reported
                .fallen
                .into_iter()
                .map(|link| (network.clone(), link)),
        );
    }

    /// Takes links out of the groups that are up here but not at their other end.
    pub(super) fn evict_fallen(&mut self) {
        let mut dead = Vec::new();
        for (network, link) in std::mem::take(&mut self.fallen) {
            let Some(mesh) = self.meshes.get(&network) else {
                continue;
            };
            let id = mesh.topology.link_id(link);
            let declared = &mesh.topology.links()[link.position()];
            for end in [declared.a, declared.b] {
                let object = mesh.key(end);
                let Some(local) = self.locals.get_mut(object) else {
                    continue;
                };
                local.reroute();
                let interface = local.structure.interfaces.get(&id);
                // Where this end is down, the kernel has done it.
                if let (Some(interface), Some(End::Up)) = (interface, local.ends.get(&id)) {
                    dead.push((local.netns.clone(), interface.clone()));
                }
            }
        }
        evict(&dead, &mut self.round.writes);
    }

    /// Brings every Forwarder's distances and next hops up to the graph.
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
            let changed = changes
                .get(&local.network)
                .filter(|changes| !changes.is_empty());
            if changed.is_some() {
                local.recompute();
                local.is_status_due = true;
            }
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

    /// Why a link cannot be used from here; none when it can.
    pub(super) fn why_down(&self, local: &Local, id: &str) -> Option<String> {
        if let Some(problem) = local.structure.problems.get(id) {
            return Some(problem.clone());
        }
        match local.ends.get(id) {
            Some(End::Up) => {}
            Some(end) => return Some(end.reason().to_owned()),
            None => return Some("not made yet".to_owned()),
        }
        let mesh = self.meshes.get(&local.network)?;
        let link: LinkIndex = mesh.topology.link(id)?;
        let from = mesh.index(local.object())?;
        (!mesh.is_peer_up(link, from)).then(|| "the other end is down".to_owned())
    }
}

/// Takes links out of all groups of their namespaces, before anything is computed.
fn evict(links: &[(String, String)], writes: &mut u64) {
    if links.is_empty() {
        return;
    }
    let evict_one = |(netns, link): &(String, String)| {
        let evicted = LinuxKernel::new().and_then(|mut kernel| kernel.evict(netns, link));
        match evicted {
            Ok(applied) => applied.writes,
            Err(error) => {
                // The routes are compared with the kernel next in any case.
                tracing::debug!(netns, link, %error, "failed to evict");
                0
            }
        }
    };
    *writes += links.par_iter().map(evict_one).sum::<u64>();
}
