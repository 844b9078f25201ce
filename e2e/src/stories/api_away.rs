//! No API server for a while: packets flow, links fail, containers and daemons are restarted.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::cluster::Component;
use e2e::{ensure, eventually};

use super::Story;
use crate::mesh::BACK;
use crate::mesh::{Mesh, Place, SETTLED};
use crate::world::World;

pub(super) const STORIES: &[Story] = &[story!(
    all_goes_on_without_the_api_server_whatever_is_restarted_or_cut,
    nodes,
    core
)];

/// The kubelet sees a dead sandbox within ten seconds, and waits before it tries again.
const RESTARTED: Duration = Duration::from_secs(120);
const PODS: [&str; 3] = ["one", "two", "three"];

/// State of a pod before the API server goes away.
struct Known {
    node: String,
    uid: String,
}

fn all_goes_on_without_the_api_server_whatever_is_restarted_or_cut(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    world.declare(&Mesh::new("tri").on_each(&nodes[..3]).app("x"))?;
    for (pod, node) in PODS.iter().zip(&nodes) {
        world.pod(pod, node, &[("app", "x")])?;
    }
    world.wait_pods("app=x")?;
    world.reach_all(&PODS, "tri")?;
    let pods: Vec<Known> = PODS
        .iter()
        .zip(&nodes)
        .map(|(pod, node)| known(world, pod, node))
        .collect::<Result<_>>()?;
    let place = world.place("tri", &nodes[0])?;

    let cluster = world.cluster()?;
    cluster.kill9(Component::ApiServer)?;
    let since = Instant::now();
    let outcome = without(world, &pods, &place, &nodes, since);
    cluster.restart(Component::ApiServer)?;
    cluster.wait_nodes()?;
    outcome?;
    world.wait_daemons()?;
    world.wait_pods("app=x")?;
    world.wait_topology("tri", "Ready")?;
    world.reach_all(&PODS, "tri")
}

fn known(world: &World, pod: &str, node: &str) -> Result<Known> {
    let object = world.access.json(&["get", "pod", pod])?;
    let uid = object["metadata"]["uid"].as_str().context("no uid")?;
    Ok(Known {
        node: node.to_owned(),
        uid: uid.to_owned(),
    })
}

fn without(
    world: &World,
    pods: &[Known],
    place: &Place,
    nodes: &[String],
    since: Instant,
) -> Result<()> {
    all_reach_all(world, pods)?;
    flap(world, pods, place, &nodes[1])?;
    // A link that drops packets in silence, and a node that is gone for a while.
    for is_silent in [true, false] {
        world.set_silent(place, &nodes[1], is_silent)?;
        has_hops(world, pods, if is_silent { 4 } else { 3 })?;
    }
    let lost = world.cluster()?.node(&nodes[2])?;
    lost.cut_cable()?;
    let outcome = has_hops(world, &pods[..2], 3);
    lost.heal_cable()?;
    outcome?;
    // A container of a known pod: its sandbox, and so its network, stay.
    for pod in pods {
        kill_task(world, pod, "container")?;
    }
    all_reach_all(world, pods)?;
    // A whole sandbox: DEL and ADD without the API server.
    for pod in &pods[..2] {
        kill_task(world, pod, "sandbox")?;
        all_reach_all(world, pods)?;
    }
    // A daemon starts with its cached objects.
    for node in &nodes[..2] {
        let before = eventually(&format!("the daemon of {node} runs"), BACK, || {
            daemon(world, node)
        })?;
        world.kill_daemon(node)?;
        eventually(&format!("the daemon of {node} is back"), BACK, || {
            let now = daemon(world, node)?;
            ensure(now != before, || "the old one".to_owned())
        })?;
    }
    all_reach_all(world, pods)?;
    flap(world, pods, place, &nodes[1])?;
    kill_task(world, &pods[1], "sandbox")?;
    all_reach_all(world, pods)?;
    let away = std::env::var("BEEMESH_E2E_AWAY").unwrap_or_else(|_| "600".to_owned());
    let away = Duration::from_secs(away.parse()?);
    eventually("it has been away for long enough", away * 2, || {
        all_reach_all(world, pods)?;
        ensure(since.elapsed() >= away, || "not yet".to_owned())
    })
}

/// Cuts the link from the first Forwarder to `peer`, sees traffic go the other way round, and heals it.
fn flap(world: &World, pods: &[Known], place: &Place, peer: &str) -> Result<()> {
    for is_up in [false, true] {
        world.set_link(place, peer, is_up)?;
        has_hops(world, pods, if is_up { 3 } else { 4 })?;
        all_reach_all(world, pods)?;
    }
    Ok(())
}

/// Waits until packets between the first two pods pass so many routers and their target.
fn has_hops(world: &World, pods: &[Known], hops: usize) -> Result<()> {
    eventually(&format!("the way has {hops} hops"), SETTLED, || {
        for (from, to) in [(0, 1), (1, 0)] {
            let address = address(world, &pods[to])?;
            let trace = format!("traceroute -n -q 1 -w 2 -m 9 {address} | tail -n +2");
            let trace = inside(world, &pods[from], &trace)?;
            ensure(
                trace.lines().count() == hops && trace.contains(&address),
                || trace.clone(),
            )?;
        }
        Ok(())
    })
}

fn all_reach_all(world: &World, pods: &[Known]) -> Result<()> {
    eventually("all reach all", RESTARTED, || {
        for from in pods {
            for to in pods {
                let address = address(world, to)?;
                inside(world, from, &format!("ping -n -q -c 1 -W 1 {address}"))?;
            }
        }
        Ok(())
    })
}

/// The pod's IPv4 address in the topology, as its kernel has it.
fn address(world: &World, pod: &Known) -> Result<String> {
    let script = "ip -4 -o address show dev bm-tri | awk \"{print \\$4}\"";
    let address = inside(world, pod, script)?;
    let address = address.trim().split('/').next().unwrap_or_default();
    ensure(!address.is_empty(), || "it has no address".to_owned())?;
    Ok(address.to_owned())
}

/// Runs `script` in the network of a pod, from its node: without the API server there is no other way in.
fn inside(world: &World, pod: &Known, script: &str) -> Result<String> {
    let pid = world.task(&pod.node, &pod.uid, "sandbox")?;
    let node = world.cluster()?.node(&pod.node)?;
    node.ok(&format!("nsenter --target {pid} --net sh -c '{script}'"))
}

/// Kills a running container and waits until another one runs in its place.
fn kill_task(world: &World, pod: &Known, kind: &str) -> Result<()> {
    let node = world.cluster()?.node(&pod.node)?;
    let before = world.task(&pod.node, &pod.uid, kind)?;
    node.ok(&format!("kill -9 {before}"))?;
    eventually(&format!("the {kind} is started again"), RESTARTED, || {
        let now = world.task(&pod.node, &pod.uid, kind)?;
        ensure(now != before, || "the old one".to_owned())
    })
}

/// Process id of the daemon on its node.
fn daemon(world: &World, node: &str) -> Result<String> {
    let script = "for p in /proc/[0-9]*; do c=$(tr '\\0' ' ' <$p/cmdline 2>/dev/null) || continue
        case \"$c\" in '/beemesh-node --kubernetes'*) echo ${p#/proc/};; esac; done";
    let pid = world.cluster()?.node(node)?.ok(script)?;
    ensure(!pid.is_empty(), || format!("no daemon on {node}"))?;
    Ok(pid)
}
