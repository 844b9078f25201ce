//! One Forwarder of this node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use cni::node_protocol::{Attachment, Key};
use crds::Forwarder;
use crds::forwarder::AttachmentStatus;
use crds::status::LinkCount;
use dataplane::{LinkKind, Observed, Operation, PodEnd};
use ipnetwork::IpNetwork;
use linkstate::{End as ReportedEnd, Observation, Reason, Report, State};
use topology::Spf;

use super::pace::retry::{Retries, Work};
use crate::attach::admission::netns_path;
use crate::routing::desired::{Site, Structure, structure};
use crate::routing::failover::Guard;
use crds::TopologyKey;
use crds::names::netns_of;

/// Observed state of this end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Up,
    NoCarrier,
    /// Administratively down, by somebody else; left as it is.
    Disabled,
    Missing,
}

impl End {
    pub(super) fn reason(self) -> &'static str {
        match self {
            End::Up => "",
            End::NoCarrier => "no carrier",
            End::Disabled => "administratively down",
            End::Missing => "not there",
        }
    }
}

/// Forwarder of this node, with its desired, observed and programmed state.
#[derive(Debug)]
pub(super) struct Local {
    /// Key of the object in its source.
    pub(super) key: String,
    pub(super) forwarder: Arc<Forwarder>,
    pub(super) network: TopologyKey,
    pub(super) netns: String,
    /// Guard that is shared with failover.
    pub(super) guard: Arc<Guard>,
    pub(super) structure: Structure,
    /// MTU in bytes of the network below the other end of each link, by link id, as its node reports it.
    peer_mtu: BTreeMap<String, u32>,
    /// Observed link ends, by link id.
    pub(super) ends: BTreeMap<String, End>,
    /// Links that pass packets and are part of the programmed table.
    pub(super) in_use: BTreeSet<String>,
    /// Addresses of attachments that the kernel has routes to.
    pub(super) held: BTreeSet<IpAddr>,
    pub(super) attached: Vec<AttachmentStatus>,
    /// Interface of each attachment, by key.
    pub(super) wires: BTreeMap<Key, String>,
    /// Attachments without their interface: it was deleted, or its namespace was.
    pub(super) lost: BTreeSet<Key>,
    /// Forwarder's ends of confirmed attachments, part of the desired kernel state.
    pub(super) pods: BTreeMap<String, PodEnd>,
    /// True once the kernel state was complete.
    pub(super) was_whole: bool,
    /// Interfaces of external Apps, by App.
    pub(super) external: BTreeMap<String, String>,
    /// Shortest paths, kept while all labels fit (`KEPT_LABELS`).
    pub(super) spf: Option<Spf>,
    /// Fingerprint of the programmed routes.
    pub(super) programmed: Option<u64>,
    pub(super) epoch: String,
    pub(super) digest: String,
    /// Numbers of links that were reported.
    pub(super) links: LinkCount,
    pub(super) is_made: bool,
    pub(super) is_watched: bool,
    /// Structure is to be observed and repaired.
    pub(super) is_structure_due: bool,
    /// Operations of the last attempt, done or failed.
    pub(super) tried: Vec<Operation>,
    /// Routes are to be compared with the kernel.
    pub(super) are_routes_due: bool,
    /// Routes are to be recomputed, and compared only if they changed.
    pub(super) is_table_due: bool,
    pub(super) are_ends_due: bool,
    /// The links are to be passed to the detector.
    pub(super) is_watch_due: bool,
    /// Number of events after which an interface may have been made anew.
    pub(super) link_epoch: u64,
    pub(super) is_status_due: bool,
    pub(super) retries: Retries,
}

impl Local {
    /// Forwarder whose last link-state report, of an earlier daemon process, is `reported`.
    pub(super) fn new(
        key: &str,
        forwarder: Arc<Forwarder>,
        site: &Site,
        reported: Option<&Report>,
    ) -> Local {
        let in_use = reported.into_iter().flat_map(|report| &report.ends);
        let in_use = in_use.filter(|(_, end)| end.state() == State::Up);
        Local {
            in_use: in_use.map(|(id, _)| id.clone()).collect(),
            key: key.to_owned(),
            network: forwarder.topology_key(),
            netns: netns_of(&forwarder),
            guard: Arc::default(),
            structure: structure(&forwarder, site, &BTreeMap::new()),
            peer_mtu: BTreeMap::new(),
            forwarder,
            ends: BTreeMap::new(),
            held: BTreeSet::new(),
            attached: Vec::new(),
            wires: BTreeMap::new(),
            lost: BTreeSet::new(),
            pods: BTreeMap::new(),
            was_whole: false,
            external: BTreeMap::new(),
            spf: None,
            programmed: None,
            epoch: String::new(),
            digest: String::new(),
            links: LinkCount::default(),
            is_made: false,
            is_watched: false,
            is_structure_due: true,
            tried: Vec::new(),
            are_routes_due: true,
            is_table_due: true,
            are_ends_due: true,
            is_watch_due: true,
            link_epoch: 0,
            is_status_due: true,
            retries: Retries::default(),
        }
    }

