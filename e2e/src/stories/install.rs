//! beemesh comes to a cluster by its chart.

use anyhow::Result;
use e2e::{ensure, eventually};

use super::Story;
use crate::mesh::{SETTLED, condition_of, items};
use crate::world::{SYSTEM, World};

pub(super) const STORIES: &[Story] = &[
    story!(the_chart_installs_and_all_of_it_gets_ready, core),
    story!(helm_test_passes_and_leaves_nothing),
];

/// `helm install --wait` has said so; here the objects themselves say it.
fn the_chart_installs_and_all_of_it_gets_ready(world: &World) -> Result<()> {
    world.install()?;
    eventually("all pods are ready", SETTLED, || {
        let pods = world.access.json(&["get", "pods", "--namespace", SYSTEM])?;
        let mut pods = items(&pods);
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        ensure(!pods.is_empty(), || format!("no pods in {SYSTEM}"))?;
        for pod in pods {
            let name = &pod["metadata"]["name"];
            ensure(condition_of(&pod, "Ready")["status"] == "True", || {
                format!("{name} is not ready: {}", pod["status"])
            })?;
        }
        Ok(())
    })
}

/// Once more right after, as users do: nothing of the first time is in its way.
fn helm_test_passes_and_leaves_nothing(world: &World) -> Result<()> {
    world.install()?;
    let before = eventually("nothing is on its way out", SETTLED, || left(world))?;
    for _ in 0..2 {
        let test = ["test", "beemesh", "--namespace", SYSTEM];
        let told = world.access.helm(&test)?.ok()?;
        let are_both_told = ["connectivity", "operator-check"]
            .iter()
            .all(|name| told.contains(&format!("beemesh-{name}")));
        ensure(are_both_told && !told.contains("Failed"), || told.clone())?;
        eventually("nothing of the test is left", SETTLED, || {
            let after = left(world)?;
            ensure(before == after, || format!("{before:?}\n{after:?}"))
        })?;
    }
    Ok(())
}

/// All of the kinds that a test makes; an error while one is being deleted.
fn left(world: &World) -> Result<Vec<String>> {
    let kinds = "pods,mst,fwd,serviceaccounts,roles,rolebindings";
    let found = world.access.json(&["get", kinds, "--namespace", SYSTEM])?;
    let names = items(&found).into_iter().map(|object| {
        let metadata = &object["metadata"];
        let name = format!("{} {}", object["kind"], metadata["name"]);
        ensure(metadata["deletionTimestamp"].is_null(), || {
            format!("{name} is being deleted")
        })?;
        Ok(name)
    });
    names.collect()
}
