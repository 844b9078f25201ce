//! External App: a network behind a Forwarder.

use anyhow::Result;
use e2e::{ensure, eventually};
use serde_json::json;

use super::Story;
use crate::mesh::{Mesh, SETTLED, bare, list};
use crate::nodes::new_netns;
use crate::plugin::{Call, joining};
use crate::world::World;

pub(super) const STORIES: &[Story] = &[story!(
    a_network_behind_a_forwarder_is_reached_from_pods_and_back,
    nodes
)];

fn a_network_behind_a_forwarder_is_reached_from_pods_and_back(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    let (edge, far) = (&nodes[0], &nodes[nodes.len() - 1]);
    let cidrs = ["192.168.7.0/24", "fd00:7::/64"];
    let plc = json!({"name": "plc", "external": {"forwarder": edge, "cidrs": cidrs}});
    let mesh = Mesh::new("plant").on_each(&nodes).shape("Line");
    world.declare(&mesh.app("scada").push("apps", plc))?;
    world.pod("scada", far, &[("app", "scada")])?;
    world.wait_pods("app=scada")?;

    // The machine that leads to the controllers: a namespace of the node, attached by its own runtime.
    let node = world.cluster()?.node(edge)?;
    let machine = new_netns("controllers");
    node.ok(&format!("{machine} && ip -n controllers link set lo up"))?;
    let config = joining(&format!("{}/plant", world.namespace), "plc");
    let call = Call {
        container: "controllers",
        netns: "controllers",
        interface: "plant0",
        words: "",
        config: &config,
    };
    let outcome = is_reached(world, &call);
    let removed = call.run(&node, "DEL")?.ok();
    node.ok("ip netns delete controllers")?;
    outcome?;
    removed.map(drop)
}

fn is_reached(world: &World, call: &Call<'_>) -> Result<()> {
    let node = world.cluster()?.node(&world.nodes()?[0])?;
    let result = call.run(&node, "ADD")?;
    ensure(result.is_success, || result.stdout.clone() + &result.stderr)?;
    let given = list(&result.json()?["ips"]);
    ensure(given.len() == 2, || format!("{given:?}"))?;
    let scada = world.addresses("scada", "plant")?;
    for (controller, own) in ["192.168.7.20", "fd00:7::20"].iter().zip(&scada) {
        node.ok(&format!(
            "ip -n controllers address add {controller} dev plant0 nodad"
        ))?;
        world.ping("scada", controller)?;
        let ping = format!("ip netns exec controllers ping -n -q -c 1 -W 5 -I {controller} {own}");
        eventually("and back", SETTLED, || node.ok(&ping))?;
    }
    // The way in as well: the machine itself is an instance with addresses of the topology.
    for address in given {
        let address = bare(address["address"].as_str().unwrap_or_default())?;
        world.ping("scada", &address.to_string())?;
    }
    Ok(())
}
