//! The result of ADD in each version, and how CHECK reads it again.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde_json::{Map, Value, json};

use crate::error::{Code, Error};
use crate::node_protocol::Attachment;
use crate::version::Version;

/// The versions object that answers VERSION.
pub fn versions(asked: Version) -> Value {
    json!({
        "cniVersion": asked.as_str(),
        "supportedVersions": Version::ALL.map(Version::as_str),
    })
}

/// The result of an ADD: `previous` with every field it came with, and ours behind it.
///
/// Addresses are listed only where `previous` has none: other plugins take all addresses of a result for those of `CNI_IFNAME`
/// (the reference `ptp`, `bridge` and `host-device` look for each of them there in CHECK, `portmap` maps ports to the first
/// of a family, and runtimes report them as the pod's).
///
/// Only the pod's ends are listed. The Forwarder's ends are in a namespace that is neither the
/// container's nor the host's, where runtimes and later plugins would look for them in vain.
///
/// # Errors
/// [`Code::InvalidConfig`] when `previous` is not a result.
pub fn added(
    version: Version,
    previous: Option<&Value>,
    attachments: &[Attachment],
    netns: &str,
) -> Result<Value, Error> {
    let mut result = match previous {
        None => Map::new(),
        Some(Value::Object(previous)) => previous.clone(),
        Some(_) => {
            return Err(Error::new(
                Code::InvalidConfig,
                "prevResult is not an object",
            ));
        }
    };
    result.insert("cniVersion".into(), version.as_str().into());
    if attachments.is_empty() {
        return Ok(Value::Object(result));
    }
    let has_addresses = !list(&mut result, "ips")?.is_empty();
    let first = list(&mut result, "interfaces")?.len();
    for (index, attachment) in (first..).zip(attachments) {
        list(&mut result, "interfaces")?.push(interface(version, attachment, netns));
        let addresses = attachment.addresses.iter().filter(|_| !has_addresses);
        let addresses = addresses.map(|ip| address(version, attachment, *ip, index));
        list(&mut result, "ips")?.extend(addresses);
        let routes = list(&mut result, "routes")?;
        routes.extend(
            attachment
                .routes
                .iter()
                .map(|destination| route(attachment, *destination)),
        );
    }
    Ok(Value::Object(result))
}

/// Differences between `previous` (the `prevResult` of a CHECK) and `attachments`. Additions of
/// other plugins are ignored.
pub fn differences(previous: &Value, attachments: &[Attachment], netns: &str) -> Vec<String> {
    let mut found = Vec::new();
    for attachment in attachments {
        let name = &attachment.pod_interface;
        match interface_index(previous, name, netns) {
            None => found.push(format!("prevResult has no interface {name} in {netns}")),
            Some(index) => {
                let interface = &previous["interfaces"][index];
                compare_interface(interface, attachment, &mut found);
                compare_addresses(previous, index, attachment, &mut found);
            }
        }
    }
    found
}

/// The names of the interfaces that `previous` has in the namespace `netns`.
pub fn interfaces_in<'a>(previous: &'a Value, netns: &str) -> impl Iterator<Item = &'a str> {
    let interfaces = previous
        .get("interfaces")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let inside = interfaces.filter(move |interface| interface["sandbox"] == netns);
    inside.filter_map(|interface| interface["name"].as_str())
}

/// The MAC address that `previous` has for the interface `name` in the namespace `netns`.
pub fn mac<'a>(previous: &'a Value, name: &str, netns: &str) -> Option<&'a str> {
    let index = interface_index(previous, name, netns)?;
    previous["interfaces"][index].get("mac")?.as_str()
}

fn compare_interface(interface: &Value, attachment: &Attachment, found: &mut Vec<String>) {
    let name = &attachment.pod_interface;
    if let Some(mtu) = interface.get("mtu").and_then(Value::as_u64)
        && mtu != 0
        && mtu != u64::from(attachment.mtu)
    {
        found.push(format!(
            "prevResult: {name} has mtu {mtu}, leased {}",
            attachment.mtu
        ));
    }
}

fn compare_addresses(
    previous: &Value,
    index: usize,
    attachment: &Attachment,
    found: &mut Vec<String>,
) {
    let name = &attachment.pod_interface;
    let ips = previous
        .get("ips")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let is_anothers = !ips
        .clone()
        .any(|ip| ip["interface"].as_u64() == Some(index as u64));
    if is_anothers && ips.clone().next().is_some() {
        return;
    }
    let ours = ips.filter(|ip| ip["interface"].as_u64() == Some(index as u64));
    let told: BTreeSet<IpNetwork> = ours
        .filter_map(|ip| ip["address"].as_str()?.parse().ok())
        .collect();
    let leased: BTreeSet<IpNetwork> = attachment.addresses.iter().copied().collect();
    let missing = leased
        .difference(&told)
        .map(|ip| format!("prevResult: {name} lacks {ip}"));
    found.extend(missing);
    let foreign = told
        .difference(&leased)
        .map(|ip| format!("prevResult: {ip} is not leased"));
    found.extend(foreign);
}

fn interface_index(result: &Value, name: &str, netns: &str) -> Option<usize> {
    let is_ours = |interface: &Value| interface["name"] == name && interface["sandbox"] == netns;
    result
        .get("interfaces")?
        .as_array()?
        .iter()
        .position(is_ours)
}

fn interface(version: Version, attachment: &Attachment, netns: &str) -> Value {
    let mut interface = json!({
        "name": attachment.pod_interface,
        "mac": attachment.pod_mac,
        "sandbox": netns,
    });
    if version >= Version::V1_1_0 {
        interface["mtu"] = attachment.mtu.into();
    }
    interface
}

fn address(version: Version, attachment: &Attachment, ip: IpNetwork, interface: usize) -> Value {
    let mut address = json!({"address": ip.to_string(), "interface": interface});
    if version < Version::V1_0_0 {
        address["version"] = if ip.is_ipv4() { "4" } else { "6" }.into();
    }
    if let Some(gateway) = gateway(attachment, ip) {
        address["gateway"] = gateway.to_string().into();
    }
    address
}

fn route(attachment: &Attachment, destination: IpNetwork) -> Value {
    let mut route = json!({"dst": destination.to_string()});
    if let Some(gateway) = gateway(attachment, destination) {
        route["gw"] = gateway.to_string().into();
    }
    route
}

/// The gateway of the same family.
fn gateway(attachment: &Attachment, of: IpNetwork) -> Option<IpAddr> {
    attachment
        .gateways
        .iter()
        .copied()
        .find(|gateway| gateway.is_ipv4() == of.is_ipv4())
}

fn list<'a>(
    result: &'a mut Map<String, Value>,
    key: &'static str,
) -> Result<&'a mut Vec<Value>, Error> {
    let value = result.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Array(Vec::new());
    }
    let invalid = || {
        Error::new(
            Code::InvalidConfig,
            format!("prevResult.{key} is not a list"),
        )
    };
    value.as_array_mut().ok_or_else(invalid)
}
