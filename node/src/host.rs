//! Operating system of the node: capabilities, underlay addresses, file watches, the registry of own network namespaces, and
//! labs on the same host.

pub mod capabilities;
pub mod file_watch;
pub mod labs;
pub mod netns_registry;
pub mod underlay;
