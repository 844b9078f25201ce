//! Source of the desired state, and sink of the observed status of this node's Forwarders.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::{Forwarder, ForwarderStatus, MicroServiceTopology, NodeObject, names};

use crate::error::Error;

pub mod directory;
pub mod kubernetes;
pub mod own_pod;
pub mod pods;

/// Port to the source of Forwarders. Adapters in this crate: [`directory::Directory`],
/// [`kubernetes::Kubernetes`].
pub trait Source: Send {
    /// Complete desired state. An object that is no longer readable keeps its last readable
    /// version.
    fn load(&mut self) -> Snapshot;

    /// Reports the observed status of a Forwarder; false when the same status was reported already.
    ///
    /// # Errors
    /// [`Error::File`]: transient, retry.
    fn report(&mut self, forwarder: &str, status: &ForwarderStatus) -> Result<bool, Error>;

    /// Last reported status of a Forwarder, also by an earlier daemon process.
    fn reported(&mut self, forwarder: &str) -> Option<ForwarderStatus>;

    /// Withdraws the status of a Forwarder that has left this node.
    fn forget(&mut self, forwarder: &str);
}

/// The desired state at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Forwarders of all nodes by key: a name that is unique across namespaces and valid as a file
    /// name. All other fields and crates refer to a Forwarder by this key.
    pub forwarders: BTreeMap<String, Arc<Forwarder>>,
    /// Topologies by namespace and name, where their objects are readable.
    pub topologies: BTreeMap<(String, String), Arc<MicroServiceTopology>>,
    /// Nodes by name.
    pub nodes: BTreeMap<String, Arc<NodeObject>>,
    /// Unreadable objects, as `FILE: reason`.
    pub problems: Vec<String>,
    /// False while something may be missing: then nothing may be deleted.
    pub is_complete: bool,
}

/// Checks names that become names of files, namespaces and interfaces.
pub(crate) fn check_forwarder(forwarder: &Forwarder) -> Result<(), String> {
    let spec = &forwarder.spec;
    let checks = [
        ("apiVersion", forwarder.api_version == crds::API_VERSION),
        ("kind", forwarder.kind == Forwarder::KIND),
        (
            "metadata.name",
            names::is_dns_subdomain(&forwarder.metadata.name),
        ),
        (
            "metadata.namespace",
            names::is_dns_label(&forwarder.metadata.namespace),
        ),
        ("spec.topology", names::is_dns_subdomain(&spec.topology)),
        ("spec.name", names::is_name(&spec.name)),
        // An unplaced Forwarder is valid at the API server; a file without `spec.node` is
        // truncated.
        ("spec.node", names::is_dns_subdomain(&spec.node)),
        (
            "spec.links[].peer",
            spec.links.iter().all(|link| names::is_name(&link.peer)),
        ),
    ];
    match checks.iter().find(|(_, holds)| !holds) {
        Some((field, _)) => Err(format!("{field}: not valid")),
        None => Ok(()),
    }
}
