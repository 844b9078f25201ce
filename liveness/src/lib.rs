//! Liveness of a node's links: a BFD session (RFC 5880, 5881) over each of them, and a verdict on each end.
//!
//! Knows: sessions of all links of a node, the sockets in Forwarders' namespaces, restarts of peers, the budget of packets. Refuses to
//! know: routes, objects of Kubernetes, how other nodes hear of a verdict.
//!
//! ```text
//! Detector::set(namespace, links) --> thread "liveness-bind": sockets, interface indexes
//! Detector::peer_stopped, ...  --.            |
//!                                v            v
//! datagrams over the links --> thread "liveness": Sessions (pure) --> datagrams over the links
//!                                             '--> Verdicts::path_changed: alive, or suspect in a direction
//! ```
//! # Rules
//! - The thread "liveness" opens nothing, and waits for nobody: all sockets are read before a timer is stepped.
//! - A session exists while the interface of its link is up at this end.
//! - Silence of a peer whose daemon is known to have stopped is no failure ([`PAUSE`]): its kernel forwards on.
//! - A link whose session does not come up is suspect after [`GRACE`].
//! - A link that failed too often is suspect until it rests (`bfd::Damping`).
//! - A node sends [`BUDGET`] packets/s: intervals are stretched, in proportion, where its sessions ask for more.

mod bind;
mod budget;
mod clock;
mod detector;
mod filter;
mod inbox;
mod judge;
mod link;
mod sessions;
mod sockets;
mod statistics;
mod wire;
mod worker;

pub use budget::BUDGET;
pub use detector::{Detector, StartError};
pub use judge::{GRACE, PAUSE};
pub use link::{Link, Namespace, Path};
pub use statistics::{Snapshot, Statistics};
pub use worker::Verdicts;
