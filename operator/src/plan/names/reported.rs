//! Reports of nodes, held against the plan: a node that was broken into may report anything.

use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
};

use crds::{
    MicroServiceTopology, Place,
    attach::{self, Pod},
};
use ipnetwork::IpNetwork;

use super::AttachedPod;

/// A Forwarder and the pods that its node reports as attached to it.
#[derive(Clone, Copy, Debug)]
pub struct Reporter<'a> {
    /// Name of the Forwarder.
    pub name: &'a str,
    /// Its node.
    pub node: &'a str,
    /// The blocks that its pods have their addresses from.
    pub blocks: &'a [IpNetwork],
    /// The report.
    pub attached: &'a [AttachedPod],
}

/// The attachments that were planned too: the pod is on the reporter's node and an instance of that App by
/// [`attach::assign`]; of its addresses those that lie in the reporter's blocks. An attachment without one is left out.
///
/// `pods` are those that may be instances. Of namespaces that are not watched none is known: there the App has to
/// be one of the topology, and the topology has to take pods of the namespace.
pub fn planned(
    topology: &MicroServiceTopology,
    reporters: &[Reporter<'_>],
    pods: &[&Pod],
    is_watched: impl Fn(&str) -> bool,
) -> BTreeSet<AttachedPod> {
    let plan = Plan::new(topology, reporters, pods);
    let of_reporter = |reporter: &Reporter<'_>| {
        let reporter = *reporter;
        let attached = reporter.attached.iter();
        let planned = attached.filter(|pod| match is_watched(&pod.namespace) {
            true => plan.has(pod, reporter.node),
            false => plan.may_have(pod),
        });
        let within = planned.map(|pod| within(pod, reporter.blocks));
        within.collect::<Vec<AttachedPod>>()
    };
    let all = reporters.iter().flat_map(of_reporter);
    all.filter(|pod| !pod.addresses.is_empty()).collect()
}

/// The instances of a topology.
struct Plan<'a> {
    topology: &'a MicroServiceTopology,
    /// Namespace, pod, node, App.
    instances: HashSet<(&'a str, &'a str, &'a str, String)>,
}

