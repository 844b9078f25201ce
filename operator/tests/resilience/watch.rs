//! A watcher that sees every state of the Forwarders, in order, and speaks up when anything is held twice.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use e2e::ensure;
use futures::StreamExt;
use kube::api::DynamicObject;
use kube::runtime::watcher::{Config, Event, watcher};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, Kind};
use crate::snapshot::Given;

/// Runs until it is dropped or asked for what it saw.
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    given: Given,
    fills: usize,
    conflicts: Vec<String>,
}

impl Watch {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (ours, forwarders) = (Arc::clone(&seen), cluster.api(Kind::Forwarder));
        let task = cluster.runtime().spawn(async move {
            let mut events = watcher(forwarders, Config::default()).boxed();
            while let Some(event) = events.next().await {
                // A cut watch is taken up where it was; the watcher itself tries again.
                let Ok(event) = event else { continue };
                let mut seen = ours.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(error) = seen.take(event) {
                    seen.conflicts.push(format!("{error:#}"));
                }
            }
        });
        Self { seen, task }
    }

    /// How many filled Forwarders it has seen; an error when anything was held twice at any moment.
    pub(crate) fn verdict(&self) -> Result<usize> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        ensure(seen.conflicts.is_empty(), || {
            let first: Vec<&String> = seen.conflicts.iter().take(5).collect();
            format!("{} conflicts, such as {first:?}", seen.conflicts.len())
        })?;
        Ok(seen.fills)
    }
}

impl Seen {
    fn take(&mut self, event: Event<DynamicObject>) -> Result<()> {
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                self.fills += usize::from(self.given.put(&value(&object)?)?);
            }
            Event::Delete(object) => self.given.remove(&value(&object)?),
            Event::Init => self.given = Given::default(),
            Event::InitDone => {}
        }
        match self.given.conflict() {
            Some(conflict) => bail!("{conflict}"),
            None => Ok(()),
        }
    }
}

fn value(object: &DynamicObject) -> Result<Value> {
    Ok(serde_json::to_value(object)?)
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
