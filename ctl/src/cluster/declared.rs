//! Topology argument: from a file, or from the cluster.

use super::{
    Cluster, Connection,
    expected::Given,
    stored::{Stored, is_filled},
};
use console::failure::Failure;
use console::input::{self, Declared};
use console::note;
use crds::{Forwarder, MicroServiceTopology};
use std::path::PathBuf;
use topology::Topology;

/// `-f FILE` or NAME, to be flattened into the arguments of a verb on one topology.
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(crate) struct Source {
    /// Topology in the cluster
    #[arg(group = "which", add = crate::cluster::candidates::topologies())]
    name: Option<String>,
    /// YAML file with one MicroServiceTopology; `-` is stdin
    #[arg(short, long = "file", value_name = "FILE", group = "which", conflicts_with_all = ["namespace", "context", "kubeconfig"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

impl Source {
    /// Reads the declaration and the graph that it means.
    ///
    /// # Errors
    /// As [`input::declared`]; of a cluster also its refusals and the lint's problems.
    pub(crate) fn declared(&self) -> Result<Declared, Failure> {
        match (&self.file, &self.name) {
            (Some(file), _) => input::declared(file),
            (None, Some(name)) => {
                let cluster = self.connection.open()?;
                let stored = cluster.topology(name)?;
                declared(&cluster, &stored)
            }
            (None, None) => Err(Failure::Invalid(vec!["expected NAME or -f FILE".into()])),
        }
    }
}

/// A topology of the cluster as it is: on its nodes, with the pods that are attached.
///
/// # Errors
/// Refusals of the server, and what the lint has against the declaration.
pub(crate) fn declared(cluster: &Cluster, stored: &Stored) -> Result<Declared, Failure> {
    let mut object = stored.declaration()?;
    let objects = cluster.forwarders(stored)?;
    let filled = objects.iter().filter(|object| is_filled(object));
    let forwarders: Vec<Forwarder> = filled.map(Forwarder::from).collect();
    let topology = match stored.is_computed() {
        true => computed(stored, &forwarders)?,
        false => {
            note(&format!(
                "generation {} of {} is not computed yet: this is what it declares",
                stored.generation(),
                stored.full_name()
            ));
            let nodes = match object.spec.forwarder_per_node {
                Some(_) => cluster.nodes()?,
                None => Vec::new(),
            };
            Given::new(stored, &objects, None).graph(&object, &nodes)?
        }
    };
    settle(&mut object, &forwarders);
    Ok(Declared { object, topology })
}

/// The graph of the Forwarder objects: attachments are where pods are.
pub(crate) fn computed(stored: &Stored, forwarders: &[Forwarder]) -> Result<Topology, Failure> {
    crds::topology_of(forwarders).map_err(|error| {
        Failure::Failed(format!("the Forwarders of {}: {error}", stored.full_name()))
    })
}

/// Says of each Forwarder on which node it is.
fn settle(object: &mut MicroServiceTopology, forwarders: &[Forwarder]) {
    for entry in &mut object.spec.forwarders {
        let is_it = |forwarder: &&Forwarder| forwarder.spec.name == entry.name;
        if let Some(forwarder) = forwarders.iter().find(is_it) {
            entry.node = Some(forwarder.spec.node.clone());
        }
    }
}
