//! App instances: the CNI plugin and its configuration, and addresses outside of the mesh.

pub(crate) mod conflist;
pub(crate) mod external;
pub(crate) mod plugin;
