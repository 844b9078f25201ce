//! Admission of pods: which topologies take a pod, and which Forwarder of this node it is attached
//! to. Pure.
//!
//! [`crds::attach::assign`] chooses topology, App and Forwarder, here as in the operator. Where
//! Forwarders come without their topology, as in a lab, the topology is rebuilt from their Apps.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cni::node_protocol::code;
use crds::Place as Placed;
use crds::attach::{Attachments, Pod, TOPOLOGIES, admits, assign};
use crds::{Forwarder, MicroServiceTopology};

use crate::error::enumerate;
use crds::TopologyKey;

mod rebuilt;
#[cfg(test)]
mod tests;

/// A Forwarder of this node.
#[derive(Clone, Debug)]
pub struct LocalForwarder {
    /// Forwarder object.
    pub forwarder: Arc<Forwarder>,
    /// Name of its network namespace.
    pub netns: String,
    /// MTU of attachments in bytes.
    pub mtu: u32,
    /// False until its namespace is created.
    pub is_ready: bool,
}

/// A topology that pods may join.
#[derive(Clone, Debug)]
struct Known {
    topology: Arc<MicroServiceTopology>,
    /// The same topology as the runtime of a host sees it: external Apps can be joined by name.
    outside: Arc<MicroServiceTopology>,
    /// Name and node of each Forwarder.
    forwarders: Vec<(String, String)>,
    /// True when it is rebuilt from Forwarders, so that Apps may be missing.
    is_rebuilt: bool,
}

/// Admission catalog: topologies, and this node's Forwarders.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// False while a Forwarder may be missing: then [`Admission::NotOurs`] is never answered.
    pub is_complete: bool,
    node: String,
    places: Vec<LocalForwarder>,
    known: BTreeMap<TopologyKey, Known>,
}

/// Pod to be attached, and the topology that the attachment is restricted to.
#[derive(Clone, Debug, Default)]
pub struct AttachRequest {
    /// Pod, or its stand-in built from the plugin's request.
    pub pod: Pod,
    /// Topology to which the attachment is restricted; `None` for all.
    pub only: Option<TopologyKey>,
    /// True when a network configuration names `only`: it then also takes a pod without the App's
    /// labels.
    pub is_asked_for: bool,
}

/// Topology that takes the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Position in [`Catalog::places`].
    pub place: usize,
    /// The App that the pod is an instance of.
    pub app: String,
}

/// Decision about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Assignments, one for each topology.
    Ours(Vec<Assignment>),
    /// No topology takes it.
    NotOurs,
    /// The pod is assigned, but its Forwarder is not ready. Carries the reason.
    TryLater(String),
    /// The catalog is incomplete, so the decision is not possible yet. Carries the reason.
    Unsure(String),
    /// The pod asks for an absent topology or App. CNI error code of [`code`], and the reason.
    Refused(u32, String),
}

