//! Layers that only nodes can check: the kernel's routes, and the traffic of pods.

use super::{difference::Difference, layers::Layer};
use crate::cluster::placed::Pod;
use crate::degraded;
use crate::nodes::{Nodes, Question, read};
use crds::diagnosis::{
    expected_fib::Expected,
    report::{Differing, Held, Kernel, Namespace, Origin, Pinged, Route},
};
use crds::{Forwarder, forwarder::AttachmentStatus};
use ipnetwork::IpNetwork;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};
use topology::Topology;

/// More namespaces than this are not named one by one in a question.
const NAMED: usize = 40;
/// No more addresses than this in one question.
const ADDRESSES: usize = 200;
/// More differing routes of one Forwarder than this are counted.
const ROUTES: usize = 20;

/// Tables that nodes report = routes that their kernels hold.
pub(super) fn kernel(nodes: &dyn Nodes, topology: &Topology, forwarders: &[Forwarder]) -> Layer {
    let mut layer = Layer::new("reported", "kernel", 0);
    let changes = degraded::impaired(topology, forwarders).changes(topology);
    let expected = Expected::new(topology, forwarders, &changes);
    for (node, here) in by_node(forwarders) {
        match kernel_of(nodes, node, &here) {
            Ok(kernel) => {
                for forwarder in here {
                    layer.checked += 1;
                    layer
                        .differences
                        .extend(differences(&expected, forwarder, &kernel));
                }
            }
            Err(why) => layer.cannot_tell(here.iter().map(|it| it.spec.name.as_str()), node, &why),
        }
    }
    layer
}

fn by_node(forwarders: &[Forwarder]) -> BTreeMap<&str, Vec<&Forwarder>> {
    let mut by_node: BTreeMap<&str, Vec<&Forwarder>> = BTreeMap::new();
    for forwarder in forwarders {
        by_node
            .entry(&forwarder.spec.node)
            .or_default()
            .push(forwarder);
    }
    by_node
}

fn kernel_of(nodes: &dyn Nodes, node: &str, here: &[&Forwarder]) -> Result<Kernel, String> {
    if let Some(why) = nodes.away(node) {
        return Err(why);
    }
    let mut question = Question::new(node, "kernel");
    if here.len() <= NAMED {
        for forwarder in here {
            question
                .arguments
                .push(format!("--netns={}", crds::names::netns_of(forwarder)));
        }
    }
    read(
        nodes
            .ask(&[question])
            .pop()
            .unwrap_or_else(|| Err("no answer".to_owned())),
    )
}

fn differences(expected: &Expected<'_>, forwarder: &Forwarder, kernel: &Kernel) -> Vec<Difference> {
    let object = format!("fwd/{}", forwarder.metadata.name);
    let netns = crds::names::netns_of(forwarder);
    let Some(namespace) = kernel.namespaces.iter().find(|it| it.netns == netns) else {
        let found = kernel.unread.get(&netns).map_or("", String::as_str);
        return Difference::of(&object, "namespace", &netns, found)
            .into_iter()
            .collect();
    };
    let Some(held) = expected.hold(forwarder, namespace) else {
        return Vec::new();
    };
    let mut all = routes(&object, &held);
    all.extend(addresses(&object, forwarder, namespace));
    all.extend(attachments(&object, forwarder, namespace));
    if !forwarder.status.digest.is_empty() {
        let reported = &forwarder.status.digest;
        all.extend(Difference::of(&object, "digest", reported, &held.kernel));
    }
    all
}

fn routes(object: &str, held: &Held) -> Vec<Difference> {
    let shown = |hops: &[String]| match hops {
        [] => "no route".to_owned(),
        hops => hops.join(", "),
    };
    let route = |differing: &Differing| {
        let Differing {
            prefix,
            to,
            expected,
            found,
        } = differing;
        let field = match to.as_str() {
            "" => format!("route {prefix}"),
            to => format!("route {prefix} to {to}"),
        };
        Difference::of(object, &field, &shown(expected), &shown(found))
    };
    let mut all: Vec<Difference> = held
        .differences
        .iter()
        .take(ROUTES)
        .filter_map(route)
        .collect();
    if held.differences.len() > ROUTES {
        let more = format!("{} more", held.differences.len() - ROUTES);
        all.extend(Difference::of(object, "routes", "", &more));
    }
    all
}

