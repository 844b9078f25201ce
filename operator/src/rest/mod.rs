//! REST API: topologies for people and programs without kubectl.
//!
//! ```text
//! request -> limits (time, number; few strangers) -> access (TokenReview, SubjectAccessReview) -> body -> handler -> answer
//!                                                                 reads: the caches --+
//!                                    writes: the API server, with the caller's own token
//! ```
//! What can be asked is at `/openapi.json`, made from the code. Errors are problem details (RFC 9457).
//! Reads need no token on loopback; elsewhere they do, unless the operator is started with `--anonymous-read`.

mod access;
mod apply;
mod auth_cache;
mod document;
mod extract;
mod limits;
mod log_level;
mod plan;
mod problem;
mod read;
mod server;
mod stages;

use std::{net::SocketAddr, sync::Arc, thread};

use ::telemetry::{Logs, TlsFiles};
use axum::Router;
use kube::{Client, Config, config::AuthInfo};
use tokio::sync::Semaphore;

use self::{access::Access, problem::Problem};
pub use self::{
    document::document,
    server::{ListenError, Server},
};
use crate::{
    controllers::{Context, WorkingMemory},
    observe::Cache,
    telemetry::Metrics,
};

/// Listen address and TLS files of the API.
#[derive(Clone, Debug)]
pub struct Options {
    /// Listen address; port 0 is any free one.
    pub address: SocketAddr,
    /// Certificate and key; without them the API is served plain, on loopback only.
    pub tls: Option<TlsFiles>,
    /// Serve plain on other addresses too: anyone on the way can read tokens.
    pub insecure: bool,
}

/// State of the handlers. Cheap to clone.
#[derive(Clone)]
pub struct Rest(Arc<Inner>);

struct Inner {
    cache: Cache,
    access: Access,
    /// Carries no credentials: each request has the caller's token.
    client: Client,
    logs: Logs,
    metrics: Metrics,
    memory: WorkingMemory,
    requests: limits::Requests,
    /// Computations that are under way.
    computations: Arc<Semaphore>,
}

impl Rest {
    /// The API over the cache of `context`; `config` says how the API server is reached.
    ///
    /// # Errors
    /// When no client can be made of `config`.
    pub fn new(
        config: &Config,
        context: &Context,
        anonymous_read: bool,
        logs: Logs,
    ) -> Result<Rest, kube::Error> {
        let reviewer = Client::try_from(config.clone())?;
        let mut bare = config.clone();
        bare.auth_info = AuthInfo::default();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        // One core is left to those who reconcile.
        let computations = cores.saturating_sub(1).max(1);
        Ok(Rest(Arc::new(Inner {
            cache: context.cache.clone(),
            access: Access::new(reviewer, anonymous_read),
            client: Client::try_from(bare)?,
            logs,
            metrics: context.metrics.clone(),
            memory: context.memory.clone(),
            requests: limits::Requests::new(),
            computations: Arc::new(Semaphore::new(computations)),
        })))
    }

    /// All routes.
    pub fn router(self) -> Router {
        let (routes, _) = document::routes().split_for_parts();
        limits::limited(routes, &self).with_state(self)
    }

    /// Runs `work`, which takes a while, where it holds up no other request.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = Arc::clone(&self.0.computations).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        // It continues when its caller is gone.
        let work = move || {
            let _permit = permit;
            work()
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| Problem::internal(&error))
    }
}
