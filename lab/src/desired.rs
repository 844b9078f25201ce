//! Desired parts of a lab: Forwarder objects, hosts, App instances. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crds::forwarder::WireType;
use crds::selector::{Operator, matches_labels};
use crds::topology::AppEntry;
use crds::{Forwarder, LabelSelector, MicroServiceTopology, Problem};

use dataplane::mtu::Encapsulation;

use crate::state::directory::{Host, Instance, Record};
use crate::state::names;

/// Desired parts of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Desired {
    /// Sorted by name.
    pub(crate) forwarders: Vec<Forwarder>,
    /// Hosts by name of their node.
    pub(crate) hosts: BTreeMap<String, Host>,
    /// App instances by name, not attached yet.
    pub(crate) instances: BTreeMap<String, Instance>,
}

/// Problems of tunnels whose declared MTU does not fit into the network between the hosts, of `underlay` bytes.
pub(crate) fn too_large(forwarders: &[Forwarder], underlay: u32) -> Vec<String> {
    // The hosts' first address is of IPv4, which the daemons prefer then.
    let overhead = Encapsulation::VxlanV4.overhead();
    let largest = underlay.saturating_sub(overhead);
    let links = forwarders.iter().flat_map(|it| &it.spec.links);
    let tunnels = links.filter(|link| link.r#type == WireType::Vxlan);
    let too_large = tunnels.filter_map(|link| {
        let declared = link.mtu.filter(|mtu| *mtu > largest)?;
        let (id, needed) = (&link.id, declared + overhead);
        Some(format!(
            "link {id}: mtu {declared} is more than the {largest} bytes that the lab's network of {underlay} leaves: \
             `--mtu {needed}` makes it large enough"
        ))
    });
    // Both ends say the same.
    too_large.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Name of the single host of a topology without named nodes.
const ONLY_HOST: &str = "host";

/// Desired parts of a lab of `topology`, keeping numbers, blocks and VNIs of the existing parts.
///
/// `counts` is the number of instances by App (default 1), `nodes` the number of hosts for "one
/// Forwarder on each node".
///
/// # Errors
/// Problems found by `expand`.
pub(crate) fn desired(
    topology: &MicroServiceTopology,
    counts: &BTreeMap<String, u32>,
    nodes: u32,
    record: &Record,
    previous: &[Forwarder],
) -> Result<Desired, Vec<Problem>> {
    let labels = node_labels(topology, nodes);
    let available: Vec<crds::Node> = labels
        .iter()
        .map(|(name, labels)| crds::Node {
            name: name.clone(),
            labels: labels.clone(),
        })
        .collect();
    let forwarders = crds::expand(topology, &available, previous, counts)?;
    Ok(Desired {
        hosts: hosts(topology, labels, record),
        instances: instances(topology, &forwarders, counts),
        forwarders,
    })
}

/// Labels of each node that the topology names; at least one node.
fn node_labels(
    topology: &MicroServiceTopology,
    nodes: u32,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut labels: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let spec = &topology.spec;
    for entry in &spec.forwarders {
        if let Some(node) = &entry.node {
            labels
                .entry(node.clone())
                .or_default()
                .extend(entry.node_selector.clone());
        }
    }
    for entry in spec.forwarders.iter().filter(|entry| entry.node.is_none()) {
        let wanted = &entry.node_selector;
        let is_met = labels.values().any(|labels| matches_labels(wanted, labels));
        if !wanted.is_empty() && !is_met {
            labels.insert(name_for(wanted, &labels), wanted.clone());
        }
    }
    if let Some(each) = &spec.forwarder_per_node {
        for number in 1..=nodes {
            labels.insert(format!("node-{number}"), each.node_selector.clone());
        }
    }
    if labels.is_empty() {
        labels.insert(ONLY_HOST.to_owned(), BTreeMap::new());
    }
    labels
}

/// Name for the node that represents all with these labels: `zone-b`.
fn name_for<T>(wanted: &BTreeMap<String, String>, taken: &BTreeMap<String, T>) -> String {
    let last = |key: &str| key.rsplit('/').next().unwrap_or(key).to_owned();
    let words: Vec<String> = wanted
        .iter()
        .map(|(key, value)| format!("{}-{value}", last(key)))
        .collect();
    let name = words.join("-");
    let mut candidates = (2..).map(|number| format!("{name}-{number}"));
    if taken.contains_key(&name) {
        candidates
            .find(|name| !taken.contains_key(name))
            .expect("one of endless many is free")
    } else {
        name
    }
}

fn hosts(
    topology: &MicroServiceTopology,
    labels: BTreeMap<String, BTreeMap<String, String>>,
    record: &Record,
) -> BTreeMap<String, Host> {
    let kept = |name: &String| record.hosts.get(name).map(|host| host.number);
    let taken: BTreeSet<u32> = labels.keys().filter_map(kept).collect();
    let mut free = (1..).filter(|number| !taken.contains(number));
    let metadata = &topology.metadata;
    labels
        .into_iter()
        .map(|(name, labels)| {
            let number = kept(&name)
                .or_else(|| free.next())
                .expect("numbers are endless");
            let netns = names::host(&metadata.namespace, &metadata.name, &name);
            (
                name,
                Host {
                    netns,
                    number,
                    labels,
                },
            )
        })
        .collect()
}

fn instances(
    topology: &MicroServiceTopology,
    forwarders: &[Forwarder],
    counts: &BTreeMap<String, u32>,
) -> BTreeMap<String, Instance> {
    let metadata = &topology.metadata;
    let mut instances = BTreeMap::new();
    for app in &topology.spec.apps {
        for number in 0..counts.get(&app.name).copied().unwrap_or(1) {
            let Some(forwarder) = forwarder_of(app, number, forwarders) else {
                continue;
            };
            let name = names::instance_of(&app.name, number);
            let instance = Instance {
                app: app.name.clone(),
                netns: names::instance(&metadata.namespace, &metadata.name, &name),
                forwarder: forwarder.spec.name.clone(),
                node: forwarder.spec.node.clone(),
                addresses: Vec::new(),
                external: app
                    .external
                    .as_ref()
                    .map(|e| e.cidrs.clone())
                    .unwrap_or_default(),
                result: serde_json::Value::Null,
            };
            instances.insert(name, instance);
        }
    }
    instances
}

/// Forwarder of instance `number`: the pinned one, otherwise round-robin over the Forwarders in
/// their order.
fn forwarder_of<'a>(
    app: &AppEntry,
    number: u32,
    forwarders: &'a [Forwarder],
) -> Option<&'a Forwarder> {
    match app.pinned() {
        Some(name) => forwarders
            .iter()
            .find(|forwarder| forwarder.spec.name == name),
        None if forwarders.is_empty() => None,
        None => forwarders.get(number as usize % forwarders.len()),
    }
}

