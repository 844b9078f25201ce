//! From a topology and its shortest paths to a [`Picture`].

use crate::draw::{App, Attachment, Forwarder, Link, Picture, Stage};
use crds::MicroServiceTopology;
use std::collections::BTreeMap;
use topology::{ForwarderIndex, Graph, LinkIndex, Spf, Topology};

/// What a picture is made from.
pub(super) struct Scene<'a> {
    pub(super) object: &'a MicroServiceTopology,
    pub(super) topology: &'a Topology,
    pub(super) graph: &'a Graph,
    pub(super) spf: Option<&'a Spf>,
}

impl Scene<'_> {
    /// Draws one stage; title and epoch are the caller's.
    pub(super) fn picture(&self, stage: Stage) -> Picture {
        let (order, positions) = self.declared_order();
        let entries = self.object.spec.forwarders.iter();
        let nodes = entries.filter_map(|entry| Some((entry.name.as_str(), entry.node.as_deref()?)));
        let nodes: BTreeMap<&str, &str> = nodes.collect();
        let mut links = self.links(&positions);
        if stage == Stage::Spt {
            self.mark_tree(&mut links);
        }
        let apps = self.apps(&positions, stage);
        Picture {
            title: self.object.metadata.name.clone(),
            subtitle: String::new(),
            epoch: String::new(),
            stage,
            shape: self.object.spec.shape,
            forwarders: order
                .iter()
                .map(|index| self.forwarder(*index, &nodes))
                .collect(),
            links,
            apps,
        }
    }

    /// Shapes follow the order of declaration; also the way back from canonical order.
    fn declared_order(&self) -> (Vec<ForwarderIndex>, Vec<usize>) {
        let named = self.object.spec.forwarders.iter();
        let mut order: Vec<ForwarderIndex> = named
            .filter_map(|entry| self.topology.forwarder(&entry.name))
            .collect();
        let count = self.topology.forwarders().len();
        if order.len() != count {
            order = (0..count as u32).map(ForwarderIndex).collect();
        }
        let mut positions = vec![0; count];
        order
            .iter()
            .enumerate()
            .for_each(|(position, index)| positions[index.position()] = position);
        (order, positions)
    }

    fn forwarder(&self, index: ForwarderIndex, nodes: &BTreeMap<&str, &str>) -> Forwarder {
        let name = self.topology.forwarders()[index.position()].clone();
        let distance = self.spf.and_then(|spf| spf.distance(index));
        let is_failed = !self.graph.is_forwarder_up(index);
        Forwarder {
            node: nodes.get(name.as_str()).map(|node| (*node).to_owned()),
            distance,
            is_root: self.spf.is_some_and(|spf| spf.root() == index),
            is_failed,
            is_unreachable: self.spf.is_some() && distance.is_none() && !is_failed,
            name,
        }
    }

    fn links(&self, positions: &[usize]) -> Vec<Link> {
        let mut least: BTreeMap<(ForwarderIndex, ForwarderIndex), (u32, u32)> = BTreeMap::new();
        let is_up = |position: usize, link: &topology::Link| {
            self.graph.is_up(LinkIndex(position as u32))
                && self.graph.is_forwarder_up(link.a)
                && self.graph.is_forwarder_up(link.b)
        };
        for (position, link) in self.topology.links().iter().enumerate() {
            if is_up(position, link) {
                let entry = least
                    .entry((link.a, link.b))
                    .or_insert((u32::MAX, u32::MAX));
                *entry = (entry.0.min(link.weight), entry.1.min(link.weight_back));
            }
        }
        let link = |(position, link): (usize, &topology::Link)| {
            let is_failed = !is_up(position, link);
            let heavier = |least: &(u32, u32)| link.weight > least.0 && link.weight_back > least.1;
            Link {
                id: self.topology.link_id(LinkIndex(position as u32)),
                a: positions[link.a.position()],
                b: positions[link.b.position()],
                weight: link.weight,
                weight_back: link.weight_back,
                is_failed,
                is_heavier: !is_failed && least.get(&(link.a, link.b)).is_some_and(heavier),
                is_tree_ab: false,
                is_tree_ba: false,
            }
        };
        self.topology.links().iter().enumerate().map(link).collect()
    }

    fn mark_tree(&self, links: &mut [Link]) {
        let Some(spf) = self.spf else { return };
        for index in (0..self.topology.forwarders().len() as u32).map(ForwarderIndex) {
            for (from, link) in spf.predecessors(self.graph, index) {
                let is_forward = self.topology.links()[link.position()].a == from;
                let link = &mut links[link.position()];
                link.is_tree_ab |= is_forward;
                link.is_tree_ba |= !is_forward;
            }
        }
    }

    fn apps(&self, positions: &[usize], stage: Stage) -> Vec<App> {
        let through = |(at, weight): &(ForwarderIndex, u32)| {
            Some(self.spf?.distance(*at)?.saturating_add(u64::from(*weight)))
        };
        let app = |app: &topology::App| {
            let distance = app.attachments.iter().filter_map(through).min();
            let attachment = |edge: &(ForwarderIndex, u32)| Attachment {
                forwarder: positions[edge.0.position()],
                weight: edge.1,
                is_tree: stage == Stage::Spt && distance.is_some() && through(edge) == distance,
            };
            let attachments = app.attachments.iter().map(attachment).collect();
            App {
                name: app.name.clone(),
                attachments,
                distance,
            }
        };
        self.topology.apps().iter().map(app).collect()
    }
}
