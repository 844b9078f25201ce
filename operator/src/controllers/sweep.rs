//! Deletion of objects whose topology is gone: for clusters without a garbage collector, and for VniRanges, which
//! have no owner in a namespace.

use std::{
    future::Future,
    pin::{Pin, pin},
    time::Duration,
};

use ::telemetry::{Backoff, chain, jittered};
use futures::{StreamExt, future, stream};
use tokio::time::Instant;

use super::Context;
use crate::observe::{Kind, Orphan};

/// Number of orphans that are handled in parallel.
const PARALLEL: usize = 4;
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(120);

/// Runs until `stop`, then finishes pending writes.
pub async fn run(context: Context, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    // Before everything is listed nothing can be known to be lost.
    if until(stop.as_mut(), context.cache.until_complete())
        .await
        .is_none()
    {
        return;
    }
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    while until(stop.as_mut(), context.cache.next_sweep())
        .await
        .is_some()
    {
        let delay = match sweep(&context).await {
            true => {
                backoff.succeeded();
                context.resync
            }
            false => backoff.failed(),
        };
        context.cache.requeue_sweep(jittered(delay));
    }
}

/// Result of `work`; `None` when `stop` comes first.
pub(super) async fn until<T>(
    stop: Pin<&mut impl Future<Output = ()>>,
    work: impl Future<Output = T>,
) -> Option<T> {
    match future::select(stop, pin!(work)).await {
        future::Either::Left(_) => None,
        future::Either::Right((result, _)) => Some(result),
    }
}

/// Looks at every orphan once. True when none is left.
async fn sweep(context: &Context) -> bool {
    // Ranges wait until allocations and Forwarders are gone.
    let (ranges, others): (Vec<Orphan>, Vec<Orphan>) = context
        .cache
        .orphans()
        .into_iter()
        .partition(|orphan| orphan.kind == Kind::VniRange);
    sweep_each(context, others).await & sweep_each(context, ranges).await
}

async fn sweep_each(context: &Context, orphans: Vec<Orphan>) -> bool {
    stream::iter(orphans)
        .map(|orphan| async move { sweep_one(context, &orphan).await })
        .buffer_unordered(PARALLEL)
        .fold(true, |all, one| future::ready(all & one))
        .await
}

async fn sweep_one(context: &Context, orphan: &Orphan) -> bool {
    let started = Instant::now();
    let result = context.writer.sweep(orphan).await;
    let reason = match &result {
        Err(error) if !error.is_conflict() => Err(error.reason()),
        _ => Ok(()),
    };
    let metrics = &context.metrics;
    metrics.reconciled(orphan.kind.object(), started.elapsed(), reason);
    match result {
        Ok(is_gone) => is_gone,
        Err(error) => {
            let error = chain(&error);
            tracing::debug!(kind = %orphan.kind, object = %orphan.key, %error, "orphan not deleted, retried");
            false
        }
    }
}
