//! Shared by the programs that watch the API server.
//!
//! Knows revisions of its store and codes of its answers; no kinds of objects, no caches.

mod error;
mod restore;

pub use error::{code, watch_code};
pub use restore::Revisions;
