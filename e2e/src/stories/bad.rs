//! Mistakes in declarations are reported where they are made, and affect nobody else.

use anyhow::Result;
use e2e::{ensure, eventually};
use serde_json::{Value, json};

use super::Story;
use crate::mesh::{Mesh, SETTLED, condition_of};
use crate::world::{World, pod};

pub(super) const STORIES: &[Story] = &[
    story!(
        wrong_topologies_are_told_and_the_good_one_beside_them_works,
        core
    ),
    story!(a_wrong_change_leaves_the_network_of_before_in_place),
    story!(a_pod_on_a_node_without_forwarder_is_refused_until_there_is_one),
];

/// One mistake each.
fn mistakes(nodes: &[String]) -> Vec<(&'static str, Mesh)> {
    let good = |name: &str| {
        Mesh::new(name)
            .cidrs(&["10.90.0.0/16"])
            .on_each(nodes)
            .app("x")
    };
    vec![
        ("forwarders", good("twice").forwarder(&nodes[0], &nodes[0])),
        ("cidrs", good("no-prefix").cidrs(&["10.90.0.0/99"])),
        ("cidrs", good("too-small").cidrs(&["10.90.0.0/31"])),
        ("shape", good("no-shape").shape("Circle")),
        (
            "links",
            good("nowhere").push("links", json!({"a": nodes[0], "b": "nowhere"})),
        ),
        (
            "apps",
            good("no-place").push("apps", json!({"name": "y", "forwarder": "nowhere"})),
        ),
    ]
}

fn wrong_topologies_are_told_and_the_good_one_beside_them_works(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    for (number, mesh) in mistakes(&nodes).iter().enumerate() {
        is_told(world, &mesh.1, mesh.0)?;
        if number == 0 {
            // It comes among them, neither first nor last.
            good(world, &nodes)?;
        }
        world.reach_all(&["one", "two"], "good")?;
    }
    world.wait_topology("good", "Ready")?;
    // Repaired, it is as good as any.
    world.declare(
        &Mesh::new("nowhere")
            .cidrs(&["10.90.0.0/16"])
            .on_each(&nodes),
    )
}

fn good(world: &World, nodes: &[String]) -> Result<()> {
    world.pod("one", &nodes[0], &[("app", "good")])?;
    world.pod("two", &nodes[nodes.len() - 1], &[("app", "good")])?;
    world.declare(&Mesh::new("good").on_each(nodes).app("good"))
}

/// The API server refuses it, or it is not accepted; either names `field`.
fn is_told(world: &World, mesh: &Mesh, field: &str) -> Result<()> {
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let ran = world
        .access
        .kubectl_with_input(&apply, &mesh.0.to_string())?;
    if !ran.is_success {
        return ensure(ran.stderr.contains(field), || ran.stderr.clone());
    }
    eventually(&format!("{} is not accepted", mesh.name()), SETTLED, || {
        let topology = world.access.json(&["get", "mst", mesh.name()])?;
        let accepted = condition_of(&topology, "Accepted");
        let message = accepted["message"].as_str().unwrap_or_default();
        let is_told = accepted["status"] == "False" && message.contains(field);
        ensure(is_told, || accepted.to_string())
    })
}

fn a_wrong_change_leaves_the_network_of_before_in_place(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    good(world, &nodes)?;
    world.reach_all(&["one", "two"], "good")?;
    let before = world.attached("good")?;
    let wrong = Mesh::new("good").on_each(&nodes).app("good");
    let wrong = wrong.push("links", json!({"a": nodes[0], "b": "nowhere"}));
    is_told(world, &wrong, "links")?;
    world.reach_all(&["one", "two"], "good")?;
    let after = world.attached("good")?;
    ensure(before == after, || format!("{before:?} became {after:?}"))?;
    good(world, &nodes)?;
    world.reach_all(&["one", "two"], "good")
}

fn a_pod_on_a_node_without_forwarder_is_refused_until_there_is_one(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    let (here, there) = (&nodes[0], &nodes[nodes.len() - 1]);
    ensure(here != there, || "needs two nodes".to_owned())?;
    let mesh = Mesh::new("near").forwarder("a", here).app("x");
    world.declare(&mesh)?;
    world.pod("far", there, &[("app", "x")])?;
    world.pod("near", here, &[("app", "x")])?;
    // Nobody else's pods wait.
    world.access.apply(&pod("other", there, &[]).to_string())?;
    let no_forwarder = format!("has no forwarder on node {there}");
    eventually("the pod's events tell why", SETTLED, || {
        let events = world.events("far")?;
        let is_told = events
            .lines()
            .any(|event| event.starts_with("FailedAttach") && event.contains(&no_forwarder));
        ensure(is_told, || events.clone())
    })?;
    eventually("so does the runtime", SETTLED, || {
        let events = world.events("far")?;
        let is_told = events.lines().any(|event| {
            event.starts_with("FailedCreatePodSandBox") && event.contains(&no_forwarder)
        });
        ensure(is_told, || events.clone())
    })?;
    let phase = |pod: &str| -> Result<Value> {
        Ok(world.access.json(&["get", "pod", pod])?["status"]["phase"].clone())
    };
    ensure(phase("far")? == "Pending", || "it runs".to_owned())?;
    eventually("others run", SETTLED, || {
        let phases = (phase("near")?, phase("other")?);
        ensure(phases.0 == "Running" && phases.1 == "Running", || {
            format!("{phases:?}")
        })
    })?;
    world.declare(&mesh.forwarder("b", there))?;
    world.wait_pods("app=x")?;
    world.reach_all(&["near", "far"], "near")
}
