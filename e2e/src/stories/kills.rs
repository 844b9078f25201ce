//! SIGKILL in the middle of the work, of everything that takes part in it.

use anyhow::Result;
use e2e::cluster::Component;
use e2e::{ensure, eventually};

use super::Story;
use crate::mesh::{BACK, Mesh, SETTLED};
use crate::nodes::PAIR;
use crate::world::{SYSTEM, World, deployment};

pub(super) const STORIES: &[Story] = &[
    story!(daemons_are_killed_while_pods_come_and_go, nodes),
    story!(operators_are_killed_while_topologies_come_and_go, nodes),
    story!(container_runtimes_are_killed_while_pods_come_and_go, nodes),
    story!(kubelets_are_killed_while_pods_come_and_go, nodes),
];

const MANY: usize = 12;

/// Kill of a process at a step of the work.
type Kill<'a> = &'a dyn Fn(&World, &str) -> Result<()>;

/// Scales up and down, and calls `kill` for a node each time that the work is half done.
fn disturbed(world: &World, kill: Kill<'_>) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    world.declare(&Mesh::new("wide").on_each(&nodes).app("many"))?;
    world
        .access
        .apply(&deployment("many", nodes.len() as u32, "").to_string())?;
    settle(world, nodes.len())?;
    ask(world, 0)?;
    settle(world, 0)?;
    let before = world.settled_holdings()?;
    // The two runtimes, then all at once.
    for (round, node) in nodes.iter().take(2).enumerate() {
        ask(world, MANY)?;
        half_way(world, |attached| attached > 0)?;
        kill(world, node)?;
        settle(world, MANY)?;
        ask(world, 0)?;
        half_way(world, |attached| attached < MANY)?;
        kill(world, &nodes[(round + 1) % 2])?;
        settle(world, 0)?;
    }
    world.wait_holdings(&before)
}

fn ask(world: &World, count: usize) -> Result<()> {
    let replicas = format!("--replicas={count}");
    world
        .access
        .ok(&["scale", "deployment/many", &replicas])
        .map(drop)
}

fn half_way(world: &World, is_reached: impl Fn(usize) -> bool) -> Result<()> {
    eventually("the work has begun", SETTLED, || {
        let attached = world.attached("wide")?.len();
        ensure(is_reached(attached), || format!("{attached} attached"))
    })
}

fn settle(world: &World, count: usize) -> Result<()> {
    let pods = world.wait_attached(BACK, count, "wide")?;
    if count > 0 {
        world.wait_pods("app=many")?;
        let pods: Vec<&str> = pods.iter().take(3).map(String::as_str).collect();
        world.reach_all(&pods, "wide")?;
    }
    Ok(())
}

fn daemons_are_killed_while_pods_come_and_go(world: &World) -> Result<()> {
    disturbed(world, &|world, node| world.kill_daemon(node))?;
    world.wait_daemons()
}

fn container_runtimes_are_killed_while_pods_come_and_go(world: &World) -> Result<()> {
    disturbed(world, &|world, node| {
        restart(world, node, Component::Containerd)
    })
}

fn kubelets_are_killed_while_pods_come_and_go(world: &World) -> Result<()> {
    disturbed(world, &|world, node| {
        restart(world, node, Component::Kubelet)
    })
}

fn restart(world: &World, node: &str, component: Component) -> Result<()> {
    let node = world.cluster()?.node(node)?;
    node.kill9(component)?;
    node.restart(component)
}

fn operators_are_killed_while_topologies_come_and_go(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    let last = nodes.len() - 1;
    // From the first topology on each daemon has a list of its namespaces, if an empty one.
    let before = world.used_holdings()?;
    world.pod(PAIR[0], &nodes[0], &[("app", "x")])?;
    world.pod(PAIR[1], &nodes[last], &[("app", "x")])?;
    for round in 0..2 {
        let mesh = Mesh::new("brief").on_each(&nodes).app("x");
        wait_operators(world)?;
        world.access.apply(&mesh.0.to_string())?;
        kill_operators(world)?;
        world.wait_topology_within(BACK, "brief", "Ready")?;
        world.reach_all(&PAIR, "brief")?;
        if round == 0 {
            wait_operators(world)?;
            world
                .access
                .ok(&["delete", "mst", "brief", "--wait=false"])?;
            kill_operators(world)?;
            eventually("no forwarder is left", BACK, || {
                let left = world.forwarders("brief")?;
                ensure(left.is_empty(), || format!("{} are left", left.len()))
            })?;
        }
    }
    world
        .access
        .ok(&["delete", "mst/brief", "pod/one", "pod/two"])?;
    world.wait_holdings(&before)
}

/// Waits until all replicas are there.
fn wait_operators(world: &World) -> Result<()> {
    let status = ["rollout", "status", "deployment", "--namespace", SYSTEM];
    let patience = format!("--timeout={}s", BACK.as_secs());
    let line = [&status[..], &[&patience]].concat();
    world.access.ok(&line).map(drop)
}

/// All replicas at once. Their start and their end are reported late.
fn kill_operators(world: &World) -> Result<()> {
    let nodes = world.nodes()?;
    eventually("operators run, and are killed", BACK, || {
        let kills = nodes
            .iter()
            .map(|node| world.kill9(node, "/beemesh-operator"));
        ensure(kills.filter(Result::is_ok).count() > 0, || {
            "no operator was killed".to_owned()
        })
    })
}
