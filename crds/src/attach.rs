//! Assignment of pods to Apps and Forwarders. Pure.
//!
//! ```text
//! topology, places, pods -> assign -> Attachments -> expand_with, to_topology_with
//! ```
//! The operator and all nodes use this one rule, so that the graph has an edge where a pod is
//! attached. A pod has one attachment for each topology that takes it:
//!
//! 1. *Which topology*: those that [`TOPOLOGIES`] names (`NAME` in the pod's own namespace,
//!    `NAMESPACE/NAME` elsewhere), where they are of the pod's namespace or list it among their
//!    `allowedNamespaces`. Without it, those of the pod's own namespace of which an App selects the
//!    pod or is named by [`APP`].
//! 2. *Which App*: the one that [`APP`] names; else the first one, by name, whose selector means the
//!    pod; else, where the topology was named, the only App with neither selector nor `external`.
//! 3. *Which Forwarder*: one on the pod's node. The one that the App is pinned to; else the one that
//!    [`FORWARDER`] names; else, of several, one chosen by rendezvous hashing of [`runtime_uid`].

mod choose;
#[cfg(test)]
mod tests;

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};

use crate::{Forwarder, MicroServiceTopology, topology::AppEntry};

/// Annotation of a pod: the topologies that it joins, `NAME` or `NAMESPACE/NAME`, with commas between.
pub const TOPOLOGIES: &str = "beemesh.io/topologies";
/// Annotation of a pod: the App that it is an instance of.
pub const APP: &str = "beemesh.io/app";
/// Annotation of a pod: the Forwarder that it must be on.
pub const FORWARDER: &str = "beemesh.io/forwarder";

/// Annotation of a static pod's mirror in the API: the uid that kubelet and runtime use.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// Prefix of the pod annotations that [`assign`] reads, besides [`MIRROR`].
const OURS: &str = "beemesh.io/";

/// A Forwarder and its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place<'a> {
    /// The Forwarder's name in the topology.
    pub name: &'a str,
    /// The node it is on.
    pub node: &'a str,
}

impl<'a> From<&'a Forwarder> for Place<'a> {
    fn from(forwarder: &'a Forwarder) -> Place<'a> {
        let spec = &forwarder.spec;
        Place {
            name: &spec.name,
            node: &spec.node,
        }
    }
}

/// Number of instances of each App; one for an absent App.
pub type Instances = BTreeMap<String, u32>;

/// Running pod: bound to a node, with a network namespace of its own, neither finished nor
/// terminating.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// The node it is bound to.
    pub node: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations; only those that [`is_read`] accepts are used.
    pub annotations: BTreeMap<String, String>,
}

/// Attachments of one topology: Forwarders by App, and pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachments {
    /// Forwarders with an instance, by App. External Apps need no entry: they are always attached.
    pub edges: BTreeMap<String, BTreeSet<String>>,
    /// Pods that are instances, in the order of the pods.
    pub instances: Vec<Instance>,
    /// Pods that should be instances and cannot be, in the order of the pods.
    pub unattached: Vec<Unattached>,
}

/// A pod that is an instance of an App.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its position among the pods.
    pub pod: usize,
    /// The App.
    pub app: String,
    /// The Forwarder.
    pub forwarder: String,
}

/// A pod that should be an instance and cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unattached {
    /// Its position among the pods.
    pub pod: usize,
    /// Reason.
    pub reason: Reason,
    /// Message, a sentence.
    pub message: String,
}

/// Reason why a pod is not attached; its name is the reason of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The topology does not allow pods of this namespace.
    NamespaceNotAllowed,
    /// No App of the topology matches the pod.
    NoApp,
    /// Several Apps are joined by name, and the pod names none.
    AmbiguousApp,
    /// The pod names a Forwarder that the App is not on, or that is not there.
    WrongForwarder,
    /// No Forwarder that the pod may be on is on its node.
    NoForwarder,
}

