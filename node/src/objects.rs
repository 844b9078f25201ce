//! Where the desired state comes from, and where what a Forwarder's node sees is reported.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::{Forwarder, ForwarderStatus, MicroServiceTopology, NodeObject, names};

use crate::error::Error;

pub mod directory;
pub mod kubernetes;
pub mod own_pod;
pub mod pods;

/// The port to whoever declares Forwarders. Adapters in this crate: [`directory::Directory`],
/// [`kubernetes::Kubernetes`].
pub trait Source: Send {
    /// Everything as it now stands. What cannot be read any more stands as it last could.
    fn load(&mut self) -> Snapshot;

    /// Reports what this node sees of a Forwarder; false when that was reported already.
    ///
    /// # Errors
    /// [`Error::File`]: try again.
    fn report(&mut self, forwarder: &str, status: &ForwarderStatus) -> Result<bool, Error>;

    /// What was reported last of a Forwarder, also by a daemon before this one.
    fn reported(&mut self, forwarder: &str) -> Option<ForwarderStatus>;

    /// Takes back the report of a Forwarder that is no longer this node's.
    fn forget(&mut self, forwarder: &str);
}

/// The desired state at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Forwarders of all nodes by key: a name that no other Forwarder of any namespace has, and that
    /// a file may have. Everything here speaks of a Forwarder by its key.
    pub forwarders: BTreeMap<String, Arc<Forwarder>>,
    /// Topologies by namespace and name, where they are declared beside their Forwarders.
    pub topologies: BTreeMap<(String, String), Arc<MicroServiceTopology>>,
    /// Nodes by name.
    pub nodes: BTreeMap<String, Arc<NodeObject>>,
    /// What could not be read, as `FILE: why`.
    pub problems: Vec<String>,
    /// False while something may be missing: then nothing may be deleted.
    pub is_complete: bool,
}

/// The names become names of files, namespaces and interfaces: they are checked before that.
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
        // Bare ones wait for a node at the API server; a file without it is torn.
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
