//! Shared by all daemons: HTTP server with probes and metrics, process metrics, logs, error chains, backoff, quotas of log lines.
//!
//! ```text
//! named checks --> Probes --------.
//! registry --> text --> Scraper --+--> router: /livez /readyz /healthz /metrics --> Server
//! /proc/self --> Process ---------'
//! events, spans --> Logs (level changeable while running) --> one line each
//! ```
//! Knows: its own process, the probes of Kubernetes, the text format of Prometheus, connections and their limits.
//! Refuses to know: the metrics, the checks, and other routes.
#![forbid(unsafe_code)]

mod backoff;
mod chain;
mod described;
mod failures;
mod log_quota;
mod logs;
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
pub use logs::{LogError, LogFormat, Logs};
pub use network::network;
pub use probes::{Check, Heartbeat, Probes};
pub use process::Process;
pub use server::{Handshake, Limits, Rate, Server, Stream, Tls, TlsError, TlsFiles};
pub use text::text;
pub use web::router;
