//! The TopologyProcessor: what a declared graph means, and nothing about how it is made real.
//!
//! Knows: graphs of Forwarders and Apps, shapes, shortest paths with ECMP, address blocks,
//! and the difference between two topologies. Refuses to know: files, kernels, clocks,
//! threads, Kubernetes.
//!
//! ```text
//!  shape::links   generate        Change (link, weight, Forwarder)      Spf::update
//!        \          |                  |                                  |  (incremental)
//!         v         v                  v                                  v
//!  names, links, apps -> Topology -> Graph ------------ root ----------> Spf ---> Table
//!                        canonical   flat arrays,       Dijkstra, sets   labels,  next-hop sets,
//!                        order,      links up,          in one pass      DAG      routes
//!                        epoch       epoch                                |        |
//!                                      |                                  v        v
//!                                      +-------> stage: global, MWT, SPT-ECMP     plan
//! ```
//!
//! # The rules
//! - Weights are integers >= 1, one for each direction of a link. Parallel links are links.
//! - All shortest paths count: next hops are sets, never one picked out of them.
//! - Apps never transit. An App on several Forwarders is as far as the nearest of them.
//! - What cannot be reached is absent, and that is a fact, not an error.
//! - The same declaration in any order is the same [`Topology`], with the same [`Epoch`] and the
//!   same tables, on every machine: that lets nodes compute alone and agree.
//!
//! # A first table
//! ```
//! use topology::{AppSpec, Change, Graph, LinkSpec, Spf, Table, Topology};
//!
//! //      .- b -.
//! //     a       d - web        two ways of weight 2
//! //      `- c -'
//! let link = |a: &str, b: &str| LinkSpec {
//!     a: a.into(), b: b.into(), weight: 1, weight_back: 1,
//! };
//! let topology = Topology::new(
//!     ["a", "b", "c", "d"].map(String::from).to_vec(),
//!     vec![link("a", "b"), link("a", "c"), link("b", "d"), link("c", "d")],
//!     vec![AppSpec { name: "web".into(), attachments: vec![("d".into(), 1)] }],
//! )?;
//! let (a, web) = (topology.forwarder("a").unwrap(), topology.app("web").unwrap());
//!
//! let mut graph = Graph::new(&topology);
//! let mut spf = Spf::compute(&graph, a);
//! let table = Table::new(&topology, &graph, &spf, 64);
//! let (route, links) = table.to_app(web).unwrap();
//! assert_eq!(route.distance, 3);
//! let ids: Vec<String> = links.iter().map(|link| topology.link_id(*link)).collect();
//! assert_eq!(ids, ["a/b", "a/c"]);
//!
//! let lost = Change::Link { link: topology.link("d/b").unwrap(), weights: None };
//! let change = graph.change(lost);
//! spf.update(&graph, &[change]);
//! let (_, links) = Table::new(&topology, &graph, &spf, 64).to_app(web).map(|(route, links)| {
//!     (route, links.to_vec())
//! }).unwrap();
//! assert_eq!(topology.link_id(links[0]), "a/c");
//! assert_eq!(links.len(), 1);
//! # Ok::<(), topology::TopologyError>(())
//! ```
//!
//! # Why flat arrays and not petgraph
//! A routing daemon runs this on every change of a link, and the parts it needs besides distances
//! (all equal predecessors, next-hop sets, repair) petgraph does not have. In arrays a scan of
//! neighbours is one cache line, labels are one indexed load, and a change is two words; a full
//! run *with* next hops takes less than a third of the time of petgraph's `dijkstra` for
//! distances alone (10,000 Forwarders, 40,000 links). So petgraph stays at the edge, where its
//! breadth serves: import, export and DOT in [`interop`], and as a second opinion in the tests.
//!
//! # Sources
//! Dijkstra 1959 (shortest paths), Dial 1969 (buckets), Ramalingam & Reps 1996 (repair after
//! changes), Bellman 1958 (the oracle of the tests), Clos 1953 (fabrics), RFC 2991 and RFC 2992
//! (multipath by hash of the flow), RFC 2328 section 16.1 (equal-cost sets along the tree).
//!
//! # How it is tested
//! `tests/oracle.rs` and `tests/updates.rs` hold every answer on 100,000+ random graphs against an edge list and
//! Bellman-Ford, follow all tables hop by hop, and compare updates with full runs;
//! `SEED=n` repeats one graph. `tests/golden/` has a drawn story for each shape.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod address;
pub mod epoch;
pub mod error;
pub mod generate;
pub mod graph;
pub mod hash;
pub mod hops;
pub mod interop;
pub mod link_id;
pub mod model;
pub mod plan;
pub mod shape;
pub mod spf;
pub mod stage;
pub mod table;

pub use address::{AddressError, Prefix, assign};
pub use epoch::Epoch;
pub use error::TopologyError;
pub use graph::{AppliedChange, Change, Graph};
pub use link_id::{LinkId, LinkSelector};
pub use model::{
    App, AppIndex, AppSpec, Fault, ForwarderIndex, Link, LinkIndex, LinkSpec, Topology,
};
pub use plan::{Plan, plan};
pub use shape::Shape;
pub use spf::Spf;
pub use table::{AppRoute, Route, Table};
