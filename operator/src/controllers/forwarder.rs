//! Controller of Forwarders: publishes the computed digest in each one's status.

use std::{future::Future, sync::Arc};

use ::telemetry::chain;
use futures::{FutureExt, StreamExt, stream};
use kube::runtime::{
    controller::{self, Action},
    watcher,
};
use tokio::{task, time::Instant};
use tracing::Instrument;

use super::{Context, Error, retry::Failures};
use crate::{
    observe::{ForwarderKey, Key},
    telemetry::trace_id,
};

/// Forwarders that are written at once.
const CONCURRENCY: u16 = 8;

/// The controller of Forwarders.
struct Forwarders {
    context: Context,
    failures: Failures,
}

/// Runs until `stop`, then finishes what is in hand.
pub async fn run(context: Context, stop: impl Future<Output = ()> + Send + 'static) {
    let store = context.cache.forwarder_store();
    let queue = stream::unfold(context.cache.clone(), |cache| async move {
        Some((Ok::<_, watcher::Error>(cache.next_forwarder().await), cache))
    });
    let forwarders = Arc::new(Forwarders {
        context,
        failures: Failures::default(),
    });
    let config = controller::Config::default().concurrency(CONCURRENCY);
    let reconcile = |object: Arc<ForwarderKey>, forwarders: Arc<Forwarders>| {
        let key = key(&object);
        let span = tracing::error_span!("reconcile", forwarder = %key, trace_id = trace_id());
        task::spawn(async move { forwarders.reconcile(&key).await }.instrument(span))
            .map(|result| result.unwrap_or_else(|panic| Err(Error::Panicked(panic))))
            .boxed()
    };
    let on_error = |object: Arc<ForwarderKey>, error: &Error, forwarders: Arc<Forwarders>| {
        let key = key(&object);
        let delay = forwarders.failures.failed(&key);
        tracing::warn!(forwarder = %key, error = %chain(error), ?delay, "failed, will try again");
        Action::requeue(delay)
    };
    controller::applier(
        reconcile,
        on_error,
        forwarders,
        store,
        Box::pin(queue.take_until(stop)),
        config,
    )
    .for_each(|_| std::future::ready(()))
    .await;
}

fn key(object: &ForwarderKey) -> Key {
    let metadata = &object.metadata;
    Key {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

impl Forwarders {
    async fn reconcile(&self, key: &Key) -> Result<Action, Error> {
        let Some((held, computed)) = self.context.cache.to_publish(key) else {
            self.failures.succeeded(key);
            return Ok(Action::await_change());
        };
        let started = Instant::now();
        let result = match self.context.writer.publish(&held, &computed).await {
            Ok(()) => {
                self.failures.succeeded(key);
                Ok(Action::await_change())
            }
            // Most often the Forwarder's node, which reports; or it is gone, and the watch does not say so yet.
            Err(error) if error.is_conflict() => Ok(Action::requeue(self.failures.failed(key))),
            Err(error) => Err(Error::from(error)),
        };
        let reason = result.as_ref().map(|_| ()).map_err(Error::reason);
        self.context
            .metrics
            .reconciled(crds::Forwarder::KIND, started.elapsed(), reason);
        result
    }
}
