use crds::{Instances, Node};
use linkstate::{End, Reason, State};
use topology::Spf;

use super::*;

/// The worked example: F1 to F5, two paths from F1 to F4, an external App on F4.
const EXAMPLE: &str = "
apiVersion: beemesh.io/v1alpha1
kind: MicroServiceTopology
metadata: {name: t}
spec:
  addressing: {cidrs: [10.0.0.0/16, 'fd00::/48']}
  forwarders: [{name: F1, node: n1}, {name: F2, node: n1}, {name: F3, node: n2}, {name: F4, node: n2}, {name: F5, node: n3}]
  links:
  - {a: F1, b: F2}
  - {a: F1, b: F3}
  - {a: F2, b: F4}
  - {a: F3, b: F4}
  - {a: F1, b: F4, weight: 5}
  - {a: F4, b: F5, weight: 2}
  - {a: F3, b: F5, weight: 3}
  apps:
  - {name: App1, external: {forwarder: F4, cidrs: [192.168.7.0/24]}}
  - {name: App2, podSelector: {matchLabels: {app: two}}, forwarder: F1}
";

/// The structure while nothing is known of peers.
fn structure(forwarder: &Forwarder, site: &Site) -> Structure {
    super::structure(forwarder, site, &BTreeMap::new())
}

fn forwarders() -> Vec<Arc<Forwarder>> {
    let declared = crds::read("test", EXAMPLE.as_bytes()).unwrap();
    let nodes = ["n1", "n2", "n3"].map(Node::from);
    let expanded = crds::expand(&declared[0], &nodes, &[], &Instances::new()).unwrap();
    expanded.into_iter().map(Arc::new).collect()
}

fn named(name: &str) -> Arc<Forwarder> {
    let mut all = forwarders().into_iter();
    all.find(|forwarder| forwarder.spec.name == name).unwrap()
}

fn site(node: &str) -> Site {
    let object = |name: &str, address: &str| {
        let object = NodeObject::new(name, &[address.parse().unwrap()]);
        (name.to_owned(), Arc::new(object))
    };
    Site {
        node: node.to_owned(),
        nodes: [
            object("n1", "192.0.2.1"),
            object("n2", "192.0.2.2"),
            object("n3", "2001:db8::3"),
        ]
        .into(),
        underlay: [("192.0.2.1".parse().unwrap(), 9000)].into(),
        vxlan_port: 4789,
    }
}

#[test]
fn each_link_has_an_interface_of_its_own() {
    let mut hub = (*named("F1")).clone();
    let peers = ["ip-10-0-2-170.ec2.internal", "ip-10-0-2-235.ec2.internal"];
    let template = hub.spec.links[0].clone();
    hub.spec.links = peers
        .map(|peer| ForwarderLink {
            id: format!("F1/{peer}"),
            peer: peer.to_owned(),
            ..template.clone()
        })
        .to_vec();
    let made = structure(&hub, &site("n1"));
    assert_eq!(made.problems, BTreeMap::new());
    assert_eq!((made.interfaces.len(), made.namespace.links.len()), (2, 2));
}

#[test]
fn a_taken_interface_name_is_a_problem_of_the_later_link() {
    let mut forwarder = (*named("F1")).clone();
    let first = forwarder.spec.links[0].clone();
    let again = ForwarderLink {
        id: format!("{}#1", first.id),
        ..first.clone()
    };
    forwarder.spec.links = vec![first.clone(), again.clone()];
    let made = structure(&forwarder, &site("n1"));
    assert_eq!(
        made.interfaces,
        [(first.id.clone(), first.interface())].into()
    );
    assert_eq!(made.namespace.links.len(), 1);
    let expected = format!(
        "interface name {} is taken by {ALIAS_PREFIX}t/{}",
        first.interface(),
        first.id
    );
    assert_eq!(made.problems, [(again.id, expected)].into());
}

/// Each with its object's name.
fn keyed() -> Vec<(String, Arc<Forwarder>)> {
    let key = |forwarder: Arc<Forwarder>| (forwarder.metadata.name.clone(), forwarder);
    forwarders().into_iter().map(key).collect()
}

/// An end of a link, as it is reported.
fn end(is_up: bool) -> End {
    let state = if is_up { State::Up } else { State::Down };
    End::observed(None, state, Reason::None, 0)
}

/// Reports every end of every link up, but for those in `down` (Forwarder and link id).
fn mesh(down: &[(&str, &str)]) -> Mesh {
    let forwarders = forwarders();
    let mut mesh = Mesh::new(&keyed()).unwrap();
    for forwarder in &forwarders {
        let is_up = |id: &str| !down.contains(&(forwarder.spec.name.as_str(), id));
        let links = forwarder.spec.links.iter();
        let up = links
            .map(|link| (link.id.clone(), end(is_up(&link.id))))
            .collect();
        mesh.report(&forwarder.metadata.name, &up);
    }
    mesh
}

