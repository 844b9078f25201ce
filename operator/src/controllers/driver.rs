//! The loop of a controller: objects of its queue, some at once, each by one task at a time.

use std::{future::Future, sync::Arc};

use ::telemetry::chain;
use futures::{FutureExt, Stream, StreamExt};
use kube::{
    Resource,
    runtime::{
        controller::{self, Action},
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use tokio::{task, time::Instant};
use tracing::Instrument;

use super::{Context, Error, retry::Failures, sweep::until};
use crate::{observe::Key, telemetry::trace_id};

/// Objects of one controller that are worked on at once.
const CONCURRENCY: u16 = 8;

/// Controller: reconciles one object, and returns the pause before the next reconcile.
pub(super) trait Controller: Send + Sync + 'static {
    /// Kind of the objects that it writes, for logs and metrics.
    const KIND: &'static str;

    fn context(&self) -> &Context;

    fn failures(&self) -> &Failures;

    /// Brings one object to where it should be.
    fn look_at(&self, key: &Key) -> impl Future<Output = Result<Action, Error>> + Send;

    /// Drops the memory of an object that is gone.
    fn forget(&self, key: &Key);
}

/// Runs until `stop`, then finishes pending writes.
pub(super) async fn drive<K, C: Controller>(
    controller: C,
    store: Store<K>,
    queue: impl Stream<Item = ObjectRef<K>> + Send + 'static,
    stop: impl Future<Output = ()> + Send + 'static,
) where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let mut stop = Box::pin(stop);
    let cache = &controller.context().cache;
    // A store of kube wakes only one of those that wait for it.
    if until(stop.as_mut(), cache.until_complete()).await.is_none() {
        return;
    }
    let reconcile = |object: Arc<K>, controller: Arc<C>| {
        let key = key(object.as_ref());
        let span =
            tracing::error_span!("reconcile", kind = C::KIND, object = %key, trace_id = trace_id());
        // Of its own task: a panic is the end of that task, and one object's error.
        task::spawn(async move { measured(controller.as_ref(), &key).await }.instrument(span))
            .map(|result| result.unwrap_or_else(|panic| Err(Error::Panicked(panic))))
            .boxed()
    };
    let on_error = |object: Arc<K>, error: &Error, controller: Arc<C>| {
        let key = key(object.as_ref());
        let delay = controller.failures().failed(&key);
        tracing::warn!(kind = C::KIND, object = %key, error = %chain(error), ?delay, "reconcile failed, retried");
        Action::requeue(delay)
    };
    let queue = Box::pin(queue.map(Ok::<_, watcher::Error>).take_until(stop));
    let config = controller::Config::default().concurrency(CONCURRENCY);
    let controller = Arc::new(controller);
    let shared = Arc::clone(&controller);
    let looks = controller::applier(reconcile, on_error, controller, store, queue, config);
    looks
        .for_each(|result| {
            if let Err(controller::Error::ObjectNotFound(object)) = result {
                shared.forget(&Key::new(object.namespace.unwrap_or_default(), object.name));
            }
            std::future::ready(())
        })
        .await;
}

async fn measured<C: Controller>(controller: &C, key: &Key) -> Result<Action, Error> {
    let started = Instant::now();
    let result = controller.look_at(key).await;
    let reason = result.as_ref().map(|_| ()).map_err(Error::reason);
    let metrics = &controller.context().metrics;
    metrics.reconciled(C::KIND, started.elapsed(), reason);
    result
}

fn key<K: Resource>(object: &K) -> Key {
    let metadata = object.meta();
    Key {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}
