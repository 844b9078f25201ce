//! Uninstallation: removes everything from the node, reports it, and waits for SIGTERM.

use std::sync::Arc;
use std::time::Duration;

use ::telemetry::{Check, Limits, Server, router};
use kube::Client;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, Origin};
use crate::error::Error;
use crate::install::node_object;
use crate::install::uninstall::{Leftovers, REQUESTED};
use crate::objects::kubernetes::client;
use crate::objects::own_pod::OwnPod;
use crate::telemetry::{self, Heartbeat, Metrics};

/// Interval between two checks of the own pod, and between two retries.
const PAUSE: Duration = Duration::from_secs(2);

/// Cleans the node and answers each uninstall request, until SIGTERM.
///
/// # Errors
/// [`Error::Start`] when the runtime or the client of the API server cannot be started.
pub(super) fn leave(config: &Config, own: &OwnPod) -> Result<(), Error> {
    let started = |what| move |source| Error::Start { what, source };
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(started("the runtime"))?;
    let Origin::Kubernetes { kubeconfig } = &config.origin else {
        return Ok(());
    };
    runtime.block_on(async {
        let client = client::client(kubeconfig.as_deref()).await?;
        if let Some(address) = config.http_address {
            tokio::spawn(async move {
                let server = Server::bind_in_time(address, Limits::PROBES).await;
                server.serve(probes(), std::future::pending()).await;
            });
        }
        let mut terminate = signal(SignalKind::terminate()).map_err(started("signals"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(started("signals"))?;
        tokio::select! {
            () = clean(Arc::new(Leftovers::find(config)), &client, own) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

/// Live, but not ready.
fn probes() -> axum::Router {
    let heartbeat = Heartbeat::default();
    // The engine has ended: its heartbeat is never due.
    heartbeat.beat(std::time::Instant::now() + Duration::from_secs(u64::from(u32::MAX)));
    heartbeat.set_ready(true);
    let metrics = Metrics::new(&heartbeat);
    let probes = telemetry::probes(&heartbeat);
    probes.ready_when("uninstall", || {
        Check::Failed("the node was cleaned".to_owned())
    });
    router(move || metrics.text(), probes)
}

async fn clean(leftovers: Arc<Leftovers>, client: &Client, own: &OwnPod) {
    let mut is_asked = true;
    loop {
        if is_asked {
            let work = Arc::clone(&leftovers);
            // The panic was logged; the next try follows.
            let removed = tokio::task::spawn_blocking(move || (work.remove(), work.census())).await;
            if let Ok((failures, census)) = removed {
                for error in &failures {
                    tracing::warn!(
                        error = error as &dyn std::error::Error,
                        "node not clean yet, retried"
                    );
                }
                tracing::info!(?census, "node cleaned, leftovers counted");
                if let Err(error) = node_object::answer(client, own, &census).await {
                    tracing::warn!(%error, "result of the uninstallation not reported, retried");
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
        let asked = node_object::asked(client, own).await;
        is_asked = asked.is_ok_and(|word| word.as_deref() == Some(REQUESTED));
    }
}
