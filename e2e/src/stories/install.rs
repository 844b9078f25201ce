//! beemesh comes to a cluster by its chart.

use anyhow::Result;
use e2e::ensure;

use super::Story;
use crate::world::{SYSTEM, World};

pub(super) const STORIES: &[Story] = &[Story {
    name: "the_chart_installs_and_all_of_it_gets_ready",
    needs_nodes: false,
    tell: the_chart_installs_and_all_of_it_gets_ready,
}];

/// `helm install --wait` has said so; here the objects themselves say it.
fn the_chart_installs_and_all_of_it_gets_ready(world: &World) -> Result<()> {
    world.install()?;
    let pods = world.access.json(&["get", "pods", "--namespace", SYSTEM])?;
    let pods = pods["items"].as_array().cloned().unwrap_or_default();
    ensure(!pods.is_empty(), || format!("no pods in {SYSTEM}"))?;
    for pod in pods {
        let name = &pod["metadata"]["name"];
        let conditions = pod["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let is_ready = conditions
            .iter()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        ensure(is_ready, || {
            format!("{name} is not ready: {}", pod["status"])
        })?;
    }
    Ok(())
}
