//! Expected Forwarders of a declaration on the cluster's nodes, with the existing grants.

use super::{Cluster, stored::Stored};
use console::failure::Failure;
use crds::{
    AllocationSpec, Forwarder, ForwarderObject, Instances, Metadata, MicroServiceTopology, Node,
    Problem,
    attach::{Attachments, Pod, assign},
    expand::{Grants, Layout, Settled, to_topology_with},
    selector::matches_labels,
};
use ipnetwork::IpNetwork;
use k8s_openapi::api::core;
use kube::{Api, api::ListParams};
use std::collections::{BTreeMap, BTreeSet};
use topology::Topology;

/// Existing objects of one topology.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// Its Forwarder objects that are its own and stay, sorted by name.
    pub(crate) forwarders: Vec<ForwarderObject>,
    /// Its persisted allocation.
    pub(crate) allocation: AllocationSpec,
}

/// Source of the attachments of Apps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attached<'a> {
    /// These pods.
    By(&'a [Pod]),
    /// The Forwarder objects; an App that is in none of them has one instance.
    AsIs,
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

    /// Forwarders that the operator creates for `object`: existing ones with their grants, others
    /// with the blocks that are next. A link without a VNI yet has none.
    ///
    /// # Errors
    /// Problems of the declaration, also on these nodes.
    pub(crate) fn expand(
        &self,
        object: &MicroServiceTopology,
        nodes: &[Node],
        attached: Attached<'_>,
    ) -> Result<Vec<Forwarder>, Vec<Problem>> {
        let specs = self.forwarders.iter().map(|it| &it.spec);
        let before: Settled<'_> = specs
            .filter(|spec| !spec.node.is_empty())
            .map(|spec| (spec.name.as_str(), spec.node.as_str()))
            .collect();
        let layout = Layout::new(object, nodes, &before)?;
        let attachments = match attached {
            Attached::By(pods) => assign(object, layout.places(), pods),
            Attached::AsIs => self.attachments(object, &layout.names()),
        };
        let grants = Grants {
            blocks: self.blocks(&layout)?,
            vnis: self.allocation.vnis.clone(),
        };
        Ok(layout.forwarders(&grants, &attachments))
    }

    /// Attachments of Apps in the Forwarder objects, restricted to those named in `forwarders`.
    pub(crate) fn attachments(
        &self,
        object: &MicroServiceTopology,
        forwarders: &[&str],
    ) -> Attachments {
        let names = forwarders.iter().copied();
        let mut attachments = Attachments::of_instances(object, names, &Instances::new());
        let mut known: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for spec in self.forwarders.iter().map(|object| &object.spec) {
            for app in &spec.apps {
                let attached = app.attached.then(|| spec.name.clone());
                known.entry(&app.name).or_default().extend(attached);
            }
        }
        for (app, edges) in &mut attachments.edges {
            if let Some(known) = known.remove(app.as_str()) {
                *edges = known;
            }
        }
        attachments
    }

    /// The graph of `object` on these nodes, which matter only to `forwarderPerNode`, with Apps where
    /// the Forwarder objects have them.
    ///
    /// # Errors
    /// Problems that the lint finds.
    pub(crate) fn graph(
        &self,
        object: &MicroServiceTopology,
        nodes: &[Node],
    ) -> Result<Topology, Failure> {
        let spec = &object.spec;
        let names: Vec<&str> = match &spec.forwarder_per_node {
            Some(per_node) => nodes
                .iter()
                .filter(|node| matches_labels(&per_node.node_selector, &node.labels))
                .map(|node| node.name.as_str())
                .collect(),
            None => spec.forwarders.iter().map(|it| it.name.as_str()).collect(),
        };
        let attachments = self.attachments(object, &names);
        let Metadata {
            namespace, name, ..
        } = &object.metadata;
        to_topology_with(object, nodes, &attachments)
            .map_err(|problems| invalid(&format!("{namespace}/{name}"), problems))
    }

    /// The nodes of `forwarderPerNode` as the Forwarder objects have them, without asking for nodes.
    pub(crate) fn nodes(&self, object: &MicroServiceTopology) -> Vec<Node> {
        let per_node = object.spec.forwarder_per_node.as_ref();
        let labels = per_node
            .map(|it| it.node_selector.clone())
            .unwrap_or_default();
        let node = |it: &ForwarderObject| Node {
            name: it.spec.name.clone(),
            labels: labels.clone(),
        };
        self.forwarders.iter().map(node).collect()
    }

    /// Grants: of existing Forwarders as they are, of others the next free ones.
    fn blocks(
        &self,
        layout: &Layout<'_>,
    ) -> Result<BTreeMap<String, Vec<IpNetwork>>, Vec<Problem>> {
        let granted = |object: &ForwarderObject| {
            let uid = object.metadata.uid.as_deref().unwrap_or_default();
            let grant = self.allocation.blocks.get(uid);
            let blocks = grant.map(|grant| grant.blocks.clone()).unwrap_or_default();
            (object.spec.name.clone(), blocks)
        };
        let granted: BTreeMap<_, _> = self.forwarders.iter().map(granted).collect();
        let mut taken: BTreeMap<String, Vec<IpNetwork>> = granted.clone();
        taken.retain(|_, blocks| !blocks.is_empty());
        // No names of Forwarders: given again when nothing else is left.
        let released = self.allocation.released.iter().enumerate();
        taken.extend(released.map(|(position, it)| (format!("\0{position}"), it.blocks.clone())));
        let mut blocks = layout.blocks(&taken)?;
        blocks.extend(granted);
        Ok(blocks)
    }
}