fn addresses(object: &str, forwarder: &Forwarder, namespace: &Namespace) -> Option<Difference> {
    let own = crds::cidr::forwarder_addresses(&forwarder.spec.blocks);
    let text = |addresses: BTreeSet<IpAddr>| {
        addresses
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let found = namespace.addresses.iter().map(ipnetwork::IpNetwork::ip);
    Difference::of(object, "addresses", &text(own), &text(found.collect()))
}

/// Each reported attachment has a route to every address of its pod, over an interface that is up.
fn attachments(object: &str, forwarder: &Forwarder, namespace: &Namespace) -> Vec<Difference> {
    let is_up = |interface: &String| {
        let mut links = namespace.links.iter();
        links.any(|link| link.interface == *interface && link.up)
    };
    let of_address = |attachment: &AttachmentStatus, address: IpAddr| {
        let mut routes = namespace.routes.iter();
        let is_of = |route: &&Route| {
            route.origin == Origin::Attachment && route.prefix == IpNetwork::from(address)
        };
        let found = match routes.find(is_of) {
            None => "no route".to_owned(),
            Some(route) if route.interfaces.iter().any(is_up) => return None,
            Some(route) => format!("{} is down", route.interfaces.join(", ")),
        };
        let pod = match attachment.pod.as_str() {
            "" => &attachment.key,
            pod => pod,
        };
        let field = format!("route {address} to pod {pod}");
        Difference::of(object, &field, "an interface that is up", &found)
    };
    let attachments = forwarder.status.attachments.iter();
    attachments
        .flat_map(|it| it.addresses.iter().map(move |address| (it, address.ip())))
        .filter_map(|(attachment, address)| of_address(attachment, address))
        .collect()
}

/// Every attached pod reaches every other: at most `limit` pairs, evenly chosen.
pub(super) fn traffic(nodes: &dyn Nodes, pods: &[Pod], limit: usize) -> Layer {
    let mut layer = Layer::new("kernel", "traffic", 0);
    let all: Vec<(&Pod, &Pod)> = pods
        .iter()
        .flat_map(|from| pods.iter().map(move |to| (from, to)))
        .filter(|(from, to)| from.name != to.name)
        .collect();
    let step = all.len().div_ceil(limit.max(1)).max(1);
    let chosen: Vec<&(&Pod, &Pod)> = all.iter().step_by(step).collect();
    if chosen.len() < all.len() {
        layer.remark = Some(format!(
            "{} of {} pairs, evenly chosen",
            chosen.len(),
            all.len()
        ));
    }
    let mut by_sender: BTreeMap<&str, (&Pod, Vec<&Pod>)> = BTreeMap::new();
    for (from, to) in chosen {
        by_sender
            .entry(&from.name)
            .or_insert((from, Vec::new()))
            .1
            .push(to);
    }
    let (mut questions, mut asked) = (Vec::new(), Vec::new());
    for (from, to) in by_sender.into_values() {
        match nodes.away(&from.node) {
            Some(why) => layer.cannot_tell([from.name.as_str()], &from.node, &why),
            None => {
                for targets in targets(from, &to).chunks(ADDRESSES) {
                    questions.push(question(from, targets));
                    asked.push((from, targets.to_vec()));
                }
            }
        }
    }
    for ((from, targets), answer) in asked.into_iter().zip(nodes.ask(&questions)) {
        match read::<Pinged>(answer) {
            Ok(pinged) => layer.take(from, &targets, &pinged),
            Err(why) => layer.cannot_tell([from.name.as_str()], &from.node, &why),
        }
    }
    layer
}

/// Addresses of the families that both have, and whose they are.
fn targets<'a>(from: &Pod, to: &[&'a Pod]) -> Vec<(IpAddr, &'a str)> {
    let has = |address: &IpAddr| {
        from.addresses
            .iter()
            .any(|own| own.is_ipv4() == address.is_ipv4())
    };
    let of = |pod: &&'a Pod| {
        let (pod, has) = (*pod, &has);
        pod.addresses
            .iter()
            .filter(move |it| has(it))
            .map(move |it| (*it, pod.name.as_str()))
    };
    to.iter().flat_map(of).collect()
}

fn question(from: &Pod, targets: &[(IpAddr, &str)]) -> Question {
    let [option, value] = &from.found_by;
    let mut question = Question::new(&from.node, &format!("ping {option} {value}"));
    question
        .arguments
        .extend(targets.iter().map(|(address, _)| address.to_string()));
    question
}

