//! NAME, or every topology of a namespace or of all: shared by the verbs on several topologies.

use super::{Cluster, Connection, stored::Stored};
use console::failure::Failure;
use console::output::Output;

/// Selection of topologies in a cluster, and output format.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Selected {
    /// Topology; without it all of the namespace
    #[arg(add = crate::cluster::candidates::topologies())]
    pub(crate) name: Option<String>,
    /// Topologies of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["name", "namespace"])]
    pub(crate) all_namespaces: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Selected {
    /// The topologies that are meant, in order.
    ///
    /// # Errors
    /// Refusals of the server; [`Failure::NotFound`].
    pub(crate) fn topologies(&self, cluster: &Cluster) -> Result<Vec<Stored>, Failure> {
        match &self.name {
            Some(name) => Ok(vec![cluster.topology(name)?]),
            None => cluster.topologies(self.all_namespaces),
        }
    }
}
