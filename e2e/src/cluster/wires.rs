//! The switch, the cables, addresses and routes.

use anyhow::Result;

use super::layout::{CONTROL, GATEWAYS, SWITCH, addresses, pod_networks};
use super::place::Place;

/// A bridge that answers for the default gateway and forwards nothing between networks.
pub(super) fn switch(switch: &Place) -> Result<()> {
    let [v4, v6] = GATEWAYS;
    ok(
        switch,
        &format!(
            "ip link set lo up
             ip link add bridge type bridge
             ip address add {v4} dev bridge
             ip -6 address add {v6} dev bridge nodad
             ip link set bridge up"
        ),
    )
}

/// A cable from the switch to `place`, with its addresses and default routes.
pub(super) fn plug(switch: &Place, place: &Place) -> Result<()> {
    let name = &place.name;
    let pid = place.holder().unwrap_or_default();
    let link = format!("ip link add {name} type veth peer name eth0 netns {pid}");
    let mut command = switch.in_network()?;
    command.args(["sh", "-ec"]).arg(format!(
        "{link}; ip link set {name} master bridge; ip link set {name} up"
    ));
    crate::kubectl::run(command, "")?.ok()?;
    let [v4, v6] = addresses(name);
    let gateways = GATEWAYS.map(|gateway| gateway.split('/').next().unwrap_or_default());
    ok(
        place,
        &format!(
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
             ip link set lo up
             ip address add {v4}/24 dev eth0
             ip -6 address add {v6}/64 dev eth0 nodad
             ip link set eth0 up
             ip route replace default via {}
             ip -6 route replace default via {}",
            gateways[0], gateways[1]
        ),
    )
}

/// Routes of `place` to the pods of `nodes`. The control plane has them too: it calls webhooks, pods call it.
pub(super) fn routes(place: &Place, nodes: &[String]) -> Result<()> {
    let mut script = String::new();
    for node in nodes.iter().filter(|&node| *node != place.name) {
        for (network, via) in pod_networks(node).iter().zip(addresses(node)) {
            script.push_str(&format!("ip route replace {network} via {via}\n"));
        }
    }
    ok(place, &script)
}

/// Pulls or plugs the cable of the node `name` at the switch.
pub(super) fn cable(switch: &Place, name: &str, is_plugged: bool) -> Result<()> {
    let state = if is_plugged { "up" } else { "down" };
    ok(switch, &format!("ip link set {name} {state}"))
}

/// Takes the cable away, with both its ends.
pub(super) fn unplug(switch: &Place, name: &str) -> Result<()> {
    ok(switch, &format!("ip link del {name} 2>/dev/null || :"))
}

/// The names of all places that hang on the switch.
pub(super) fn all_places(nodes: &[String]) -> Vec<String> {
    let fixed = [SWITCH, CONTROL].map(str::to_owned);
    fixed.into_iter().chain(nodes.iter().cloned()).collect()
}

fn ok(place: &Place, script: &str) -> Result<()> {
    place.shell(&format!("set -e\n{script}"))?.ok().map(drop)
}