impl Layer {
    /// Pings that came back, and those that did not.
    fn take(&mut self, from: &Pod, targets: &[(IpAddr, &str)], pinged: &Pinged) {
        for (address, name) in targets {
            self.checked += 1;
            let one = pinged.to.iter().find(|it| it.address == *address);
            let (received, refused) = one.map_or((0, None), |it| (it.received, it.refused.clone()));
            if received == 0 {
                let found = refused.unwrap_or_else(|| "no answer".to_owned());
                let field = format!("ping {name} ({address})");
                let object = format!("pod/{}", from.name);
                self.differences
                    .extend(Difference::of(&object, &field, "an answer", &found));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::{Answer, Listening};
    use std::cell::RefCell;

    /// Nodes that answer every ping but those to one address.
    struct Pretended {
        deaf: IpAddr,
        asked: RefCell<Vec<Question>>,
    }

    impl Nodes for Pretended {
        fn names(&self) -> BTreeSet<String> {
            BTreeSet::from(["n1".to_owned(), "n2".to_owned()])
        }

        fn away(&self, node: &str) -> Option<String> {
            (node == "n2").then(|| "no daemon runs there".to_owned())
        }

        fn ask(&self, questions: &[Question]) -> Vec<Answer> {
            self.asked.borrow_mut().extend_from_slice(questions);
            let answer = |question: &Question| {
                let addresses = question.arguments[3..]
                    .iter()
                    .filter_map(|it| it.parse::<IpAddr>().ok());
                let to: Vec<_> = addresses
                    .map(|it| serde_json::json!({"address": it, "sent": 3, "received": if it == self.deaf { 0 } else { 3 }}))
                    .collect();
                serde_json::to_vec(&serde_json::json!({ "to": to }))
                    .map_err(|error| error.to_string())
            };
            questions.iter().map(answer).collect()
        }

        fn listen<'a>(&'a self, _: &Question) -> Result<(String, Box<dyn Listening + 'a>), String> {
            Err("not pretended".to_owned())
        }
    }

    fn pod(name: &str, node: &str, addresses: &[&str]) -> Pod {
        Pod {
            name: name.to_owned(),
            app: "app".to_owned(),
            forwarder: "f".to_owned(),
            node: node.to_owned(),
            addresses: addresses.iter().filter_map(|it| it.parse().ok()).collect(),
            found_by: ["--pod".to_owned(), name.to_owned()],
        }
    }

    #[test]
    fn a_pod_without_its_route_in_the_kernel_differs() {
        let forwarder: Forwarder = serde_json::from_value(serde_json::json!({
            "apiVersion": crds::API_VERSION, "kind": "Forwarder", "metadata": {"name": "t.a"},
            "spec": {"topology": "t", "name": "a", "node": "n1"},
            "status": {"attachments": [{"app": "app", "key": "c/eth0", "pod": "ns/p",
                "addresses": ["10.0.0.2/32", "fd00::2/128"]}]},
        }))
        .unwrap();
        let namespace = |up: bool, prefixes: &[&str]| Namespace {
            links: vec![crds::diagnosis::report::Link {
                interface: "app1".to_owned(),
                up,
                ..Default::default()
            }],
            routes: prefixes
                .iter()
                .map(|prefix| Route {
                    prefix: prefix.parse().unwrap(),
                    origin: Origin::Attachment,
                    interfaces: vec!["app1".to_owned()],
                })
                .collect(),
            ..Namespace::default()
        };
        let both = ["10.0.0.2/32", "fd00::2/128"];
        #[rustfmt::skip]
        let cases = [
            (namespace(true, &both),      vec![]),
            (namespace(true, &both[..1]), vec!["no route"]),
            (namespace(true, &[]),        vec!["no route", "no route"]),
            (namespace(false, &both),     vec!["app1 is down", "app1 is down"]),
        ];
        for (namespace, expected) in cases {
            let found = attachments("fwd/t.a", &forwarder, &namespace);
            let found: Vec<&str> = found.iter().map(|it| it.found.as_str()).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn pods_ping_one_another_in_the_families_that_both_have() {
        let nodes = Pretended {
            deaf: "10.0.0.3".parse().unwrap(),
            asked: RefCell::default(),
        };
        let pods = [
            pod("a", "n1", &["10.0.0.1", "fd00::1"]),
            pod("b", "n1", &["10.0.0.2"]),
            pod("c", "n1", &["10.0.0.3", "fd00::3"]),
            pod("d", "n2", &["10.0.0.4"]),
        ];
        let layer = traffic(&nodes, &pods, 100);
        // a: b, c, c in v6, d; b: a, c, d; c: a, a in v6, b, d. Nobody can ask d.
        assert_eq!(layer.checked, 11);
        let lost: Vec<&str> = layer
            .differences
            .iter()
            .map(|it| it.object.as_str())
            .collect();
        assert_eq!(lost, ["pod/a", "pod/b"]);
        assert_eq!(layer.unknown.len(), 1);
        assert!(layer.remark.is_none());

        nodes.asked.borrow_mut().clear();
        let layer = traffic(&nodes, &pods, 4);
        assert_eq!(
            layer.remark.as_deref(),
            Some("4 of 12 pairs, evenly chosen")
        );
    }
}
