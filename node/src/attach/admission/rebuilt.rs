//! Topology rebuilt from its Forwarders, with the facts that admission needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::attach::APP;
use crds::topology::AppEntry;
use crds::{Forwarder, LabelSelector, MicroServiceTopology, MicroServiceTopologySpec};

use crds::TopologyKey;

/// Topology of these Forwarders: its Apps, and the namespaces of its pods.
pub(super) fn topology(network: &TopologyKey, forwarders: &[&Forwarder]) -> MicroServiceTopology {
    let mut spec = MicroServiceTopologySpec::default();
    let mut apps: BTreeMap<&str, AppEntry> = BTreeMap::new();
    for forwarder in forwarders {
        for entry in &forwarder.spec.apps {
            let app = apps.entry(&entry.name);
            let app = app.or_insert_with(|| AppEntry::new(entry.name.clone()));
            app.pod_selector.clone_from(&entry.selector);
            if !entry.external.is_empty() {
                // In a lab an instance represents an external App; nobody joins it unasked.
                app.pod_selector = Some(by_name(&entry.name));
            }
            if entry.insist {
                app.forwarder.clone_from(&forwarder.spec.name);
            }
        }
    }
    let last = forwarders.last().map(|it| &it.spec.allowed_namespaces);
    spec.allowed_namespaces = last.map_or_else(Vec::new, |all| all.to_vec());
    spec.apps = apps.into_values().collect();
    let mut topology = MicroServiceTopology::new(network.topology.clone(), spec);
    topology.metadata.namespace.clone_from(&network.namespace);
    topology
}

/// Topology as the runtime of a host may see it: a router to an external App joins it by its name.
/// No pod ever does.
pub(super) fn with_joinable_external(
    topology: &Arc<MicroServiceTopology>,
) -> Arc<MicroServiceTopology> {
    if topology.spec.apps.iter().all(|app| app.external.is_none()) {
        return Arc::clone(topology);
    }
    let mut joinable = MicroServiceTopology::clone(topology);
    for app in &mut joinable.spec.apps {
        if let Some(external) = app.external.take() {
            app.forwarder = external.forwarder;
            app.pod_selector = Some(by_name(&app.name));
        }
    }
    Arc::new(joinable)
}

fn by_name(app: &str) -> LabelSelector {
    LabelSelector {
        match_labels: BTreeMap::from([(APP.to_owned(), app.to_owned())]),
        ..LabelSelector::default()
    }
}
