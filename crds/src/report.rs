//! Reports on a topology as data: the same JSON from the command line and from the operator.
//!
//! ```text
//! Topology, Graph, Spf --> graph: GraphReport, one stage
//! Topology, Table -------> routes: RoutesReport
//! two of them -----------> plan: PlanReport, changes
//! ```

mod graph;
mod plan;
mod routes;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    graph::{AttachmentReport, Edge, GraphReport, LinkReport, NodeKind, NodeReport, Seen},
    plan::{Change, Changes, PlanReport},
    routes::{Hop, Route, RoutesReport, TableReport, table},
};

/// Stage of the computation.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// All Forwarders, links and Apps.
    #[default]
    Global,
    /// Min-weight topology: parallel links reduced to the least, nodes with their distance.
    Mwt,
    /// All shortest paths from one Forwarder (SPT-ECMP).
    Spt,
}

#[cfg(test)]
mod tests;