impl Catalog {
    /// Catalog of the known Forwarders and topologies, where `places` are the Forwarders on the
    /// node `node`.
    pub fn new<'a>(
        node: &str,
        forwarders: impl IntoIterator<Item = &'a Forwarder>,
        topologies: impl IntoIterator<Item = &'a Arc<MicroServiceTopology>>,
        places: Vec<LocalForwarder>,
        is_complete: bool,
    ) -> Catalog {
        let mut objects: BTreeMap<TopologyKey, Vec<&Forwarder>> = BTreeMap::new();
        for forwarder in forwarders {
            let of = objects.entry(forwarder.topology_key()).or_default();
            of.push(forwarder);
        }
        let mut known = BTreeMap::new();
        for topology in topologies {
            let network = TopologyKey {
                namespace: topology.metadata.namespace.clone(),
                topology: topology.metadata.name.clone(),
            };
            let forwarders = objects.remove(&network).unwrap_or_default();
            known.insert(network, Known::new(topology, &forwarders, false));
        }
        for (network, forwarders) in objects {
            let topology = Arc::new(rebuilt::topology(&network, &forwarders));
            known.insert(network, Known::new(&topology, &forwarders, true));
        }
        Catalog {
            is_complete,
            node: node.to_owned(),
            places,
            known,
        }
    }

    /// Forwarders of this node.
    pub fn places(&self) -> &[LocalForwarder] {
        &self.places
    }

    /// Name of this node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Attachments of `pods` for each topology.
    pub fn assign(&self, pods: &[impl Borrow<Pod>]) -> BTreeMap<&TopologyKey, Attachments> {
        let assigned = self.known.iter();
        assigned
            .map(|(network, known)| (network, known.assign(pods)))
            .collect()
    }

    /// Attachments of `pods` to one topology; `None` for an unknown one.
    pub fn assign_to(
        &self,
        network: &TopologyKey,
        pods: &[impl Borrow<Pod>],
    ) -> Option<Attachments> {
        Some(self.known.get(network)?.assign(pods))
    }

    /// True when pods can be attached to a Forwarder of this node.
    pub fn is_ready(&self, network: &TopologyKey, forwarder: &str) -> bool {
        self.choice(network, forwarder, String::new()).is_ok()
    }

    /// True when a topology is declared, or has at least one Forwarder.
    pub fn knows(&self, network: &TopologyKey) -> bool {
        self.known.contains_key(network)
    }

    /// True when a topology is rebuilt from its Forwarders because its object is unreadable.
    pub fn is_rebuilt(&self, network: &TopologyKey) -> bool {
        let known = self.known.get(network);
        known.is_some_and(|known| known.is_rebuilt)
    }

    /// Kubernetes namespaces from which topologies take pods; `*` means all.
    pub fn namespaces(&self) -> BTreeSet<String> {
        let topologies = self.known.values().map(|known| &known.topology);
        topologies
            .flat_map(|topology| {
                let own = std::iter::once(&topology.metadata.namespace);
                own.chain(&topology.spec.allowed_namespaces).cloned()
            })
            .collect()
    }

    /// True when any topology takes pods of a Kubernetes namespace.
    pub fn takes_from(&self, namespace: &str) -> bool {
        let mut known = self.known.values();
        known.any(|known| known.takes_from(namespace))
    }

    /// Decides which topologies take a pod, and at which Forwarder.
    pub fn admit(&self, guest: &AttachRequest) -> Admission {
        match self.admit_by_what_is_known(guest) {
            Admission::NotOurs | Admission::Refused(..) if !self.is_complete => {
                Admission::Unsure("the desired state is not complete yet".to_owned())
            }
            admission => admission,
        }
    }

    fn admit_by_what_is_known(&self, guest: &AttachRequest) -> Admission {
        let mut choices = Vec::new();
        for (network, known) in &self.known {
            if guest.only.as_ref().is_some_and(|only| only != network) {
                continue;
            }
            let seen = match guest.pod.namespace.is_empty() {
                true => &known.outside,
                false => &known.topology,
            };
            let assigned = known.assign_by(seen, &[stand_in(guest, network)]);
            if let Some(unattached) = assigned.unattached.into_iter().next() {
                return Admission::Refused(code::NOT_ADMITTED, unattached.message);
            }
            for instance in assigned.instances {
                match self.choice(network, &instance.forwarder, instance.app) {
                    Ok(choice) => choices.push(choice),
                    Err(why) => return Admission::TryLater(why),
                }
            }
        }
        if let Some(message) = self.absent(guest) {
            return Admission::Refused(code::NOT_ADMITTED, message);
        }
        match choices.is_empty() {
            true => Admission::NotOurs,
            false => Admission::Ours(choices),
        }
    }

    fn choice(
        &self,
        network: &TopologyKey,
        forwarder: &str,
        app: String,
    ) -> Result<Assignment, String> {
        let is_meant = |place: &LocalForwarder| {
            place.forwarder.spec.name == forwarder && place.forwarder.topology_key() == *network
        };
        let place = self.places.iter().position(is_meant);
        match place.filter(|place| self.places[*place].is_ready) {
            Some(place) => Ok(Assignment { place, app }),
            None => Err(format!(
                "forwarder {forwarder} of topology {network} is being made"
            )),
        }
    }

    /// Message about an absent topology that the request names; `None` when all exist.
    pub fn absent(&self, guest: &AttachRequest) -> Option<String> {
        let (namer, name) = self.first_absent(guest)?;
        let of = &guest.pod.namespace;
        let open = self.known.iter().filter(|(_, known)| known.takes_from(of));
        let open = open.map(|(network, _)| match network.namespace == *of {
            true => network.topology.clone(),
            false => network.to_string(),
        });
        let open: Vec<String> = open.collect();
        let open: Vec<&str> = open.iter().map(String::as_str).collect();
        let open = match open.is_empty() {
            true => "no topology takes pods of this namespace".to_owned(),
            false => format!("pods of this namespace may join {}", enumerate(&open)),
        };
        Some(format!(
            "{namer} names topology {name}, which does not exist: {open}"
        ))
    }

    /// First absent topology that the request names, with the source of the name.
    fn first_absent(&self, guest: &AttachRequest) -> Option<(String, String)> {
        if let Some(only) = &guest.only {
            let namer = "the network configuration".to_owned();
            return (!self.knows(only)).then(|| (namer, only.to_string()));
        }
        let pod = &guest.pod;
        let annotation = pod.annotations.get(TOPOLOGIES);
        let annotation = annotation.map(|names| ("annotation", names));
        let label = || Some(("label", pod.labels.get(TOPOLOGIES)?));
        let (kind, names) = annotation.or_else(label)?;
        let is_there = |name: &str| {
            let (namespace, topology) = name.split_once('/').unwrap_or((&pod.namespace, name));
            let mut known = self.known.keys();
            known.any(|network| {
                network.topology == topology
                    && (network.namespace == namespace || namespace.is_empty())
            })
        };
        let mut names = names.split(',').map(str::trim);
        let absent = names.find(|name| !name.is_empty() && !is_there(name))?;
        Some((format!("{kind} {TOPOLOGIES}"), absent.to_owned()))
    }
}

