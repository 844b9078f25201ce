//! Kernels to test with, and a small network to build in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use dataplane::{
    Applied, Balance, Kernel, Link, LinkKind, LinuxKernel, MemoryKernel, Namespace, Observed,
    Routes, Rule, SeenLink, SeenNexthop, SeenRoute, Target, Via, mac::link_mac, netns,
};
use ipnetwork::IpNetwork;

/// A test: its sentence and what it does.
pub(crate) type Test = (&'static str, fn());

/// The protocol number `static`: somebody else's.
const STATIC: u8 = 4;

/// True when namespaces can be made here.
pub(crate) fn is_privileged() -> bool {
    nix::unistd::geteuid().is_root()
        && netns::Netns::current().is_ok_and(|own| {
            own.run(|| nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_ok())
                .unwrap_or(false)
        })
        && std::fs::create_dir_all(netns::DIRECTORY).is_ok()
}

/// A kernel in which things can be done behind the planner's back.
pub(crate) trait Testbed {
    type Kernel: Kernel;
    fn new() -> Self;
    fn kernel(&mut self) -> &mut Self::Kernel;
    /// A name that nobody else has; what has it is gone after the test, also after a panic.
    fn name(&self, suffix: &str) -> String;
    fn set_link(&mut self, netns: &str, link: &str, is_enabled: bool);
    fn delete_link(&mut self, netns: &str, link: &str);
    fn delete_route(&mut self, netns: &str, prefix: &str);
    fn delete_neighbours(&mut self, netns: &str, link: &str);
    /// Adds the Forwarder's end of an attachment, without addresses and routes, as the CNI plugin begins.
    fn add_pod_end(&mut self, netns: &str, link: &str);
    /// Makes a setting of a namespace or an interface wrong.
    fn spoil_setting(&mut self, netns: &str, path: &'static str, interface: &str, wrong: &str);
    fn delete_rules(&mut self, netns: &str);
    fn add_foreign_link(&mut self, netns: &str, link: &str);
    fn add_foreign_route(&mut self, netns: &str, prefix: &str);

    fn observe(&mut self, netns: &str) -> Observed {
        self.kernel()
            .observe(netns)
            .expect("observed")
            .expect("there")
    }
}

/// Numbers the networks of this process.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A prefix for names, unique on this machine; deletes what bears it when dropped.
#[derive(Debug)]
pub(crate) struct Names(String);

impl Names {
    pub(crate) fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("bmt{}-{number}-", std::process::id()))
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.0
    }

    pub(crate) fn name(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.0)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        for name in netns::list().unwrap_or_default() {
            if name.starts_with(&self.0) {
                let _ = netns::delete(&name);
            }
        }
    }
}

pub(crate) struct InMemory(MemoryKernel);

impl Testbed for InMemory {
    type Kernel = MemoryKernel;

    fn new() -> Self {
        Self(MemoryKernel::new())
    }

    fn kernel(&mut self) -> &mut MemoryKernel {
        &mut self.0
    }

    fn name(&self, suffix: &str) -> String {
        suffix.to_owned()
    }

    fn set_link(&mut self, netns: &str, link: &str, is_enabled: bool) {
        self.0.set_link_enabled(netns, link, is_enabled);
    }

    fn delete_link(&mut self, netns: &str, link: &str) {
        assert!(self.0.delete_link(netns, link));
    }

    fn delete_route(&mut self, netns: &str, prefix: &str) {
        let prefix: IpNetwork = prefix.parse().unwrap();
        self.0
            .namespace(netns)
            .unwrap()
            .routes
            .retain(|route| route.prefix != prefix);
    }

    fn delete_neighbours(&mut self, netns: &str, link: &str) {
        self.0
            .namespace(netns)
            .unwrap()
            .neighbours
            .retain(|(on, _), _| on != link);
    }

    fn add_pod_end(&mut self, netns: &str, link: &str) {
        let seen = SeenLink {
            index: 77,
            kind: "veth".to_owned(),
            is_ours: true,
            is_enabled: true,
            is_up: true,
            ..SeenLink::default()
        };
        let namespace = self.0.namespace(netns).unwrap();
        namespace.links.insert(link.to_owned(), seen);
    }

