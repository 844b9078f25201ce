//! Operating system of the node: capabilities, underlay addresses, file watches, and the registry
//! of own network namespaces.

pub mod capabilities;
pub mod file_watch;
pub mod netns_registry;
pub mod underlay;