/// Next hops of `from` to `to` (a Forwarder, or a prefix).
fn via(mesh: &Mesh, from: &str, to: &str) -> String {
    let forwarder = named(from);
    let root = mesh.index(&forwarder.metadata.name).unwrap();
    let spf = Spf::compute(&mesh.graph, root);
    let table = Table::new(&mesh.topology, &mesh.graph, &spf, 64);
    let interfaces = structure(&forwarder, &site(&forwarder.spec.node)).interfaces;
    let attached = BTreeMap::from([("App1".to_owned(), "app1".to_owned())]);
    let routes = routes(mesh, &table, &interfaces, &attached);
    let prefix = to.parse().unwrap_or_else(|_| named(to).spec.blocks[0]);
    match routes.get(&prefix) {
        None => "none".to_owned(),
        Some(Target::Device(device)) => device.clone(),
        Some(Target::Unreachable) => "unreachable".to_owned(),
        Some(Target::Links(links)) => links.iter().cloned().collect::<Vec<_>>().join(" "),
    }
}

#[test]
fn routes_follow_the_shortest_paths_over_links_that_both_ends_report_up() {
    #[rustfmt::skip]
    let cases = [
        // down                                 from  to                over
        (vec![],                                "F1", "F4",             "l-F2 l-F3"),
        (vec![],                                "F1", "F2",             "l-F2"),
        (vec![],                                "F1", "192.168.7.0/24", "l-F2 l-F3"),
        (vec![],                                "F4", "192.168.7.0/24", "app1"),
        (vec![],                                "F1", "F1",             "none"),
        (vec![("F2", "F2/F4")],                 "F1", "F4",             "l-F3"),
        (vec![("F4", "F2/F4")],                 "F1", "F4",             "l-F3"),
        (vec![("F2", "F2/F4"), ("F4", "F2/F4")], "F2", "F4",            "l-F1"),
        (vec![("F5", "F4/F5"), ("F3", "F3/F5")], "F1", "F5",            "none"),
    ];
    for (down, from, to, expected) in cases {
        assert_eq!(
            via(&mesh(&down), from, to),
            expected,
            "{from} to {to} without {down:?}"
        );
    }
}

#[test]
fn a_link_that_nobody_reports_is_not_used() {
    let mesh = Mesh::new(&keyed()).unwrap();
    assert_eq!(via(&mesh, "F1", "F2"), "none");
}

#[test]
fn following_reports_gives_what_a_new_start_gives() {
    let mut live = mesh(&[]);
    let object = named("F2").metadata.name.clone();
    let root = live.index(&named("F1").metadata.name).unwrap();
    let mut spf = Spf::compute(&live.graph, root);
    let digest = |mesh: &Mesh, spf: &Spf| {
        Table::new(&mesh.topology, &mesh.graph, spf, 64)
            .digest()
            .to_string()
    };
    let before = digest(&live, &spf);
    let cut = BTreeMap::from([
        ("F1/F2".to_owned(), end(true)),
        ("F2/F4".to_owned(), end(false)),
    ]);
    let reported = live.report(&object, &cut);
    assert_eq!((reported.changes.len(), reported.fallen.len()), (1, 1));
    spf.update(&live.graph, &reported.changes);
    let fresh = mesh(&[("F2", "F2/F4")]);
    assert_eq!(
        digest(&live, &spf),
        digest(&fresh, &Spf::compute(&fresh.graph, root))
    );
    assert_eq!(live.graph.epoch(), fresh.graph.epoch());

    assert!(
        live.report(&object, &cut).changes.is_empty(),
        "the same again changes nothing"
    );
    let healed = cut.into_keys().map(|id| (id, end(true))).collect();
    let reported = live.report(&object, &healed);
    assert!(reported.fallen.is_empty());
    spf.update(&live.graph, &reported.changes);
    assert_eq!(digest(&live, &spf), before);
}

#[test]
fn links_are_veth_on_one_node_and_vxlan_between_two() {
    let structure = structure(&named("F1"), &site("n1"));
    let links = &structure.namespace.links;
    let veth = &links["l-F2"];
    let expected = LinkKind::Veth {
        peer_netns: names::netns("default", "t", "F2"),
        peer_name: "l-F1".to_owned(),
    };
    assert_eq!((&veth.kind, veth.mtu), (&expected, 9000));
    let tunnel = &links["l-F3"];
    assert!(matches!(tunnel.kind, LinkKind::Vxlan { port: 4789, .. }));
    assert_eq!(tunnel.mtu, 8950);
    assert_eq!(tunnel.alias, "beemesh:t/F1/F3");
    assert_eq!(
        structure.namespace.addresses.len(),
        3,
        "a router address of each family, and the pods' IPv4 gateway"
    );

    // The other end knows the addresses without asking.
    let other = self::structure(&named("F3"), &site("n2"));
    let back = &other.namespace.links["l-F1"];
    assert_eq!((back.mac, back.peer_mac), (tunnel.peer_mac, tunnel.mac));
    assert_eq!(back.mtu, 1450, "of an underlay that is not known yet");
}

