//! IPv4 alone, IPv6 alone, and both.

use std::net::IpAddr;

use anyhow::Result;
use e2e::ensure;

use super::Story;
use crate::mesh::Mesh;
use crate::world::World;

pub(super) const STORIES: &[Story] = &[story!(each_family_works_alone_and_beside_the_other)];

fn each_family_works_alone_and_beside_the_other(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    let cases: [(&str, &[&str]); 3] = [
        ("four", &["10.81.0.0/16"]),
        ("six", &["fd00:82::/48"]),
        ("dual", &["10.83.0.0/16", "fd00:83::/48"]),
    ];
    for (name, cidrs) in cases {
        let mesh = Mesh::new(name).cidrs(cidrs).on_each(&nodes).app(name);
        world.access.apply(&mesh.0.to_string())?;
        for (number, node) in nodes.iter().enumerate() {
            world.pod(&format!("{name}-{number}"), node, &[("app", name)])?;
        }
    }
    for (name, cidrs) in cases {
        world.wait_topology(name, "Ready")?;
        let pods: Vec<String> = (0..nodes.len()).map(|it| format!("{name}-{it}")).collect();
        let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
        world.reach_all(&pods, name)?;
        for pod in pods {
            let addresses = world.addresses(pod, name)?;
            let is_right = addresses.len() == cidrs.len()
                && addresses
                    .iter()
                    .zip(cidrs)
                    .all(|(address, cidr)| address.is_ipv6() == cidr.contains(':'));
            ensure(is_right, || format!("{pod} in {cidrs:?}: {addresses:?}"))?;
            has_no_other_family(world, pod, name, &addresses)?;
        }
    }
    Ok(())
}

/// The kernel gives each interface a link-local address; nothing else may be there of a family that is not declared.
fn has_no_other_family(world: &World, pod: &str, topology: &str, own: &[IpAddr]) -> Result<()> {
    let script = format!("ip -o address show dev bm-{topology} scope global");
    let held = world.exec(pod, &script)?.ok()?;
    ensure(held.lines().count() == own.len(), || {
        format!("{pod} holds {held}")
    })
}
