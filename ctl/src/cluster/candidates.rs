//! Completion of the names of topologies in a cluster.

use super::{Connection, stored::Stored};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

/// Completes the name of a topology of the cluster that the command line means.
pub(crate) fn topologies() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let cluster = match meant().open() {
            Ok(cluster) => cluster,
            Err(_) => return Vec::new(),
        };
        // A completion has no place for errors.
        let topologies = cluster.topologies(false).unwrap_or_default();
        let candidate = |topology: &Stored| CompletionCandidate::new(topology.name().to_owned());
        topologies.iter().map(candidate).collect()
    })
}

/// The cluster that the words on the command line mean so far.
fn meant() -> Connection {
    let words: Vec<String> = std::env::args().collect();
    let after = |names: [&str; 2]| {
        let is_it = |pair: &&[String]| names.contains(&pair[0].as_str());
        words.windows(2).find(is_it).map(|pair| pair[1].clone())
    };
    Connection {
        namespace: after(["-n", "--namespace"]),
        context: after(["--context", "--context"]),
        kubeconfig: after(["--kubeconfig", "--kubeconfig"]).map(Into::into),
    }
}
