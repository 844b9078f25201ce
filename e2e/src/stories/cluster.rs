//! The cluster itself, before beemesh: what the other stories stand on.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::cluster::Component;
use e2e::{ensure, eventually};

use super::Story;
use crate::mesh::SETTLED;
use crate::nodes::new_netns;
use crate::world::World;

pub(super) const STORIES: &[Story] = &[
    Story {
        name: "nodes_are_ready_and_pods_reach_each_other_by_the_primary_network",
        needs_nodes: false,
        is_core: false,
        tell: nodes_are_ready_and_pods_reach_each_other_by_the_primary_network,
    },
    Story {
        name: "a_node_that_loses_power_comes_back_without_what_was_in_memory",
        needs_nodes: true,
        is_core: false,
        tell: a_node_that_loses_power_comes_back_without_what_was_in_memory,
    },
    Story {
        name: "a_cut_cable_is_seen_and_heals",
        needs_nodes: true,
        is_core: false,
        tell: a_cut_cable_is_seen_and_heals,
    },
    Story {
        name: "programs_are_killed_one_by_one_and_pods_live_on",
        needs_nodes: true,
        is_core: false,
        tell: programs_are_killed_one_by_one_and_pods_live_on,
    },
    Story {
        name: "a_node_joins_a_running_cluster_and_leaves_it",
        needs_nodes: true,
        is_core: false,
        tell: a_node_joins_a_running_cluster_and_leaves_it,
    },
];

/// Lease, grace period and a busy machine.
const NOTICED: Duration = Duration::from_secs(90);

fn nodes_are_ready_and_pods_reach_each_other_by_the_primary_network(world: &World) -> Result<()> {
    let nodes = world.nodes()?;
    ensure(nodes.len() > 1, || {
        format!("one node is no cluster: {nodes:?}")
    })?;
    let wait = [
        "wait",
        "node",
        "--all",
        "--for=condition=Ready",
        "--timeout=60s",
    ];
    world.access.ok(&wait)?;
    for node in &nodes {
        world.pod(&format!("on-{node}"), node, &[("app", "primary")])?;
    }
    world.wait_pods("app=primary")?;
    for from in &nodes {
        let from = format!("on-{from}");
        for to in &nodes {
            let addresses = world.primary_addresses(&format!("on-{to}"))?;
            ensure(!addresses.is_empty(), || format!("on-{to} has no address"))?;
            for address in addresses {
                world.ping(&from, &address)?;
            }
        }
        let url = "https://kubernetes.default.svc.cluster.local/version";
        eventually("the API server is found by name", SETTLED, || {
            let asked = world
                .exec(&from, &format!("curl -sk --max-time 5 {url}"))?
                .ok()?;
            ensure(asked.contains("gitVersion"), || {
                format!("{from} asked the API server: {asked}")
            })
        })?;
    }
    Ok(())
}

fn a_node_that_loses_power_comes_back_without_what_was_in_memory(world: &World) -> Result<()> {
    world.pod("lives", "n2", &[("app", "lives")])?;
    world.wait_pods("app=lives")?;
    let node = world.cluster()?.node("n2")?;
    node.ok("touch /run/of-this-boot /var/lib/beemesh/on-disk")?;
    node.ok(&new_netns("left-behind"))?;
    let before = node.ok("cat /proc/sys/kernel/random/boot_id")?;
    world.cluster()?.reboot("n2")?;
    let after = node.ok("cat /proc/sys/kernel/random/boot_id")?;
    ensure(before != after, || "the boot id is the old one".to_owned())?;
    node.ok("test ! -e /run/of-this-boot -a ! -e /run/netns/left-behind")?;
    node.ok("rm /var/lib/beemesh/on-disk")
        .context("the disk was lost")?;
    // Its kubelet starts the pod's containers again, in a new sandbox.
    world.wait_pods("app=lives")?;
    world.ping("lives", &node.addresses()[1])
}

fn a_cut_cable_is_seen_and_heals(world: &World) -> Result<()> {
    let node = world.cluster()?.node("n3")?;
    node.cut_cable()?;
    let cut = eventually("the node's condition is Unknown", NOTICED, || {
        let words = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        let status = world.access.ok(&["get", "node", "n3", "-o", words])?;
        ensure(status == "Unknown", || format!("it is {status}"))
    });
    node.heal_cable()?;
    cut?;
    world.cluster()?.wait_nodes()
}

fn programs_are_killed_one_by_one_and_pods_live_on(world: &World) -> Result<()> {
    world.pod("one", "n1", &[("app", "pair")])?;
    world.pod("two", "n2", &[("app", "pair")])?;
    world.wait_pods("app=pair")?;
    for node in ["n1", "n2"] {
        let node = world.cluster()?.node(node)?;
        for component in Component::NODE {
            node.kill9(component)?;
        }
    }
    for component in Component::CONTROL {
        world.cluster()?.kill9(component)?;
    }
    let cluster = world.cluster()?;
    let asked = world
        .access
        .kubectl(&["get", "nodes", "--request-timeout=2s"])?;
    ensure(!asked.is_success, || {
        "a dead API server answered".to_owned()
    })?;
    let [etcd, others @ ..] = Component::CONTROL;
    cluster.start(etcd)?;
    for component in others {
        // kube-controller-manager ends when the API server is not ready in ten seconds, and nobody starts it again.
        cluster.restart(component)?;
    }
    for node in ["n1", "n2"] {
        for component in Component::NODE {
            cluster.node(node)?.restart(component)?;
        }
    }
    cluster.wait_nodes()?;
    let two = world.primary_addresses("two")?;
    for address in two {
        world.ping("one", &address)?;
    }
    let restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    let restarts = world.access.ok(&["get", "pods", "-o", restarts])?;
    ensure(restarts == "0 0", || {
        format!("containers were started again: {restarts}")
    })
}

fn a_node_joins_a_running_cluster_and_leaves_it(world: &World) -> Result<()> {
    world.pod("old", "n1", &[("app", "joined")])?;
    let mut name = String::new();
    world.with_one_node_more(|added| {
        name = added.name().to_owned();
        world.pod("new", added.name(), &[("app", "joined")])?;
        world.wait_pods("app=joined")?;
        for address in world.primary_addresses("new")? {
            world.ping("old", &address)?;
        }
        for address in world.primary_addresses("old")? {
            world.ping("new", &address)?;
        }
        // It is drained first, as an administrator would.
        world.access.ok(&["delete", "pod", "new"]).map(drop)
    })?;
    let nodes = world.nodes()?;
    ensure(!nodes.contains(&name), || format!("{nodes:?}"))
}
