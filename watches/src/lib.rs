//! Shared by the programs that watch the API server.
//!
//! Knows revisions of its store, codes of its answers and queues of keys; no kinds of objects, no caches.

mod error;
mod queue;
mod restore;

pub use error::{code, watch_code};
pub use queue::Queue;
pub use restore::Revisions;
