//! Duration of an ADD on a node: the figures of the plugin, run as a runtime runs it.

use anyhow::{Context, Result};
use e2e::cluster::Node;
use e2e::ensure;
use serde_json::{Value, json};

use super::Story;
use crate::figures::percentiles;
use crate::mesh::Mesh;
use crate::nodes::new_netns;
use crate::plugin::{Call, joining};
use crate::world::World;

pub(super) const STORIES: &[Story] = &[story!(
    a_hundred_and_ten_containers_are_attached_one_by_one_and_at_once,
    nodes
)];

/// As many as a kubelet takes.
const MANY: usize = 110;

fn a_hundred_and_ten_containers_are_attached_one_by_one_and_at_once(world: &World) -> Result<()> {
    world.install()?;
    let name = &world.nodes()?[1];
    let mesh = Mesh::new("quick").forwarder("a", name);
    world.declare(&mesh.push("apps", json!({"name": "guests"})))?;
    let node = world.cluster()?.node(name)?;
    let config = joining(&format!("{}/quick", world.namespace), "guests");
    let before = world.settled_holdings()?;
    node.ok(&format!(
        "for i in $(seq {MANY}); do {}; done",
        new_netns("quick-$i")
    ))?;
    let outcome = measured(world, &node, &config);
    node.ok(&format!(
        "for i in $(seq {MANY}); do ip netns delete quick-$i; done"
    ))?;
    outcome?;
    world.wait_holdings(&before)
}

fn measured(world: &World, node: &Node, config: &Value) -> Result<()> {
    for (how, and) in [("warm, one by one", ""), ("110 at once", "&")] {
        let times = round(node, config, "ADD", and)?;
        world.figures.add(&format!("ADD {how}"), percentiles(times));
        let times = round(node, config, "DEL", and)?;
        world.figures.add(&format!("DEL {how}"), percentiles(times));
    }
    Ok(())
}

/// Milliseconds of each call; an error when one fails.
fn round(node: &Node, config: &Value, verb: &str, and: &str) -> Result<Vec<f64>> {
    let call = Call {
        container: "quick-$i",
        netns: "quick-$i",
        interface: "eth0",
        words: "",
        config,
    };
    let script = format!(
        "call() {{ i=$1; t=$EPOCHREALTIME; said=$({} 2>&1); s=$?; echo $s $t $EPOCHREALTIME; [ $s = 0 ] || echo \"$said\" >&2; }}\n\
         for i in $(seq {MANY}); do call $i {and}\ndone; wait",
        call.line(verb)
    );
    let ran = node.run(&format!("bash <<'end'\n{script}\nend"))?;
    let times = ran.stdout.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [status, from, to] = words[..] else {
            return None;
        };
        let seconds = to.parse::<f64>().ok()? - from.parse::<f64>().ok()?;
        (status == "0").then_some(seconds * 1000.0)
    });
    let times: Option<Vec<f64>> = times.collect();
    let times = times.with_context(|| format!("{verb}: {}", ran.stderr))?;
    ensure(times.len() == MANY, || {
        format!("{} calls of {MANY}: {}", times.len(), ran.stderr)
    })?;
    Ok(times)
}
