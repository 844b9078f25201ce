//! Changes of Forwarders, blocks and VNIs when a topology is applied.

use super::show::shortened;
use crate::cluster::expected::Given;
use console::output;
use crds::{Forwarder, ForwarderSpec, MicroServiceTopology, forwarder::WireType};
use ipnetwork::IpNetwork;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Grants of a topology in the cluster, before and after.
#[derive(Serialize)]
pub(super) struct Grants {
    namespace: String,
    name: String,
    /// True for a topology that is in the cluster.
    exists: bool,
    /// Forwarders that differ. New ones have the next free blocks.
    forwarders: Vec<ForwarderChange>,
    vnis: Vnis,
}

#[derive(Serialize)]
struct ForwarderChange {
    name: String,
    node: BeforeAfter<Option<String>>,
    blocks: BeforeAfter<Vec<IpNetwork>>,
}

#[derive(Serialize)]
struct BeforeAfter<T> {
    before: T,
    after: T,
}

/// VXLAN network identifiers, by link.
#[derive(Serialize)]
struct Vnis {
    /// Number of unchanged VNIs.
    kept: usize,
    /// Links that get one.
    needed: Vec<String>,
    /// Links whose VNI is returned.
    released: BTreeMap<String, u32>,
}

impl Grants {
    /// Compares the current grants with the planned ones.
    pub(super) fn new(
        object: &MicroServiceTopology,
        exists: bool,
        given: &Given,
        new: &[Forwarder],
    ) -> Self {
        let before: BTreeMap<&str, &ForwarderSpec> = given
            .forwarders
            .iter()
            .map(|it| (it.spec.name.as_str(), &it.spec))
            .collect();
        let after: BTreeMap<&str, &ForwarderSpec> = new
            .iter()
            .map(|it| (it.spec.name.as_str(), &it.spec))
            .collect();
        let names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
        let change = |name: &str| {
            let (before, after) = (before.get(name), after.get(name));
            let node = |spec: Option<&&ForwarderSpec>| {
                spec.map(|it| it.node.clone()).filter(|it| !it.is_empty())
            };
            let blocks = |spec: Option<&&ForwarderSpec>| {
                spec.map(|it| it.blocks.clone()).unwrap_or_default()
            };
            ForwarderChange {
                name: name.to_owned(),
                node: BeforeAfter {
                    before: node(before),
                    after: node(after),
                },
                blocks: BeforeAfter {
                    before: blocks(before),
                    after: blocks(after),
                },
            }
        };
        let forwarders = names.into_iter().map(change);
        Self {
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone(),
            exists,
            forwarders: forwarders.filter(ForwarderChange::is_one).collect(),
            vnis: Vnis::new(given, new),
        }
    }

    /// The same for people.
    pub(super) fn table(&self) -> String {
        let Self {
            namespace, name, ..
        } = self;
        let against = match self.exists {
            true => format!("against {namespace}/{name} in the cluster\n"),
            false => format!("{namespace}/{name} is not in the cluster yet\n"),
        };
        let mut text = against;
        if !self.forwarders.is_empty() {
            let mut rows = output::table(&["FORWARDER", "", "NODE", "BLOCKS"], &[]);
            for change in &self.forwarders {
                rows.add_row(change.row());
            }
            text += &output::table_text(&rows);
        }
        text + &self.vnis.line()
    }
}

impl ForwarderChange {
    fn is_one(&self) -> bool {
        self.node.before != self.node.after || self.blocks.before != self.blocks.after
    }

    fn row(&self) -> [String; 4] {
        let what = match (&self.node.before, &self.node.after) {
            (None, _) => "comes",
            (_, None) => "goes",
            (Some(before), Some(after)) if before != after => "moves",
            _ => "stays",
        };
        let joined = |blocks: &[IpNetwork]| {
            let blocks: Vec<String> = blocks.iter().map(ToString::to_string).collect();
            (!blocks.is_empty()).then(|| blocks.join(" "))
        };
        let blocks = BeforeAfter {
            before: joined(&self.blocks.before),
            after: joined(&self.blocks.after),
        };
        [
            self.name.clone(),
            what.into(),
            self.node.shown(),
            blocks.shown(),
        ]
    }
}

impl BeforeAfter<Option<String>> {
    fn shown(&self) -> String {
        match (&self.before, &self.after) {
            (None, None) => "-".into(),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (Some(before), Some(after)) if before == after => after.clone(),
            (Some(before), Some(after)) => format!("{before} -> {after}"),
        }
    }
}

impl Vnis {
    fn new(given: &Given, new: &[Forwarder]) -> Self {
        let links = new.iter().flat_map(|forwarder| &forwarder.spec.links);
        let wanted: BTreeSet<&str> = links
            .filter(|link| link.r#type == WireType::Vxlan)
            .map(|link| link.id.as_str())
            .collect();
        let known = &given.allocation.vnis;
        let is_needed = |id: &&&str| !known.contains_key(**id);
        let released = known.iter().filter(|(id, _)| !wanted.contains(id.as_str()));
        let released: BTreeMap<String, u32> =
            released.map(|(id, vni)| (id.clone(), *vni)).collect();
        Self {
            kept: known.len() - released.len(),
            needed: wanted
                .iter()
                .filter(is_needed)
                .map(|id| (*id).to_owned())
                .collect(),
            released,
        }
    }

    fn line(&self) -> String {
        let mut text = String::new();
        if !self.needed.is_empty() {
            text += &format!("links that get a VNI: {}\n", shortened(&self.needed));
        }
        if !self.released.is_empty() {
            let released: Vec<String> = self.released.keys().cloned().collect();
            text += &format!("links that release their VNI: {}\n", shortened(&released));
        }
        text
    }
}
