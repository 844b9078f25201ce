//! Pictures of a topology: one value, [`Picture`], and one writer for each format. Pure.
//!
//! ```text
//! Picture (the caller's) -> layout -> place -> svg
//!                      \--> dot (petgraph), mermaid
//! ```
//! Knows: positions, labels, colours, formats. Refuses to know: how shortest paths are computed, files, arguments.

mod dot;
mod geometry;
mod layout;
mod legend;
mod mermaid;
mod place;
mod stress;
mod svg;
mod theme;

pub use dot::dot;
pub use mermaid::mermaid;
pub use svg::svg;

use topology::Shape;

/// Stage of the computation; decides the highlighting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// All Forwarders, links and Apps.
    #[default]
    Global,
    /// Min-weight topology: parallel links reduced to the least, nodes with their distance.
    Mwt,
    /// All shortest paths from one Forwarder (SPT-ECMP).
    Spt,
}

/// Drawing of one stage of one topology, independent of the graph that it was made from.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The topology's name.
    pub title: String,
    /// Description of the picture, in one line.
    pub subtitle: String,
    /// The epoch that it was computed from.
    pub epoch: String,
    /// Stage, which selects the highlighted parts.
    pub stage: Stage,
    /// The declared shape, which the layout follows.
    pub shape: Shape,
    /// Forwarders in the order they are declared.
    pub forwarders: Vec<Forwarder>,
    /// Links in canonical order.
    pub links: Vec<Link>,
    /// Apps in canonical order.
    pub apps: Vec<App>,
}

/// A Forwarder: a circle.
#[derive(Clone, Debug, Default)]
pub struct Forwarder {
    /// Its name.
    pub name: String,
    /// Node of the Forwarder, if declared; selects the colour.
    pub node: Option<String>,
    /// Distance from the root; `None` without a root, or when it cannot be reached.
    pub distance: Option<u64>,
    /// True for the root.
    pub is_root: bool,
    /// True when it was removed.
    pub is_failed: bool,
    /// True when there is a root and no path from it.
    pub is_unreachable: bool,
}

/// A link: a line between two circles.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// Canonical id.
    pub id: String,
    /// Position of one end in [`Picture::forwarders`].
    pub a: usize,
    /// Position of the other end.
    pub b: usize,
    /// Weight from `a` to `b`.
    pub weight: u32,
    /// Weight from `b` to `a`.
    pub weight_back: u32,
    /// True when it, or one of its ends, was removed.
    pub is_failed: bool,
    /// True when a parallel link weighs less in both directions: not in the MWT.
    pub is_heavier: bool,
    /// True when `a -> b` is an edge of the SPT-ECMP.
    pub is_tree_ab: bool,
    /// True when `b -> a` is an edge of the SPT-ECMP.
    pub is_tree_ba: bool,
}

/// An App: a rounded box beside each Forwarder that it is attached to.
#[derive(Clone, Debug, Default)]
pub struct App {
    /// Its name.
    pub name: String,
    /// Attachments to Forwarders.
    pub attachments: Vec<Attachment>,
    /// Distance from the root.
    pub distance: Option<u64>,
}

/// One edge between an App and a Forwarder.
#[derive(Clone, Debug, Default)]
pub struct Attachment {
    /// Position in [`Picture::forwarders`].
    pub forwarder: usize,
    /// Weight from the Forwarder to the App.
    pub weight: u32,
    /// True when a shortest path ends with this edge.
    pub is_tree: bool,
}

impl Link {
    /// True when the link is an edge of the SPT-ECMP in either direction.
    pub fn is_tree(&self) -> bool {
        self.is_tree_ab || self.is_tree_ba
    }

    /// The weight as a label: `3`, or `3/7` when the directions differ.
    pub fn label(&self) -> String {
        if self.weight == self.weight_back {
            self.weight.to_string()
        } else {
            format!("{}/{}", self.weight, self.weight_back)
        }
    }
}

impl Picture {
    /// The nodes that Forwarders name, in byte order: one colour for each.
    pub fn nodes(&self) -> Vec<&str> {
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
