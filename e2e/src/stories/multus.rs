//! Beside Multus: a network attachment made on request, and the plugin called as Multus calls it.

use anyhow::{Context, Result};
use e2e::{ensure, eventually};
use serde_json::{Value, json};

use super::Story;
use crate::mesh::{Mesh, SETTLED, bare, list};
use crate::plugin::Call;
use crate::world::World;

pub(super) const STORIES: &[Story] = &[story!(
    multus_attaches_a_pod_by_the_network_attachment_of_a_topology,
    nodes
)];

/// The definition that comes with Multus, as far as it matters.
const DEFINITION: &str = r#"{
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "network-attachment-definitions.k8s.cni.cncf.io"},
    "spec": {
        "group": "k8s.cni.cncf.io", "scope": "Namespaced",
        "names": {"plural": "network-attachment-definitions", "singular": "network-attachment-definition",
                  "kind": "NetworkAttachmentDefinition", "shortNames": ["net-attach-def"]},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": {"type": "object", "properties": {"config": {"type": "string"}}}}}}}]
    }
}"#;

fn multus_attaches_a_pod_by_the_network_attachment_of_a_topology(world: &World) -> Result<()> {
    world.install()?;
    world.access.apply(DEFINITION)?;
    eventually("the kind is served", SETTLED, || {
        world.access.ok(&["get", "net-attach-def"])
    })?;
    let nodes = world.nodes()?;
    let mut mesh = Mesh::new("extra").on_each(&nodes).app("member");
    mesh = mesh.push("apps", json!({"name": "guests"}));
    mesh.0["metadata"]["annotations"] = json!({"beemesh.io/network-attachment": "true"});
    world.declare(&mesh)?;
    world.pod("member", &nodes[nodes.len() - 1], &[("app", "member")])?;
    world.pod("guest", &nodes[0], &[("app", "none")])?;
    world.wait_pods("app=member")?;
    world.wait_pods("app=none")?;
    let config = eventually("the network attachment is made", SETTLED, || {
        let object = world.access.json(&["get", "net-attach-def", "extra"])?;
        let config = object["spec"]["config"].as_str().context("no config")?;
        Ok(serde_json::from_str::<Value>(config)?)
    })?;
    ensure(config["type"] == "beemesh-cni", || config.to_string())?;

    let node = world.cluster()?.node(&nodes[0])?;
    let pod = world.access.json(&["get", "pod", "guest"])?;
    let uid = pod["metadata"]["uid"].as_str().context("no uid")?;
    let address = world.primary_addresses("guest")?.remove(0);
    let find = format!(
        "for n in $(ls /run/netns); do ip -n $n -o address | grep -q ' {address}/' && echo $n; done; :"
    );
    let netns = node.ok(&find)?;
    let words = format!(
        "IgnoreUnknown=true;K8S_POD_NAMESPACE={};K8S_POD_NAME=guest;K8S_POD_INFRA_CONTAINER_ID=0;K8S_POD_UID={uid}",
        world.namespace
    );
    let call = Call {
        container: "multus-guest",
        netns: netns.trim(),
        interface: "net1",
        words: &words,
        config: &config,
    };
    let added = call.run(&node, "ADD")?;
    ensure(added.is_success, || added.stdout.clone() + &added.stderr)?;
    let result = added.json()?;
    let own = list(&result["ips"]);
    ensure(own.len() == 2, || result.to_string())?;
    let held = world.exec("guest", "ip -o address show dev net1")?.ok()?;
    for ip in own {
        let ip = bare(ip["address"].as_str().unwrap_or_default())?;
        ensure(held.contains(&ip.to_string()), || held.clone())?;
        world.ping("member", &ip.to_string())?;
    }
    for address in world.addresses("member", "extra")? {
        world.ping("guest", &address.to_string())?;
    }
    call.run(&node, "DEL")?.ok()?;
    world.wait_detached("guest", "extra")?;
    let interfaces = world.exec("guest", "ls /sys/class/net")?.ok()?;
    ensure(!interfaces.contains("net1"), || interfaces.clone())?;
    world.access.ok(&["delete", "mst", "extra"])?;
    eventually("it goes with its topology", SETTLED, || {
        let left = world.access.ok(&["get", "net-attach-def", "-o", "name"])?;
        ensure(left.is_empty(), || left.clone())
    })
}
