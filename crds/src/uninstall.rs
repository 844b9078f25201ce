//! Request for the uninstallation of one node, an annotation of its daemon's pod, and the answer.

/// Annotation of a daemon's pod: [`REQUESTED`], and [`DONE`] as the answer.
pub const ANNOTATION: &str = "beemesh.io/uninstall";
/// Annotation of a daemon's pod: the objects that are left, counted by kind, as JSON.
pub const CENSUS: &str = "beemesh.io/uninstall-census";
/// Value of [`ANNOTATION`]: the node is to be cleaned.
pub const REQUESTED: &str = "requested";
/// Value of [`ANNOTATION`]: the node is clean.
pub const DONE: &str = "done";
