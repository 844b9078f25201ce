//! What this node could attach pods to, and which of it a pod gets. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cni::agent::{Claim, code};
use crds::{Forwarder, LabelSelector, names};

use crate::leases::Network;

#[cfg(test)]
mod tests;

/// Label or annotation that names the topologies to join, by commas: `iot` or `plant/iot`.
pub const TOPOLOGIES: &str = "beemesh.io/topologies";
/// Label or annotation that names the Forwarder to be attached to.
pub const FORWARDER: &str = "beemesh.io/forwarder";
/// Label or annotation that names the App to be an instance of.
pub const APP: &str = "beemesh.io/app";

/// A Forwarder of this node.
#[derive(Clone, Debug)]
pub struct Place {
    /// The Forwarder.
    pub forwarder: Arc<Forwarder>,
    /// Its namespace's name.
    pub netns: String,
    /// MTU of attachments in bytes.
    pub mtu: u32,
    /// False while its namespace is not made.
    pub is_ready: bool,
}

/// An App of a topology, wherever its instances may be.
#[derive(Clone, Debug, Default)]
struct App {
    selector: Option<LabelSelector>,
    is_external: bool,
    allowed_namespaces: Vec<String>,
    /// Positions of places that may have instances.
    places: Vec<usize>,
    /// The Forwarders that the App is pinned to, on any node.
    pinned_to: Vec<String>,
}

/// Everything that deciding about a pod needs.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// False while some Forwarder may be missing: then "not ours" is not yet an answer.
    pub is_complete: bool,
    places: Vec<Place>,
    apps: BTreeMap<Network, BTreeMap<String, App>>,
}

/// A topology that takes the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Position in [`Catalog::places`].
    pub place: usize,
    /// The App that the pod is an instance of.
    pub app: String,
}

/// What is to become of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// These take it, one for each topology.
    Ours(Vec<Choice>),
    /// No topology takes it.
    NotOurs,
    /// It cannot be told yet.
    TryLater(String),
    /// It is ours, but asks for what is not there. Code of [`code`], and why.
    Refused(u32, String),
}

impl Catalog {
    /// Of all Forwarders, and those of them that are on this node.
    pub fn new<'a>(
        all: impl Iterator<Item = &'a Forwarder>,
        places: Vec<Place>,
        is_complete: bool,
    ) -> Catalog {
        let mut catalog = Catalog {
            is_complete,
            places,
            apps: BTreeMap::new(),
        };
        for forwarder in all {
            let apps = catalog.apps.entry(network_of(forwarder)).or_default();
            for entry in &forwarder.spec.apps {
                let app = apps.entry(entry.name.clone()).or_default();
                app.selector.clone_from(&entry.selector);
                app.is_external = !entry.external.is_empty();
                app.allowed_namespaces.clone_from(&entry.allowed_namespaces);
                if entry.insist {
                    app.pinned_to.push(forwarder.spec.name.clone());
                }
            }
        }
        for (position, place) in catalog.places.iter().enumerate() {
            let Some(apps) = catalog.apps.get_mut(&network_of(&place.forwarder)) else {
                continue;
            };
            for entry in &place.forwarder.spec.apps {
                if let Some(app) = apps.get_mut(&entry.name) {
                    app.places.push(position);
                }
            }
        }
        catalog
    }

    /// The Forwarders of this node.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Decides which topologies take a pod, and where. `loads` counts attachments by the path of a
    /// Forwarder's namespace.
    pub fn admit(&self, claim: &Claim, loads: &HashMap<&str, usize>) -> Admission {
        match self.admit_by_what_is_known(claim, loads) {
            Admission::NotOurs | Admission::Refused(..) if !self.is_complete => {
                Admission::TryLater("the desired state is not complete yet".to_owned())
            }
            admission => admission,
        }
    }

    fn admit_by_what_is_known(&self, claim: &Claim, loads: &HashMap<&str, usize>) -> Admission {
        let chosen = match self.choose_apps(claim) {
            Ok(chosen) => chosen,
            Err(refusal) => return refusal,
        };
        if chosen.is_empty() {
            return Admission::NotOurs;
        }
        let choices: Result<Vec<_>, _> = chosen
            .into_iter()
            .map(|(network, name)| self.choose_place(claim, network, name, loads))
            .collect();
        choices.map_or_else(|refusal| refusal, Admission::Ours)
    }

    fn choose_apps(&self, claim: &Claim) -> Result<Vec<(&Network, &str)>, Admission> {
        let Some(wanted) = wish(claim, TOPOLOGIES) else {
            let all = self.apps.iter();
            let found = all.filter_map(|(network, apps)| {
                let name = choose_app(claim, network, apps, false)?;
                Some((network, name))
            });
            return Ok(found.collect());
        };
        let named = wanted
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        named.map(|name| self.choose_named(claim, name)).collect()
    }

    /// The topology that the pod asks for by name, its own Kubernetes namespace's first.
    fn choose_named(&self, claim: &Claim, wanted: &str) -> Result<(&Network, &str), Admission> {
        let is_meant = |network: &&Network| match wanted.split_once('/') {
            Some((namespace, topology)) => {
                network.namespace == namespace && network.topology == topology
            }
            None => network.topology == wanted,
        };
        let mut meant: Vec<&Network> = self.apps.keys().filter(is_meant).collect();
        let own = claim.pod.as_ref().map(|pod| pod.namespace.as_str());
        meant.sort_by_key(|network| Some(network.namespace.as_str()) != own);
        let found = meant.iter().find_map(|network| {
            let name = choose_app(claim, network, &self.apps[*network], true)?;
            Some((*network, name))
        });
        found.ok_or_else(|| {
            let why = if meant.is_empty() {
                "there is no such topology"
            } else {
                "it has no App for this pod, or does not admit its namespace"
            };
            Admission::Refused(code::NOT_ADMITTED, format!("topology {wanted}: {why}"))
        })
    }

    fn choose_place(
        &self,
        claim: &Claim,
        network: &Network,
        name: &str,
        loads: &HashMap<&str, usize>,
    ) -> Result<Choice, Admission> {
        let app = &self.apps[network][name];
        let refuse = |why: String| {
            let topology = &network.topology;
            let message = format!("topology {topology}, App {name}: {why}");
            Admission::Refused(code::NOT_ADMITTED, message)
        };
        let wanted = wish(claim, FORWARDER);
        if let Some(forwarder) = wanted
            && !app.pinned_to.is_empty()
            && !app.pinned_to.iter().any(|pinned| pinned == forwarder)
        {
            return Err(refuse(format!(
                "it is pinned to {}",
                app.pinned_to.join(", ")
            )));
        }
        let name_of = |place: usize| self.places[place].forwarder.spec.name.as_str();
        let is_candidate = |place: &usize| match wanted {
            Some(forwarder) => name_of(*place) == forwarder,
            None => app.pinned_to.is_empty() || app.pinned_to.iter().any(|p| p == name_of(*place)),
        };
        let load = |place: &usize| {
            let path = netns_path(&self.places[*place].netns);
            (
                !self.places[*place].is_ready,
                loads.get(path.as_str()).copied().unwrap_or(0),
            )
        };
        let best = app
            .places
            .iter()
            .copied()
            .filter(is_candidate)
            .min_by_key(load);
        match best {
            Some(place) if self.places[place].is_ready => Ok(Choice {
                place,
                app: name.to_owned(),
            }),
            Some(place) => Err(Admission::TryLater(format!(
                "forwarder {} is being made",
                name_of(place)
            ))),
            None => Err(refuse(match wanted {
                Some(forwarder) => format!("this node has no forwarder {forwarder} for it"),
                None => "this node has no forwarder for it".to_owned(),
            })),
        }
    }
}

