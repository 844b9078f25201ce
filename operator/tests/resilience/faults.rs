//! The API server goes and comes, its store stands still, history is forgotten: the operator stays.

use std::collections::BTreeSet;

use anyhow::Result;
use e2e::{ApiServer, ensure, eventually};
use std::time::Duration;

use crate::bed::{Bed, SOON, ring};
use crate::cluster::{Kind, NAMESPACE};
use crate::snapshot::{names, settled};
use crate::watch::Watch;

/// A debug build with a hundred Forwarders has been seen at 60 MiB.
const MOST_BYTES: u64 = 256 << 20;

pub(crate) fn api_server_restarted() -> Result<()> {
    let mut bed = Bed::start(ApiServer::options(), 4)?;
    let watch = Watch::start(&bed.cluster);
    bed.replica(&[])?;
    bed.replica(&[])?;
    let pids = bed.pids()?;
    let all: Vec<String> = (0..24).map(|number| format!("t{number:02}")).collect();
    for (number, name) in all.iter().enumerate() {
        apply_at_last(&bed, name, number)?;
        if number % 8 == 4 {
            bed.server.restart_apiserver()?;
        }
    }
    // Once more with all of them about to be changed.
    bed.server.kill_apiserver()?;
    bed.server.restart_apiserver()?;
    for (number, name) in all.iter().enumerate() {
        apply_at_last(&bed, name, number + 1)?;
    }
    settled(&mut bed, &names(&all))?;
    watch.verdict()?;
    stayed(&mut bed, &pids)
}

pub(crate) fn etcd_frozen() -> Result<()> {
    let mut bed = Bed::start(ApiServer::options(), 4)?;
    bed.replica(&[])?;
    bed.replica(&[])?;
    let pids = bed.pids()?;
    bed.apply("before", &ring(&[0, 1, 2]))?;
    settled(&mut bed, &names(["before"]))?;
    bed.apply("amid", &ring(&[0, 1, 2, 3]))?;
    bed.server.pause_etcd()?;
    let write = ["create", "configmap", "late", "--request-timeout=3s"];
    ensure(!bed.server.kubectl(&write)?.is_success, || {
        "etcd is not frozen".to_owned()
    })?;
    for replica in &bed.replicas {
        // Liveness never depends on the API server.
        let (status, body) = e2e::http_get(replica.metrics_port, "/livez")?;
        ensure(status == 200, || format!("/livez: {status} {body}"))?;
    }
    bed.server.resume_etcd()?;
    apply_at_last(&bed, "after", 0)?;
    settled(&mut bed, &names(["before", "amid", "after"]))?;
    stayed(&mut bed, &pids)
}

pub(crate) fn watch_expired() -> Result<()> {
    let interval = Duration::from_secs(1);
    let mut bed = Bed::start(ApiServer::options().compaction_interval(interval), 4)?;
    bed.replica(&[])?;
    let pids = bed.pids()?;
    for name in ["kept", "changed", "gone"] {
        bed.apply(name, &ring(&[0, 1, 2]))?;
    }
    settled(&mut bed, &names(["kept", "changed", "gone"]))?;
    let versions = bed.cluster.list(Kind::Topology)?;
    let oldest = versions.iter().map(version).min().unwrap_or_default();

    bed.replicas[0].process.pause()?;
    bed.cluster.delete(Kind::Topology, NAMESPACE, "gone")?;
    bed.apply("changed", &ring(&[0, 1, 2, 3]))?;
    bed.apply("new", &ring(&[2, 3]))?;
    eventually(
        "the revision that the operator knows is forgotten",
        SOON,
        || {
            // The store forgets only what is older than its last look, so it must go on.
            let patch =
                serde_json::json!({"metadata": {"annotations": {"touched": version_now(&bed)?}}});
            bed.cluster.merge(Kind::Node, "", "n0", &patch)?;
            let path = format!(
                "--raw=/apis/beemesh.io/v1alpha1/forwarders?resourceVersion={oldest}&resourceVersionMatch=Exact&limit=1"
            );
            let ran = bed.server.kubectl(&["get", &path])?;
            let is_gone = ran.stderr.contains("too old") || ran.stderr.contains("compacted");
            ensure(is_gone, || format!("revision {oldest}: {ran:?}"))
        },
    )?;
    // Nor has the server's own cache of recent events.
    bed.server.restart_apiserver()?;
    bed.replicas[0].process.resume()?;
    settled(&mut bed, &names(["kept", "changed", "new"]))?;
    stayed(&mut bed, &pids)
}

fn version(object: &serde_json::Value) -> u64 {
    crate::cluster::text(object, "/metadata/resourceVersion")
        .parse()
        .unwrap_or(0)
}

fn version_now(bed: &Bed) -> Result<String> {
    Ok(bed
        .cluster
        .list(Kind::Node)?
        .iter()
        .map(version)
        .max()
        .unwrap_or(0)
        .to_string())
}

/// Applies as a user would who sees the API server go away: again.
fn apply_at_last(bed: &Bed, name: &str, number: usize) -> Result<()> {
    let spec = ring(&[number % 4, (number + 1) % 4, (number + 2) % 4]);
    eventually("the API server takes it", SOON, || bed.apply(name, &spec))
}

/// Nobody has ended, and nobody has grown without bound.
fn stayed(bed: &mut Bed, pids: &[u32]) -> Result<()> {
    let now: BTreeSet<u32> = bed.pids()?.into_iter().collect();
    ensure(now == pids.iter().copied().collect(), || {
        "an operator was restarted".to_owned()
    })?;
    for replica in &bed.replicas {
        let bytes = replica.process.resident_bytes()?;
        ensure(bytes < MOST_BYTES, || {
            format!("{} MiB resident", bytes >> 20)
        })?;
    }
    Ok(())
}
