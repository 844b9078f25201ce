//! From the first apply to objects that are all right.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::cluster::shared;

pub(crate) fn a_topology_is_computed() -> Result<()> {
    let cluster = shared()?;
    for node in ["first-1", "first-2"] {
        cluster.node(node, &json!({}))?;
    }
    let namespace = cluster.namespace("first")?;
    let spec = json!({
        "addressing": {"cidrs": ["10.80.0.0/16"]},
        "forwarders": [
            {"name": "a", "node": "first-1"},
            {"name": "b", "node": "first-2"},
            {"name": "c", "node": "first-2"},
        ],
        "shape": "Ring",
    });
    namespace.topology("ring", &spec)?;
    let object = namespace.until("ring", "Computed", "True", "")?;
    let forwarders = namespace.forwarders("ring")?;
    ensure!(forwarders.len() == 3, "{forwarders:?}");
    let uid = &object["metadata"]["uid"];
    for forwarder in &forwarders {
        let owner = &forwarder["metadata"]["ownerReferences"][0];
        ensure!(
            owner["uid"] == *uid && owner["controller"] == true,
            "{owner}"
        );
        ensure!(
            forwarder["spec"]["blocks"]
                .as_array()
                .is_some_and(|blocks| blocks.len() == 1)
        );
    }
    Ok(())
}

pub(crate) fn topologies_never_share_a_vni() -> Result<()> {
    let cluster = shared()?;
    for node in ["vni-1", "vni-2"] {
        cluster.node(node, &json!({}))?;
    }
    let spec = json!({
        "forwarders": [{"name": "a", "node": "vni-1"}, {"name": "b", "node": "vni-2"}],
        "links": [{"a": "a", "b": "b"}, {"a": "a", "b": "b"}],
    });
    let namespaces = [cluster.namespace("vni-one")?, cluster.namespace("vni-two")?];
    for namespace in &namespaces {
        namespace.topology("same", &spec)?;
    }
    let mut users: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for namespace in &namespaces {
        namespace.until("same", "Computed", "True", "")?;
        let forwarders = namespace.forwarders("same")?;
        let links = forwarders
            .iter()
            .flat_map(|forwarder| forwarder["spec"]["links"].as_array());
        for link in links.flatten() {
            let vni = link["vni"].as_u64();
            ensure!(vni.is_some(), "a link between nodes has a VNI: {link}");
            let id = link["id"].as_str().unwrap_or_default();
            let user = format!("{}/{id}", namespace.name);
            let users = users.entry(vni.unwrap_or_default()).or_default();
            if !users.contains(&user) {
                users.push(user);
            }
        }
    }
    ensure!(
        users.len() == 4 && users.values().all(|users| users.len() == 1),
        "{users:?}"
    );
    let ranges = cluster
        .server
        .kubectl(&["get", "vniranges", "-o", "json"])?
        .json()?;
    let of_these = |range: &&Value| range["spec"]["topology"] == "same";
    let ranges = ranges["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(of_these);
    ensure!(ranges.count() == 2, "each has one range");
    Ok(())
}
