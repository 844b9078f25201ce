//! Ends: of topologies, in any order, and of the operator.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{DEADLINE, Namespace, operator, shared};

fn spec(prefix: &str) -> Value {
    json!({
        "forwarders": [
            {"name": "a", "node": format!("{prefix}-1")},
            {"name": "b", "node": format!("{prefix}-2")},
        ],
        "links": [{"a": "a", "b": "b"}],
    })
}

fn prepared<'a>(name: &str) -> Result<Namespace<'a>> {
    let cluster = shared()?;
    for number in [1, 2] {
        cluster.node(&format!("{name}-{number}"), &json!({}))?;
    }
    cluster.namespace(name)
}

fn ranges(namespace: &Namespace<'_>) -> Result<usize> {
    let ranges = namespace.list("vniranges")?;
    let is_its = |range: &&Value| range["spec"]["namespace"] == namespace.name.as_str();
    Ok(ranges.iter().filter(is_its).count())
}

/// Waits until nothing of any topology of the namespace is there.
fn until_nothing(namespace: &Namespace<'_>) -> Result<()> {
    namespace.eventually("nothing is left", || {
        let forwarders = namespace.list("fwd")?.len();
        let allocations = namespace.list("allocations")?.len();
        let left = (forwarders, allocations, ranges(namespace)?);
        ensure!(
            left == (0, 0, 0),
            "Forwarders, Allocations, VniRanges: {left:?}"
        );
        Ok(())
    })
}

/// There is no garbage collector here: the operator does it alone.
pub(crate) fn deletion_leaves_nothing() -> Result<()> {
    let namespace = prepared("gone")?;
    let orders: [&[&str]; 4] = [
        &["mst"],
        &["mst", "fwd", "allocation"],
        &["allocation", "fwd", "mst"],
        &["fwd", "mst"],
    ];
    for order in orders {
        namespace.topology("pair", &spec("gone"))?;
        namespace.until("pair", "Computed", "True", "")?;
        ensure!(ranges(&namespace)? == 1, "one range is claimed");
        for kind in order {
            let arguments = [
                "-n",
                &namespace.name,
                "delete",
                kind,
                "--all",
                "--wait=false",
            ];
            namespace.cluster.server.kubectl(&arguments)?.ok()?;
        }
        until_nothing(&namespace).with_context(|| format!("deleted in the order {order:?}"))?;
    }
    Ok(())
}

pub(crate) fn a_topology_made_again_settles() -> Result<()> {
    let namespace = prepared("again")?;
    let mut uids = Vec::new();
    for _ in 0..3 {
        namespace.topology("pair", &spec("again"))?;
        let object = namespace.until("pair", "Computed", "True", "")?;
        let uid = object["metadata"]["uid"].clone();
        let forwarders = namespace.forwarders("pair")?;
        let is_owned =
            |forwarder: &Value| forwarder["metadata"]["ownerReferences"][0]["uid"] == uid;
        ensure!(
            forwarders.len() == 2 && forwarders.iter().all(is_owned),
            "{forwarders:?}"
        );
        ensure!(!uids.contains(&uid), "another object");
        uids.push(uid);
        // The next one of this name comes while this one is being taken away.
        namespace.delete("mst", "pair")?;
    }
    until_nothing(&namespace)
}

pub(crate) fn it_ends_on_sigterm() -> Result<()> {
    let namespace = prepared("term")?;
    let server = &namespace.cluster.server;
    let mut second = operator(server, "second")?;
    namespace.eventually("the second one runs", || {
        second.ensure_alive()?;
        ensure!(second.log().contains("running"), "{}", second.log());
        Ok(())
    })?;
    for number in 0..5 {
        namespace.topology(&format!("t{number}"), &spec("term"))?;
    }
    let status = second.terminate(DEADLINE)?;
    ensure!(status.success(), "{status}: {}", second.log());
    for number in 0..5 {
        namespace.until(&format!("t{number}"), "Computed", "True", "")?;
    }
    Ok(())
}

pub(crate) fn replicas_give_nothing_twice() -> Result<()> {
    let namespace = prepared("many")?;
    let server = &namespace.cluster.server;
    let mut others = [operator(server, "other-1")?, operator(server, "other-2")?];
    let names: Vec<String> = (0..12).map(|number| format!("t{number}")).collect();
    for name in &names {
        namespace.topology(name, &spec("many"))?;
    }
    others[0].kill()?;
    let mut vnis = Vec::new();
    for name in &names {
        namespace.until(name, "Computed", "True", "")?;
        let forwarders = namespace.forwarders(name)?;
        ensure!(forwarders.len() == 2, "{forwarders:?}");
        let [a, b] = [&forwarders[0]["spec"], &forwarders[1]["spec"]];
        ensure!(a["blocks"] != b["blocks"], "one block for two: {a}");
        ensure!(
            a["links"][0]["vni"] == b["links"][0]["vni"],
            "two ends of one link: {a} {b}"
        );
        vnis.push(a["links"][0]["vni"].as_u64().context("a VNI")?);
    }
    vnis.sort_unstable();
    vnis.dedup();
    ensure!(vnis.len() == names.len(), "one VNI for two links: {vnis:?}");
    for other in &others {
        let log = other.log();
        // Of these topologies: those of other tests on this server may well be refused something.
        let is_ours = |line: &&str| line.contains(" WARN ") && line.contains("=many/");
        let warnings: Vec<&str> = log.lines().filter(is_ours).collect();
        ensure!(
            warnings.is_empty(),
            "conflicts are no warnings: {warnings:?}"
        );
    }
    Ok(())
}