impl<'a> Plan<'a> {
    fn new(
        topology: &'a MicroServiceTopology,
        reporters: &[Reporter<'_>],
        pods: &[&'a Pod],
    ) -> Plan<'a> {
        let places = reporters.iter().map(|reporter| Place {
            name: reporter.name,
            node: reporter.node,
        });
        let places: Vec<Place<'_>> = places.collect();
        let assigned = attach::assign(topology, &places, pods)
            .instances
            .into_iter();
        let instances = assigned.map(|instance| {
            let pod = pods[instance.pod];
            (&*pod.namespace, &*pod.name, &*pod.node, instance.app)
        });
        Plan {
            topology,
            instances: instances.collect(),
        }
    }

    fn has(&self, pod: &AttachedPod, node: &str) -> bool {
        let instance = (&*pod.namespace, &*pod.name, node, pod.app.clone());
        self.instances.contains(&instance)
    }

    fn may_have(&self, pod: &AttachedPod) -> bool {
        let mut apps = self.topology.spec.apps.iter();
        apps.any(|app| app.name == pod.app && app.external.is_none())
            && attach::admits(self.topology, &pod.namespace)
    }
}

/// `pod` with those of its addresses that lie in `blocks`.
fn within(pod: &AttachedPod, blocks: &[IpNetwork]) -> AttachedPod {
    let is_within = |address: &&IpAddr| blocks.iter().any(|block| block.contains(**address));
    AttachedPod {
        addresses: pod.addresses.iter().filter(is_within).copied().collect(),
        ..pod.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn topology() -> MicroServiceTopology {
        let text = "apiVersion: beemesh.io/v1alpha1\nkind: MicroServiceTopology\n\
            metadata: {name: iot, namespace: plant}\n\
            spec:\n  forwarders: [{name: f1}, {name: f2}]\n  shape: Line\n  allowedNamespaces: [guests]\n\
            \x20 apps:\n  - {name: web, podSelector: {matchLabels: {app: web}}}\n\
            \x20 - {name: analytics, podSelector: {matchLabels: {app: analytics}}}\n\
            \x20 - {name: lan, external: {forwarder: f1, cidrs: [192.168.7.0/24]}}\n";
        let object = crds::read("t", text.as_bytes()).expect("sound").remove(0);
        assert_eq!(crds::lint(&object), [], "it would be accepted");
        object
    }

    fn pod(name: &str, app: &str, node: &str) -> Pod {
        Pod {
            namespace: "plant".to_owned(),
            name: name.to_owned(),
            uid: name.to_owned(),
            node: node.to_owned(),
            labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
            ..Pod::default()
        }
    }

    fn report(app: &str, namespace: &str, name: &str, addresses: &[&str]) -> AttachedPod {
        let addresses = addresses.iter().map(|it| it.parse().expect("an address"));
        AttachedPod {
            app: app.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            node: "n1".to_owned(),
            addresses: addresses.collect(),
        }
    }

    /// App, pod and addresses that remain of the reports of Forwarder `f1` on `n1`.
    fn left(reports: &[AttachedPod], is_watched: bool) -> Vec<(String, String, usize)> {
        let pods = [
            pod("web-0", "web", "n1"),
            pod("web-1", "web", "n2"),
            pod("other", "none", "n1"),
        ];
        let blocks = ["10.80.0.0/24", "fd00:1::/64"].map(|it| it.parse().expect("a block"));
        let reporter = |name, node, attached| Reporter {
            name,
            node,
            blocks: &blocks,
            attached,
        };
        let reporters = [reporter("f1", "n1", reports), reporter("f2", "n2", &[])];
        let pods: Vec<&Pod> = pods.iter().collect();
        let planned = planned(&topology(), &reporters, &pods, |_| is_watched);
        let left = planned.into_iter();
        left.map(|pod| (pod.app, pod.name, pod.addresses.len()))
            .collect()
    }

    #[test]
    fn a_planned_instance_is_taken_with_the_addresses_of_its_forwarders_blocks() {
        let sound = report("web", "plant", "web-0", &["10.80.0.2", "fd00:1::2"]);
        let expected = [("web".to_owned(), "web-0".to_owned(), 2)];
        assert_eq!(left(&[sound], true), expected);
        let mixed = report(
            "web",
            "plant",
            "web-0",
            &["10.80.1.2", "10.80.0.2", "8.8.8.8"],
        );
        assert_eq!(
            left(&[mixed], true),
            [("web".to_owned(), "web-0".to_owned(), 1)]
        );
    }

    #[test]
    fn nothing_else_that_a_node_reports_is_taken() {
        let inside: &[&str] = &["10.80.0.2"];
        #[rustfmt::skip]
        let reports = [
            ("another App than the pod is of",    report("analytics", "plant", "web-0", inside)),
            ("an App that is not declared",       report("invented", "plant", "web-0", inside)),
            ("an external App",                   report("lan", "plant", "web-0", inside)),
            ("a pod that is no instance",         report("web", "plant", "other", inside)),
            ("a pod of another node",             report("web", "plant", "web-1", inside)),
            ("a pod that is not there",           report("web", "plant", "web-9", inside)),
            ("a pod of another namespace",        report("web", "guests", "web-0", inside)),
            ("addresses outside of the blocks",   report("web", "plant", "web-0", &["10.81.0.2", "fd00:2::2"])),
            ("no address",                        report("web", "plant", "web-0", &[])),
        ];
        for (what, report) in reports {
            assert_eq!(left(&[report], true), [], "{what}");
        }
    }

    #[test]
    fn of_namespaces_that_are_not_watched_app_namespace_and_addresses_are_checked() {
        let inside: &[&str] = &["10.80.0.2"];
        let expected = [("web".to_owned(), "x".to_owned(), 1)];
        assert_eq!(
            left(&[report("web", "guests", "x", inside)], false),
            expected
        );
        for report in [
            report("web", "strangers", "x", inside),
            report("invented", "guests", "x", inside),
            report("lan", "guests", "x", inside),
            report("web", "guests", "x", &["10.81.0.2"]),
        ] {
            assert_eq!(left(&[report], false), []);
        }
    }
}
