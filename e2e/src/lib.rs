//! Real Kubernetes servers for tests: etcd and kube-apiserver as processes on loopback.
//!
//! Knows how the programs are found ([`tools`]), started, stopped, frozen and killed, and how to ask the API server
//! its requests ([`Requests`], [`AuditEvent`]). Knows nothing of beemesh: a client of the server is a
//! program ([`Process`]), its objects are manifests ([`ApiServer::kubectl_apply`]).
//!
//! ```text
//!   tools: KUBEBUILDER_ASSETS | e2e/tools/fill
//!        v
//!   ApiServer: etcd <- kube-apiserver [<- kube-controller-manager] <- Process (operator)
//!        ^ kubectl, /metrics, audit log
//! ```
//!
//! Every process dies with the test that started it. Nothing here sleeps for a fixed time: [`eventually`] polls.

mod audit;
pub mod cluster;
mod http;
mod keys;
mod kubectl;
mod memory;
mod metrics;
mod options;
mod ports;
mod process;
mod server;
mod spawn;
pub mod tools;
mod trial;
mod workdir;

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

pub use audit::AuditEvent;
pub use http::http_get;
pub use kubectl::Ran;
pub use memory::{cpu_seconds, peak_bytes, resident_bytes};
pub use metrics::{Request, Requests};
pub use options::Options;
pub use ports::free_port;
pub use process::Process;
pub use server::ApiServer;
pub use tools::{needs, needs_servers};
pub use trial::{tell, trial};

/// Pause of [`eventually`] between two checks.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until `look` returns `Ok`, or `deadline` has passed; the error then says `what` and the last look's error.
///
/// # Errors
/// The last error of `look`, when none succeeded in time.
pub fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(error) if started.elapsed() >= deadline => {
                return Err(error.context(format!("not in {deadline:?}: {what}")));
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// `Ok` when `is_so`, else an error with `otherwise`: for looks of [`eventually`] and bodies of trials.
///
/// # Errors
/// `otherwise`, when not `is_so`.
pub fn ensure(is_so: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if is_so {
        Ok(())
    } else {
        Err(anyhow!(otherwise()))
    }
}
