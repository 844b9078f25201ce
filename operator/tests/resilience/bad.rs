//! Objects that no schema of ours would let in, stored before it was there.

use anyhow::{Context, Result};
use e2e::{ApiServer, ensure};
use serde_json::{Value, json};

use crate::bed::{Bed, definitions, node, ring};
use crate::cluster::{Cluster, Kind, NAMESPACE, condition, name_of};
use crate::snapshot::{names, settled};

/// Lint refuses them; a type is wrong only where no rule of the schema looks.
fn wrong() -> Vec<(&'static str, Value)> {
    let two = json!([{"name": "a", "node": "n0"}, {"name": "b", "node": "n1"}]);
    vec![
        (
            "bad-twice",
            json!({"forwarders": [{"name": "a"}, {"name": "a"}]}),
        ),
        (
            "bad-loop",
            json!({"forwarders": two, "links": [{"a": "a", "b": "a"}]}),
        ),
        (
            "bad-end",
            json!({"forwarders": two, "links": [{"a": "a", "b": "nobody"}]}),
        ),
        (
            "bad-weight",
            json!({"forwarders": two, "links": [{"a": "a", "b": "b", "weight": 0}]}),
        ),
        (
            "bad-cidr",
            json!({"forwarders": two, "addressing": {"cidrs": ["10.0.0.0/99"]}}),
        ),
        (
            "bad-small",
            json!({"forwarders": two, "addressing": {"cidrs": ["10.0.0.0/32"]}}),
        ),
        (
            "bad-node",
            json!({"forwarders": [{"name": "a", "nodeSelector": {"zone": "nowhere"}}]}),
        ),
        (
            "bad-paths",
            json!({"forwarders": two, "routing": {"maxPaths": 100_000}}),
        ),
        (
            "bad-type",
            json!({"forwarders": two, "routing": {"maxPaths": "many"}}),
        ),
    ]
}

/// Types are wrong where rules of the schema look: the API server lets nobody say so in their status.
fn nonsense() -> Vec<(&'static str, Value)> {
    vec![
        ("bad-text", json!({"forwarders": "many"})),
        ("bad-number", json!(7)),
        ("bad-shape", json!({"shape": ["Ring"], "links": {"a": 1}})),
        (
            "bad-deep",
            json!({"forwarders": [[[[{"name": {"name": []}}]]]]}),
        ),
    ]
}

pub(crate) fn stored_before_a_stricter_schema() -> Result<()> {
    let mut bed = Bed::bare(ApiServer::start()?)?;
    bed.server.apply_crds(definitions())?;
    for number in 0..3 {
        bed.cluster.create(Kind::Node, node(number))?;
    }
    loosen(&bed.cluster)?;
    let bad: Vec<_> = wrong().into_iter().chain(nonsense()).collect();
    for (name, spec) in &bad {
        let store = || bed.apply(name, spec);
        e2e::eventually("the looser schema is served", crate::bed::SOON, store)?;
    }
    bed.server.apply_crds(definitions())?;

    bed.replica(&[])?;
    bed.replica(&[])?;
    let pids = bed.pids()?;
    for name in ["good-a", "good-b"] {
        bed.apply(name, &ring(&[0, 1, 2]))?;
    }
    // Those whose status cannot be written are looked at apart.
    let cluster = bed.cluster.clone();
    for (name, _) in nonsense() {
        let stored = cluster.get(Kind::Topology, NAMESPACE, name)?;
        ensure(stored.is_some(), || format!("{name} is not stored"))?;
    }
    e2e::eventually("the good ones are computed", crate::bed::SOON, || {
        for name in ["good-a", "good-b"] {
            let good = cluster
                .get(Kind::Topology, NAMESPACE, name)?
                .context("it is there")?;
            ensure(condition(&good, "Computed").0 == "True", || {
                good.to_string()
            })?;
        }
        Ok(())
    })
    .map_err(|error| bed.explain(error))?;
    e2e::eventually("each bad one says why", crate::bed::SOON, || {
        let topologies = cluster.list(Kind::Topology)?;
        ensure(topologies.len() == bad.len() + 2, || {
            format!("{} topologies", topologies.len())
        })?;
        for topology in topologies {
            let is_wrong = wrong().iter().any(|(name, _)| *name == name_of(&topology));
            let (status, reason, message) = condition(&topology, "Accepted");
            let is_said = status == "False" && !reason.is_empty() && message.contains(": ");
            ensure(!is_wrong || is_said, || topology.to_string())?;
        }
        Ok(())
    })
    .map_err(|error| bed.explain(error))?;
    ensure(bed.pids()? == pids, || {
        "an operator was restarted".to_owned()
    })?;

    // Mended or removed, they are like any other.
    for (name, _) in &bad {
        cluster.delete(Kind::Topology, NAMESPACE, name)?;
    }
    settled(&mut bed, &names(["good-a", "good-b"])).map(drop)
}

/// Takes the schema of topologies away: anything can be stored then.
fn loosen(cluster: &Cluster) -> Result<()> {
    let name = "microservicetopologies.beemesh.io";
    let mut definition = cluster
        .get(Kind::Definition, "", name)?
        .context("it is applied")?;
    let versions = definition["spec"]["versions"]
        .as_array_mut()
        .context("it has versions")?;
    for version in versions {
        version["schema"]["openAPIV3Schema"] = json!({
            "type": "object",
            "properties": {
                "spec": {"x-kubernetes-preserve-unknown-fields": true},
                "status": {"x-kubernetes-preserve-unknown-fields": true},
            },
        });
    }
    let versions = json!({"spec": {"versions": definition["spec"]["versions"]}});
    cluster.merge(Kind::Definition, "", name, &versions)
}
