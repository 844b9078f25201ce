//! One stage of the computation as data.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use topology::{ForwarderIndex, Graph, LinkIndex, Spf, Topology};

use super::Stage;

/// One stage of one topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GraphReport {
    /// Name of the topology.
    pub topology: String,
    /// Epoch of the global topology, 16 hexadecimal digits.
    pub epoch: String,
    /// The stage.
    pub stage: Stage,
    /// The Forwarder that paths start from; null in the stage `global`.
    pub root: Option<String>,
    /// Forwarders, then Apps.
    pub nodes: Vec<NodeReport>,
    /// Links; in the stage `mwt` without heavier parallel ones.
    pub links: Vec<LinkReport>,
    /// Attachments of Apps.
    pub attachments: Vec<AttachmentReport>,
    /// Least path weight from the root, by Forwarder or App; what cannot be reached is absent.
    pub distances: BTreeMap<String, u64>,
    /// In the stage `spt` the last edges of all shortest paths.
    pub tree: Vec<Edge>,
}

/// A Forwarder or an App.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeReport {
    /// Its name.
    pub name: String,
    /// Kind.
    pub kind: NodeKind,
    /// The node that a Forwarder is on, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// True when it is up; an App is while one of its Forwarders is.
    pub up: bool,
}

/// Kind of a node of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// Forwarder: forwards packets.
    Forwarder,
    /// App: attached, and never transits.
    App,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkReport {
    /// Canonical id.
    pub id: String,
    /// One end.
    pub a: String,
    /// The other end.
    pub b: String,
    /// Weight from `a` to `b`.
    pub weight: u32,
    /// Weight from `b` to `a`.
    pub weight_back: u32,
    /// True when it and both its ends are up.
    pub up: bool,
}

/// The edge between an App and a Forwarder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttachmentReport {
    /// The App.
    pub app: String,
    /// The Forwarder.
    pub forwarder: String,
    /// Weight from the Forwarder to the App.
    pub weight: u32,
}

/// A last edge of a shortest path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Edge {
    /// Start of the edge.
    pub from: String,
    /// End of the edge.
    pub to: String,
    /// Id of the link; absent for an App.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// Sources of a [`GraphReport`].
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Name of the topology.
    pub name: &'a str,
    /// The topology.
    pub topology: &'a Topology,
    /// Graph, without the removed parts.
    pub graph: &'a Graph,
    /// Shortest paths on `graph`, in the stages that have a root.
    pub spf: Option<&'a Spf>,
    /// The stage.
    pub stage: Stage,
    /// Forwarders in the order that they are listed in.
    pub order: &'a [ForwarderIndex],
    /// By Forwarder the node that it is on, where that is known.
    pub nodes: &'a BTreeMap<&'a str, &'a str>,
}

