//! The global topology: Forwarders, links and Apps in canonical order.
//!
//! Canonical means that the order of a declaration does not matter: Forwarders and
//! Apps are in byte order of names, links in order of their ends. Only the ordinals of
//! parallel links follow the declaration, because nothing else distinguishes such links.

mod canonical;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec::Vec,
};

use crate::{
    epoch::{self, Epoch},
    error::TopologyError,
    link_id::{LinkId, LinkSelector},
};
use canonical::{canonical_app, canonical_links, check_names};

/// Position of a Forwarder in [`Topology::forwarders`] (byte order of names).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForwarderIndex(pub u32);

/// Position of a link in [`Topology::links`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkIndex(pub u32);

/// Position of an App in [`Topology::apps`] (byte order of names).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppIndex(pub u32);

impl ForwarderIndex {
    /// The position, to index with.
    pub fn position(self) -> usize {
        self.0 as usize
    }
}

impl LinkIndex {
    /// The position, to index with.
    pub fn position(self) -> usize {
        self.0 as usize
    }
}

impl AppIndex {
    /// The position, to index with.
    pub fn position(self) -> usize {
        self.0 as usize
    }
}

/// A link as it is written: two names and a weight for each direction (>= 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSpec {
    /// One end.
    pub a: String,
    /// The other end.
    pub b: String,
    /// Weight from `a` to `b`.
    pub weight: u32,
    /// Weight from `b` to `a`.
    pub weight_back: u32,
}

/// An App and the Forwarders that it is attached to, each with a weight (>= 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSpec {
    /// The App's name; Forwarders and Apps share one name space.
    pub name: String,
    /// Forwarder and weight of each attachment; of several to one Forwarder the least counts.
    pub attachments: Vec<(String, u32)>,
}

/// A link in canonical order: `a < b` in byte order of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The end whose name comes first.
    pub a: ForwarderIndex,
    /// The end whose name comes second.
    pub b: ForwarderIndex,
    /// 1 for the first link between these two, 2 for the second as written, ...
    pub ordinal: u32,
    /// Weight from `a` to `b`.
    pub weight: u32,
    /// Weight from `b` to `a`.
    pub weight_back: u32,
}

impl Link {
    /// The end that is not `end`.
    pub fn other(&self, end: ForwarderIndex) -> ForwarderIndex {
        if end == self.a { self.b } else { self.a }
    }
}

/// An App in canonical order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// The App's name.
    pub name: String,
    /// Forwarder and weight, ascending by Forwarder, each Forwarder once.
    pub attachments: Vec<(ForwarderIndex, u32)>,
}

/// Part that [`Topology::without`] removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// One link.
    Link(LinkIndex),
    /// A Forwarder with its links and attachments.
    Forwarder(ForwarderIndex),
}

/// A directed weighted multigraph of Forwarders with Apps at its edge: the global topology.
///
/// # Guarantees
/// Names are unique, ends exist and differ, weights are >= 1, and equal declarations in any
/// order are equal values (but for the ordinals of parallel links).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    forwarders: Vec<String>,
    links: Vec<Link>,
    apps: Vec<App>,
}

/// Half of `u32`, because every link is two half edges.
const MOST: usize = (u32::MAX / 2) as usize;

impl Topology {
    /// Brings a declaration into canonical order.
    ///
    /// # Errors
    /// Names that are invalid or used twice, ends that are unknown or the same, weights of 0,
    /// and more than 2^31 - 1 of anything.
    pub fn new(
        mut forwarders: Vec<String>,
        links: Vec<LinkSpec>,
        mut apps: Vec<AppSpec>,
    ) -> Result<Topology, TopologyError> {
        let counts = [
            ("forwarders", forwarders.len()),
            ("links", links.len()),
            ("apps", apps.len()),
        ];
        if let Some((what, count)) = counts.into_iter().find(|(_, count)| *count > MOST) {
            return Err(TopologyError::TooMany { what, count });
        }
        check_names(&forwarders, &apps)?;
        forwarders.sort_unstable();
        apps.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let links = canonical_links(&forwarders, &links)?;
        let apps: Result<_, _> = apps
            .into_iter()
            .map(|app| canonical_app(&forwarders, app))
            .collect();
        Ok(Topology {
            links,
            apps: apps?,
            forwarders,
        })
    }

    /// Names of all Forwarders in byte order.
    pub fn forwarders(&self) -> &[String] {
        &self.forwarders
    }

    /// All links, ordered by ends, then ordinal.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// All Apps in byte order of names.
    pub fn apps(&self) -> &[App] {
        &self.apps
    }

    /// The Forwarder of this name.
    pub fn forwarder(&self, name: &str) -> Option<ForwarderIndex> {
        find(&self.forwarders, name)
    }

