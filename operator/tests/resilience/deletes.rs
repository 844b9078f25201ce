//! Whatever goes, in whatever order: nothing is stuck, nothing is left.

use anyhow::{Context, Result};
use e2e::{ApiServer, ensure, eventually};
use serde_json::json;

use crate::bed::{Bed, SOON, definitions, ring, topology};
use crate::cluster::{Kind, NAMESPACE, condition};
use crate::snapshot::{names, settled, settled_as};

pub(crate) fn namespace() -> Result<()> {
    let server = ApiServer::start()?;
    server.apply_crds(definitions())?;
    let mut bed = Bed::with_server(server.with_controller_manager()?, 4)?;
    bed.replica(&[])?;
    bed.replica(&[])?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "plant"}});
    bed.cluster.create(Kind::Namespace, namespace)?;
    for number in 0..5 {
        let name = format!("t{number}");
        bed.cluster.apply(
            Kind::Topology,
            &topology("plant", &name, &ring(&[0, 1, 2, 3])),
        )?;
    }
    bed.apply("stays", &ring(&[0, 1]))?;
    // Some are done, some are amid their making.
    eventually("a Forwarder is there", SOON, || {
        let forwarders = bed.cluster.list(Kind::Forwarder)?;
        ensure(forwarders.len() > 3, || {
            format!("{} Forwarders", forwarders.len())
        })
    })?;
    bed.cluster.delete(Kind::Namespace, "", "plant")?;
    eventually("the namespace is gone", SOON, || {
        let left = bed.cluster.get(Kind::Namespace, "", "plant")?;
        ensure(left.is_none(), || format!("still there: {left:?}"))
    })
    .map_err(|error| bed.explain(error))?;
    let left = settled(&mut bed, &names(["stays"]))?;
    ensure(left.forwarders.len() == 2, || format!("{left:?}"))?;
    bed.pids().map(drop)
}

pub(crate) fn node() -> Result<()> {
    let mut bed = Bed::start(ApiServer::options(), 4)?;
    bed.replica(&[])?;
    bed.apply("pinned", &ring(&[0, 1, 2]))?;
    bed.apply(
        "each",
        &json!({"forwarderPerNode": {"nodeSelector": {}}, "shape": "Mesh"}),
    )?;
    let before = settled(&mut bed, &names(["pinned", "each"]))?;
    ensure(before.forwarders.len() == 7, || format!("{before:?}"))?;
    bed.cluster.delete(Kind::Node, "", "n2")?;
    let cluster = bed.cluster.clone();
    eventually("what ran on the node is said", SOON, || {
        let pinned = cluster
            .get(Kind::Topology, NAMESPACE, "pinned")?
            .context("it is there")?;
        let (accepted, degraded) = (
            condition(&pinned, "Accepted"),
            condition(&pinned, "Degraded"),
        );
        let is_said = accepted.0 == "False" || degraded.0 == "True";
        ensure(is_said, || format!("pinned: {}", pinned["status"]))?;
        let each = cluster
            .get(Kind::Topology, NAMESPACE, "each")?
            .context("it is there")?;
        let total = each
            .pointer("/status/forwarders/total")
            .and_then(|total| total.as_u64());
        ensure(total == Some(3), || format!("each: {}", each["status"]))
    })
    .map_err(|error| bed.explain(error))?;
    bed.cluster.create(Kind::Node, crate::bed::node(2))?;
    settled_as(&mut bed, &names(["pinned", "each"]), &before.normal()).map(drop)
}

pub(crate) fn definitions_gone() -> Result<()> {
    definitions_removed(&mut Bed::start(ApiServer::options(), 4)?)
}

fn definitions_removed(bed: &mut Bed) -> Result<()> {
    bed.replica(&[])?;
    bed.replica(&[])?;
    let pids = bed.pids()?;
    bed.apply("before", &ring(&[0, 1, 2]))?;
    settled(bed, &names(["before"]))?;
    let plurals = [
        "microservicetopologies",
        "forwarders",
        "allocations",
        "vniranges",
    ];
    for plural in plurals {
        bed.cluster
            .delete(Kind::Definition, "", &format!("{plural}.beemesh.io"))?;
    }
    eventually("no definition is stuck", SOON, || {
        let left = bed.cluster.list(Kind::Definition)?;
        ensure(left.is_empty(), || format!("{} left", left.len()))
    })?;
    for replica in &bed.replicas {
        let (status, body) = e2e::http_get(replica.metrics_port, "/livez")?;
        ensure(status == 200, || format!("/livez: {status} {body}"))?;
    }
    bed.server.apply_crds(definitions())?;
    bed.apply("after", &ring(&[1, 2, 3]))?;
    settled(bed, &names(["after"]))?;
    ensure(bed.pids()? == pids, || {
        "an operator was restarted".to_owned()
    })
}

pub(crate) fn operator_away() -> Result<()> {
    let mut bed = Bed::start(ApiServer::options(), 4)?;
    bed.replica(&[])?;
    for name in ["kept", "gone", "again"] {
        bed.apply(name, &ring(&[0, 1, 2]))?;
    }
    settled(&mut bed, &names(["kept", "gone", "again"]))?;
    bed.replicas[0].process.kill()?;
    // No garbage collector here: what they owned stays behind.
    bed.cluster.delete(Kind::Topology, NAMESPACE, "gone")?;
    bed.cluster.delete(Kind::Topology, NAMESPACE, "again")?;
    bed.apply("again", &ring(&[0, 1, 2]))?;
    let orphans = bed.cluster.list(Kind::Forwarder)?.len();
    ensure(orphans == 9, || format!("{orphans} Forwarders"))?;
    bed.replicas[0].process.restart()?;
    let swept = settled(&mut bed, &names(["kept", "again"]))?;
    ensure(swept.forwarders.len() == 6, || format!("{swept:?}"))
}
