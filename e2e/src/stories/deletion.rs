//! Things go in every order, and nothing of them stays.

use anyhow::Result;
use e2e::{ensure, eventually};

use super::Story;
use crate::mesh::{Mesh, SETTLED};
use crate::world::World;

pub(super) const STORIES: &[Story] = &[
    story!(
        deleted_pods_first_topology_first_or_all_at_once_nothing_stays,
        nodes
    ),
    story!(a_forwarder_deleted_by_hand_comes_back_and_its_pods_with_it),
];

const PODS: [&str; 2] = ["one", "two"];

fn made(world: &World, name: &str) -> Result<()> {
    let nodes = world.nodes()?;
    world.declare(&Mesh::new(name).on_each(&nodes).app("x"))?;
    world.pod(PODS[0], &nodes[0], &[("app", "x")])?;
    world.pod(PODS[1], &nodes[nodes.len() - 1], &[("app", "x")])?;
    world.wait_pods("app=x")?;
    world.reach_all(&PODS, name)
}

fn deleted_pods_first_topology_first_or_all_at_once_nothing_stays(world: &World) -> Result<()> {
    world.install()?;
    // From the first topology on each daemon has a list of its namespaces, if an empty one.
    made(world, "before")?;
    world
        .access
        .ok(&["delete", "mst/before", "pod/one", "pod/two"])?;
    no_lease_is_left(world)?;
    let nothing = world.settled_holdings()?;

    made(world, "pods-first")?;
    world
        .access
        .ok(&["delete", "pod", "--all", "--wait=true"])?;
    eventually("nobody is attached", SETTLED, || {
        let attached = world.attached("pods-first")?;
        ensure(attached.is_empty(), || format!("{attached:?}"))
    })?;
    world.access.ok(&["delete", "mst", "pods-first"])?;
    world.wait_holdings(&nothing)?;

    made(world, "mesh-first")?;
    world.access.ok(&["delete", "mst", "mesh-first"])?;
    for pod in PODS {
        eventually("the pods live on without it", SETTLED, || {
            let interfaces = world.exec(pod, "ls /sys/class/net")?.ok()?;
            ensure(!interfaces.contains("bm-"), || interfaces.clone())
        })?;
    }
    no_lease_is_left(world)?;
    world
        .access
        .ok(&["delete", "pod", "--all", "--wait=true"])?;
    world.wait_holdings(&nothing)?;

    let other = world.other()?;
    made(&other, "all-at-once")?;
    other.leave()?;
    world.wait_holdings(&nothing)?;

    made(world, "both-at-once")?;
    world
        .access
        .ok(&["delete", "mst/both-at-once", "pod/one", "pod/two"])?;
    world.wait_holdings(&nothing)?;
    no_lease_is_left(world)
}

fn no_lease_is_left(world: &World) -> Result<()> {
    for node in world.nodes()? {
        eventually(&format!("no lease is left on {node}"), SETTLED, || {
            let leases = world.inspect(&node, &["leases"])?.to_string();
            ensure(!leases.contains(&world.namespace), || leases.clone())
        })?;
    }
    Ok(())
}

fn a_forwarder_deleted_by_hand_comes_back_and_its_pods_with_it(world: &World) -> Result<()> {
    world.install()?;
    made(world, "again")?;
    for forwarder in world.forwarders("again")? {
        let object = forwarder["metadata"]["name"].as_str().unwrap_or_default();
        let uid = &forwarder["metadata"]["uid"];
        world.access.ok(&["delete", "fwd", object])?;
        eventually(&format!("{object} is made again"), SETTLED, || {
            let found = world.access.json(&["get", "fwd", object])?;
            ensure(found["metadata"]["uid"] != *uid, || {
                "the old one".to_owned()
            })
        })?;
        world.wait_topology("again", "Ready")?;
        world.reach_all(&PODS, "again")?;
    }
    Ok(())
}