    pub(super) fn object(&self) -> &str {
        &self.key
    }

    /// True while work is pending without a pause.
    pub(super) fn is_due(&self) -> bool {
        self.is_structure_due || self.is_program_due()
    }

    /// True while routes can be programmed and are due. Missing links are left out of the routes,
    /// so programming does not wait for all links.
    pub(super) fn is_program_due(&self) -> bool {
        self.is_made
            && (self.are_routes_due || self.is_table_due)
            && !self.retries.rests(Work::Routes)
    }

    /// True unless the same operations failed just now: a pause holds back no new operation.
    pub(super) fn may_make(&self, operations: &[Operation]) -> bool {
        !self.retries.rests(Work::Structure) || operations != self.tried
    }

    /// True while there is something to report, unless that failed just now.
    pub(super) fn may_report(&self) -> bool {
        self.is_status_due && !self.retries.rests(Work::Status)
    }

    pub(super) fn mark_all(&mut self) {
        self.is_structure_due = true;
        self.reroute();
        self.recompute();
        self.is_status_due = true;
    }

    /// Marks the routes for comparison with the kernel, and ends the pause of a failure.
    pub(super) fn reroute(&mut self) {
        self.are_routes_due = true;
        self.retries.hurry(Work::Routes);
    }

    /// Marks the routes for recomputation, and ends the pause of a failure.
    pub(super) fn recompute(&mut self) {
        self.is_table_due = true;
        self.retries.hurry(Work::Routes);
    }

    /// Marks work whose pause is over.
    pub(super) fn wake(&mut self, now: Instant) {
        for work in self.retries.wake(now) {
            match work {
                Work::Structure | Work::Routes => self.mark_all(),
                Work::Report => self.are_ends_due = true,
                Work::Status => self.is_status_due = true,
            }
        }
    }

    /// Replaces the object, or updates it to changed facts of the site.
    pub(super) fn set_forwarder(&mut self, forwarder: Arc<Forwarder>, site: &Site) {
        let mut structure = structure(&forwarder, site, &self.peer_mtu);
        structure.namespace.pods.clone_from(&self.pods);
        if structure != self.structure {
            self.structure = structure;
            self.was_whole = false;
            self.mark_all();
            self.are_ends_due = true;
        }
        self.forwarder = forwarder;
        self.is_watch_due = true;
        self.recompute();
        self.is_status_due = true;
    }

    /// Applies the report on the other end of a link; true when other links have an interface now.
    pub(super) fn set_peer_end(&mut self, id: &str, end: &ReportedEnd, site: &Site) -> bool {
        let before = self.peer_mtu.insert(id.to_owned(), end.mtu);
        if before.unwrap_or_default() == end.mtu {
            return false;
        }
        let interfaces = self.structure.interfaces.clone();
        self.set_forwarder(Arc::clone(&self.forwarder), site);
        interfaces != self.structure.interfaces
    }

    pub(super) fn set_attached(
        &mut self,
        attached: &BTreeMap<String, Vec<(Key, String, Attachment)>>,
    ) {
        let here = attached
            .get(&netns_path(&self.netns))
            .map_or(&[][..], Vec::as_slice);
        let status = here.iter().map(|(key, pod, attachment)| AttachmentStatus {
            app: attachment.app.clone(),
            key: format!("{}/{}", key.container_id, key.ifname),
            pod: pod.clone(),
            addresses: attachment.addresses.clone(),
        });
        let status: Vec<_> = status.collect();
        let is_external = |app: &str| {
            let mut apps = self.forwarder.spec.apps.iter();
            apps.any(|entry| entry.name == app && !entry.external.is_empty())
        };
        let external = here
            .iter()
            .filter(|(_, _, attachment)| is_external(&attachment.app))
            .map(|(_, _, attachment)| {
                (
                    attachment.app.clone(),
                    attachment.forwarder_interface.clone(),
                )
            })
            .collect();
        let wires = here.iter().map(|(key, _, attachment)| {
            let interface = attachment.forwarder_interface.clone();
            (key.clone(), interface)
        });
        self.wires = wires.collect();
        let ends = here.iter().map(|(_, _, attachment)| {
            let end = PodEnd {
                addresses: attachment.addresses.iter().map(IpNetwork::ip).collect(),
                gateways: attachment.gateways.iter().copied().collect(),
            };
            (attachment.forwarder_interface.clone(), end)
        });
        // The plugin has just created them; the next observation compares.
        self.pods = ends.collect();
        self.structure.namespace.pods.clone_from(&self.pods);
        self.lost.retain(|key| self.wires.contains_key(key));
        if status != self.attached {
            self.attached = status;
            self.is_status_due = true;
        }
        if external != self.external {
            self.external = external;
            self.reroute();
        }
    }

