//! Controller of NetworkAttachmentDefinitions: one for each topology that asks for it.
//!
//! The kind belongs to Multus and may be installed late, or never: it is not watched, and its absence is no failure.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ::telemetry::{chain, jittered};
use kube::{ResourceExt, runtime::controller::Action};

use super::{
    Context, Error,
    driver::{Controller, drive},
    retry::Failures,
};
use crate::{
    apply,
    observe::{Entry, Key},
    plan::network_attachment::{self, KIND, Step},
    status,
};

/// The controller of NetworkAttachmentDefinitions.
struct Definitions {
    context: Context,
    failures: Failures,
    /// The namespaces that are watched; all when there are none.
    namespaces: Vec<String>,
    /// Topologies that have one; unknown until it was asked for the first time.
    made: tokio::sync::Mutex<Option<BTreeSet<Key>>>,
    /// Events that were written already: uid of the topology, and reason.
    events: Mutex<BTreeSet<(String, &'static str)>>,
}

/// Runs until `stop`, then finishes pending writes. `namespaces` are the watched ones; empty means all.
pub async fn run(
    context: Context,
    namespaces: Vec<String>,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let (store, queue) = (
        context.cache.topology_store(),
        context.cache.due_definitions(),
    );
    let definitions = Definitions {
        context,
        failures: Failures::default(),
        namespaces,
        made: tokio::sync::Mutex::default(),
        events: Mutex::default(),
    };
    drive(definitions, store, queue, stop).await;
}

/// Time of the next reconcile without a change.
enum Again {
    Never,
    AtResync,
    Later,
}

impl Controller for Definitions {
    const KIND: &'static str = KIND;

    fn context(&self) -> &Context {
        &self.context
    }

    fn failures(&self) -> &Failures {
        &self.failures
    }

    async fn look_at(&self, key: &Key) -> Result<Action, Error> {
        Ok(match self.carry_out(key).await? {
            Again::Never => {
                self.failures.succeeded(key);
                Action::await_change()
            }
            Again::AtResync => {
                self.failures.succeeded(key);
                Action::requeue(jittered(self.context.resync))
            }
            Again::Later => Action::requeue(self.failures.failed(key)),
        })
    }

    fn forget(&self, key: &Key) {
        self.failures.succeeded(key);
        // Its definition goes with its owner; a name too many is asked for once more.
        if let Ok(mut made) = self.made.try_lock() {
            made.iter_mut().for_each(|made| {
                made.remove(key);
            });
        }
    }
}

impl Definitions {
    async fn carry_out(&self, key: &Key) -> Result<Again, apply::Error> {
        let entry = self.context.cache.entry(key);
        let Some(entry) = entry.filter(|entry| !entry.is_going) else {
            self.forget(key);
            return Ok(Again::Never);
        };
        let is_wanted = network_attachment::is_wanted(entry.object.annotations());
        if !is_wanted && !self.is_made(key).await? {
            return Ok(Again::Never);
        }
        let wanted = network_attachment::wanted(&key.namespace, &key.name, &entry.uid);
        let wanted = is_wanted.then_some(&wanted);
        let writer = &self.context.writer;
        let step = match writer.attach_by_name(key, &entry.uid, wanted).await {
            Ok(step) => step,
            // The API server says the same of two things: with the kind, creation and patch do not say so.
            Err(error) if error.code() == Some(404) && !error.is_absent() => {
                let message = format!("the cluster has no {KIND}: is Multus installed?");
                self.tell(&entry, "NetworkAttachmentNotServed", message)
                    .await;
                // Multus may be installed later, which raises no event here.
                return Ok(Again::Later);
            }
            Err(error) => return Err(error),
        };
        if step == Step::Foreign {
            let message = format!("a foreign {KIND} {} exists", key.name);
            self.tell(&entry, "NetworkAttachmentTaken", message).await;
        } else {
            self.events().retain(|(uid, _)| *uid != entry.uid);
        }
        let mut made = self.made.lock().await;
        let made = made.get_or_insert_default();
        if is_wanted {
            made.insert(key.clone());
        } else {
            made.remove(key);
        }
        Ok(match step {
            // What is in the way is gone in a moment.
            Step::Wait => Again::Later,
            Step::Delete if is_wanted => Again::Later,
            _ if is_wanted => Again::AtResync,
            _ => Again::Never,
        })
    }

    /// True when the topology has one, perhaps from an earlier process.
    async fn is_made(&self, key: &Key) -> Result<bool, apply::Error> {
        // Held while it is asked for: once, however many wait.
        let mut made = self.made.lock().await;
        if made.is_none() {
            let writer = &self.context.writer;
            let mut found = BTreeSet::new();
            if self.namespaces.is_empty() {
                found.extend(writer.network_attachments(None).await?);
            }
            for namespace in &self.namespaces {
                found.extend(writer.network_attachments(Some(namespace)).await?);
            }
            *made = Some(found);
        }
        Ok(made.as_ref().is_some_and(|made| made.contains(key)))
    }

    /// Writes an event once, for as long as its reason holds.
    async fn tell(&self, entry: &Entry, reason: &'static str, message: String) {
        let event = status::Event {
            reason: reason.to_owned(),
            message,
            warning: true,
        };
        let fact = (entry.uid.clone(), reason);
        if self.events().contains(&fact) {
            return;
        }
        match self.context.writer.tell_fact(entry, &event).await {
            Ok(()) => drop(self.events().insert(fact)),
            Err(error) => tracing::debug!(error = %chain(&error), "event not written"),
        }
    }

    fn events(&self) -> MutexGuard<'_, BTreeSet<(String, &'static str)>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
