//! Desired and observed state of the kernel for beemesh, and the changes from one to the other.
//!
//! Knows: network namespaces, links, addresses, neighbours, nexthop objects, routes, and netlink. Refuses to know:
//! topologies, shortest paths, Kubernetes, CNI, and any async runtime (every call blocks, with a time limit).
//!
//! ```text
//! desired (state) --.
//!                    >-- diff (pure) --> operations --> Kernel::apply --> failures
//! Kernel::observe --'                                  (LinuxKernel, MemoryKernel)
//!        ^                                                   |
//!        '------------ monitor: what changed <---- kernel <--'
//! ```

pub mod attachment;
pub mod census;
pub mod descriptors;
pub mod diff;
mod error;
pub mod groups;
mod kernel;
mod linux;
pub mod mac;
mod memory;
pub mod monitor;
pub mod mtu;
pub mod netlink;
pub mod netns;
mod observed;
mod operation;
mod port;
mod settings;
mod state;

pub use error::Error;
pub use kernel::{Applied, Kernel, converge, converge_routes, observe_again, remove};
pub use linux::{LinuxKernel, underlay};
pub use memory::MemoryKernel;
pub use observed::{Observed, Rule, SeenLink, SeenNeighbour, SeenNexthop, SeenRoute, Via};
pub use operation::{Failure, Operation};
pub use port::{Fib, Structure};
pub use settings::{InterfaceSetting, SETTINGS};
pub use state::{
    ALIAS_PREFIX, ATTACHMENT_PREFIX, ATTACHMENT_PROTOCOL, Balance, LINK_GROUP, Link, LinkKind,
    Namespace, PROTOCOL, PodEnd, Routes, Target, TargetIndex,
};
