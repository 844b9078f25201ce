//! beemesh comes to a cluster by its chart.

use anyhow::Result;
use e2e::{ensure, eventually};

use super::Story;
use crate::mesh::SETTLED;
use crate::world::{SYSTEM, World};

pub(super) const STORIES: &[Story] = &[
    story!(the_chart_installs_and_all_of_it_gets_ready),
    story!(helm_test_passes_and_leaves_nothing),
];

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

/// Once more right after, as users do: nothing of the first time is in its way.
fn helm_test_passes_and_leaves_nothing(world: &World) -> Result<()> {
    world.install()?;
    let left = ["get", "pods,mst,fwd,serviceaccounts,roles,rolebindings"];
    let left = || {
        let names = [&left[..], &["--namespace", SYSTEM, "-o", "name"]].concat();
        world.access.ok(&names)
    };
    let before = left()?;
    for _ in 0..2 {
        let test = ["test", "beemesh", "--namespace", SYSTEM];
        let told = world.access.helm(&test)?.ok()?;
        let are_both_told = ["connectivity", "operator-check"]
            .iter()
            .all(|name| told.contains(&format!("beemesh-{name}")));
        ensure(are_both_told && !told.contains("Failed"), || told.clone())?;
        eventually("nothing of the test is left", SETTLED, || {
            let after = left()?;
            ensure(before == after, || format!("{before}\n{after}"))
        })?;
    }
    Ok(())
}
