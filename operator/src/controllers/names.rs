//! Keeps the names by which Apps are found: Services and EndpointSlices out of what nodes report.

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    pin::pin,
    time::Duration,
};

use tokio::{task, time::Instant};
use tracing::Instrument;

use super::{Context, Error, retry::Failures, sweep::until};
use crate::{
    apply::{self, Named, chain},
    observe::{Key, Kind, jittered},
    plan, status,
    telemetry::trace_id,
};

/// Reason of the event that tells of a Service in the way.
const TAKEN: &str = "ServiceNameTaken";
/// Reason of the event that tells of names that cannot be written.
const REFUSED: &str = "NamesNotWritten";

/// Runs until `stop`, then finishes what is in hand.
pub async fn run(context: Context, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let cache = context.cache.clone();
    // Before everything is listed nothing can be known to be lost.
    if until(stop.as_mut(), cache.until_complete()).await.is_none() {
        return;
    }
    let failures = Failures::default();
    let mut told = Told::default();
    while let Some(key) = until(stop.as_mut(), cache.next_names()).await {
        let started = Instant::now();
        let span = tracing::error_span!("names", topology = %key, trace_id = trace_id());
        let work = reconcile(context.clone(), key.clone()).instrument(span);
        // Of its own task: a panic is the end of that task, and one topology's error.
        let result = task::spawn(work)
            .await
            .unwrap_or_else(|panic| Err(panic.into()));
        let reason = result.as_ref().map(|_| ()).map_err(Error::reason);
        let kind = Kind::Service.object();
        context.metrics.reconciled(kind, started.elapsed(), reason);
        match result {
            Ok(Look { again, foreign }) => {
                told.refused.remove(&key);
                told.tell(&context, &key, foreign).await;
                match again {
                    Again::AtOnce => cache.requeue_names(&key, Duration::ZERO),
                    Again::Later => cache.requeue_names(&key, failures.failed(&key)),
                    Again::AtResync => {
                        failures.succeeded(&key);
                        cache.requeue_names(&key, jittered(context.resync));
                    }
                    Again::Never => failures.succeeded(&key),
                }
            }
            Err(error) => {
                if let Error::Apply(error) = &error
                    && failures.is_lasting(&key, error)
                {
                    told.tell_refusal(&context, &key, error).await;
                }
                let delay = failures.failed(&key);
                tracing::warn!(topology = %key, error = %chain(&error), ?delay, "names not written, will try again");
                cache.requeue_names(&key, delay);
            }
        }
    }
}

/// What one look came to.
struct Look {
    again: Again,
    foreign: Vec<(String, String)>,
}

/// When to look again, if nothing happens before.
enum Again {
    AtOnce,
    Later,
    AtResync,
    Never,
}

async fn reconcile(context: Context, key: Key) -> Result<Look, Error> {
    let mut look = Look {
        again: Again::Never,
        foreign: Vec::new(),
    };
    let Some(world) = context.cache.names(&key) else {
        return Ok(look);
    };
    if world.pods.is_empty() && world.services.is_empty() && world.slices.is_empty() {
        return Ok(look);
    }
    let plan = plan::names::names(&world);
    let Named { done, foreign } = context.writer.name(&world, &plan).await;
    if let Some(error) = done.error {
        return Err(error.into());
    }
    look.foreign = foreign;
    look.again = match (done.conflicts, done.written) {
        (0, 0) => Again::AtResync,
        (0, _) => Again::AtOnce,
        _ => Again::Later,
    };
    Ok(look)
}

/// What was told already, topology by topology.
#[derive(Default)]
struct Told {
    /// App and Service.
    taken: HashMap<Key, BTreeSet<(String, String)>>,
    /// Those whose names cannot be written.
    refused: BTreeSet<Key>,
}

impl Told {
    /// Tells of each Service in the way, once for as long as it is.
    async fn tell(&mut self, context: &Context, key: &Key, foreign: Vec<(String, String)>) {
        let Some(entry) = context.cache.entry(key).filter(|_| !foreign.is_empty()) else {
            self.taken.remove(key);
            return;
        };
        let mut telling = BTreeSet::new();
        for (app, service) in foreign {
            let message = format!(
                "App {app} gets no name: Service {service} is there and is not of this topology"
            );
            let event = status::Event {
                reason: TAKEN.to_owned(),
                message,
                warning: true,
            };
            let fact = (app, service);
            let is_told = self.taken.get(key).is_some_and(|told| told.contains(&fact));
            if !is_told && let Err(error) = context.writer.tell_fact(&entry, &event).await {
                tracing::debug!(topology = %key, error = %chain(&error), "event not written");
                continue;
            }
            telling.insert(fact);
        }
        self.taken.insert(key.clone(), telling);
    }

    /// Tells why names cannot be written, once for as long as they cannot.
    async fn tell_refusal(&mut self, context: &Context, key: &Key, error: &apply::Error) {
        let entry = context.cache.entry(key);
        let Some(entry) = entry.filter(|_| !self.refused.contains(key)) else {
            return;
        };
        let event = status::Event {
            reason: REFUSED.to_owned(),
            message: error.told(),
            warning: true,
        };
        match context.writer.tell_fact(&entry, &event).await {
            Ok(()) => drop(self.refused.insert(key.clone())),
            Err(error) => {
                tracing::debug!(topology = %key, error = %chain(&error), "event not written");
            }
        }
    }
}
