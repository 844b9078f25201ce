//! From a topology and its shortest paths to a [`Picture`].

use crds::{MicroServiceTopology, report::Seen};
use picture::{App, Attachment, Forwarder, Link, Picture, Stage};
use std::collections::BTreeMap;
use topology::{ForwarderIndex, LinkIndex, Shape, Topology};

/// Input of a picture.
pub(super) struct Scene<'a> {
    pub(super) seen: Seen<'a>,
    pub(super) shape: Shape,
}

/// Shapes follow the order of declaration.
pub(super) fn declared_order(
    object: &MicroServiceTopology,
    topology: &Topology,
) -> Vec<ForwarderIndex> {
    let named = object.spec.forwarders.iter();
    let order: Vec<ForwarderIndex> = named
        .filter_map(|entry| topology.forwarder(&entry.name))
        .collect();
    let count = topology.forwarders().len();
    match order.len() == count {
        true => order,
        false => (0..count as u32).map(ForwarderIndex).collect(),
    }
}

/// By Forwarder the node that the declaration names.
pub(super) fn nodes(object: &MicroServiceTopology) -> BTreeMap<&str, &str> {
    let entries = object.spec.forwarders.iter();
    entries
        .filter_map(|entry| Some((entry.name.as_str(), entry.node.as_deref()?)))
        .collect()
}

impl Scene<'_> {
    /// Draws one stage; subtitle and epoch are the caller's.
    pub(super) fn picture(&self, stage: Stage) -> Picture {
        let order = self.seen.order;
        let mut positions = vec![0; order.len()];
        order
            .iter()
            .enumerate()
            .for_each(|(position, index)| positions[index.position()] = position);
        let mut links = self.links(&positions);
        if stage == Stage::Spt {
            self.mark_tree(&mut links);
        }
        Picture {
            title: self.seen.name.to_owned(),
            subtitle: String::new(),
            epoch: String::new(),
            stage,
            shape: self.shape,
            forwarders: order.iter().map(|index| self.forwarder(*index)).collect(),
            links,
            apps: self.apps(&positions, stage),
        }
    }

    fn forwarder(&self, index: ForwarderIndex) -> Forwarder {
        let Seen {
            topology,
            graph,
            spf,
            nodes,
            ..
        } = self.seen;
        let name = topology.forwarders()[index.position()].clone();
        let distance = spf.and_then(|spf| spf.distance(index));
        let is_failed = !graph.is_forwarder_up(index);
        Forwarder {
            node: nodes.get(name.as_str()).map(|node| (*node).to_owned()),
            distance,
            is_root: spf.is_some_and(|spf| spf.root() == index),
            is_failed,
            is_unreachable: spf.is_some() && distance.is_none() && !is_failed,
            name,
        }
    }

    fn links(&self, positions: &[usize]) -> Vec<Link> {
        let topology = self.seen.topology;
        let links = topology.links().iter().zip((0..).map(LinkIndex));
        links
            .zip(self.seen.heavier())
            .map(|((link, index), is_heavier)| Link {
                id: topology.link_id(index),
                a: positions[link.a.position()],
                b: positions[link.b.position()],
                weight: link.weight,
                weight_back: link.weight_back,
                is_failed: !self.seen.is_up(index),
                is_heavier,
                is_tree_ab: false,
                is_tree_ba: false,
            })
            .collect()
    }

    fn mark_tree(&self, links: &mut [Link]) {
        let Some(spf) = self.seen.spf else { return };
        let declared = self.seen.topology.links();
        for index in (0..self.seen.topology.forwarders().len() as u32).map(ForwarderIndex) {
            for (from, link) in spf.predecessors(self.seen.graph, index) {
                let is_forward = declared[link.position()].a == from;
                let link = &mut links[link.position()];
                link.is_tree_ab |= is_forward;
                link.is_tree_ba |= !is_forward;
            }
        }
    }

    fn apps(&self, positions: &[usize], stage: Stage) -> Vec<App> {
        let app = |app: &topology::App| {
            let distance = self.seen.app_distance(app);
            let is_last = |edge: &(ForwarderIndex, u32)| {
                distance.is_some() && self.seen.through(edge) == distance
            };
            let attachment = |edge: &(ForwarderIndex, u32)| Attachment {
                forwarder: positions[edge.0.position()],
                weight: edge.1,
                is_tree: stage == Stage::Spt && is_last(edge),
            };
            App {
                name: app.name.clone(),
                attachments: app.attachments.iter().map(attachment).collect(),
                distance,
            }
        };
        self.seen.topology.apps().iter().map(app).collect()
    }
}
