//! Shared by all daemons: HTTP server with probes and metrics, process metrics, error chains, backoff, quotas of log lines.
//!
//! ```text
//! named checks --> Probes --------.
//! registry --> text --> Scraper --+--> router: /livez /readyz /healthz /metrics --> Server
//! /proc/self --> Process ---------'
//! ```
//! Knows: its own process, the probes of Kubernetes, the text format of Prometheus, connections and their limits.
//! Refuses to know: the metrics, the checks, and other routes.
#![forbid(unsafe_code)]

mod backoff;
mod chain;
mod described;
mod failures;
mod log_quota;
mod network;
mod probes;
mod process;
mod scrape;
mod server;
mod text;
mod web;

pub use backoff::{Backoff, jittered};
pub use chain::chain;
pub use described::{described, ill_formed, listed};
pub use failures::Failures;
pub use log_quota::LogQuota;
pub use network::network;
pub use probes::{Check, Probes};
pub use process::Process;
pub use server::{Handshake, Limits, Server, Stream};
pub use text::text;
pub use web::router;
