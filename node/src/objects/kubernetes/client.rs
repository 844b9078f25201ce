//! Client of the API server.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tower::layer::layer_fn;
use tower::timeout::TimeoutLayer;

use super::pace::{Pace, Paced};
use crate::error::Error;

const CONNECT: Duration = Duration::from_secs(5);
/// Timeout until an answer begins. An overloaded server queues requests for half of it. Without the
/// timeout, a watch over a connection that died silently would wait for ever.
pub(super) const BEGINNING: Duration = Duration::from_secs(30);

/// Client for `kubeconfig`, or for the in-cluster configuration or the environment. Waits for no
/// server.
pub(crate) async fn client(kubeconfig: Option<&Path>) -> Result<Client, Error> {
    paced(kubeconfig, Arc::default()).await
}

/// As [`client`], with rate limiting by `pace`.
pub(super) async fn paced(kubeconfig: Option<&Path>, pace: Arc<Pace>) -> Result<Client, Error> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| Error::Start {
        what: "the client of the API server",
        source: io::Error::other(error),
    };
    let mut settings = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| failed(error.into()))?;
            let options = KubeConfigOptions::default();
            let read = kube::Config::from_custom_kubeconfig(file, &options).await;
            read.map_err(|error| failed(error.into()))?
        }
        None => kube::Config::infer()
            .await
            .map_err(|error| failed(error.into()))?,
    };
    settings.connect_timeout = Some(CONNECT);
    // Callers retry by themselves, and log a failure once.
    settings.default_retry = false;
    let agent = concat!("beemesh-node/", env!("CARGO_PKG_VERSION"));
    if let (Ok(name), Ok(agent)) = ("user-agent".parse(), agent.parse()) {
        settings.headers.push((name, agent));
    }
    let builder = ClientBuilder::try_from(settings).map_err(|error| failed(error.into()))?;
    let layer = layer_fn(|inner| Paced {
        inner,
        pace: Arc::clone(&pace),
    });
    let begun = TimeoutLayer::new(BEGINNING);
    Ok(builder.with_layer(&begun).with_layer(&layer).build())
}
