//! Semantic checks of a well-formed declaration.
//!
//! ```text
//! names -> addressing -> links -> apps -> settings -> (without a problem so far) drain, derived
//! names
//! ```

mod addressing;
mod apps;
pub(crate) mod derived;
mod drain;
mod labels;
pub(crate) mod links;
pub(crate) mod message;
mod named;
mod settings;

use std::collections::BTreeMap;

pub(crate) use self::{
    addressing::{LONGEST_BLOCK, RESERVED},
    links::{LEAST_MTU, MOST_MTU},
    settings::{INTERVAL, MAX_MULTIPLIER, MAX_PATHS},
};

use crate::{
    MicroServiceTopology, MicroServiceTopologySpec, Problem, names, size, suggest,
    topology::ForwarderEntry, wiring,
};

/// Most nodes that one topology has Forwarders on, since daemons of a topology connect to one another: the nodes of the
/// largest clusters that Kubernetes supports.
pub const MAX_NODES: usize = 5_000;
/// Most Forwarders of one topology.
pub const MAX_FORWARDERS: usize = 65_536;
/// Most links of one topology, those of its shape included.
pub const MAX_LINKS: usize = 262_144;
/// Most Apps of one topology.
pub const MAX_APPS: usize = 16_384;
/// Most requirements of one selector.
pub const MAX_REQUIREMENTS: usize = 16;
/// Number of CIDRs above which they are not compared; valid are at most two.
const MAX_CIDRS: usize = 16;
/// Most entries of any other list.
pub const MAX_ENTRIES: usize = 4_096;

/// Problems of `topology`; empty for a valid one.
pub fn lint(topology: &MicroServiceTopology) -> Vec<Problem> {
    let lint = Lint::new(&topology.spec);
    let mut problems = Problems::default();
    named::check_metadata(topology, &mut problems);
    if lint.check_sizes(&mut problems) {
        named::check(&lint, &mut problems);
        addressing::check(&lint, &mut problems);
        links::check(&lint, &mut problems);
        apps::check(&lint, &mut problems);
        settings::check(&lint, &mut problems);
    }
    // Derived names and links are checked for valid names only.
    if problems.0.is_empty() {
        drain::check(&lint, &mut problems);
        problems
            .0
            .extend(lint.check_derived(&topology.metadata.name));
    }
    problems.0
}

/// Input of the checks.
struct Lint<'a> {
    spec: &'a MicroServiceTopologySpec,
    forwarders: BTreeMap<&'a str, &'a ForwarderEntry>,
}

impl<'a> Lint<'a> {
    fn new(spec: &'a MicroServiceTopologySpec) -> Lint<'a> {
        let named = spec
            .forwarders
            .iter()
            .map(|entry| (entry.name.as_str(), entry));
        Lint {
            spec,
            forwarders: named.collect(),
        }
    }

    /// False when a list is too long for further checks.
    fn check_sizes(&self, problems: &mut Problems) -> bool {
        let spec = self.spec;
        let sizes = [
            (
                "spec.addressing.cidrs",
                spec.addressing.cidrs.len(),
                MAX_CIDRS,
            ),
            ("spec.forwarders", spec.forwarders.len(), MAX_FORWARDERS),
            ("spec.links", spec.links.len(), MAX_LINKS),
            ("spec.apps", spec.apps.len(), MAX_APPS),
            (
                "spec.allowedNamespaces",
                spec.allowed_namespaces.len(),
                MAX_ENTRIES,
            ),
        ];
        let before = problems.0.len();
        for (path, found, most) in sizes {
            if found > most {
                problems.push(
                    path,
                    format!("expected at most {most} entries, found {found}"),
                );
            }
        }
        problems.0.len() == before
    }

    /// Checks names and numbers that follow from the Forwarders. With one per node,
    /// `expand::Layout` does.
    fn check_derived(&self, topology: &str) -> Vec<Problem> {
        let forwarders = self.spec.forwarders.iter();
        let forwarders: Vec<&str> = forwarders.map(|entry| entry.name.as_str()).collect();
        let wires = wiring::wires(self.spec, &forwarders);
        let path = |index| format!("spec.forwarders[{index}].name");
        let mut problems = derived::check(topology, &forwarders, &wires, path);
        problems.extend(size::check_forwarders(self.spec, &forwarders, &wires));
        problems
    }

    /// Checks that `name` is a declared Forwarder. With one per node, the names are not known yet.
    fn check_forwarder(&self, path: &str, name: &str, problems: &mut Problems) {
        let is_possible = match self.spec.forwarder_per_node {
            Some(_) => names::is_name(name),
            None => self.forwarders.contains_key(name),
        };
        if is_possible {
            return;
        }
        // The search for the nearest name is linear in the names: done for the first problems only.
        let is_cheap = problems.0.len() < 10 && self.forwarders.len() <= 10_000;
        let names = self.forwarders.keys().copied();
        let hint = if is_cheap {
            suggest::hint(name, names)
        } else {
            String::new()
        };
        problems.push(
            path,
            format!("expected a forwarder of this topology, found {name:?}{hint}"),
        );
    }
}

/// Problems found so far.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn push(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem::new(path, message));
    }

    /// Checks a weight.
    fn weight(&mut self, path: impl Into<String>, weight: u32) {
        if weight == 0 {
            self.push(path, "expected a whole number of 1 or more, found 0");
        }
    }

    /// Checks that `found` is one of `range`.
    fn range<T: PartialOrd + std::fmt::Display>(
        &mut self,
        path: &str,
        found: T,
        least: T,
        most: T,
    ) {
        if found < least || found > most {
            self.push(path, format!("expected {least} to {most}, found {found}"));
        }
    }

    /// Checks the name of a Kubernetes node.
    fn node(&mut self, path: String, node: &str) {
        if !names::is_dns_subdomain(node) {
            let expected = "a node's name (lower-case letters, digits, '-' and '.')";
            self.push(path, format!("expected {expected}, found {node:?}"));
        }
    }
}
