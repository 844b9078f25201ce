//! Pods that a kubelet has by a file of its own: the API server only mirrors them.

use anyhow::Result;
use e2e::{ensure, eventually};
use serde_json::json;

use super::Story;
use crate::mesh::{Mesh, SETTLED};
use crate::world::{World, pod};

pub(super) const STORIES: &[Story] = &[story!(
    a_static_pod_is_attached_as_any_other_and_outlives_its_mirror,
    nodes
)];

const FILE: &str = "/etc/kubernetes/manifests/static.json";

fn a_static_pod_is_attached_as_any_other_and_outlives_its_mirror(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    let (first, last) = (&nodes[0], &nodes[nodes.len() - 1]);
    world.declare(&Mesh::new("fixed").on_each(&nodes).app("x"))?;
    world.pod("other", last, &[("app", "x")])?;
    let mut manifest = pod("static", "", &[("app", "x")]);
    manifest["metadata"]["namespace"] = json!(world.namespace);
    let node = world.cluster()?.node(first)?;
    node.ok(&format!("cat >{FILE} <<'END'\n{manifest}\nEND"))?;
    let outcome = told(world, &format!("static-{first}"));
    // Whatever came of it: it would be in every story's way.
    node.ok(&format!("rm {FILE}"))?;
    outcome?;
    world.wait_detached(&format!("static-{first}"), "fixed")
}

fn told(world: &World, name: &str) -> Result<()> {
    let pods = ["other", name];
    world.reach_all(&pods, "fixed")?;
    let addresses = world.addresses(name, "fixed")?;
    let uid = || {
        let pod = world.access.json(&["get", "pod", name])?;
        Ok::<_, anyhow::Error>(pod["metadata"]["uid"].clone())
    };
    let before = uid()?;
    world.access.ok(&["delete", "pod", name, "--wait=false"])?;
    eventually("the kubelet mirrors it again", SETTLED, || {
        ensure(uid()? != before, || "the mirror of before".to_owned())
    })?;
    // Until this is written, the daemon may not have seen the new mirror.
    eventually("its network status is written", SETTLED, || {
        let pod = world.access.json(&["get", "pod", name])?;
        let annotations = pod["metadata"]["annotations"].to_string();
        let is_told = addresses
            .iter()
            .all(|it| annotations.contains(&it.to_string()));
        ensure(is_told, || annotations.clone())
    })?;
    world.reach_all(&pods, "fixed")?;
    let now = world.addresses(name, "fixed")?;
    ensure(now == addresses, || format!("{addresses:?} became {now:?}"))
}
