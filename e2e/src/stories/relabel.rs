//! Pods that are there already: labels that come and go, topologies that come later.

use anyhow::Result;
use e2e::{ensure, eventually};

use super::Story;
use crate::mesh::{Mesh, SETTLED};
use crate::world::World;

pub(super) const STORIES: &[Story] = &[
    story!(pods_older_than_their_topology_join_it_when_it_comes),
    story!(a_running_pod_joins_and_leaves_with_its_labels, core),
];

fn pods_older_than_their_topology_join_it_when_it_comes(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    let last = nodes.len() - 1;
    world.pod("old-1", &nodes[0], &[("app", "old")])?;
    world.pod("old-2", &nodes[last], &[("app", "old")])?;
    world.wait_pods("app=old")?;
    world.declare(&Mesh::new("late").on_each(&nodes).app("old"))?;
    world.reach_all(&["old-1", "old-2"], "late")?;
    world.pod("new", &nodes[last], &[("app", "old")])?;
    world.wait_pods("app=old")?;
    world.reach_all(&["old-1", "old-2", "new"], "late")?;
    was_never_restarted(world)
}

fn a_running_pod_joins_and_leaves_with_its_labels(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    let last = nodes.len() - 1;
    world.declare(&Mesh::new("tags").on_each(&nodes).app("in"))?;
    world.pod("stays", &nodes[last], &[("app", "in")])?;
    // One on the node of the other, one on another node.
    world.pod("changes-1", &nodes[0], &[("app", "out")])?;
    world.pod("changes-2", &nodes[last], &[("app", "out")])?;
    world.wait_pods("app=in")?;
    world.wait_pods("app=out")?;
    let stays = world.addresses("stays", "tags")?;
    for _ in 0..2 {
        for pod in ["changes-1", "changes-2"] {
            world
                .access
                .ok(&["label", "pod", pod, "app=in", "--overwrite"])?;
        }
        world.reach_all(&["stays", "changes-1", "changes-2"], "tags")?;
        for pod in ["changes-1", "changes-2"] {
            world
                .access
                .ok(&["label", "pod", pod, "app=out", "--overwrite"])?;
            world.wait_detached(pod, "tags")?;
            is_outside(world, pod)?;
            let is_reached = world.is_reached(pod, stays[0])?;
            ensure(!is_reached, || format!("{pod} still reaches {stays:?}"))?;
        }
    }
    eventually("events tell of both", SETTLED, || {
        let events = world.events("changes-1")?;
        let are_told = ["Attached:", "Detached:"].map(|reason| events.contains(reason));
        ensure(are_told == [true; 2], || format!("events: {events}"))
    })?;
    was_never_restarted(world)
}

/// Neither interface nor network status is left.
fn is_outside(world: &World, pod: &str) -> Result<()> {
    eventually(
        &format!("{pod} is as if it had never been in"),
        SETTLED,
        || {
            let interfaces = world.exec(pod, "ls /sys/class/net")?.ok()?;
            ensure(!interfaces.contains("bm-"), || interfaces.clone())?;
            let annotations =
                world.access.json(&["get", "pod", pod])?["metadata"]["annotations"].to_string();
            ensure(!annotations.contains("bm-tags"), || annotations.clone())
        },
    )
}

fn was_never_restarted(world: &World) -> Result<()> {
    let words = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    let restarts = world.access.ok(&["get", "pods", "-o", words])?;
    let is_calm = restarts.split_whitespace().all(|count| count == "0");
    ensure(is_calm, || format!("containers were restarted: {restarts}"))
}
