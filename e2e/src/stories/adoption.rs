//! Packets do not know of daemons: not one is lost while these are killed, restarted and replaced.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow};
use e2e::{ensure, eventually};
use serde_json::Value;

use super::Story;
use crate::mesh::{BACK, Mesh, SETTLED};
use crate::world::{SYSTEM, World};

pub(super) const STORIES: &[Story] = &[
    story!(
        no_ping_is_lost_while_daemons_are_killed_restarted_and_replaced,
        nodes,
        core
    ),
    story!(
        what_is_wired_is_taken_back_where_a_daemon_lost_its_state,
        nodes
    ),
];

/// The daemon's leases.
const STATE: &str = "/var/lib/beemesh/cni";

/// The image that the daemons run, and the name under which the new ones get it.
const IMAGE: &str = "localhost/beemesh";

fn no_ping_is_lost_while_daemons_are_killed_restarted_and_replaced(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    let last = nodes.len() - 1;
    world.declare(
        &Mesh::new("steady")
            .on_each(&nodes)
            .shape("Line")
            .app("pair"),
    )?;
    world.pod("from", &nodes[0], &[("app", "pair")])?;
    world.pod("to", &nodes[last], &[("app", "pair")])?;
    world.wait_pods("app=pair")?;
    world.reach_all(&["from", "to"], "steady")?;
    let before = world.settled_holdings()?;
    let is_over = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let pings: Vec<_> = world
            .addresses("to", "steady")?
            .into_iter()
            .map(|address| {
                scope.spawn({
                    let is_over = &is_over;
                    move || ping(world, &address.to_string(), is_over)
                })
            })
            .collect();
        let outcome = disturb(world);
        is_over.store(true, Ordering::SeqCst);
        let mut sent = 0;
        for ping in pings {
            sent += ping.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        outcome.map(|()| sent)
    })?;
    let figure = format!("0 of {sent}");
    world
        .figures
        .add("pings at 1 ms lost while daemons were replaced", figure);
    // The daemons' own pods are other ones, the Forwarders are not.
    for (node, held) in world.settled_holdings()? {
        ensure(held.inside() == before[&node].inside(), || {
            format!(
                "{node}: {:?} became {:?}",
                before[&node].inside(),
                held.inside()
            )
        })?;
    }
    world.reach_all(&["from", "to"], "steady")
}

fn what_is_wired_is_taken_back_where_a_daemon_lost_its_state(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    let (first, last) = (&nodes[0], &nodes[nodes.len() - 1]);
    world.declare(&Mesh::new("kept").on_each(&nodes).app("pair"))?;
    let before = world.settled_holdings()?;
    let pods = ["one", "two"];
    world.pod(pods[0], first, &[("app", "pair")])?;
    world.pod(pods[1], last, &[("app", "pair")])?;
    world.reach_all(&pods, "kept")?;
    let addresses = world.addresses(pods[0], "kept")?;
    let restarted = restarts(world, first)?;
    world.signal(first, "/beemesh-node --kubernetes", "STOP")?;
    let node = world.cluster()?.node(first)?;
    node.ok(&format!("find {STATE} -mindepth 1 -delete"))?;
    world.kill9(first, "/beemesh-node --kubernetes")?;
    eventually("the daemon is back", BACK, || {
        let now = restarts(world, first)?;
        ensure(now > restarted, || format!("{now} restarts"))
    })?;
    eventually("its lease is there again", SETTLED, || {
        let leases = world.inspect(first, &["leases"])?.to_string();
        ensure(leases.contains(&world.namespace), || leases.clone())
    })?;
    world.reach_all(&pods, "kept")?;
    let now = world.addresses(pods[0], "kept")?;
    ensure(now == addresses, || format!("{addresses:?} became {now:?}"))?;
    // The runtime's DEL knows nothing of all that.
    let delete = ["delete", "pod", "--all", "--wait=true"];
    world.access.ok(&delete)?;
    world.wait_holdings(&before)
}

/// Rounds of pings at 1 ms until stopped, at least one; returns the number sent. An error after a loss.
fn ping(world: &World, address: &str, is_over: &AtomicBool) -> Result<u64> {
    let count = std::env::var("BEEMESH_E2E_PINGS").unwrap_or_else(|_| "30000".to_owned());
    let mut sent = 0;
    loop {
        let line = format!("ping -n -q -i 0.001 -c {count} -W 10 {address}");
        let ran = world.exec("from", &line)?;
        let said = ran.stdout.clone() + &ran.stderr;
        ensure(said.contains(" 0% packet loss"), || said.clone())?;
        sent += count.parse::<u64>()?;
        if is_over.load(Ordering::SeqCst) {
            return Ok(sent);
        }
    }
}

fn disturb(world: &World) -> Result<()> {
    let nodes = world.nodes()?;
    for node in &nodes {
        let before = restarts(world, node)?;
        world.kill_daemon(node)?;
        eventually(&format!("the daemon of {node} is back"), BACK, || {
            let now = restarts(world, node)?;
            ensure(now > before, || format!("{now} restarts"))
        })?;
    }
    world.wait_daemons()?;
    // Restarted, as a user would.
    let daemonsets = ["rollout", "restart", "daemonset", "--namespace", SYSTEM];
    world.access.ok(&daemonsets)?;
    world.wait_daemons()?;
    // Replaced by another image, of which nothing but its name is different.
    let (old, new) = tags(world)?;
    for node in world.cluster()?.nodes() {
        let tag = format!("ctr -n k8s.io images tag --force {IMAGE}:{old} {IMAGE}:{new}");
        node.ok(&tag)?;
    }
    world.helm_upgrade(&["--set", &format!("image.tag={new}")])?;
    world.wait_daemons()?;
    // And back: nodes that come know the first name alone.
    world.helm_upgrade(&[])?;
    world.wait_daemons()
}

/// The tag that runs, and another one.
fn tags(world: &World) -> Result<(String, String)> {
    let words = "jsonpath={.items[0].spec.template.spec.containers[0].image}";
    let get = ["get", "daemonset", "--namespace", SYSTEM, "-o", words];
    let image = world.access.ok(&get)?;
    let (_, old) = image.rsplit_once(':').context(image.clone())?;
    let new = match old.strip_suffix("-next") {
        Some(plain) => plain.to_owned(),
        None => format!("{old}-next"),
    };
    Ok((old.to_owned(), new))
}

fn restarts(world: &World, node: &str) -> Result<u64> {
    let pod = world.daemon(node)?;
    let pod: Value = world
        .access
        .json(&["get", "pod", &pod, "--namespace", SYSTEM])?;
    let status = &pod["status"]["containerStatuses"][0];
    let count = status["restartCount"].as_u64();
    count.with_context(|| format!("the daemon of {node} has no status"))
}
