//! beemesh goes, leaves nodes as it found them, and comes again.

use anyhow::Result;
use e2e::{ensure, eventually};

use super::Story;
use crate::mesh::{Mesh, SETTLED};
use crate::nodes::{Holdings, changes};
use crate::world::{SYSTEM, World};

pub(super) const STORIES: &[Story] = &[story!(
    uninstalled_it_leaves_nodes_as_they_were_before_and_comes_back,
    nodes
)];

const PODS: [&str; 2] = ["one", "two"];

fn uninstalled_it_leaves_nodes_as_they_were_before_and_comes_back(world: &World) -> Result<()> {
    world.install()?;
    let without = uninstalled(world)?;
    world.helm_upgrade(&[])?;
    let nodes = world.nodes()?;
    let mesh = Mesh::new("brief").on_each(&nodes).app("x");
    world.declare(&mesh)?;
    world.pod(PODS[0], &nodes[0], &[("app", "x")])?;
    world.pod(PODS[1], &nodes[nodes.len() - 1], &[("app", "x")])?;
    world.wait_pods("app=x")?;
    world.reach_all(&PODS, "brief")?;
    // With everything in use: pods run and the topology is declared.
    let again = uninstalled(world)?;
    for pod in PODS {
        let interfaces = world.exec(pod, "ls /sys/class/net")?.ok()?;
        ensure(!interfaces.contains("bm-"), || interfaces.clone())?;
    }
    world
        .access
        .ok(&["delete", "pod", "--all", "--wait=true"])?;
    eventually("the nodes hold what they held without it", SETTLED, || {
        let changes = changes(&without, &world.holdings()?);
        ensure(changes.is_empty(), || changes.join("\n"))
    })?;
    drop(again);
    // The topology was kept, and is served again.
    world.helm_upgrade(&[])?;
    world.pod(PODS[0], &nodes[0], &[("app", "x")])?;
    world.pod(PODS[1], &nodes[nodes.len() - 1], &[("app", "x")])?;
    world.wait_topology("brief", "Ready")?;
    world.reach_all(&PODS, "brief")
}

/// Uninstalls, and sees that nothing on any node bears our name.
fn uninstalled(world: &World) -> Result<Holdings> {
    let uninstall = ["uninstall", "beemesh", "--namespace", SYSTEM, "--wait"];
    world
        .access
        .helm(&[&uninstall[..], &["--timeout=180s"]].concat())?
        .ok()?;
    eventually("no pod of ours is left", SETTLED, || {
        let pods = world
            .access
            .ok(&["get", "pods", "--namespace", SYSTEM, "-o", "name"])?;
        ensure(pods.is_empty(), || pods.clone())
    })?;
    let holdings = world.settled_holdings()?;
    for (node, held) in &holdings {
        let ours = held.ours();
        ensure(ours.is_empty(), || format!("{node}: {}", ours.join("\n")))?;
    }
    Ok(holdings)
}
