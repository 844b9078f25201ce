//! Composition of the operator: starts its tasks, and ends them on SIGTERM.
//!
//! ```text
//! watches (1x for each kind) -> Cache -> controllers (5x) -> Writer -> API server
//!                                 +----> REST API (1x), metrics, probes (1x)
//! ```

use std::{
    future::{self, Future},
    io,
    time::Duration,
};

use ::telemetry::{Check, Heartbeat, Limits, Logs, Probes, Server, TlsFiles};
use axum::http::{HeaderValue, header::USER_AGENT};
use kube::{
    Client,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};
use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};
use tower::timeout::TimeoutLayer;

use crate::{
    apply::Writer,
    config::Config,
    controllers::{self, Context, WorkingMemory},
    mesh_key,
    observe::{self, Cache, Kind},
    rest::{self, ListenError, Rest},
    telemetry::{Metrics, Observed, ObservedTopology},
};

/// Time for pending writes after SIGTERM.
const GRACE: Duration = Duration::from_secs(4);

/// Error that ends the operator. An unreachable API server is none.
#[derive(Debug, Error)]
pub enum Error {
    /// No usable kubeconfig and no service account.
    #[error("failed to load the client configuration of the API server")]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The configuration is not usable.
    #[error("failed to set up the client of the API server")]
    Client(#[source] kube::Error),
    /// Metrics and probes could not be served.
    #[error("failed to serve metrics and probes")]
    Listen(#[source] io::Error),
    /// The REST API could not be served.
    #[error("failed to serve the REST API")]
    Api(#[source] ListenError),
    /// Signals could not be handled.
    #[error("failed to wait for signals")]
    Signal(#[source] io::Error),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// Errors of the start.
pub async fn run(config: Config, logs: Logs) -> Result<(), Error> {
    let settings = settings(&config).await?;
    let client = client(settings.clone()).map_err(Error::Client)?;
    let replica = config.replica();
    let scope = config.scope();
    let heartbeat = Heartbeat::start();
    let (metrics, probes) = (Metrics::new(), heartbeat.probes());
    let cache = Cache::new(&scope, &replica);
    watch_over(&cache, &metrics, &probes);
    let context = Context {
        writer: Writer::new(client.clone(), cache.clone(), metrics.clone(), &replica),
        cache: cache.clone(),
        memory: WorkingMemory::default(),
        metrics: metrics.clone(),
        resync: config.resync,
    };
    let stopped = termination()?;
    let (stop, stopping) = watch::channel(false);
    let mut service = JoinSet::new();
    service.spawn(heartbeat.run());
    service.spawn(serve_metrics(&config, metrics.clone(), probes.clone()).await?);
    let anonymous = config.is_read_anonymous();
    let api = Rest::new(&settings, &context, anonymous, logs);
    let api = (listen_api(&config).await?, api.map_err(Error::Client)?);
    if let Some(name) = config.mesh_key_secret {
        let (namespace, resync) = (config.namespace, config.resync);
        service.spawn(mesh_key::run(client.clone(), namespace, name, resync));
    }
    service.spawn(observe::run(cache, client, metrics, scope));
    let mut work = JoinSet::new();
    work.spawn(api.0.serve(api.1.router(), until(stopping.clone())));
    work.spawn(controllers::topology::run(
        context.clone(),
        until(stopping.clone()),
    ));
    work.spawn(controllers::forwarder::run(
        context.clone(),
        until(stopping.clone()),
    ));
    work.spawn(controllers::names::run(
        context.clone(),
        until(stopping.clone()),
    ));
    work.spawn(controllers::network_attachments::run(
        context.clone(),
        config.namespaces.clone(),
        until(stopping.clone()),
    ));
    work.spawn(controllers::sweep::run(context, until(stopping)));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %replica, "running");
    stopped.await;
    tracing::info!("stopping: no new work, pending writes are finished");
    probes.stop();
    stop.send_replace(true);
    let finish = async { while work.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finish).await.is_err() {
        tracing::warn!(grace = ?GRACE, "pending writes not answered in time");
    }
    Ok(())
}

/// Timeout until an answer of the API server begins. An overloaded server queues requests for half
/// of it; without the timeout a watch over a dead connection waits for ever.
const BEGINNING: Duration = Duration::from_secs(30);

fn client(settings: kube::Config) -> Result<Client, kube::Error> {
    let begun = TimeoutLayer::new(BEGINNING);
    let builder = ClientBuilder::try_from(settings)?;
    Ok(builder.with_layer(&begun).build())
}

/// Client settings: no wait for the API server, and a user agent.
async fn settings(config: &Config) -> Result<kube::Config, Error> {
    let wrong = |error: Box<dyn std::error::Error + Send + Sync>| Error::Config(error);
    let mut settings = match &config.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| wrong(error.into()))?;
            let options = KubeConfigOptions::default();
            let read = kube::Config::from_custom_kubeconfig(file, &options).await;
            read.map_err(|error| wrong(error.into()))?
        }
        None => kube::Config::infer()
            .await
            .map_err(|error| wrong(error.into()))?,
    };
    settings.connect_timeout = Some(Duration::from_secs(5));
    let agent = HeaderValue::from_static(concat!("beemesh-operator/", env!("CARGO_PKG_VERSION")));
    settings.headers.push((USER_AGENT, agent));
    Ok(settings)
}

/// Ready when every kind is; each scrape reads the cache.
fn watch_over(cache: &Cache, metrics: &Metrics, probes: &Probes) {
    for kind in observe::KINDS {
        let cache = cache.clone();
        probes.ready_when(kind.name(), move || {
            let all = cache.readiness();
            let found = all.into_iter().find(|readiness| readiness.kind == kind);
            let waiting = found.filter(|readiness| !readiness.is_ready);
            Check::failed(waiting.map(|readiness| readiness.message))
        });
    }
    let cache = cache.clone();
    metrics.observe(move || observed(&cache));
}

fn observed(cache: &Cache) -> Observed {
    let topologies = cache.topologies();
    let topologies = topologies.iter().map(|entry| ObservedTopology {
        namespace: entry.key.namespace.clone(),
        name: entry.key.name.clone(),
        status: entry.status.clone(),
    });
    let sizes = cache.sizes();
    let ranges = sizes.iter().find(|(kind, _)| *kind == Kind::VniRange);
    let named = |(kind, count): (Kind, usize)| (kind.object(), count);
    Observed {
        topologies: topologies.collect(),
        ranges: ranges.map_or(0, |(_, count)| *count),
        cached: sizes.into_iter().map(named).collect(),
        queued: cache.waiting().into_iter().map(named).collect(),
    }
}

async fn serve_metrics(
    config: &Config,
    metrics: Metrics,
    probes: Probes,
) -> Result<impl Future<Output = ()> + use<>, Error> {
    // Without TLS: they hold no secret and are read-only.
    let server = Server::bind(config.listen_metrics, Limits::PROBES).await;
    let routes = ::telemetry::router(move || metrics.text(), probes);
    Ok(server
        .map_err(Error::Listen)?
        .serve(routes, future::pending()))
}

async fn listen_api(config: &Config) -> Result<rest::Server, Error> {
    let files = config.tls_cert.clone().zip(config.tls_key.clone());
    let options = rest::Options {
        address: config.api_address(),
        tls: files.map(|(certificate, key)| TlsFiles { certificate, key }),
        insecure: config.insecure_api,
    };
    rest::Server::bind(&options).await.map_err(Error::Api)
}

/// The first SIGTERM or SIGINT.
fn termination() -> Result<impl Future<Output = ()>, Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn until(mut stopping: watch::Receiver<bool>) {
    // The sender is gone only when the process is going.
    let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::TcpListener, time};

    use super::*;

    #[tokio::test]
    async fn an_answer_that_does_not_begin_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut settings = kube::Config::new(url.parse().unwrap());
        settings.root_cert = Some(Vec::new());
        settings.default_retry = false;
        let client = client(settings).unwrap();
        let asking = tokio::spawn(async move { client.apiserver_version().await });
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'G', "it was asked");
        let asked = time::Instant::now();
        time::pause();
        let answer = time::timeout(BEGINNING * 2, asking).await;
        let error = answer.expect("it is given up").unwrap().unwrap_err();
        assert!(asked.elapsed() >= BEGINNING / 2, "{error}");
        let why = ::telemetry::chain(&error);
        assert!(why.contains("timed out"), "{why}");
    }
}