/// Problems of a topology that is in no file.
pub(crate) fn invalid(name: &str, problems: Vec<Problem>) -> Failure {
    let line = |problem: Problem| problem.in_file(name).to_string();
    Failure::Invalid(problems.into_iter().map(line).collect())
}

/// True where `topology` owns the object, and it is not being deleted.
pub(crate) fn is_own(topology: &Stored, object: &ForwarderObject) -> bool {
    let owners = object.metadata.owner_references.iter().flatten();
    let uid = topology.metadata.uid.as_deref();
    object.metadata.deletion_timestamp.is_none()
        && owners
            .into_iter()
            .any(|owner| Some(owner.uid.as_str()) == uid)
}

impl Cluster {
    /// The pods that may be instances of `object`'s Apps: those that run, where it takes them from.
    ///
    /// # Errors
    /// Refusals of the server.
    pub(crate) fn pods(&self, object: &MicroServiceTopology) -> Result<Vec<Pod>, Failure> {
        let api: Api<core::v1::Pod> = match object.spec.allowed_namespaces.is_empty() {
            true => self.api(&object.metadata.namespace),
            false => Api::all(self.client()),
        };
        let pods = self.list(&api, &ListParams::default())?;
        Ok(pods.items.into_iter().filter_map(running).collect())
    }
}

/// A pod with a network of its own on a node, neither finished nor on its way out.
fn running(pod: core::v1::Pod) -> Option<Pod> {
    let (spec, phase) = (pod.spec?, pod.status.and_then(|status| status.phase));
    let is_over = matches!(phase.as_deref(), Some("Succeeded" | "Failed"));
    let is_going = pod.metadata.deletion_timestamp.is_some();
    if is_over || is_going || spec.host_network == Some(true) {
        return None;
    }
    Some(Pod {
        node: spec.node_name.filter(|node| !node.is_empty())?,
        namespace: pod.metadata.namespace.unwrap_or_default(),
        name: pod.metadata.name.unwrap_or_default(),
        uid: pod.metadata.uid.unwrap_or_default(),
        labels: pod.metadata.labels.unwrap_or_default(),
        annotations: pod.metadata.annotations.unwrap_or_default(),
    })
}