impl Seen<'_> {
    /// Builds the report.
    pub fn report(&self) -> GraphReport {
        GraphReport {
            topology: self.name.to_owned(),
            epoch: self.graph.epoch().to_string(),
            stage: self.stage,
            root: self.spf.map(|spf| self.forwarder(spf.root())),
            nodes: self.nodes(),
            links: self.links(),
            attachments: self.attachments(),
            distances: self.distances(),
            tree: match self.stage {
                Stage::Spt => self.tree(),
                Stage::Global | Stage::Mwt => Vec::new(),
            },
        }
    }

    /// True when a link and both its ends are up.
    pub fn is_up(&self, link: LinkIndex) -> bool {
        let ends = &self.topology.links()[link.position()];
        let are_ends_up = [ends.a, ends.b]
            .into_iter()
            .all(|end| self.graph.is_forwarder_up(end));
        are_ends_up && self.graph.is_up(link)
    }

    /// True for each link with a parallel one that is up and weighs less in both directions.
    pub fn heavier(&self) -> Vec<bool> {
        let links = || self.topology.links().iter().zip((0..).map(LinkIndex));
        let mut least: BTreeMap<(ForwarderIndex, ForwarderIndex), (u32, u32)> = BTreeMap::new();
        for (link, _) in links().filter(|(_, index)| self.is_up(*index)) {
            let entry = least
                .entry((link.a, link.b))
                .or_insert((u32::MAX, u32::MAX));
            *entry = (entry.0.min(link.weight), entry.1.min(link.weight_back));
        }
        let is_heavier = |(link, index): (&topology::Link, LinkIndex)| {
            let more = |least: &(u32, u32)| link.weight > least.0 && link.weight_back > least.1;
            self.is_up(index) && least.get(&(link.a, link.b)).is_some_and(more)
        };
        links().map(is_heavier).collect()
    }

    /// Distance to an App: that of its nearest attachment.
    pub fn app_distance(&self, app: &topology::App) -> Option<u64> {
        app.attachments
            .iter()
            .filter_map(|edge| self.through(edge))
            .min()
    }

    /// Distance to an App through one of its attachments.
    pub fn through(&self, (at, weight): &(ForwarderIndex, u32)) -> Option<u64> {
        Some(self.spf?.distance(*at)?.saturating_add(u64::from(*weight)))
    }

    fn forwarder(&self, index: ForwarderIndex) -> String {
        self.topology.forwarders()[index.position()].clone()
    }

    fn nodes(&self) -> Vec<NodeReport> {
        let forwarders = self.order.iter().map(|index| {
            let name = self.forwarder(*index);
            NodeReport {
                kind: NodeKind::Forwarder,
                node: self.nodes.get(name.as_str()).map(|node| (*node).to_owned()),
                up: self.graph.is_forwarder_up(*index),
                name,
            }
        });
        let is_up = |(at, _): &(ForwarderIndex, u32)| self.graph.is_forwarder_up(*at);
        let apps = self.topology.apps().iter().map(|app| NodeReport {
            name: app.name.clone(),
            kind: NodeKind::App,
            node: None,
            up: app.attachments.iter().any(is_up),
        });
        forwarders.chain(apps).collect()
    }

    fn links(&self) -> Vec<LinkReport> {
        let heavier = match self.stage {
            Stage::Mwt => self.heavier(),
            Stage::Global | Stage::Spt => vec![false; self.topology.links().len()],
        };
        let links = self.topology.links().iter().zip((0..).map(LinkIndex));
        links
            .zip(heavier)
            .filter(|(_, is_heavier)| !is_heavier)
            .map(|((link, index), _)| LinkReport {
                id: self.topology.link_id(index),
                a: self.forwarder(link.a),
                b: self.forwarder(link.b),
                weight: link.weight,
                weight_back: link.weight_back,
                up: self.is_up(index),
            })
            .collect()
    }

    fn attachments(&self) -> Vec<AttachmentReport> {
        let apps = self.topology.apps().iter();
        apps.flat_map(|app| {
            app.attachments.iter().map(|(at, weight)| AttachmentReport {
                app: app.name.clone(),
                forwarder: self.forwarder(*at),
                weight: *weight,
            })
        })
        .collect()
    }

    fn distances(&self) -> BTreeMap<String, u64> {
        let all = self.topology.forwarders().iter().zip(0..);
        let forwarders = all.filter_map(|(name, index)| {
            Some((name.clone(), self.spf?.distance(ForwarderIndex(index))?))
        });
        let apps = self.topology.apps().iter();
        let apps = apps.filter_map(|app| Some((app.name.clone(), self.app_distance(app)?)));
        forwarders.chain(apps).collect()
    }

    /// Edges of links in the order of links, one for each link that has one; then those to Apps.
    fn tree(&self) -> Vec<Edge> {
        let Some(spf) = self.spf else {
            return Vec::new();
        };
        let mut starts: BTreeMap<LinkIndex, (ForwarderIndex, ForwarderIndex)> = BTreeMap::new();
        for to in (0..self.topology.forwarders().len() as u32).map(ForwarderIndex) {
            for (from, link) in spf.predecessors(self.graph, to) {
                starts.insert(link, (from, to));
            }
        }
        let links = starts.into_iter().map(|(link, (from, to))| Edge {
            from: self.forwarder(from),
            to: self.forwarder(to),
            link: Some(self.topology.link_id(link)),
        });
        let apps = self.topology.apps().iter().flat_map(|app| {
            let distance = self.app_distance(app);
            let is_last = move |edge: &&(ForwarderIndex, u32)| {
                distance.is_some() && self.through(edge) == distance
            };
            let edges = app.attachments.iter().filter(is_last);
            edges.map(|(at, _)| Edge {
                from: self.forwarder(*at),
                to: app.name.clone(),
                link: None,
            })
        });
        links.chain(apps).collect()
    }
}
