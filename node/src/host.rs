//! What the node is asked of the operating system: capabilities, underlay addresses, files, and its own network namespaces.

pub mod capabilities;
pub mod file_watch;
pub mod netns_registry;
pub mod underlay;
