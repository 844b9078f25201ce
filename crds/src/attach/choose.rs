//! Assignment of one pod: topology, App, Forwarder.

use std::collections::BTreeMap;

use super::{APP, FORWARDER, Place, Pod, Reason, TOPOLOGIES, admits, runtime_uid};
use topology::hash;

use crate::{MicroServiceTopology, topology::AppEntry};

type Refusal = (Reason, String);

/// Topology with indices for lookups by pod.
pub(super) struct Chooser<'a> {
    topology: &'a MicroServiceTopology,
    /// Sorted by name.
    apps: Vec<&'a AppEntry>,
    /// Forwarders by node, each list in byte order.
    forwarders_by_node: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Chooser<'a> {
    pub(super) fn new(topology: &'a MicroServiceTopology, places: &[Place<'a>]) -> Chooser<'a> {
        let mut apps: Vec<&AppEntry> = topology.spec.apps.iter().collect();
        apps.sort_by(|one, other| one.name.cmp(&other.name));
        let mut places: Vec<Place<'_>> = places.to_vec();
        places.sort_unstable();
        let mut forwarders_by_node: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for place in places.iter().filter(|place| !place.node.is_empty()) {
            let here = forwarders_by_node.entry(place.node).or_default();
            here.push(place.name);
        }
        Chooser {
            topology,
            apps,
            forwarders_by_node,
        }
    }

    /// App and Forwarder of `pod`; `None` when the pod does not belong to this topology.
    pub(super) fn choose(&self, pod: &Pod) -> Result<Option<(&'a str, &'a str)>, Refusal> {
        let Some(is_named) = asks(self.topology, pod) else {
            return Ok(None);
        };
        if !admits(self.topology, &pod.namespace) {
            let message = format!(
                "topology {} does not take pods of namespace {}: see its spec.allowedNamespaces",
                self.display(),
                pod.namespace
            );
            return Err((Reason::NamespaceNotAllowed, message));
        }
        match self.app(pod, is_named)? {
            None => Ok(None),
            Some(app) => self.forwarder(pod, app).map(|on| Some((&*app.name, on))),
        }
    }

    fn app(&self, pod: &Pod, is_named: bool) -> Result<Option<&'a AppEntry>, Refusal> {
        if let Some(wanted) = wish(pod, APP) {
            let mut apps = self.apps.iter().copied();
            return match apps.find(|app| app.name == wanted && app.external.is_none()) {
                Some(app) => Ok(Some(app)),
                None if is_named => {
                    let message = format!("topology {} has no App {wanted:?}", self.display());
                    Err((Reason::NoApp, format!("{message} that pods can join")))
                }
                None => Ok(None),
            };
        }
        let selects = |app: &&&AppEntry| {
            let selector = app.pod_selector.as_ref();
            selector.is_some_and(|selector| selector.matches(&pod.labels))
        };
        if let Some(app) = self.apps.iter().find(selects) {
            return Ok(Some(app));
        }
        if is_named {
            self.only_joinable().map(Some)
        } else {
            Ok(None)
        }
    }

    /// The one App that pods join by name.
    fn only_joinable(&self) -> Result<&'a AppEntry, Refusal> {
        let is_joinable = |app: &&&AppEntry| app.pod_selector.is_none() && app.external.is_none();
        let joinable: Vec<&AppEntry> = self.apps.iter().filter(is_joinable).copied().collect();
        match joinable[..] {
            [app] => Ok(app),
            [] => {
                let message = format!("no App of topology {} selects the pod", self.display());
                Err((
                    Reason::NoApp,
                    format!("{message}, and none is without selector"),
                ))
            }
            _ => {
                let names: Vec<&str> = joinable.iter().map(|app| app.name.as_str()).collect();
                let message = format!("topology {} has several Apps", self.display());
                let names = names.join(", ");
                let message = format!("{message} ({names}): expected annotation {APP} to name one");
                Err((Reason::AmbiguousApp, message))
            }
        }
    }

    fn forwarder(&self, pod: &Pod, app: &AppEntry) -> Result<&'a str, Refusal> {
        let wanted = wish(pod, FORWARDER);
        if let (Some(pinned), Some(wanted)) = (app.pinned(), wanted)
            && pinned != wanted
        {
            let message = format!("App {} is pinned to {pinned}, and annotation", app.name);
            let message = format!("{message} {FORWARDER} of the pod asks for {wanted}");
            return Err((Reason::WrongForwarder, message));
        }
        let here = self.forwarders_by_node.get(pod.node.as_str());
        let here = here.map(Vec::as_slice).unwrap_or_default();
        let Some(only) = app.pinned().or(wanted) else {
            return self.by_hash(pod, here);
        };
        if let Some(found) = here.iter().find(|name| **name == only) {
            return Ok(found);
        }
        let mut all = self.forwarders_by_node.iter();
        match all.find(|(_, names)| names.contains(&only)) {
            Some((node, _)) => {
                let message = format!("forwarder {only} of topology {} is on", self.display());
                let message = format!("{message} node {node}, the pod on {}", pod.node);
                Err((Reason::NoForwarder, message))
            }
            None => {
                let message = format!("topology {} has no forwarder {only}", self.display());
                Err((Reason::WrongForwarder, message))
            }
        }
    }

    fn by_hash(&self, pod: &Pod, here: &[&'a str]) -> Result<&'a str, Refusal> {
        // Rendezvous hashing (Thaler & Ravishankar 1998): one Forwarder more takes its share of pods from the
        // others, and no pod moves between those that were there.
        let uid = runtime_uid(pod);
        let highest = here.iter().max_by_key(|name| hash::texts(&[uid, name]));
        highest.copied().ok_or_else(|| {
            let message = format!("topology {} has no forwarder", self.display());
            let message = format!("{message} on node {} of the pod", pod.node);
            (Reason::NoForwarder, message)
        })
    }

    fn display(&self) -> String {
        let metadata = &self.topology.metadata;
        format!("{}/{}", metadata.namespace, metadata.name)
    }
}

/// True when `pod` may be an instance, independent of Forwarders: an over-approximation.
pub(super) fn concerns(topology: &MicroServiceTopology, pod: &Pod) -> bool {
    let is_selected = || {
        let apps = topology.spec.apps.iter();
        let mut selectors = apps.filter_map(|app| app.pod_selector.as_ref());
        selectors.any(|selector| selector.matches(&pod.labels))
    };
    let may_join = |is_named| is_named || wish(pod, APP).is_some() || is_selected();
    admits(topology, &pod.namespace) && asks(topology, pod).is_some_and(may_join)
}

/// True when the pod names the topology; `None` when it is not one of its pods.
///
/// A topology reaches only pods of its own namespace; any other pod has to name it.
fn asks(topology: &MicroServiceTopology, pod: &Pod) -> Option<bool> {
    let metadata = &topology.metadata;
    let is_at_home = pod.namespace == metadata.namespace;
    let Some(names) = wish(pod, TOPOLOGIES) else {
        return is_at_home.then_some(false);
    };
    let is_meant = |name: &str| match name.split_once('/') {
        Some((namespace, name)) => namespace == metadata.namespace && name == metadata.name,
        None => is_at_home && name == metadata.name,
    };
    let mut names = names.split(',').map(str::trim);
    names.any(is_meant).then_some(true)
}

/// Value of a pod's annotation or label `key`.
fn wish<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    let wish = pod.annotations.get(key).or_else(|| pod.labels.get(key))?;
    (!wish.is_empty()).then_some(wish.as_str())
}