    fn spoil_setting(&mut self, netns: &str, path: &'static str, interface: &str, wrong: &str) {
        let right = if wrong == "0" { "1" } else { "0" };
        let namespace = self.0.namespace(netns).unwrap();
        match namespace.links.get_mut(interface) {
            Some(link) => link.wrong_settings.insert((path, right)),
            None => namespace.wrong_settings.insert((path, right)),
        };
    }

    fn delete_rules(&mut self, netns: &str) {
        let namespace = self.0.namespace(netns).unwrap();
        namespace.missing_rules = Rule::ALL.into();
    }

    fn add_foreign_link(&mut self, netns: &str, link: &str) {
        let seen = SeenLink {
            index: 99,
            kind: "veth".to_owned(),
            ..SeenLink::default()
        };
        self.0
            .namespace(netns)
            .unwrap()
            .links
            .insert(link.to_owned(), seen);
    }

    fn add_foreign_route(&mut self, netns: &str, prefix: &str) {
        let (prefix, via) = (prefix.parse().unwrap(), Via::Device(1));
        let route = SeenRoute {
            prefix,
            protocol: STATIC,
            via,
        };
        self.0.namespace(netns).unwrap().routes.push(route);
    }
}

pub(crate) struct Real {
    kernel: LinuxKernel,
    names: Names,
}

impl Testbed for Real {
    type Kernel = LinuxKernel;

    fn new() -> Self {
        Self {
            kernel: LinuxKernel::new().unwrap(),
            names: Names::new(),
        }
    }

    fn kernel(&mut self) -> &mut LinuxKernel {
        &mut self.kernel
    }

    fn name(&self, suffix: &str) -> String {
        self.names.name(suffix)
    }

    fn set_link(&mut self, netns: &str, link: &str, is_enabled: bool) {
        ip(
            netns,
            &["link", "set", link, if is_enabled { "up" } else { "down" }],
        );
    }

    fn delete_link(&mut self, netns: &str, link: &str) {
        ip(netns, &["link", "del", link]);
    }

    fn delete_route(&mut self, netns: &str, prefix: &str) {
        ip(netns, &["route", "del", prefix]);
    }

    fn delete_neighbours(&mut self, netns: &str, link: &str) {
        ip(netns, &["neigh", "flush", "dev", link, "nud", "permanent"]);
    }

    fn add_pod_end(&mut self, netns: &str, link: &str) {
        let peer = format!("peer-{link}");
        ip(
            netns,
            &[
                "link", "add", link, "group", "3054", "type", "veth", "peer", "name", &peer,
            ],
        );
        for link in [link, &peer] {
            ip(netns, &["link", "set", link, "up"]);
        }
    }

    fn spoil_setting(&mut self, netns: &str, path: &'static str, interface: &str, wrong: &str) {
        let file = format!("/proc/sys/net/{}", path.replace('*', interface));
        let netns = netns::Netns::open(netns).unwrap();
        netns.run(|| std::fs::write(file, wrong)).unwrap().unwrap();
    }

    fn delete_rules(&mut self, netns: &str) {
        for family in ["-4", "-6"] {
            ip(
                netns,
                &[family, "rule", "del", "from", "all", "lookup", "main"],
            );
        }
    }

    fn add_foreign_link(&mut self, netns: &str, link: &str) {
        ip(
            netns,
            &[
                "link",
                "add",
                link,
                "type",
                "veth",
                "peer",
                "name",
                "foreign-peer",
            ],
        );
    }

    fn add_foreign_route(&mut self, netns: &str, prefix: &str) {
        ip(
            netns,
            &["route", "add", prefix, "dev", "lo", "proto", "static"],
        );
    }
}