    /// Replaces the observed link ends; true when they changed.
    pub(super) fn set_ends(&mut self, ends: BTreeMap<String, End>) -> bool {
        let is_news = ends != self.ends;
        if is_news {
            self.ends = ends;
            self.are_ends_due = true;
            self.is_watch_due = true;
            self.reroute();
            self.is_status_due = true;
        }
        is_news
    }

    /// Replaces the attachments that are without their interface.
    pub(super) fn set_lost(&mut self, lost: BTreeSet<Key>) {
        if lost != self.lost {
            self.lost = lost;
            self.is_status_due = true;
        }
    }

    /// State, reason and MTU of each link end, as reported to other nodes.
    pub(super) fn observations(&self) -> BTreeMap<String, Observation> {
        let state = |id: &String| match self.ends.get(id) {
            Some(End::Up) if self.in_use.contains(id) => (State::Up, Reason::None),
            Some(End::Up) => (State::Init, Reason::None),
            Some(End::NoCarrier) => (State::Down, Reason::NoCarrier),
            Some(End::Disabled) => (State::AdminDown, Reason::AdminDown),
            Some(End::Missing) | None => (State::Down, Reason::Missing),
        };
        let underlay = &self.structure.underlay;
        let observation = |id: &String| Observation {
            mtu: underlay.get(id).copied().unwrap_or_default(),
            ..state(id).into()
        };
        let links = self.forwarder.spec.links.iter();
        links
            .map(|link| (link.id.clone(), observation(&link.id)))
            .collect()
    }

    /// Link of an interface.
    pub(super) fn link_of(&self, interface: &str) -> Option<&str> {
        let mut interfaces = self.structure.interfaces.iter();
        interfaces
            .find(|(_, name)| *name == interface)
            .map(|(id, _)| id.as_str())
    }

    /// Namespace of a veth's other end.
    pub(super) fn peer_netns(&self, interface: &str) -> Option<String> {
        match &self.structure.namespace.links.get(interface)?.kind {
            LinkKind::Veth { peer_netns, .. } => Some(peer_netns.clone()),
            LinkKind::Vxlan { .. } | LinkKind::Attachment => None,
        }
    }

    pub(super) fn succeeded(&mut self, work: Work) {
        self.is_status_due |= self.retries.succeeded(work);
    }

    /// Records a failure and its retry time. Logged once for each reason: where a disk is full, a
    /// line for each attempt fills it further.
    pub(super) fn failed(&mut self, work: Work, problem: String) {
        if self.retries.failed(work, problem.clone(), Instant::now()) {
            tracing::warn!(
                forwarder = self.object(),
                problem,
                "forwarder not converged, retried"
            );
            self.is_status_due = true;
        }
    }
}

/// Link ends of a Forwarder, derived from the observed namespace.
pub(super) fn ends(structure: &Structure, observed: &Observed) -> BTreeMap<String, End> {
    let state = |name: &String| match observed.links.get(name) {
        Some(link) if !link.is_ours => End::Missing,
        Some(link) if link.is_up => End::Up,
        Some(link) if link.is_enabled => End::NoCarrier,
        Some(_) => End::Disabled,
        None => End::Missing,
    };
    structure
        .interfaces
        .iter()
        .map(|(id, name)| (id.clone(), state(name)))
        .collect()
}

/// Attachments whose interface is missing from the observed namespace.
pub(super) fn lost(wires: &BTreeMap<Key, String>, observed: &Observed) -> BTreeSet<Key> {
    let absent = wires
        .iter()
        .filter(|(_, interface)| !observed.links.contains_key(*interface));
    absent.map(|(key, _)| key.clone()).collect()
}

/// Addresses of pods that the kernel has routes to.
pub(super) fn held(observed: &Observed) -> BTreeSet<IpAddr> {
    let routes = observed.routes.iter().filter(|route| route.is_attachment());
    routes.map(|route| route.prefix.ip()).collect()
}
