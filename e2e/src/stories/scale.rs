//! Many pods at once, and none of them leaves anything behind.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::{ensure, eventually};

use super::Story;
use crate::mesh::{Mesh, SETTLED};
use crate::world::{World, deployment};

pub(super) const STORIES: &[Story] = &[story!(
    an_app_scales_from_0_to_60_to_0_and_nodes_hold_what_they_held,
    nodes
)];

const MANY: usize = 60;
/// Two processors start so many containers in this time.
const STARTED: Duration = Duration::from_secs(480);

fn an_app_scales_from_0_to_60_to_0_and_nodes_hold_what_they_held(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    world.declare(&Mesh::new("wide").on_each(&nodes).app("many"))?;
    world.access.apply(&deployment("many", 0, "").to_string())?;
    // Once around before: files that come with the first pod are there afterwards.
    scale(world, nodes.len())?;
    scale(world, 0)?;
    let before = world.settled_holdings()?;
    let started = Instant::now();
    scale(world, MANY)?;
    world.figures.time(
        "60 pods, until all are ready and attached",
        started.elapsed(),
    );
    let attached = world.attached("wide")?;
    let all: Vec<IpAddr> = attached.values().flatten().copied().collect();
    let mut different = all.clone();
    different.sort_unstable();
    different.dedup();
    ensure(different.len() == 2 * MANY && all.len() == 2 * MANY, || {
        format!("{attached:?}")
    })?;
    for pod in attached.keys().take(2) {
        eventually("all are reached", SETTLED, || world.ping_all(pod, &all))?;
    }
    scale(world, 0)?;
    world.wait_holdings(&before)
}

fn scale(world: &World, count: usize) -> Result<()> {
    let replicas = format!("--replicas={count}");
    world.access.ok(&["scale", "deployment/many", &replicas])?;
    eventually(&format!("{count} pods are ready"), STARTED, || {
        let pods = world.access.json(&["get", "deployment", "many"])?;
        let ready = pods["status"]["readyReplicas"].as_u64().unwrap_or(0);
        ensure(ready == count as u64, || pods["status"].to_string())
    })?;
    world.wait_attached(STARTED, count, "wide").map(drop)
}