/// Runs `ip` in a namespace and returns what it printed.
pub(crate) fn ip(netns: &str, arguments: &[&str]) -> String {
    let output = Command::new("ip")
        .args(["-n", netns])
        .args(arguments)
        .output()
        .expect("ip runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "ip -n {netns} {arguments:?}: {error}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A network to build: namespaces by name.
pub(crate) type Network = BTreeMap<String, Namespace>;

/// Adds a veth between two namespaces; `ordinal` makes parallel ones.
pub(crate) fn join(network: &mut Network, a: &str, b: &str, ordinal: u32) -> (String, String) {
    let short = |name: &str| name.rsplit('-').next().unwrap().to_owned();
    let name = |peer: &str| format!("l-{}.{ordinal}", short(peer));
    let id = format!("{a}/{b}#{ordinal}");
    let end = |own: &str, peer: &str| Link {
        kind: LinkKind::Veth {
            peer_netns: peer.to_owned(),
            peer_name: name(own),
        },
        mac: link_mac(&id, own),
        peer_mac: link_mac(&id, peer),
        mtu: 1500,
        alias: format!("beemesh:{id}"),
    };
    for (own, peer) in [(a, b), (b, a)] {
        let namespace = network.entry(own.to_owned()).or_default();
        namespace.links.insert(name(peer), end(own, peer));
    }
    (name(b), name(a))
}

/// Three namespaces `a`, `b`, `c`, each linked to each, with a router address of each family.
pub(crate) fn triangle(bed: &impl Testbed, balance: Balance) -> Network {
    let mut network = Network::new();
    let names = ["a", "b", "c"].map(|suffix| bed.name(suffix));
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        join(&mut network, &names[a], &names[b], 1);
    }
    for (number, name) in (1..).zip(&names) {
        let namespace = network.get_mut(name).unwrap();
        namespace.balance = balance;
        namespace
            .addresses
            .insert(format!("10.99.{number}.1/32").parse().unwrap());
        namespace
            .addresses
            .insert(format!("fd99:{number}::1/128").parse().unwrap());
    }
    network
}

/// The links with these names.
pub(crate) fn links(names: &[&str]) -> Target {
    Target::Links(names.iter().map(|&name| name.to_owned()).collect())
}

/// Routes of `a` in the triangle: to `b` straight, to `c` both ways, as many others as asked, of both families.
pub(crate) fn routes_of_a(others: u32) -> Routes {
    let (b, both) = (links(&["l-b.1"]), links(&["l-b.1", "l-c.1"]));
    let mut routes = Routes::new();
    for (prefix, target) in [
        ("10.99.2.0/24", &b),
        ("fd99:2::/64", &b),
        ("10.99.3.0/24", &both),
        ("fd99:3::/64", &both),
    ] {
        routes.insert(prefix.parse().unwrap(), target.clone());
    }
    let shared = routes.intern(both);
    for number in 0..others {
        let (high, low) = (number / 256, number % 256);
        routes.insert_shared(
            format!("172.{}.{low}.0/24", 16 + high).parse().unwrap(),
            shared,
        );
    }
    routes
}

/// Programmed next hops of our routes: prefix to names of links.
pub(crate) fn programmed(observed: &Observed) -> BTreeMap<IpNetwork, BTreeSet<String>> {
    let link = |id: &u32| match &observed.nexthops[id] {
        SeenNexthop::Single { link, .. } => link.clone(),
        other => panic!("member {other:?}"),
    };
    let mut routes = BTreeMap::new();
    for route in observed.routes.iter().filter(|route| route.is_ours()) {
        if let Via::Nexthop(group) = route.via {
            let SeenNexthop::Group { members, .. } = &observed.nexthops[&group] else {
                panic!("{route:?} does not name a group")
            };
            routes.insert(route.prefix, members.iter().map(link).collect());
        }
    }
    routes
}

/// Expected result of [`programmed`].
pub(crate) fn wanted(routes: &Routes) -> BTreeMap<IpNetwork, BTreeSet<String>> {
    let set = |target: &Target| match target {
        Target::Links(links) => links.clone(),
        Target::Device(_) | Target::Unreachable => BTreeSet::new(),
    };
    routes
        .iter()
        .map(|(prefix, target)| (prefix, set(routes.target(target))))
        .collect()
}

/// Fails with every failure in its own words.
pub(crate) fn complete(applied: &Applied) {
    let words: Vec<String> = applied
        .failures
        .iter()
        .map(|failure| format!("{failure}: {} ({:?})", failure.source, failure.source))
        .collect();
    assert!(words.is_empty(), "{}", words.join("\n"));
}
