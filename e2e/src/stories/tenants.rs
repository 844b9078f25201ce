//! Topologies that know nothing of each other, and pods in several of them.

use std::net::IpAddr;

use anyhow::{Context, Result};
use e2e::{ensure, eventually};
use serde_json::json;

use super::Story;
use crate::mesh::{Mesh, SETTLED};
use crate::world::{World, pod};

pub(super) const STORIES: &[Story] = &[
    story!(two_tenants_with_equal_addresses_never_see_each_other, core),
    story!(a_pod_joins_several_topologies),
];

fn two_tenants_with_equal_addresses_never_see_each_other(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    let other = world.other()?;
    let mesh = Mesh::new("shop").on_each(&nodes).shape("Mesh").app("a");
    let last = nodes.len() - 1;
    for tenant in [world, &other] {
        tenant.access.apply(&mesh.0.to_string())?;
        tenant.pod("client", &nodes[0], &[("app", "a")])?;
        tenant.pod("server", &nodes[last], &[("app", "a")])?;
    }
    // A third pod gives the second tenant an address that the first one has not.
    other.pod("more", &nodes[last], &[("app", "a")])?;
    for tenant in [world, &other] {
        tenant.wait_topology("shop", "Ready")?;
        tenant.wait_pods("app=a")?;
        tenant.reach_all(&["client", "server"], "shop")?;
        serve(tenant)?;
    }
    other.reach_all(&["client", "server", "more"], "shop")?;
    let (ours, theirs) = (world.attached("shop")?, other.attached("shop")?);
    let own: Vec<IpAddr> = ours["server"].clone();
    let same = theirs.values().flatten().filter(|it| own.contains(it));
    ensure(same.count() == 2, || {
        format!("the tenants have no address in common: {ours:?} {theirs:?}")
    })?;
    for tenant in [world, &other] {
        for address in &tenant.attached("shop")?["server"] {
            let answer = ask(tenant, *address)?;
            ensure(answer.as_deref() == Some(tenant.namespace.as_str()), || {
                format!("{address} of {} answers {answer:?}", tenant.namespace)
            })?;
        }
    }
    let mut alien = theirs.values().flatten();
    let mut is_ours = ours.values().flatten();
    let alien = alien.find(|address| !is_ours.any(|own| own == *address));
    let alien = *alien.context("all their addresses are ours too")?;
    ensure(!world.is_reached("client", alien)?, || {
        format!("{alien} answers in the wrong topology")
    })?;
    world.access.ok(&["delete", "mst", "shop"])?;
    world.wait_detached("client", "shop")?;
    other.reach_all(&["client", "server", "more"], "shop")
}

/// The pod `server` answers over HTTP with the name of its namespace.
fn serve(world: &World) -> Result<()> {
    let script = format!(
        "mkdir -p /tmp/www && echo {} >/tmp/www/name && httpd -p '[::]:8080' -h /tmp/www",
        world.namespace
    );
    world.exec("server", &script)?.ok().map(drop)
}

fn ask(world: &World, address: IpAddr) -> Result<Option<String>> {
    let host = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let line = format!("curl -gs --max-time 5 http://{host}:8080/name");
    let ran = world.exec("client", &line)?;
    Ok(ran.is_success.then(|| ran.stdout.trim().to_owned()))
}

fn a_pod_joins_several_topologies(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    let cidrs = [
        ["10.81.0.0/16", "fd00:81::/48"],
        ["10.82.0.0/16", "fd00:82::/48"],
    ];
    for (name, cidrs) in ["left", "right"].iter().zip(&cidrs) {
        let mesh = Mesh::new(name).cidrs(cidrs).on_each(&nodes).shape("Line");
        let mesh = mesh.app(name).push("apps", json!({"name": "joined"}));
        world.access.apply(&mesh.0.to_string())?;
    }
    let last = nodes.len() - 1;
    world.pod("left", &nodes[last], &[("app", "left")])?;
    world.pod("right", &nodes[last], &[("app", "right")])?;
    let mut both = pod("both", &nodes[0], &[]);
    both["metadata"]["annotations"] = json!({"beemesh.io/topologies": "left,right"});
    world.access.apply(&both.to_string())?;
    for name in ["left", "right"] {
        world.wait_topology(name, "Ready")?;
        world.reach_all(&["both", name], name)?;
    }
    let interfaces = world.exec("both", "ls /sys/class/net")?.ok()?;
    for interface in ["bm-left", "bm-right", "eth0"] {
        ensure(interfaces.contains(interface), || interfaces.clone())?;
    }
    // A pod that is in two topologies does not join them.
    let right = world.addresses("right", "right")?[0];
    ensure(!world.is_reached("left", right)?, || {
        format!("left reaches {right}, which is in right")
    })?;
    world.access.ok(&["delete", "mst", "left"])?;
    world.wait_detached("both", "left")?;
    eventually("its interface goes with the topology", SETTLED, || {
        let interfaces = world.exec("both", "ls /sys/class/net")?.ok()?;
        ensure(!interfaces.contains("bm-left"), || interfaces.clone())
    })?;
    world.reach_all(&["both", "right"], "right")
}
