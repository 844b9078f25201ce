//! Failures that no interface shows: packets that are dropped in silence, a node without power.

use anyhow::{Context, Result};
use e2e::{ensure, eventually};
use serde_json::json;

use super::Story;
use crate::mesh::{Mesh, SETTLED};
use crate::world::World;

pub(super) const STORIES: &[Story] = &[
    story!(
        a_link_that_drops_packets_in_silence_is_routed_around_and_back,
        nodes,
        core
    ),
    story!(
        a_node_without_power_is_left_by_traffic_that_has_another_way,
        nodes
    ),
];

const PODS: [&str; 3] = ["one", "two", "three"];

fn a_link_that_drops_packets_in_silence_is_routed_around_and_back(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    world.declare(&Mesh::new("tri").on_each(&nodes[..3]).app("x"))?;
    pods_on(world, &nodes)?;
    let ends = [
        world.place("tri", &nodes[0])?,
        world.place("tri", &nodes[1])?,
    ];
    has_hops(world, "two", 3)?;
    // Packets of both directions, then of one.
    for cut in [&[0, 1][..], &[0]] {
        for end in cut {
            world.set_silent(&ends[*end], &nodes[1 - end], true)?;
        }
        has_hops(world, "two", 4)?;
        world.reach_all(&PODS, "tri")?;
        for end in cut {
            world.set_silent(&ends[*end], &nodes[1 - end], false)?;
        }
        has_hops(world, "two", 3)?;
    }
    world.reach_all(&PODS, "tri")
}

fn a_node_without_power_is_left_by_traffic_that_has_another_way(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    let link =
        |a: usize, b: usize, weight: u32| json!({"a": nodes[a], "b": nodes[b], "weight": weight});
    let mesh = Mesh::new("tri")
        .on_each(&nodes[..3])
        .app("x")
        .shape("Custom");
    let mesh = mesh
        .push("links", link(0, 1, 1))
        .push("links", link(1, 2, 1));
    world.declare(&mesh.push("links", link(0, 2, 5)))?;
    pods_on(world, &nodes)?;
    has_hops(world, "three", 4)?;
    let lost = world.cluster()?.node(&nodes[1])?;
    lost.cut_cable()?;
    let outcome = has_hops(world, "three", 3);
    lost.heal_cable()?;
    outcome?;
    has_hops(world, "three", 4)?;
    world.cluster()?.wait_nodes()?;
    world.wait_topology("tri", "Ready")?;
    world.reach_all(&PODS, "tri")
}

/// A pod on each node, all of which reach one another.
fn pods_on(world: &World, nodes: &[String]) -> Result<()> {
    for (pod, node) in PODS.iter().zip(nodes) {
        world.pod(pod, node, &[("app", "x")])?;
    }
    world.wait_pods("app=x")?;
    world.wait_topology("tri", "Ready")?;
    world.reach_all(&PODS, "tri")
}

/// Waits until packets of the first pod to `pod` pass so many routers and their target.
fn has_hops(world: &World, pod: &str, hops: usize) -> Result<()> {
    let addresses = world.addresses(pod, "tri")?;
    let address = addresses.first().context("no address")?.to_string();
    let trace = format!("traceroute -n -q 1 -w 2 -m 9 {address} | tail -n +2");
    eventually(
        &format!("the way to {pod} has {hops} hops"),
        SETTLED,
        || {
            let trace = world.exec(PODS[0], &trace)?.ok()?;
            ensure(
                trace.lines().count() == hops && trace.contains(&address),
                || trace.clone(),
            )
        },
    )
}
