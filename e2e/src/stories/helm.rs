//! beemesh goes, leaves nodes as it found them, and comes again.

use anyhow::{Context, Result};
use e2e::{ensure, eventually};

use super::Story;
use crate::mesh::{Mesh, SETTLED};
use crate::nodes::{Holdings, PATIENT, changes};
use crate::world::{SYSTEM, UNINSTALL, World};

pub(super) const STORIES: &[Story] = &[
    story!(
        uninstalling_names_the_node_that_does_not_answer_and_goes_on_later,
        nodes
    ),
    story!(
        uninstalled_it_leaves_nodes_as_they_were_before_and_comes_back,
        nodes,
        core
    ),
];

const PODS: [&str; 2] = ["one", "two"];

fn uninstalling_names_the_node_that_does_not_answer_and_goes_on_later(world: &World) -> Result<()> {
    world.install()?;
    // The others get the time to answer, and the one that does not is not started again meanwhile.
    let values = format!("uninstall.timeout=40s,{PATIENT}");
    world.helm_upgrade(&["--set", &values])?;
    let nodes = world.nodes()?;
    let (silent, others) = nodes.split_last().context("no nodes")?;
    world.signal(silent, "/beemesh-node --kubernetes", "STOP")?;
    let outcome = world.access.helm(&UNINSTALL)?;
    let logs = ["logs", "job/beemesh-uninstall", "--namespace", SYSTEM];
    let told = world.access.ok(&logs);
    world.signal(silent, "/beemesh-node --kubernetes", "CONT")?;
    ensure(outcome.ok().is_err(), || "it was uninstalled".to_owned())?;
    let told = told?;
    let last = told.lines().last().unwrap_or_default();
    ensure(last.contains(silent.as_str()), || told.clone())?;
    ensure(!others.iter().any(|node| last.contains(node)), || {
        told.clone()
    })?;
    uninstalled(world)?;
    world.helm_upgrade(&[])
}

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
    world.access.helm(&UNINSTALL)?.ok()?;
    eventually("no pod of ours is left", SETTLED, || {
        // Helm leaves a test that failed, for its log.
        let selector = "app.kubernetes.io/component!=test";
        let pods = ["get", "pods", "--namespace", SYSTEM, "-o", "name"];
        let pods = world.access.ok(&[&pods[..], &["-l", selector]].concat())?;
        ensure(pods.is_empty(), || pods.clone())
    })?;
    let holdings = world.unchanging_holdings()?;
    for (node, held) in &holdings {
        let ours = held.ours();
        ensure(ours.is_empty(), || format!("{node}: {}", ours.join("\n")))?;
    }
    Ok(holdings)
}
