//! From the first apply to objects that are all right.

use anyhow::{Result, ensure};
use serde_json::json;

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
    eprintln!("{}", serde_json::to_string_pretty(&object["status"])?);
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