#[test]
fn both_ends_of_a_tunnel_have_the_smaller_mtu_once_they_know_both() {
    let peer_of = |mtu: u32| BTreeMap::from([("F1/F3".to_owned(), mtu), ("F1/F2".to_owned(), 900)]);
    let mtu = |forwarder: &str, node: &str, peer: u32, link: &str| {
        let made = super::structure(&named(forwarder), &site(node), &peer_of(peer));
        (made.underlay["F1/F3"], made.namespace.links[link].mtu)
    };
    assert_eq!(mtu("F1", "n1", 0, "l-F3"), (9000, 8950), "not known");
    assert_eq!(mtu("F1", "n1", 1500, "l-F3"), (9000, 1450));
    assert_eq!(mtu("F3", "n2", 9000, "l-F1"), (1500, 1450));
    let made = super::structure(&named("F1"), &site("n1"), &peer_of(1500));
    assert_eq!(
        made.namespace.links["l-F2"].mtu, 9000,
        "no network is below a veth"
    );
}

#[test]
fn a_link_without_a_way_is_a_problem_of_that_link_alone() {
    let structure = structure(&named("F4"), &site("n2"));
    assert_eq!(structure.problems.keys().collect::<Vec<_>>(), ["F4/F5"]);
    assert!(structure.problems["F4/F5"].contains("no address of one family"));
    assert_eq!(structure.interfaces.len(), 3);
}

#[test]
fn a_veth_may_have_an_mtu_above_that_of_the_underlay() {
    let mut forwarder = (*named("F1")).clone();
    let veth = |end: &&mut ForwarderLink| end.r#type == WireType::Veth;
    let end = forwarder.spec.links.iter_mut().find(veth).unwrap();
    end.mtu = Some(9000);
    let (id, interface) = (end.id.clone(), end.interface());
    let made = structure(&forwarder, &Site::default());
    assert_eq!(made.problems.get(&id), None);
    assert_eq!(made.namespace.links[&interface].mtu, 9000);
    let alone = |mut forwarder: Forwarder| {
        forwarder.spec.links.retain(|end| end.id == id);
        Mesh::new(&[("t.f1".to_owned(), Arc::new(forwarder))]).unwrap()
    };
    assert_eq!(attachment_mtu(&alone(forwarder), &Site::default()), 9000);
}

#[test]
fn pods_get_the_mtu_of_the_narrowest_link() {
    assert_eq!(attachment_mtu(&mesh(&[]), &site("n1")), 8950);
    assert_eq!(attachment_mtu(&mesh(&[]), &site("n2")), 1450);
    assert_eq!(attachment_mtu(&mesh(&[]), &Site::default()), 1500);
}

#[test]
fn both_ends_of_a_tunnel_are_of_one_family_in_whatever_order_nodes_list_their_addresses() {
    let addresses = |name: &str, list: &[&str]| {
        let list: Vec<IpAddr> = list.iter().map(|it| it.parse().unwrap()).collect();
        (name.to_owned(), Arc::new(NodeObject::new(name, &list)))
    };
    let first = ["192.0.2.1", "2001:db8::1"];
    let second = ["192.0.2.2", "2001:db8::2"];
    let swapped = |[a, b]: [&'static str; 2]| [b, a];
    #[rustfmt::skip]
    let cases = [
        // n1                   n2
        (first.to_vec(),            second.to_vec()),
        (first.to_vec(),            swapped(second).to_vec()),
        (swapped(first).to_vec(),   second.to_vec()),
        (swapped(first).to_vec(),   swapped(second).to_vec()),
        (first.to_vec(),            second[1..].to_vec()),
        (swapped(first)[..1].to_vec(), second.to_vec()),
    ];
    for (n1, n2) in cases {
        let nodes = BTreeMap::from([addresses("n1", &n1), addresses("n2", &n2)]);
        let end = |node: &str, forwarder: &str, interface: &str| {
            let nodes = nodes.clone();
            let made = structure(
                &named(forwarder),
                &Site {
                    nodes,
                    ..site(node)
                },
            );
            match made.namespace.links[interface].kind {
                LinkKind::Vxlan { local, remote, .. } => [local, remote],
                _ => panic!("no tunnel"),
            }
        };
        let [local, remote] = end("n1", "F1", "l-F3");
        assert_eq!(
            end("n2", "F3", "l-F1"),
            [remote, local],
            "{n1:?} and {n2:?}"
        );
    }
}
