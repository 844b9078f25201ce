//! Hosts of a lab: network namespaces on one bridge, their daemons and all processes in them.

pub(crate) mod daemons;
pub(crate) mod processes;
pub(crate) mod rootless;
pub(crate) mod underlay;
