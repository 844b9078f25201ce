//! Pictures of a topology: one value, [`Picture`], and one writer for each format.
//!
//! ```text
//! Topology + stage + faults -> Picture -> layout -> place -> svg
//!                                    \--> dot (petgraph), mermaid
//! ```

mod dot;
mod geometry;
mod layout;
mod legend;
mod mermaid;
mod place;
mod stress;
mod svg;
mod theme;

pub(crate) use dot::dot;
pub(crate) use mermaid::mermaid;
pub(crate) use svg::svg;

use crds::topology::Shape;

/// Which of the three stages of the TopologyProcessor is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Stage {
    /// All Forwarders, links and Apps
    #[default]
    Global,
    /// Min-weight topology: parallel links reduced to the least, nodes with their distance
    Mwt,
    /// All shortest paths from one Forwarder (SPT-ECMP)
    Spt,
}

impl From<Stage> for crds::report::Stage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Global => Self::Global,
            Stage::Mwt => Self::Mwt,
            Stage::Spt => Self::Spt,
        }
    }
}

/// What is to be drawn, in words that need no topology at hand.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// The topology's name.
    pub(crate) title: String,
    /// What is shown, in one line.
    pub(crate) subtitle: String,
    /// The epoch that it was computed from.
    pub(crate) epoch: String,
    /// The stage; decides what is highlighted.
    pub(crate) stage: Stage,
    /// The declared shape, which the layout follows.
    pub(crate) shape: Shape,
    /// Forwarders in the order they are declared.
    pub(crate) forwarders: Vec<Forwarder>,
    /// Links in canonical order.
    pub(crate) links: Vec<Link>,
    /// Apps in canonical order.
    pub(crate) apps: Vec<App>,
}

/// A Forwarder: a circle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forwarder {
    /// Its name.
    pub(crate) name: String,
    /// The node that it is on, if the topology says so; gives the colour.
    pub(crate) node: Option<String>,
    /// Distance from the root; `None` without a root, or when it cannot be reached.
    pub(crate) distance: Option<u64>,
    /// Whether it is the root.
    pub(crate) is_root: bool,
    /// Whether it was taken out.
    pub(crate) is_failed: bool,
    /// Whether there is a root and no path from it.
    pub(crate) is_unreachable: bool,
}

/// A link: a line between two circles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    /// Canonical id.
    pub(crate) id: String,
    /// Position of one end in [`Picture::forwarders`].
    pub(crate) a: usize,
    /// Position of the other end.
    pub(crate) b: usize,
    /// Weight from `a` to `b`.
    pub(crate) weight: u32,
    /// Weight from `b` to `a`.
    pub(crate) weight_back: u32,
    /// Whether it, or one of its ends, was taken out.
    pub(crate) is_failed: bool,
    /// Whether a parallel link weighs less in both directions: not in the MWT.
    pub(crate) is_heavier: bool,
    /// Whether `a -> b` is an edge of the SPT-ECMP.
    pub(crate) is_tree_ab: bool,
    /// Whether `b -> a` is an edge of the SPT-ECMP.
    pub(crate) is_tree_ba: bool,
}

/// An App: a rounded box beside each Forwarder that it is attached to.
#[derive(Clone, Debug, Default)]
pub(crate) struct App {
    /// Its name.
    pub(crate) name: String,
    /// Where it is attached.
    pub(crate) attachments: Vec<Attachment>,
    /// Distance from the root.
    pub(crate) distance: Option<u64>,
}

/// One edge between an App and a Forwarder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attachment {
    /// Position in [`Picture::forwarders`].
    pub(crate) forwarder: usize,
    /// Weight from the Forwarder to the App.
    pub(crate) weight: u32,
    /// Whether a shortest path ends with this edge.
    pub(crate) is_tree: bool,
}

impl Link {
    /// Whether the link is an edge of the SPT-ECMP in either direction.
    pub(crate) fn is_tree(&self) -> bool {
        self.is_tree_ab || self.is_tree_ba
    }

    /// The weight as a label: `3`, or `3/7` when the directions differ.
    pub(crate) fn label(&self) -> String {
        if self.weight == self.weight_back {
            self.weight.to_string()
        } else {
            format!("{}/{}", self.weight, self.weight_back)
        }
    }
}

impl Picture {
    /// The nodes that Forwarders name, in byte order: one colour for each.
    pub(crate) fn nodes(&self) -> Vec<&str> {
        let mut nodes: Vec<&str> = self
            .forwarders
            .iter()
            .filter_map(|forwarder| forwarder.node.as_deref())
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }
}

#[cfg(test)]
mod tests;
