//! Makes a NetworkAttachmentDefinition for each topology that asks for one.
//!
//! The kind is somebody else's and may come late, or never: it is not watched, and not being there is no failure.

use std::{collections::BTreeSet, future::Future, pin::pin};

use kube::ResourceExt;
use tokio::time::Instant;
use tracing::Instrument;

use super::{Context, retry::Failures, sweep::until};
use crate::{
    apply::{self, chain},
    observe::{Entry, Key, jittered},
    plan::network_attachment::{self, KIND, Step},
    status,
    telemetry::trace_id,
};

/// Runs until `stop`, then finishes what is in hand. `namespaces` are those that are watched; all when there are none.
pub async fn run(context: Context, namespaces: Vec<String>, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let cache = context.cache.clone();
    if until(stop.as_mut(), cache.until_complete()).await.is_none() {
        return;
    }
    let failures = Failures::default();
    let mut definitions = Definitions {
        context: context.clone(),
        namespaces,
        made: None,
        told: BTreeSet::new(),
    };
    while let Some(key) = until(stop.as_mut(), cache.next_definition()).await {
        let started = Instant::now();
        let span =
            tracing::error_span!("network attachment", topology = %key, trace_id = trace_id());
        let result = definitions.reconcile(&key).instrument(span).await;
        let reason = result.as_ref().map(|_| ()).map_err(|error| match error {
            // Whatever is there now is looked at again.
            error if error.is_conflict() => "Conflict",
            error => error.reason(),
        });
        context.metrics.reconciled(KIND, started.elapsed(), reason);
        match result {
            Ok(Again::Never) => failures.succeeded(&key),
            Ok(Again::AtResync) => {
                failures.succeeded(&key);
                cache.requeue_definition(&key, jittered(context.resync));
            }
            Ok(Again::Later) => cache.requeue_definition(&key, failures.failed(&key)),
            Err(error) => {
                let delay = failures.failed(&key);
                tracing::warn!(topology = %key, error = %chain(&error), ?delay, "network attachment not written, will try again");
                cache.requeue_definition(&key, delay);
            }
        }
    }
}

/// When to look again, if nothing happens before.
enum Again {
    Never,
    AtResync,
    Later,
}

struct Definitions {
    context: Context,
    namespaces: Vec<String>,
    /// Topologies that have one; unknown until it was asked for the first time.
    made: Option<BTreeSet<Key>>,
    /// Facts that were told, by uid of the topology.
    told: BTreeSet<(String, &'static str)>,
}

impl Definitions {
    async fn reconcile(&mut self, key: &Key) -> Result<Again, apply::Error> {
        let Some(entry) = self
            .context
            .cache
            .entry(key)
            .filter(|entry| !entry.is_going)
        else {
            // It goes with its owner.
            self.made.iter_mut().for_each(|made| {
                made.remove(key);
            });
            return Ok(Again::Never);
        };
        let is_wanted = network_attachment::is_wanted(entry.object.annotations());
        if !is_wanted && !self.made().await?.contains(key) {
            return Ok(Again::Never);
        }
        let wanted = network_attachment::wanted(&key.namespace, &key.name, &entry.uid);
        let wanted = is_wanted.then_some(&wanted);
        let writer = &self.context.writer;
        let step = match writer.attach_by_name(key, &entry.uid, wanted).await {
            Ok(step) => step,
            // One word of the API server for two things: with the kind, creation and patch do not say so.
            Err(error) if error.code() == Some(404) && !error.is_absent() => {
                let message = format!("the cluster has no {KIND}: is Multus installed?");
                self.tell(&entry, "NetworkAttachmentNotServed", message)
                    .await;
                // Multus may be about to be installed: its coming is no event of ours.
                return Ok(Again::Later);
            }
            Err(error) => return Err(error),
        };
        if step == Step::Foreign {
            let message = format!("{KIND} {} is there and is not of this topology", key.name);
            self.tell(&entry, "NetworkAttachmentTaken", message).await;
        } else {
            self.told.retain(|(uid, _)| *uid != entry.uid);
        }
        let made = self.made.get_or_insert_default();
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

    /// Topologies that have one, those from before this process among them.
    async fn made(&mut self) -> Result<&BTreeSet<Key>, apply::Error> {
        if self.made.is_none() {
            let writer = &self.context.writer;
            let mut made = BTreeSet::new();
            if self.namespaces.is_empty() {
                made.extend(writer.network_attachments(None).await?);
            }
            for namespace in &self.namespaces {
                made.extend(writer.network_attachments(Some(namespace)).await?);
            }
            self.made = Some(made);
        }
        Ok(self.made.get_or_insert_default())
    }

    /// Tells a fact once, for as long as it is one.
    async fn tell(&mut self, entry: &Entry, reason: &'static str, message: String) {
        let event = status::Event {
            reason: reason.to_owned(),
            message,
            warning: true,
        };
        let fact = (entry.uid.clone(), reason);
        if self.told.contains(&fact) {
            return;
        }
        match self.context.writer.tell_fact(entry, &event).await {
            Ok(()) => drop(self.told.insert(fact)),
            Err(error) => tracing::debug!(error = %chain(&error), "event not written"),
        }
    }
}
