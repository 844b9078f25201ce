//! How the API server is reached.

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
/// How long an answer may take to begin. A server that is overloaded lets requests wait for half of it.
/// Without it a watch over a connection that died in silence would be waited for without end.
pub(super) const BEGINNING: Duration = Duration::from_secs(30);

/// A client as `kubeconfig` says, or the environment. It waits for no server.
pub(crate) async fn client(kubeconfig: Option<&Path>) -> Result<Client, Error> {
    paced(kubeconfig, Arc::default()).await
}

/// As [`client`], at this pace.
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
    // Whoever asks tries again by itself, and says so once.
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
