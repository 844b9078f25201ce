//! Nodes that are drained, lose power, and are added.

use anyhow::{Context, Result};
use e2e::{ensure, eventually};

use super::Story;
use crate::mesh::{Mesh, SETTLED, items, list};
use crate::world::{World, deployment};

pub(super) const STORIES: &[Story] = &[
    story!(
        a_drained_node_still_forwards_and_its_pods_join_elsewhere,
        nodes
    ),
    story!(a_rebooted_node_comes_back_into_its_topologies, nodes, core),
    story!(a_node_that_is_added_takes_part, nodes),
];

fn a_drained_node_still_forwards_and_its_pods_join_elsewhere(world: &World) -> Result<()> {
    world.install()?;
    let [first, middle, last] = three(world)?;
    // The middle of the line is the node that is drained.
    let nodes = [first.clone(), middle.clone(), last.clone()];
    let mesh = Mesh::new("line").on_each(&nodes).shape("Line");
    world.declare(&mesh.app("ends").app("moves"))?;
    world.pod("end-1", &first, &[("app", "ends")])?;
    world.pod("end-2", &last, &[("app", "ends")])?;
    let mut moves = deployment("moves", 2, "");
    // Both start in the middle, and are free to go.
    moves["spec"]["template"]["spec"]["affinity"] = serde_json::json!({"nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": {
            "matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [middle]}]}}]}});
    world.access.apply(&moves.to_string())?;
    world.wait_pods("app=ends")?;
    world.wait_pods("app=moves")?;
    everybody_reaches_everybody(world, 4)?;
    let drain = ["drain", &middle, "--ignore-daemonsets", "--force"];
    let drained = world.access.ok(&[
        &drain[..],
        &[
            "--delete-emptydir-data",
            "--timeout=90s",
            "--pod-selector=app=moves",
        ],
    ]
    .concat());
    let outcome = drained.and_then(|_| {
        world
            .access
            .ok(&["rollout", "status", "deployment/moves", "--timeout=90s"])?;
        everybody_reaches_everybody(world, 4)?;
        let pods = world.access.json(&["get", "pods", "-l", "app=moves"])?;
        let stayed = items(&pods).into_iter().find(|pod| {
            pod["spec"]["nodeName"] == *middle && pod["metadata"]["deletionTimestamp"].is_null()
        });
        ensure(stayed.is_none(), || format!("{stayed:?}"))
    });
    world.access.ok(&["uncordon", &middle])?;
    outcome
}

fn everybody_reaches_everybody(world: &World, count: usize) -> Result<()> {
    let pods = world.wait_attached(SETTLED, count, "line")?;
    let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
    world.reach_all(&pods, "line")
}

fn a_rebooted_node_comes_back_into_its_topologies(world: &World) -> Result<()> {
    world.install()?;
    let nodes = three(world)?;
    world.declare(&Mesh::new("line").on_each(&nodes).shape("Line").app("x"))?;
    let pods = ["one", "two", "three"];
    for (pod, node) in pods.iter().zip(&nodes) {
        world.pod(pod, node, &[("app", "x")])?;
    }
    world.wait_pods("app=x")?;
    world.reach_all(&pods, "line")?;
    // One with containerd 1, and the middle of the line with containerd 2.
    for node in &nodes[..2] {
        world.cluster()?.reboot(node)?;
        world.wait_daemons()?;
        world.wait_pods("app=x")?;
        world.reach_all(&pods, "line")?;
        world.wait_topology("line", "Ready")?;
        eventually("the leases of before the boot are gone", SETTLED, || {
            let held = world.inspect(node, &["leases"])?;
            let leases = list(&held["leases"]);
            let of_line = leases
                .iter()
                .filter(|lease| lease.to_string().contains(&world.namespace));
            ensure(of_line.count() == 1, || held.to_string())
        })?;
    }
    Ok(())
}

fn a_node_that_is_added_takes_part(world: &World) -> Result<()> {
    world.install()?;
    let nodes = three(world)?;
    world.declare(&Mesh::new("grows").on_each(&nodes).app("x"))?;
    world.pod("old", &nodes[0], &[("app", "x")])?;
    world.with_one_node_more(|added| {
        world.wait_daemons()?;
        let mesh = Mesh::new("grows").on_each(&nodes);
        world.declare(&mesh.forwarder(added.name(), added.name()).app("x"))?;
        world.pod("new", added.name(), &[("app", "x")])?;
        world.wait_pods("app=x")?;
        world.reach_all(&["old", "new"], "grows")?;
        // Nothing of it needs the node any more, as when an administrator takes one away.
        world.access.ok(&["delete", "pod", "new"])?;
        world.access.ok(&["delete", "mst", "grows"]).map(drop)
    })
}

fn three(world: &World) -> Result<[String; 3]> {
    let nodes = world.nodes()?;
    let three = nodes.get(..3).context("needs three nodes")?;
    Ok([three[0].clone(), three[1].clone(), three[2].clone()])
}
