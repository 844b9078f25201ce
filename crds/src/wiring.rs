//! The links of a declaration: those of its shape, replaced and completed by those written.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use topology::{LinkId, LinkSelector};

use crate::{
    MicroServiceTopologySpec,
    topology::{DRAINED_WEIGHT, Drain, LinkEntry, LinkType, Shape},
};

/// A link in canonical order: `a` before `b` in byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wire<'a> {
    pub(crate) a: &'a str,
    pub(crate) b: &'a str,
    /// 1 for the first link of these two, 2 for the second as written, ...
    pub(crate) ordinal: u32,
    /// Weight from `a` to `b`.
    pub(crate) weight: u32,
    /// Weight from `b` to `a`.
    pub(crate) weight_back: u32,
    pub(crate) r#type: LinkType,
    pub(crate) mtu: Option<u32>,
}

impl<'a> Wire<'a> {
    /// The link's id.
    pub(crate) fn id(&self) -> LinkId<'a> {
        LinkId::new(self.a, self.b, self.ordinal)
    }
}

/// All links, sorted by ends and ordinal. `forwarders` are their names in declared order.
pub(crate) fn wires<'a>(
    spec: &'a MicroServiceTopologySpec,
    forwarders: &[&'a str],
) -> Vec<Wire<'a>> {
    let mut by_ends: BTreeMap<(&str, &str), Vec<Wire<'_>>> = BTreeMap::new();
    for link in &spec.links {
        let wires = by_ends.entry(ends(&link.a, &link.b)).or_default();
        wires.push(written(link, wires.len() as u32 + 1));
    }
    for (a, b) in topology::shape::links(spec.shape.into(), forwarders.len()) {
        let (a, b) = ends(forwarders[a], forwarders[b]);
        if let Entry::Vacant(vacant) = by_ends.entry((a, b)) {
            vacant.insert(vec![of_shape(a, b)]);
        }
    }
    let mut wires: Vec<Wire<'_>> = by_ends.into_values().flatten().collect();
    if let Some(drain) = &spec.drain {
        Drained::new(drain).apply(&mut wires);
    }
    wires
}

/// Drained Forwarders and links, prepared for lookups.
struct Drained<'a> {
    forwarders: BTreeSet<&'a str>,
    links: BTreeSet<((&'a str, &'a str), Option<u32>)>,
}

impl<'a> Drained<'a> {
    fn new(drain: &'a Drain) -> Drained<'a> {
        let links = drain.links.iter();
        let links = links.filter_map(|link| LinkSelector::parse(link).ok());
        Drained {
            forwarders: drain.forwarders.iter().map(String::as_str).collect(),
            links: links.map(|link| (link.ends(), link.ordinal())).collect(),
        }
    }

    fn apply(&self, wires: &mut [Wire<'_>]) {
        for wire in wires {
            let ends = (wire.a, wire.b);
            let is_drained = self.forwarders.contains(wire.a)
                || self.forwarders.contains(wire.b)
                || self.links.contains(&(ends, None))
                || self.links.contains(&(ends, Some(wire.ordinal)));
            if is_drained {
                wire.weight = wire.weight.max(DRAINED_WEIGHT);
                wire.weight_back = wire.weight_back.max(DRAINED_WEIGHT);
            }
        }
    }
}

fn ends<'a>(a: &'a str, b: &'a str) -> (&'a str, &'a str) {
    if a <= b { (a, b) } else { (b, a) }
}

fn of_shape<'a>(a: &'a str, b: &'a str) -> Wire<'a> {
    Wire {
        a,
        b,
        ordinal: 1,
        weight: 1,
        weight_back: 1,
        r#type: LinkType::Auto,
        mtu: None,
    }
}

fn written(link: &LinkEntry, ordinal: u32) -> Wire<'_> {
    let (a, b) = ends(&link.a, &link.b);
    let weights = (link.weight, link.weight_back());
    let (weight, weight_back) = if a == link.a.as_str() {
        weights
    } else {
        (weights.1, weights.0)
    };
    Wire {
        a,
        b,
        ordinal,
        weight,
        weight_back,
        r#type: link.r#type,
        mtu: link.mtu,
    }
}

impl From<Shape> for topology::Shape {
    fn from(shape: Shape) -> topology::Shape {
        match shape {
            Shape::Mesh => topology::Shape::Mesh,
            Shape::Ring => topology::Shape::Ring,
            Shape::Line => topology::Shape::Line,
            Shape::Star => topology::Shape::Star,
            Shape::Tree => topology::Shape::Tree,
            Shape::Grid => topology::Shape::Grid,
            Shape::Fabric => topology::Shape::Fabric,
            Shape::Custom => topology::Shape::Custom,
        }
    }
}