    /// The App of this name.
    pub fn app(&self, name: &str) -> Option<AppIndex> {
        let position = self
            .apps
            .binary_search_by(|app| app.name.as_str().cmp(name))
            .ok()?;
        Some(AppIndex(position as u32))
    }

    /// The link of this id: `A/B`, or `A/B#2` for a parallel one; the ends in either order.
    pub fn link(&self, id: &str) -> Option<LinkIndex> {
        let id = LinkId::parse(id).ok()?;
        let (a, b) = id.ends();
        let (a, b) = (self.forwarder(a)?, self.forwarder(b)?);
        self.links_between(a, b)
            .find(|link| self.links[link.position()].ordinal == id.ordinal())
    }

    /// The links that `selector` means, by ordinal; none when an end is no Forwarder of this topology.
    pub fn selected(&self, selector: &LinkSelector<'_>) -> Vec<LinkIndex> {
        let (a, b) = selector.ends();
        let (Some(a), Some(b)) = (self.forwarder(a), self.forwarder(b)) else {
            return Vec::new();
        };
        let ordinal = |link: &LinkIndex| self.links[link.position()].ordinal;
        self.links_between(a, b)
            .filter(|link| selector.ordinal().is_none_or(|it| it == ordinal(link)))
            .collect()
    }

    /// The canonical id of a link: `A/B`, or `A/B#2` for the second one.
    ///
    /// # Panics
    /// When the index is not of this topology.
    pub fn link_id(&self, link: LinkIndex) -> String {
        let Link { a, b, ordinal, .. } = self.links[link.position()];
        let (a, b) = (
            &self.forwarders[a.position()],
            &self.forwarders[b.position()],
        );
        LinkId::new(a, b, ordinal).to_string()
    }

    /// All links between two Forwarders, in either order, by ordinal.
    pub fn links_between(
        &self,
        a: ForwarderIndex,
        b: ForwarderIndex,
    ) -> impl Iterator<Item = LinkIndex> + use<> {
        let ends = (a.min(b), a.max(b));
        let start = self.links.partition_point(|link| (link.a, link.b) < ends);
        let end = self.links.partition_point(|link| (link.a, link.b) <= ends);
        (start as u32..end as u32).map(LinkIndex)
    }

    /// This topology with some links and Forwarders gone. Names and ordinals stay; indices move.
    pub fn without(&self, faults: &[Fault]) -> Topology {
        let lost: BTreeSet<Fault> = faults.iter().copied().collect();
        let is_lost = |forwarder| lost.contains(&Fault::Forwarder(forwarder));
        let kept = |(position, _): &(usize, &String)| !is_lost(ForwarderIndex(*position as u32));
        let kept: Vec<(usize, &String)> = self.forwarders.iter().enumerate().filter(kept).collect();
        let moved: BTreeMap<ForwarderIndex, ForwarderIndex> = (0..)
            .map(ForwarderIndex)
            .zip(&kept)
            .map(|(new, (old, _))| (ForwarderIndex(*old as u32), new))
            .collect();
        let links = self.links.iter().zip(0..).filter_map(|(link, index)| {
            let alive = !lost.contains(&Fault::Link(LinkIndex(index)));
            let (a, b) = (*moved.get(&link.a)?, *moved.get(&link.b)?);
            alive.then(|| Link {
                a,
                b,
                ..link.clone()
            })
        });
        let apps = self.apps.iter().map(|app| App {
            name: app.name.clone(),
            attachments: app
                .attachments
                .iter()
                .filter_map(|(at, weight)| Some((*moved.get(at)?, *weight)))
                .collect(),
        });
        Topology {
            links: links.collect(),
            apps: apps.collect(),
            forwarders: kept.iter().map(|(_, name)| String::clone(name)).collect(),
        }
    }

    /// Digest of the whole topology, independent of the order of declaration.
    ///
    /// Work: one BLAKE3 for each name. A [`crate::Graph`] keeps its own and follows changes.
    pub fn epoch(&self) -> Epoch {
        let names: Vec<u64> = self
            .forwarders
            .iter()
            .map(|name| epoch::name(name))
            .collect();
        let mut sum = epoch::Sum::default();
        names
            .iter()
            .for_each(|name| sum.add(epoch::forwarder(*name)));
        for link in &self.links {
            let (a, b) = (names[link.a.position()], names[link.b.position()]);
            let identity = epoch::link_identity(a, b, link.ordinal);
            sum.add(epoch::link(identity, (link.weight, link.weight_back)));
        }
        for app in &self.apps {
            let name = epoch::name(&app.name);
            sum.add(epoch::app(name));
            for (at, weight) in &app.attachments {
                sum.add(epoch::attachment(name, names[at.position()], *weight));
            }
        }
        sum.epoch()
    }
}

fn find(forwarders: &[String], name: &str) -> Option<ForwarderIndex> {
    let position = forwarders
        .binary_search_by(|other| other.as_str().cmp(name))
        .ok()?;
    Some(ForwarderIndex(position as u32))
}
