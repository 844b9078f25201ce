//! A topology made again from its Forwarders, as far as pods go by it.

use std::collections::BTreeMap;

use crds::attach::APP;
use crds::topology::AppEntry;
use crds::{Forwarder, LabelSelector, MicroServiceTopology, MicroServiceTopologySpec};

use crate::leases::Network;

/// The topology of these Forwarders: its Apps, and whose pods it takes.
pub(super) fn topology(network: &Network, forwarders: &[&Forwarder]) -> MicroServiceTopology {
    let mut spec = MicroServiceTopologySpec::default();
    let mut apps: BTreeMap<&str, AppEntry> = BTreeMap::new();
    for forwarder in forwarders {
        for entry in &forwarder.spec.apps {
            let app = apps.entry(&entry.name);
            let app = app.or_insert_with(|| AppEntry::new(entry.name.clone()));
            app.pod_selector.clone_from(&entry.selector);
            if !entry.external.is_empty() {
                // In a lab an instance stands in for what is outside; nobody joins it unasked.
                app.pod_selector = Some(by_name(&entry.name));
            }
            if entry.insist {
                app.forwarder.clone_from(&forwarder.spec.name);
            }
            spec.allowed_namespaces
                .clone_from(&entry.allowed_namespaces);
        }
    }
    spec.apps = apps.into_values().collect();
    let mut topology = MicroServiceTopology::new(network.topology.clone(), spec);
    topology.metadata.namespace.clone_from(&network.namespace);
    topology
}

fn by_name(app: &str) -> LabelSelector {
    LabelSelector {
        match_labels: BTreeMap::from([(APP.to_owned(), app.to_owned())]),
        ..LabelSelector::default()
    }
}
