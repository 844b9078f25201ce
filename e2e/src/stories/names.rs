//! Apps by name, through the cluster's own DNS.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::Result;
use e2e::{ensure, eventually};

use super::Story;
use crate::mesh::{Mesh, SETTLED};
use crate::world::{World, deployment};

pub(super) const STORIES: &[Story] = &[story!(an_app_is_found_by_name_inside_its_topology)];

fn an_app_is_found_by_name_inside_its_topology(world: &World) -> Result<()> {
    world.install()?;
    let nodes = world.nodes()?;
    let mesh = Mesh::new("iot").on_each(&nodes).shape("Line");
    world.declare(&mesh.app("sensors").app("reader"))?;
    world.pod("reader", &nodes[0], &[("app", "reader")])?;
    world
        .access
        .apply(&deployment("sensors", 4, "").to_string())?;
    world.wait_pods("app=reader")?;
    let name = format!("iot-sensors.{}.svc.cluster.local", world.namespace);
    eventually("the name means all four pods", SETTLED, || {
        let expected = sensors(world)?;
        ensure(expected.len() == 8, || format!("{expected:?} of four pods"))?;
        let resolved = resolve(world, &name)?;
        ensure(resolved == expected, || {
            format!("{name} is {resolved:?}, attached are {expected:?}")
        })
    })?;
    let attached = world.attached("iot")?;
    let pod = attached.keys().find(|pod| pod.starts_with("sensors-"));
    let pod = pod.map(String::as_str).unwrap_or_default();
    let one: BTreeSet<IpAddr> = attached[pod].iter().copied().collect();
    eventually("an instance has a name of its own", SETTLED, || {
        let resolved = resolve(world, &format!("{pod}.{name}"))?;
        ensure(resolved == one, || {
            format!("{pod} is {resolved:?}, not {one:?}")
        })
    })?;
    let ping = format!("ping -q -c 1 -W 2 {name} && ping -6 -q -c 1 -W 2 {name}");
    eventually("an instance answers by name", SETTLED, || {
        world.exec("reader", &ping)?.ok().map(drop)
    })?;
    world
        .access
        .ok(&["scale", "deployment/sensors", "--replicas=0"])?;
    eventually("nobody is left under the name", SETTLED, || {
        let resolved = resolve(world, &name)?;
        ensure(resolved.is_empty(), || format!("{resolved:?}"))
    })
}

fn sensors(world: &World) -> Result<BTreeSet<IpAddr>> {
    let attached = world.attached("iot")?.into_iter();
    let sensors = attached.filter(|(pod, _)| pod.starts_with("sensors-"));
    Ok(sensors.flat_map(|(_, addresses)| addresses).collect())
}

/// All addresses of a name, resolved in a pod; empty for an unknown name. A missing answer is an error.
fn resolve(world: &World, name: &str) -> Result<BTreeSet<IpAddr>> {
    // Nothing listens there: curl prints each address that it tries.
    let ask = format!("curl -sv --max-time 3 http://{name}.:9/ 2>&1; echo exit code $?");
    let said = world.exec("reader", &ask)?.ok()?;
    let tried = said.lines().filter_map(|line| {
        let line = line.trim_start_matches('*').trim();
        let address = line.strip_prefix("Trying ")?.trim_end_matches("...");
        let (address, _) = address.rsplit_once(':')?;
        address.trim_matches(['[', ']']).parse().ok()
    });
    let tried: BTreeSet<IpAddr> = tried.collect();
    let is_unknown = said.trim_end().ends_with("exit code 6");
    ensure(tried.is_empty() == is_unknown, || said.clone())?;
    Ok(tried)
}
