//! The first quarter of an hour: README's topology, pods that talk over it, a link that is cut.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use anyhow::{Context, Result};
use e2e::{ensure, eventually};
use serde_json::Value;

use super::Story;
use crate::mesh::{SETTLED, bare, list};
use crate::world::{World, tree};

pub(super) const STORIES: &[Story] = &[
    story!(the_first_topology_of_the_readme_carries_packets, core),
    story!(a_cut_link_is_routed_around_and_used_again, nodes, core),
];

/// Apps of the example, each with the place in the list of nodes that its Forwarder is on.
const APPS: [(&str, usize); 3] = [("sensors", 0), ("analytics", 2), ("dashboard", 1)];
const PODS: [&str; 3] = ["sensors", "analytics", "dashboard"];

/// `examples/iot.yaml` and one pod for each App.
fn iot(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    let mut example = std::fs::read_to_string(tree().join("examples/iot.yaml"))?;
    for (number, _) in APPS.iter().enumerate() {
        let node = &nodes[number % nodes.len()];
        example = example.replace(
            &format!("node: n{}}}", number + 1),
            &format!("node: {node}}}"),
        );
    }
    let started = Instant::now();
    world.access.apply(&example)?;
    for (app, node) in APPS {
        world.pod(app, &nodes[node % nodes.len()], &[("app", app)])?;
    }
    world.wait_topology("iot", "Ready")?;
    world
        .figures
        .time("README's topology, until it is ready", started.elapsed());
    world.wait_pods("app in (sensors,analytics,dashboard)")?;
    let analytics = world.addresses("analytics", "iot")?;
    world.ping("sensors", &analytics[0].to_string())?;
    world.figures.time(
        "README's topology, until the first ping between nodes",
        started.elapsed(),
    );
    Ok(())
}

fn the_first_topology_of_the_readme_carries_packets(world: &World) -> Result<()> {
    iot(world)?;
    world.reach_all(&PODS, "iot")?;
    for pod in PODS {
        is_told_alike(world, pod)?;
        routes_lead_to_the_topology_alone(world, pod)?;
    }
    packets_as_large_as_the_mtu_pass(world)?;
    eventually("the table says so", SETTLED, || {
        let table = world.access.ok(&["get", "mst", "iot"])?;
        let row = table.lines().last().unwrap_or_default();
        ensure(row.contains("True") && row.contains("8/8"), || {
            table.clone()
        })
    })?;
    world.beemesh(&["status", "iot", "--wait"])?.ok()?;
    eventually("so do events", SETTLED, || {
        let events = world.events("sensors")?;
        ensure(events.contains("Attached:"), || format!("events: {events}"))
    })
}

/// Kernel, node's report and the pod's own annotation say the same.
fn is_told_alike(world: &World, pod: &str) -> Result<()> {
    let reported: BTreeSet<IpAddr> = world.addresses(pod, "iot")?.into_iter().collect();
    ensure(reported.len() == 2, || format!("{pod} has {reported:?}"))?;
    let held = world
        .exec(pod, "ip -j address show dev bm-iot scope global")?
        .json()?;
    let held = list(&held[0]["addr_info"]);
    let held = held.iter().filter_map(|it| it["local"].as_str());
    let held: BTreeSet<IpAddr> = held.map(bare).collect::<Result<_>>()?;
    ensure(held == reported, || {
        format!("{pod} holds {held:?}, reported are {reported:?}")
    })?;
    eventually("the pod's network status is written", SETTLED, || {
        let object = world.access.json(&["get", "pod", pod])?;
        let status = &object["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"];
        let status: Value = serde_json::from_str(status.as_str().context("it has none")?)?;
        let entries = list(&status);
        let ours = entries.iter().find(|it| it["interface"] == "bm-iot");
        let told = list(&ours.with_context(|| status.to_string())?["ips"]);
        let told = told.iter().filter_map(Value::as_str);
        let told: BTreeSet<IpAddr> = told.map(bare).collect::<Result<_>>()?;
        ensure(told == reported, || status.to_string())
    })
}

fn routes_lead_to_the_topology_alone(world: &World, pod: &str) -> Result<()> {
    let script = "ip -o route show dev bm-iot; ip -o -6 route show dev bm-iot";
    let routes = world.exec(pod, script)?.ok()?;
    let strange = routes.lines().find(|route| {
        let known = ["10.80.", "fd00:80", "fe80::", "multicast ff00::"];
        !known.iter().any(|known| route.starts_with(known))
    });
    ensure(strange.is_none(), || format!("{pod} routes {routes}"))?;
    for all in ["10.80.0.0/16", "fd00:80::/48"] {
        ensure(routes.contains(all), || format!("{pod} routes {routes}"))?;
    }
    Ok(())
}

/// Packets up to the interface's MTU pass, and no larger ones.
fn packets_as_large_as_the_mtu_pass(world: &World) -> Result<()> {
    let mtu = world
        .exec("sensors", "cat /sys/class/net/bm-iot/mtu")?
        .ok()?;
    let mtu: u32 = mtu.trim().parse()?;
    for address in world.addresses("analytics", "iot")? {
        let headers = if address.is_ipv4() { 28 } else { 48 };
        for (size, passes) in [(mtu - headers, true), (mtu - headers + 1, false)] {
            let ping = format!("ping -n -q -M do -c 2 -i 0.2 -W 2 -s {size} {address}");
            let ran = world.exec("sensors", &ping)?;
            ensure(ran.is_success == passes, || {
                format!("MTU {mtu}, {size} bytes: {}{}", ran.stdout, ran.stderr)
            })?;
        }
    }
    Ok(())
}

fn a_cut_link_is_routed_around_and_used_again(world: &World) -> Result<()> {
    iot(world)?;
    let plant = world.place("iot", "plant-a")?;
    // Of the two shortest paths one is left, then only the link of last resort.
    for peer in ["north", "plant-b"] {
        world.set_link(&plant, peer, false)?;
        links_are(world, if peer == "north" { "7/8" } else { "6/8" })?;
        world.reach_all(&PODS, "iot")?;
    }
    let ways = || -> Result<Value> {
        world
            .beemesh(&[
                "path",
                "pod/sensors",
                "pod/analytics",
                "--topology",
                "iot",
                "-o",
                "json",
            ])?
            .json()
    };
    eventually("the path is the link of last resort", SETTLED, || {
        let told = ways()?;
        ensure(told["ways"][0]["distance"] == 20, || told.to_string())
    })?;
    eventually(
        "other tables than before are in place, rightly so",
        SETTLED,
        || {
            let told = world.beemesh(&["status", "iot", "-o", "json"])?.json()?;
            let states = list(&told["forwarders"]);
            let are = |state: &str| states.iter().filter(|it| it["state"] == state).count();
            let is_so = are("rerouted") > 0 && are("rerouted") + are("same") == states.len();
            ensure(is_so, || told.to_string())
        },
    )?;
    for peer in ["north", "plant-b"] {
        world.set_link(&plant, peer, true)?;
    }
    links_are(world, "8/8")?;
    world.reach_all(&PODS, "iot")
}

fn links_are(world: &World, expected: &str) -> Result<()> {
    eventually(&format!("{expected} links are up"), SETTLED, || {
        let words = "jsonpath={.status.linksUp}";
        let up = world.access.ok(&["get", "mst", "iot", "-o", words])?;
        ensure(up == expected, || up.clone())
    })
}
