//! Order of plans: a plan from older versions does not overwrite one from newer versions.
//!
//! ```text
//! watches ----> heard: the newest version that each watch has delivered, of any topology
//!          \--> basis: the newest version of each kind that concerned the topology ---> written with each plan
//! ```
//! A basis is a version that every replica's watches will deliver. So a replica with lower versions than the basis of the
//! written objects waits, and one with the same versions has a basis that is at least as new.

use std::{fmt, str::FromStr};

/// Annotation of Forwarders and Allocations: the [`Basis`] of the plan that they were last written from.
pub const BASIS_ANNOTATION: &str = "beemesh.io/planned-from";

/// The newest resourceVersion of each kind that a plan depends on and that no precondition guards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Reports of nodes, in Forwarders. Statuses alone depend on them.
    pub forwarders: u64,
    /// Nodes.
    pub nodes: u64,
    /// Pods.
    pub pods: u64,
}

/// Versions and generation that a plan was computed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// `metadata.generation` of the topology.
    pub generation: i64,
    /// Newest versions that concern the topology.
    pub versions: Versions,
}

/// Reason why a plan may be older than the written objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// A later generation of the topology is written: to be read live.
    Generation,
    /// These versions are written, and not delivered by the watches yet.
    Watches(Versions),
}

impl Versions {
    /// The newest of both, kind by kind.
    pub fn max(self, other: Versions) -> Versions {
        Versions {
            forwarders: self.forwarders.max(other.forwarders),
            nodes: self.nodes.max(other.nodes),
            pods: self.pods.max(other.pods),
        }
    }

    /// True when these include everything in `other`.
    pub fn covers(self, other: Versions) -> bool {
        self.max(other) == self
    }

    /// Versions of the kinds that specs depend on.
    fn of_specs(self) -> Versions {
        Versions {
            forwarders: 0,
            ..self
        }
    }
}

impl Basis {
    fn max(self, other: Basis) -> Basis {
        Basis {
            generation: self.generation.max(other.generation),
            versions: self.versions.max(other.versions),
        }
    }
}

/// Lag of a replica with the versions `heard` and a topology of `generation` behind the `written`
/// versions.
///
/// `is_live`: the generation was read live after the written objects. `disbelieved` are versions
/// that no watch has delivered in a long time: edited by hand, or from before a restore of etcd.
pub(super) fn lag(
    written: impl Iterator<Item = Basis>,
    (generation, is_live): (i64, bool),
    heard: Versions,
    disbelieved: Versions,
) -> Option<Lag> {
    let written = written.fold(Basis::default(), Basis::max);
    let versions = written.versions.of_specs();
    if written.generation > generation && !is_live {
        Some(Lag::Generation)
    } else if heard.max(disbelieved).covers(versions) {
        None
    } else {
        Some(Lag::Watches(versions))
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Versions {
            forwarders,
            nodes,
            pods,
        } = self;
        write!(f, "forwarders={forwarders},nodes={nodes},pods={pods}")
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (generation, Versions { nodes, pods, .. }) = (self.generation, self.versions);
        write!(f, "generation={generation},nodes={nodes},pods={pods}")
    }
}

/// Parses leniently: invalid parts are ignored.
impl FromStr for Basis {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Basis, Self::Err> {
        let mut basis = Basis::default();
        for (name, number) in text.split(',').filter_map(|part| part.split_once('=')) {
            let number: u64 = number.parse().unwrap_or(0);
            match name {
                "generation" => basis.generation = i64::try_from(number).unwrap_or(0),
                "forwarders" => basis.versions.forwarders = number,
                "nodes" => basis.versions.nodes = number,
                "pods" => basis.versions.pods = number,
                _ => {}
            }
        }
        Ok(basis)
    }
}

impl FromStr for Versions {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Versions, Self::Err> {
        text.parse().map(|basis: Basis| basis.versions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis(text: &str) -> Basis {
        text.parse().expect("everything can be read")
    }

    #[test]
    fn annotations_are_read_as_they_are_written() {
        let text = "generation=7,nodes=100,pods=300";
        assert_eq!(basis(text).to_string(), text);
        let text = "forwarders=5,nodes=100,pods=300";
        let versions: Versions = text.parse().expect("everything can be read");
        assert_eq!(versions.to_string(), text);
        for unreadable in ["", "generation", "generation=-1,x=3", "pods=many"] {
            assert_eq!(basis(unreadable), Basis::default(), "{unreadable:?}");
        }
    }

    #[test]
    fn whoever_has_heard_less_than_is_written_lags() {
        let watches = |text: &str| Some(Lag::Watches(basis(text).versions));
        #[rustfmt::skip]
        let cases = [
            // written, generation, live, heard, disbelieved, lag
            ("generation=2,pods=9", 2, false, "pods=9", "", None),
            ("generation=2", 1, false, "", "", Some(Lag::Generation)),
            // A live read is never older than an earlier write: the annotation is wrong.
            ("generation=2", 1, true, "", "", None),
            ("pods=9", 1, false, "pods=8", "", watches("pods=9")),
            ("nodes=9", 1, false, "pods=9", "", watches("nodes=9")),
            ("pods=9", 1, false, "pods=8", "pods=9", None),
            ("forwarders=9", 1, false, "", "", None),
        ];
        for (written, generation, is_live, heard, disbelieved, expected) in cases {
            let found = lag(
                [basis(""), basis(written)].into_iter(),
                (generation, is_live),
                basis(heard).versions,
                basis(disbelieved).versions,
            );
            assert_eq!(found, expected, "{written}: heard {heard}");
        }
    }
}
