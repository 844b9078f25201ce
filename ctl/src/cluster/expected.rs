//! The Forwarders that a declaration asks for on the cluster's nodes, out of what is given already.

use super::stored::Stored;
use crds::{
    AllocationSpec, Forwarder, ForwarderObject, Instances, MicroServiceTopology, Node, Problem,
};
use std::collections::{BTreeMap, BTreeSet};

/// What exists of one topology.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// Its Forwarder objects that are its own and stay, sorted by name.
    pub(crate) forwarders: Vec<ForwarderObject>,
    /// What is persisted for it.
    pub(crate) allocation: AllocationSpec,
}

impl Given {
    /// Of `objects` those that `topology` owns.
    pub(crate) fn new(
        topology: &Stored,
        objects: &[ForwarderObject],
        allocation: Option<AllocationSpec>,
    ) -> Self {
        let own = objects.iter().filter(|object| is_own(topology, object));
        Self {
            forwarders: own.cloned().collect(),
            allocation: allocation.unwrap_or_default(),
        }
    }

    /// Where each App is attached, as the Forwarder objects say.
    fn edges(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for spec in self.forwarders.iter().map(|object| &object.spec) {
            for app in &spec.apps {
                let attached = app.attached.then_some(spec.name.as_str());
                edges.entry(&app.name).or_default().extend(attached);
            }
        }
        edges
    }

    /// The Forwarders as they were given, and what was released, which is given again last.
    fn previous(&self, namespace: &str) -> Vec<Forwarder> {
        let existing = self.forwarders.iter().map(|object| {
            let mut spec = object.spec.clone();
            spec.blocks = self.blocks(object);
            spec.links.clear();
            Forwarder::new(namespace, spec)
        });
        existing.collect()
    }

    fn blocks(&self, object: &ForwarderObject) -> Vec<ipnetwork::IpNetwork> {
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        let grant = self.allocation.blocks.get(uid);
        grant.map(|grant| grant.blocks.clone()).unwrap_or_default()
    }

    /// What the operator makes of `object`: those that exist with what they were given, others with
    /// the blocks that are next. A link without a VNI yet has none. Where an App exists already it
    /// is attached where it is now; a new one has one instance.
    ///
    /// # Errors
    /// What is wrong with the declaration, or with it on these nodes.
    pub(crate) fn expand(
        &self,
        object: &MicroServiceTopology,
        nodes: &[Node],
    ) -> Result<Vec<Forwarder>, Vec<Problem>> {
        let previous = self.previous(&object.metadata.namespace);
        let mut forwarders = crds::expand(object, nodes, &previous, &Instances::new())?;
        let edges = self.edges();
        for spec in forwarders.iter_mut().map(|forwarder| &mut forwarder.spec) {
            let existing = self.forwarders.iter().find(|it| it.spec.name == spec.name);
            if let Some(existing) = existing {
                spec.blocks = self.blocks(existing);
            }
            for link in &mut spec.links {
                let vni = self.allocation.vnis.get(&link.id).copied();
                link.vni = link.vni.and(vni);
            }
            for app in spec.apps.iter_mut().filter(|app| app.external.is_empty()) {
                if let Some(attached) = edges.get(app.name.as_str()) {
                    app.attached = attached.contains(spec.name.as_str());
                }
            }
        }
        Ok(forwarders)
    }
}

/// Whether `topology` owns the object, which is not on its way out.
pub(crate) fn is_own(topology: &Stored, object: &ForwarderObject) -> bool {
    let owners = object.metadata.owner_references.iter().flatten();
    let uid = topology.metadata.uid.as_deref();
    object.metadata.deletion_timestamp.is_none()
        && owners
            .into_iter()
            .any(|owner| Some(owner.uid.as_str()) == uid)
}
