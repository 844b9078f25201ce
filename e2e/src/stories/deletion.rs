//! Things go in every order, and nothing of them stays.

use anyhow::Result;
use e2e::{ensure, eventually};

use super::Story;
use crate::mesh::SETTLED;
use crate::nodes::PAIR;
use crate::world::World;

pub(super) const STORIES: &[Story] = &[
    story!(
        deleted_pods_first_topology_first_or_all_at_once_nothing_stays,
        nodes
    ),
    story!(a_forwarder_deleted_by_hand_comes_back_and_its_pods_with_it),
];

fn deleted_pods_first_topology_first_or_all_at_once_nothing_stays(world: &World) -> Result<()> {
    world.install()?;
    // From the first topology on each daemon has a list of its namespaces, if an empty one.
    let nothing = world.used_holdings()?;

    world.pair("pods-first")?;
    world
        .access
        .ok(&["delete", "pod", "--all", "--wait=true"])?;
    eventually("nobody is attached", SETTLED, || {
        let attached = world.attached("pods-first")?;
        ensure(attached.is_empty(), || format!("{attached:?}"))
    })?;
    world.access.ok(&["delete", "mst", "pods-first"])?;
    world.wait_holdings(&nothing)?;

    world.pair("mesh-first")?;
    world.access.ok(&["delete", "mst", "mesh-first"])?;
    for pod in PAIR {
        eventually("the pods live on without it", SETTLED, || {
            let interfaces = world.exec(pod, "ls /sys/class/net")?.ok()?;
            ensure(!interfaces.contains("bm-"), || interfaces.clone())
        })?;
    }
    world.no_lease_is_left()?;
    world
        .access
        .ok(&["delete", "pod", "--all", "--wait=true"])?;
    world.wait_holdings(&nothing)?;

    let other = world.other()?;
    other.pair("all-at-once")?;
    other.leave()?;
    world.wait_holdings(&nothing)?;

    world.pair("both-at-once")?;
    world
        .access
        .ok(&["delete", "mst/both-at-once", "pod/one", "pod/two"])?;
    world.wait_holdings(&nothing)?;
    world.no_lease_is_left()
}

fn a_forwarder_deleted_by_hand_comes_back_and_its_pods_with_it(world: &World) -> Result<()> {
    world.install()?;
    world.pair("again")?;
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
        world.reach_all(&PAIR, "again")?;
    }
    Ok(())
}