impl From<Pod> for AttachRequest {
    fn from(pod: Pod) -> AttachRequest {
        AttachRequest {
            pod,
            ..AttachRequest::default()
        }
    }
}

impl Known {
    fn new(
        topology: &Arc<MicroServiceTopology>,
        forwarders: &[&Forwarder],
        is_rebuilt: bool,
    ) -> Known {
        let place = |forwarder: &&Forwarder| {
            let spec = &forwarder.spec;
            (spec.name.clone(), spec.node.clone())
        };
        Known {
            topology: Arc::clone(topology),
            outside: rebuilt::with_joinable_external(topology),
            forwarders: forwarders.iter().map(place).collect(),
            is_rebuilt,
        }
    }

    fn takes_from(&self, namespace: &str) -> bool {
        admits(&self.topology, namespace)
    }

    fn assign(&self, pods: &[impl Borrow<Pod>]) -> Attachments {
        self.assign_by(&self.topology, pods)
    }

    fn assign_by(&self, topology: &MicroServiceTopology, pods: &[impl Borrow<Pod>]) -> Attachments {
        let places = self.forwarders.iter();
        let places: Vec<Placed<'_>> = places.map(|(name, node)| Placed { name, node }).collect();
        assign(topology, &places, pods)
    }
}

/// Pod as one topology sees it. Without Kubernetes, a pod is in the namespace of every topology.
fn stand_in(guest: &AttachRequest, network: &TopologyKey) -> Pod {
    let mut pod = guest.pod.clone();
    if pod.namespace.is_empty() {
        pod.namespace.clone_from(&network.namespace);
    }
    if guest.is_asked_for {
        let wish = network.to_string();
        pod.annotations.insert(TOPOLOGIES.to_owned(), wish);
    }
    pod
}

/// Path at which the plugin opens the namespace `name`.
pub fn netns_path(name: &str) -> String {
    format!("/run/netns/{name}")
}
