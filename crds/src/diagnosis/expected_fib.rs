//! Comparison of a computed table with the routes of a kernel. Pure.
//!
//! Distances are not in the kernel, and Apps are no prefixes, so the kernel's table is the computed one with
//! the next hops that the kernel has: it has the computed digest if and only if every route is as computed.

use super::report::{Differing, Held, Namespace, Origin};
use crate::{Forwarder, forwarder::ForwarderLink, names};
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};
use topology::{AppIndex, Change, ForwarderIndex, Graph, LinkIndex, Spf, Table, Topology};

/// Expected FIBs of one topology on its nodes.
#[derive(Debug)]
pub struct Expected<'a> {
    topology: &'a Topology,
    by_name: BTreeMap<&'a str, &'a Forwarder>,
    graph: Graph,
    max_paths: usize,
}

/// Expected next hops of one prefix.
struct Wanted {
    to: Destination,
    name: String,
    interfaces: Interfaces,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Destination {
    Forwarder(ForwarderIndex),
    App(AppIndex),
}

/// Accepted interfaces.
enum Interfaces {
    /// All of these.
    All(BTreeSet<String>),
    /// One of these: attachments of an external App.
    OneOf(BTreeSet<String>),
}

impl<'a> Expected<'a> {
    /// Expected FIBs of these Forwarders, in the graph with `changes`: links that are down or suspect.
    pub fn new(topology: &'a Topology, forwarders: &'a [Forwarder], changes: &[Change]) -> Self {
        let max_paths = forwarders
            .first()
            .map_or(1, |it| it.spec.routing.max_paths as usize);
        let mut graph = Graph::new(topology);
        for change in changes {
            graph.change(*change);
        }
        Self {
            topology,
            graph,
            max_paths,
            by_name: forwarders
                .iter()
                .map(|it| (it.spec.name.as_str(), it))
                .collect(),
        }
    }

    /// Compares the table of `forwarder` with its namespace; `None` when it is not in the topology.
    pub fn hold(&self, forwarder: &Forwarder, kernel: &Namespace) -> Option<Held> {
        let root = self.topology.forwarder(&forwarder.spec.name)?;
        let spf = Spf::compute(&self.graph, root);
        let computed = Table::new(self.topology, &self.graph, &spf, self.max_paths);
        let mut seen = computed.clone();
        let interfaces = by_interface(self.topology, &forwarder.spec.links);
        let wanted = self.wanted(forwarder, &computed, kernel);
        let mut found = kernel
            .routes
            .iter()
            .filter(|route| route.origin == Origin::Table)
            .map(|route| (route.prefix, route.interfaces.iter().cloned().collect()))
            .collect::<BTreeMap<IpNetwork, BTreeSet<String>>>();
        let mut differences = Vec::new();
        for (prefix, wanted) in &wanted {
            let found = found.remove(prefix).unwrap_or_default();
            if wanted.interfaces.are(&found) {
                continue;
            }
            differences.push(Differing {
                prefix: *prefix,
                to: wanted.name.clone(),
                expected: self.named(forwarder, wanted.interfaces.names(), &interfaces),
                found: self.named(forwarder, &found, &interfaces),
            });
            replace(&mut seen, Some(wanted.to), &found, &interfaces);
        }
        for (prefix, found) in found {
            differences.push(Differing {
                prefix,
                to: String::new(),
                expected: Vec::new(),
                found: self.named(forwarder, &found, &interfaces),
            });
            replace(&mut seen, None, &found, &interfaces);
        }
        Some(Held {
            epoch: self.graph.epoch().to_string(),
            computed: computed.digest().to_string(),
            kernel: seen.digest().to_string(),
            differences,
        })
    }

