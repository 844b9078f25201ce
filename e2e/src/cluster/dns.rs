//! CoreDNS as clusters have it: the Deployment, Service and roles of its own documentation.

use std::time::Duration;

use anyhow::Result;

use super::Cluster;
use crate::eventually;

const MANIFEST: &str = include_str!("coredns.yaml");
const READY: Duration = Duration::from_secs(120);

/// Applies it and waits until a replica is ready.
pub(super) fn deploy(cluster: &Cluster) -> Result<()> {
    let access = cluster.access();
    access.apply(MANIFEST)?;
    eventually("CoreDNS is ready", READY, || {
        let arguments = ["rollout", "status", "deployment/coredns", "--timeout=10s"];
        access
            .ok(&[&["--namespace=kube-system"], &arguments[..]].concat())
            .map(drop)
    })
}
