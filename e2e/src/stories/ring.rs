//! Equal paths are all used, and packets take the paths that are computed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result};
use e2e::{ensure, eventually};
use serde_json::Value;

use super::Story;
use crate::mesh::{Mesh, SETTLED, list};
use crate::world::World;

pub(super) const STORIES: &[Story] = &[story!(
    a_ring_over_three_nodes_uses_both_ways_and_traceroute_shows_the_computed_paths,
    core
)];

/// So many that one of two equal paths is missed by all of them once in a billion times.
const FLOWS: u32 = 30;

type Edges = BTreeSet<(String, String)>;

fn a_ring_over_three_nodes_uses_both_ways_and_traceroute_shows_the_computed_paths(
    world: &World,
) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    let node = |number: usize| nodes[number % nodes.len()].as_str();
    let mesh = [0, 1, 2, 2, 1, 0]
        .iter()
        .enumerate()
        .fold(Mesh::new("ring"), |mesh, (number, at)| {
            mesh.forwarder(&format!("r{}", number + 1), node(*at))
        })
        .app_on("west", "r1")
        .app_on("east", "r4");
    world.pod("west", node(0), &[("app", "west")])?;
    world.pod("east", node(2), &[("app", "east")])?;
    world.declare(&mesh)?;
    world.reach_all(&["west", "east"], "ring")?;
    let blocks = blocks(world)?;
    for (from, to) in [("west", "east"), ("east", "west")] {
        for address in world.addresses(to, "ring")? {
            eventually("traces are the computed paths", SETTLED, || {
                let computed = computed(world, from, to)?;
                let taken = taken(world, from, to, address, &blocks)?;
                ensure(computed == taken, || {
                    format!("{from} to {address}: computed {computed:?}, taken {taken:?}")
                })
            })?;
        }
    }
    eventually("all links are up", SETTLED, || {
        let words = "jsonpath={.status.linksUp}";
        let links = world.access.ok(&["get", "mst", "ring", "-o", words])?;
        ensure(links == "6/6", || links.clone())
    })?;
    eventually("each layer agrees with the next", SETTLED, || {
        world.beemesh(&["validate", "ring"])?.ok().map(drop)
    })
}

/// Edges of `beemesh path`, between Forwarders.
fn computed(world: &World, from: &str, to: &str) -> Result<Edges> {
    let (from, to) = (format!("pod/{from}"), format!("pod/{to}"));
    let line = ["path", &from, &to, "--topology", "ring", "-o", "json"];
    let report = world.beemesh(&line)?.json()?;
    let mut edges = Edges::new();
    for way in list(&report["ways"]) {
        ensure(way["paths"] == 2, || report.to_string())?;
        for step in list(&way["forwarders"]) {
            for hop in list(&step["nextHops"]) {
                let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                edges.insert((name(&step["name"]), name(&hop["via"])));
            }
        }
    }
    Ok(edges)
}

/// Edges that traceroute sees, of many flows.
fn taken(
    world: &World,
    from: &str,
    to: &str,
    address: IpAddr,
    names: &BTreeMap<IpAddr, String>,
) -> Result<Edges> {
    // TCP: a refusal is always sent, while kernels limit ICMP errors for closed UDP ports.
    let script = format!(
        "i=0; while [ $i -lt {FLOWS} ]; do \
         traceroute -n -q 1 -w 2 -m 9 -T -p 9 --sport=$((40000 + i)) {address} | tail -n +2; \
         echo --; i=$((i + 1)); done"
    );
    let output = world.exec(from, &script)?.ok()?;
    let mut edges = Edges::new();
    for trace in output.split("--\n").filter(|trace| !trace.is_empty()) {
        let hops: Vec<&str> = trace
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1))
            .collect();
        let (last, forwarders) = hops.split_last().context("an empty trace")?;
        ensure(*last == address.to_string(), || {
            format!("{to} is not reached: {trace}")
        })?;
        let name = |hop: &&str| -> Result<String> {
            let address: IpAddr = hop.parse().with_context(|| trace.to_owned())?;
            let name = names.get(&address).cloned();
            name.with_context(|| format!("{hop} is no forwarder's: {names:?}"))
        };
        let forwarders: Vec<String> = forwarders.iter().map(name).collect::<Result<_>>()?;
        edges.extend(
            forwarders
                .windows(2)
                .map(|pair| (pair[0].clone(), pair[1].clone())),
        );
    }
    Ok(edges)
}

/// Forwarders' own addresses: the first host of each block.
fn blocks(world: &World) -> Result<BTreeMap<IpAddr, String>> {
    let mut names = BTreeMap::new();
    for forwarder in world.forwarders("ring")? {
        let name = forwarder["spec"]["name"].as_str().unwrap_or_default();
        for block in list(&forwarder["spec"]["blocks"]) {
            let block = block.as_str().unwrap_or_default();
            names.insert(first_host(block)?, name.to_owned());
        }
    }
    Ok(names)
}

fn first_host(block: &str) -> Result<IpAddr> {
    Ok(match crate::mesh::bare(block)? {
        IpAddr::V4(network) => IpAddr::V4((u32::from(network) + 1).into()),
        IpAddr::V6(network) => IpAddr::V6((u128::from(network) + 1).into()),
    })
}