    /// Expected next hops of every prefix in the table, and of the Forwarders without a route.
    fn wanted(
        &self,
        forwarder: &Forwarder,
        table: &Table,
        kernel: &Namespace,
    ) -> BTreeMap<IpNetwork, Wanted> {
        let links = |links: &[LinkIndex]| {
            let interface = |link: &LinkIndex| {
                let id = self.topology.link_id(*link);
                let end = forwarder.spec.links.iter().find(|end| end.id == id)?;
                Some(end.interface())
            };
            Interfaces::All(links.iter().filter_map(interface).collect())
        };
        let mut wanted = BTreeMap::new();
        for (name, index) in self.topology.forwarders().iter().zip(0..) {
            let to = ForwarderIndex(index);
            let Some(other) = self.by_name.get(name.as_str()).filter(|_| to != table.from) else {
                continue;
            };
            let via = table
                .to_forwarder(to)
                .map(|(_, links)| links)
                .unwrap_or_default();
            for block in &other.spec.blocks {
                let to = Destination::Forwarder(to);
                let (name, interfaces) = (name.clone(), links(via));
                wanted.insert(
                    network(*block),
                    Wanted {
                        to,
                        name,
                        interfaces,
                    },
                );
            }
        }
        for (app, index) in self.topology.apps().iter().zip(0..) {
            let Some((route, via)) = table.to_app(AppIndex(index)) else {
                continue;
            };
            for prefix in self.external(&app.name) {
                let (to, name) = (Destination::App(AppIndex(index)), app.name.clone());
                let interfaces = match route.attached {
                    true => Interfaces::OneOf(attached(forwarder, &app.name, kernel)),
                    false => links(via),
                };
                wanted.insert(
                    network(prefix),
                    Wanted {
                        to,
                        name,
                        interfaces,
                    },
                );
            }
        }
        wanted
    }

    fn external(&self, app: &str) -> Vec<IpNetwork> {
        let apps = self.by_name.values().flat_map(|it| &it.spec.apps);
        let prefixes = apps.filter(|it| it.name == app).flat_map(|it| &it.external);
        prefixes
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Next hops in readable form.
    fn named(
        &self,
        forwarder: &Forwarder,
        interfaces: &BTreeSet<String>,
        links: &BTreeMap<String, LinkIndex>,
    ) -> Vec<String> {
        let name = |interface: &String| match links.get(interface) {
            Some(link) => {
                let id = self.topology.link_id(*link);
                let end = forwarder.spec.links.iter().find(|end| end.id == id);
                let peer = end.map_or("", |end| end.peer.as_str());
                format!("{peer} by {id}")
            }
            None => interface.clone(),
        };
        interfaces.iter().map(name).collect()
    }
}

impl Interfaces {
    fn are(&self, found: &BTreeSet<String>) -> bool {
        match self {
            Self::All(all) => all == found,
            Self::OneOf(any) if any.is_empty() => found.is_empty(),
            Self::OneOf(any) => found.len() == 1 && found.is_subset(any),
        }
    }

    fn names(&self) -> &BTreeSet<String> {
        let (Self::All(names) | Self::OneOf(names)) = self;
        names
    }
}

/// Replaces the next hops of a destination with the observed ones, as a set of its own.
fn replace(
    table: &mut Table,
    to: Option<Destination>,
    found: &BTreeSet<String>,
    links: &BTreeMap<String, LinkIndex>,
) {
    let unknown = LinkIndex(u32::MAX);
    let link = |interface: &String| links.get(interface).copied().unwrap_or(unknown);
    let set = u32::try_from(table.sets.len()).unwrap_or(u32::MAX);
    table.sets.push(found.iter().map(link).collect());
    match to {
        Some(Destination::Forwarder(to)) => {
            if let Some(route) = &mut table.forwarders[to.position()] {
                route.set = set;
            }
        }
        Some(Destination::App(to)) => {
            if let Some(route) = &mut table.apps[to.position()] {
                route.set = set;
            }
        }
        None => {}
    }
}

/// The pods' interfaces that are attachments of `app`.
fn attached(forwarder: &Forwarder, app: &str, kernel: &Namespace) -> BTreeSet<String> {
    let prefix = format!("{}/{app}/", forwarder.spec.topology);
    let links = kernel
        .links
        .iter()
        .filter(|link| link.alias.starts_with(&prefix));
    let is_attachment = |name: &&String| name.starts_with(names::ATTACHMENT_PREFIX);
    links
        .map(|link| &link.interface)
        .filter(is_attachment)
        .cloned()
        .collect()
}

fn by_interface(topology: &Topology, ends: &[ForwarderLink]) -> BTreeMap<String, LinkIndex> {
    let link = |end: &ForwarderLink| Some((end.interface(), topology.link(&end.id)?));
    ends.iter().filter_map(link).collect()
}

/// Without host bits, as the kernel has it.
fn network(prefix: IpNetwork) -> IpNetwork {
    IpNetwork::new(prefix.network(), prefix.prefix()).unwrap_or(prefix)
}