/// Labels of a pod that is an instance of `app`.
pub(crate) fn pod_labels(
    topology: &str,
    app: &str,
    selector: Option<&LabelSelector>,
    forwarder: Option<&str>,
) -> BTreeMap<String, String> {
    let mut labels = selector.map(labels_for).unwrap_or_default();
    labels.insert("beemesh.io/topologies".to_owned(), topology.to_owned());
    labels.insert("beemesh.io/app".to_owned(), app.to_owned());
    if let Some(forwarder) = forwarder {
        labels.insert("beemesh.io/forwarder".to_owned(), forwarder.to_owned());
    }
    labels
}

/// Labels that match the selector, where there are any.
fn labels_for(selector: &LabelSelector) -> BTreeMap<String, String> {
    let mut labels = selector.match_labels.clone();
    for requirement in &selector.match_expressions {
        let value = match requirement.operator {
            Operator::In => requirement.values.first().cloned(),
            Operator::Exists => Some("true".to_owned()),
            Operator::NotIn | Operator::DoesNotExist => None,
        };
        if let Some(value) = value {
            labels.entry(requirement.key.clone()).or_insert(value);
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use crds::MicroServiceTopologySpec;
    use crds::selector::Requirement;
    use crds::topology::{ForwarderEntry, ForwarderPerNode};

    use super::*;

    /// Name, node, and node selector of a Forwarder.
    type Entry<'a> = (&'a str, Option<&'a str>, &'a [(&'a str, &'a str)]);

    fn topology(entries: &[Entry<'_>]) -> MicroServiceTopology {
        let forwarders = entries
            .iter()
            .map(|(name, node, selector)| ForwarderEntry {
                name: (*name).to_owned(),
                node: node.map(str::to_owned),
                node_selector: selector
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            })
            .collect();
        let spec = MicroServiceTopologySpec {
            forwarders,
            ..Default::default()
        };
        MicroServiceTopology::new("t", spec)
    }

    #[test]
    fn each_node_named_or_selected_has_a_host() {
        #[rustfmt::skip]
        let cases: [(&str, &[Entry<'_>], &str); 4] = [
            ("none named",  &[("a", None, &[]), ("b", None, &[])],                      "host"),
            ("named",       &[("a", Some("n2"), &[]), ("b", Some("n1"), &[])],          "n1 n2"),
            ("selected",    &[("a", Some("n1"), &[]), ("b", None, &[("x/zone", "b")])], "n1 zone-b"),
            ("one for two", &[("a", None, &[("zone", "b")]), ("b", None, &[("zone", "b")])], "zone-b"),
        ];
        for (what, entries, expected) in cases {
            let labels = node_labels(&topology(entries), 3);
            let names: Vec<&str> = labels.keys().map(String::as_str).collect();
            assert_eq!(names.join(" "), expected, "{what}");
        }
        let mut each = topology(&[]);
        each.spec.forwarder_per_node = Some(ForwarderPerNode::default());
        assert_eq!(node_labels(&each, 3).len(), 3, "one on each node");
    }

    #[test]
    fn a_host_keeps_its_number() {
        let topology = topology(&[("a", Some("n1"), &[]), ("b", Some("n2"), &[])]);
        let mut record = Record::default();
        record.hosts.insert(
            "n2".to_owned(),
            Host {
                number: 1,
                ..Host::default()
            },
        );
        let hosts = hosts(&topology, node_labels(&topology, 3), &record);
        assert_eq!(hosts["n2"].number, 1);
        assert_eq!(hosts["n1"].number, 2);
    }

    #[test]
    fn a_pod_has_the_labels_that_its_app_selects() {
        let selector = LabelSelector {
            match_labels: BTreeMap::from([("app".to_owned(), "sensor".to_owned())]),
            match_expressions: vec![
                Requirement {
                    key: "tier".to_owned(),
                    operator: Operator::In,
                    values: vec!["x".to_owned(), "y".to_owned()],
                },
                Requirement {
                    key: "gone".to_owned(),
                    operator: Operator::DoesNotExist,
                    values: Vec::new(),
                },
            ],
        };
        let labels = pod_labels("iot", "sensors", Some(&selector), Some("edge-a"));
        assert!(selector.matches(&labels), "{labels:?}");
        assert_eq!(labels["beemesh.io/forwarder"], "edge-a");
    }
}
