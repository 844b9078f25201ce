//! Leases whose pod the API does not have: their runtime has not sent a DEL, or it was lost.

use super::{OnNode, Unknown};
use crate::cluster::Cluster;
use crate::nodes::{Nodes, ask_each};
use crds::diagnosis::report::{Kind, Leak, Leases};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use std::collections::BTreeSet;

/// Holds the leases of nodes against the pods of the cluster.
pub(super) fn leases_without_pod(
    cluster: &Cluster,
    nodes: &dyn Nodes,
    names: &BTreeSet<String>,
) -> (Vec<OnNode>, Vec<Unknown>) {
    let (mut leaks, mut unknown) = (Vec::new(), Vec::new());
    if names.is_empty() {
        return (leaks, unknown);
    }
    // Leases first: a pod that comes meanwhile is in the second list.
    let leases = ask_each::<Leases>(nodes, names, "leases");
    let pods = match cluster.list(&Api::<Pod>::all(cluster.client()), &ListParams::default()) {
        Ok(pods) => pods,
        Err(failure) => {
            let why = failure.lines().join("; ");
            unknown.push(Unknown {
                r#where: "pods".to_owned(),
                why,
            });
            return (leaks, unknown);
        }
    };
    let name = |pod: &Pod| {
        let metadata = &pod.metadata;
        Some(format!(
            "{}/{}",
            metadata.namespace.as_deref()?,
            metadata.name.as_deref()?
        ))
    };
    let there: BTreeSet<String> = pods.items.iter().filter_map(name).collect();
    for (node, answer) in leases {
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => {
                let r#where = format!("leases of node {node}");
                unknown.push(Unknown { r#where, why });
                continue;
            }
        };
        if answer.damaged > 0 {
            let why = format!("{} records of the journal cannot be read", answer.damaged);
            unknown.push(Unknown {
                r#where: format!("leases of node {node}"),
                why,
            });
        }
        let strange = answer
            .leases
            .iter()
            .filter(|it| !it.pod.is_empty() && !there.contains(&it.pod));
        leaks.extend(strange.map(|lease| OnNode {
            node: node.clone(),
            leak: Leak {
                kind: Kind::Lease,
                name: format!(
                    "{}/{}/{}",
                    lease.key.network, lease.key.container_id, lease.key.ifname
                ),
                netns: String::new(),
                why: format!(
                    "there is no pod {}, but its node has not let go of it",
                    lease.pod
                ),
                removable: false,
            },
        }));
    }
    (leaks, unknown)
}