impl Reason {
    /// One CamelCase word.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NamespaceNotAllowed => "NamespaceNotAllowed",
            Reason::NoApp => "NoApp",
            Reason::AmbiguousApp => "AmbiguousApp",
            Reason::WrongForwarder => "WrongForwarder",
            Reason::NoForwarder => "NoForwarder",
        }
    }
}

/// True when [`assign`] reads the annotation `key` of a pod.
pub fn is_read(key: &str) -> bool {
    key.starts_with(OURS) || key == MIRROR
}

/// Uid of a pod at kubelet and runtime. A static pod keeps it when its mirror is deleted and
/// recreated with another uid in the API.
pub fn runtime_uid(pod: &Pod) -> &str {
    pod.annotations.get(MIRROR).unwrap_or(&pod.uid)
}

/// Assigns `pods` to Apps and Forwarders of `topology`.
///
/// `places` are its Forwarders with their nodes ([`crate::expand::Layout::places`], or made from
/// Forwarder objects), in any order.
///
/// # Guarantees
/// Equal arguments give equal results; the assignment of a pod depends on no other pod.
pub fn assign(
    topology: &MicroServiceTopology,
    places: &[Place<'_>],
    pods: &[impl Borrow<Pod>],
) -> Attachments {
    let chooser = choose::Chooser::new(topology, places);
    let mut attachments = Attachments::default();
    for (position, pod) in pods.iter().enumerate() {
        match chooser.choose(pod.borrow()) {
            Ok(None) => {}
            Ok(Some((app, forwarder))) => attachments.add(position, app, forwarder),
            Err((reason, message)) => attachments.unattached.push(Unattached {
                pod: position,
                reason,
                message,
            }),
        }
    }
    attachments
}

/// True when pods of a Kubernetes namespace may be instances of `topology`; one of another
/// namespace than the topology's has to name it as well.
pub fn admits(topology: &MicroServiceTopology, namespace: &str) -> bool {
    let mut allowed = topology.spec.allowed_namespaces.iter();
    topology.metadata.namespace == namespace
        || allowed.any(|allowed| allowed == namespace || allowed == "*")
}

/// True when `pod` may or should be an instance of `topology`: for other pods, [`assign`] reports
/// only a namespace that is not allowed.
pub fn concerns(topology: &MicroServiceTopology, pod: &Pod) -> bool {
    choose::concerns(topology, pod)
}

impl Attachments {
    /// Attachments in a lab: instance i of an App with `forwarder: Auto` is on Forwarder i mod n in
    /// byte order; an App has one instance unless `instances` says otherwise.
    pub fn of_instances<'a>(
        topology: &MicroServiceTopology,
        forwarders: impl IntoIterator<Item = &'a str>,
        instances: &Instances,
    ) -> Attachments {
        let sorted: BTreeSet<&str> = forwarders.into_iter().collect();
        let on = |app: &AppEntry| -> BTreeSet<String> {
            let count = instances.get(&app.name).copied().unwrap_or(1) as usize;
            match app.pinned() {
                Some(pinned) if count > 0 => [pinned.to_owned()].into(),
                Some(_) => BTreeSet::new(),
                None => sorted.iter().take(count).map(ToString::to_string).collect(),
            }
        };
        let apps = topology.spec.apps.iter();
        Attachments {
            edges: apps.map(|app| (app.name.clone(), on(app))).collect(),
            ..Attachments::default()
        }
    }

    /// True when an instance of `app` is on `forwarder`.
    pub fn is_edge(&self, app: &str, forwarder: &str) -> bool {
        let forwarders = self.edges.get(app);
        forwarders.is_some_and(|forwarders| forwarders.contains(forwarder))
    }

    fn add(&mut self, pod: usize, app: &str, forwarder: &str) {
        let edges = self.edges.entry(app.to_owned()).or_default();
        edges.insert(forwarder.to_owned());
        self.instances.push(Instance {
            pod,
            app: app.to_owned(),
            forwarder: forwarder.to_owned(),
        });
    }
}
