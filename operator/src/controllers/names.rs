//! Controller of names: Services and EndpointSlices of Apps, from what nodes report.

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ::telemetry::{chain, jittered};
use kube::runtime::controller::Action;

use super::{
    Context, Error,
    driver::{Controller, drive},
    retry::{Failures, Rewrites},
};
use crate::{
    apply::{self, Named},
    observe::{Key, Kind},
    plan::{self, names::NamesPlan},
    status,
};

/// Reason of the event about a conflicting Service.
const TAKEN: &str = "ServiceNameTaken";
/// Reason of the event about names that cannot be written.
const REFUSED: &str = "NamesNotWritten";

/// The controller of names.
struct Names {
    context: Context,
    failures: Failures,
    rewrites: Rewrites,
    events: Events,
}

/// Runs until `stop`, then finishes pending writes.
pub async fn run(context: Context, stop: impl Future<Output = ()> + Send + 'static) {
    let (store, queue) = (context.cache.topology_store(), context.cache.due_names());
    let names = Names {
        context,
        failures: Failures::default(),
        rewrites: Rewrites::default(),
        events: Events::default(),
    };
    drive(names, store, queue, stop).await;
}

impl Controller for Names {
    const KIND: &'static str = Kind::Service.object();

    fn context(&self) -> &Context {
        &self.context
    }

    fn failures(&self) -> &Failures {
        &self.failures
    }

    async fn look_at(&self, key: &Key) -> Result<Action, Error> {
        let world = self.context.cache.names(key);
        let world = world.filter(|world| {
            !(world.pods.is_empty() && world.services.is_empty() && world.slices.is_empty())
        });
        let Some(world) = world else {
            self.forget(key);
            return Ok(Action::await_change());
        };
        let plan = plan::names::names(&world);
        if let Some(pause) = self.rewrites.pause(key, fingerprint(&plan)) {
            return Ok(Action::requeue(pause));
        }
        let Named { done, foreign } = self.context.writer.name(&world, &plan).await;
        if let Some(error) = done.error {
            if self.failures.is_lasting(key, &error) {
                self.events.refused(&self.context, key, &error).await;
            }
            return Err(error.into());
        }
        lock(&self.events.refused).remove(key);
        self.events.taken(&self.context, key, foreign).await;
        Ok(Action::requeue(match (done.conflicts, done.written) {
            (0, 0) => {
                self.failures.succeeded(key);
                self.rewrites.settled(key);
                jittered(self.context.resync)
            }
            (0, _) => self.rewrites.written(key, fingerprint(&plan)),
            _ => self.failures.failed(key),
        }))
    }

    fn forget(&self, key: &Key) {
        self.failures.succeeded(key);
        self.rewrites.settled(key);
        self.events.forget(key);
    }
}

/// `0` for a plan without writes.
fn fingerprint(plan: &NamesPlan) -> u64 {
    match plan.is_settled() {
        true => 0,
        false => plan.fingerprint(),
    }
}

/// Events that were written already, by topology. Not locked while one is written.
#[derive(Default)]
struct Events {
    /// App and Service.
    taken: Mutex<HashMap<Key, BTreeSet<(String, String)>>>,
    /// Topologies whose names cannot be written.
    refused: Mutex<BTreeSet<Key>>,
}

impl Events {
    /// Writes an event for each Service in the way, once for as long as it is.
    async fn taken(&self, context: &Context, key: &Key, foreign: Vec<(String, String)>) {
        let entry = context.cache.entry(key).filter(|_| !foreign.is_empty());
        let before = lock(&self.taken).remove(key).unwrap_or_default();
        let Some(entry) = entry else {
            return;
        };
        let mut written = BTreeSet::new();
        for (app, service) in foreign {
            let message = format!("App {app} gets no name: a foreign Service {service} exists");
            let event = status::Event {
                reason: TAKEN.to_owned(),
                message,
                warning: true,
            };
            let fact = (app, service);
            if !before.contains(&fact)
                && let Err(error) = context.writer.tell_fact(&entry, &event).await
            {
                tracing::debug!(topology = %key, error = %chain(&error), "event not written");
                continue;
            }
            written.insert(fact);
        }
        lock(&self.taken).insert(key.clone(), written);
    }

    /// Writes an event with the reason why names cannot be written, once for as long as they cannot.
    async fn refused(&self, context: &Context, key: &Key, error: &apply::Error) {
        let entry = context.cache.entry(key);
        let Some(entry) = entry.filter(|_| !lock(&self.refused).contains(key)) else {
            return;
        };
        let event = status::Event {
            reason: REFUSED.to_owned(),
            message: error.told(),
            warning: true,
        };
        match context.writer.tell_fact(&entry, &event).await {
            Ok(()) => drop(lock(&self.refused).insert(key.clone())),
            Err(error) => {
                tracing::debug!(topology = %key, error = %chain(&error), "event not written");
            }
        }
    }

    fn forget(&self, key: &Key) {
        lock(&self.taken).remove(key);
        lock(&self.refused).remove(key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
