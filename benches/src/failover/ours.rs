//! The diamond as a lab of beemesh.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    diamond::{Diamond, Kind, LINKS},
    fault::End,
    traffic::Path,
};
use crate::{
    harness::{bench::Context, command::ip},
    lab::{Instance, Lab, Status},
};

/// Brings it up; with `liveness` where the links are to be watched by BFD.
///
/// # Errors
/// Failure of `beemesh lab`, with its message.
pub(crate) fn diamond(
    context: &Context,
    kind: Kind,
    liveness: Option<&super::Liveness>,
) -> Result<Diamond> {
    let mut lab = Lab::new(context, topology(kind, liveness))?;
    lab.up()?;
    let status = lab.status()?;
    let instance = |name: &str| status.apps.get(name).with_context(|| format!("no {name}"));
    let (left, right) = (instance("left-0")?, instance("right-0")?);
    let end = |forwarder: &str, other: &Instance| -> Result<_> {
        let forwarder = status.forwarders.get(forwarder).context("no Forwarder")?;
        Ok((forwarder.netns.clone(), address(other)?))
    };
    Ok(Diamond {
        name: "beemesh",
        path: Path {
            from: left.netns.clone(),
            sink: right.netns.clone(),
            to: address(right)?,
        },
        ends: [end("s", right)?, end("t", left)?],
        near: link(&status, LINKS[0])?,
        far: link(&status, LINKS[2])?,
        _parts: Box::new(lab),
    })
}

fn address(instance: &Instance) -> Result<Ipv4Addr> {
    let address = instance.addresses.first().context("no address")?;
    Ok(address.split('/').next().unwrap_or_default().parse()?)
}

fn topology(kind: Kind, liveness: Option<&super::Liveness>) -> Value {
    let node = |number: usize| match kind {
        Kind::Veth => "n1".to_owned(),
        Kind::Vxlan => format!("n{number}"),
    };
    let forwarders = ["s", "a", "b", "t"].into_iter().zip(1..);
    let forwarders = forwarders.map(|(name, number)| json!({"name": name, "node": node(number)}));
    let app = |name: &str, forwarder: &str| json!({"name": name, "podSelector": {"matchLabels": {"app": name}}, "forwarder": forwarder});
    let mut spec = json!({
        "addressing": {"cidrs": ["10.95.0.0/16"]},
        "forwarders": forwarders.collect::<Vec<_>>(),
        "links": LINKS.map(|[a, b]| json!({"a": a, "b": b})),
        "apps": [app("left", "s"), app("right", "t")]
    });
    if let Some(liveness) = liveness {
        spec["liveness"] = json!({
            "interval": format!("{}ms", liveness.interval_ms),
            "multiplier": liveness.multiplier
        });
    }
    json!({
        "apiVersion": "beemesh.io/v1alpha1",
        "kind": "MicroServiceTopology",
        "metadata": {"name": "to be replaced"},
        "spec": spec
    })
}

fn link(status: &Status, [near, far]: [&str; 2]) -> Result<[End; 2]> {
    let (a, b) = if near < far { (near, far) } else { (far, near) };
    let id = format!("{a}/{b}");
    Ok([end(status, near, &id)?, end(status, far, &id)?])
}

/// An end of a link, found by the interface's alias, which names the link.
///
/// # Errors
/// When there is none.
pub(crate) fn end(status: &Status, forwarder: &str, link: &str) -> Result<End> {
    let forwarder = status.forwarders.get(forwarder);
    let netns = &forwarder.context("no such Forwarder")?.netns;
    let links: Vec<Value> = serde_json::from_str(&ip(["-n", netns, "-j", "link"])?)?;
    let is_it = |shown: &&Value| {
        let alias = shown["ifalias"].as_str().unwrap_or_default();
        alias.ends_with(&format!("/{link}"))
    };
    let found = links.iter().find(is_it);
    let name = found.and_then(|shown| shown["ifname"].as_str());
    Ok(End {
        netns: netns.clone(),
        interface: name
            .with_context(|| format!("{netns} has no end of {link}"))?
            .to_owned(),
    })
}