/// The path by which the plugin opens the namespace `name`.
pub fn netns_path(name: &str) -> String {
    format!("/run/netns/{name}")
}

/// The address space that a Forwarder is of.
pub fn network_of(forwarder: &Forwarder) -> Network {
    Network {
        namespace: forwarder.metadata.namespace.clone(),
        topology: forwarder.spec.topology.clone(),
    }
}

/// The name of a Forwarder's namespace.
pub fn netns_of(forwarder: &Forwarder) -> String {
    let spec = &forwarder.spec;
    names::netns(&forwarder.metadata.namespace, &spec.topology, &spec.name)
}

/// What the pod asks for by annotation or label.
fn wish<'a>(claim: &'a Claim, key: &str) -> Option<&'a str> {
    let wish = claim
        .annotations
        .get(key)
        .or_else(|| claim.labels.get(key))?;
    (!wish.is_empty()).then_some(wish.as_str())
}

/// The App of a topology that the pod is an instance of: the one it names, else the first one whose
/// selector means it, else - if it named the topology - the first one that pods join by name.
fn choose_app<'a>(
    claim: &Claim,
    network: &Network,
    apps: &'a BTreeMap<String, App>,
    is_named: bool,
) -> Option<&'a str> {
    let mut admitted = apps.iter().filter(|(_, app)| admits(claim, network, app));
    let chosen = if let Some(name) = wish(claim, APP) {
        admitted.find(|(app, _)| *app == name)
    } else {
        let admitted: Vec<_> = admitted.collect();
        let selects = |(_, app): &&(&String, &App)| {
            app.selector
                .as_ref()
                .is_some_and(|selector| selector.matches(&claim.labels))
        };
        let joinable =
            |(_, app): &&(&String, &App)| is_named && app.selector.is_none() && !app.is_external;
        admitted
            .iter()
            .find(selects)
            .or_else(|| admitted.iter().find(joinable))
            .copied()
    };
    chosen.map(|(name, _)| name.as_str())
}

/// A pod of no Kubernetes namespace (a runtime without Kubernetes) is admitted everywhere.
fn admits(claim: &Claim, network: &Network, app: &App) -> bool {
    let Some(pod) = &claim.pod else { return true };
    let is_listed = |allowed: &String| *allowed == pod.namespace || allowed == "*";
    pod.namespace.is_empty()
        || pod.namespace == network.namespace
        || app.allowed_namespaces.iter().any(is_listed)
}
