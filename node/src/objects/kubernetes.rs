//! Desired state from the API server of a cluster, and this node's pods.
//!
//! ```text
//! watches (4 and 1x a topology) -> read -> Store -> snapshot (engine), pods (service)
//!                                            |
//!                                            +-> Cache: one file an object, 500 ms after a change
//! engine -> Reports (1 slot a Forwarder) -> status, <= 1/s a Forwarder
//! service   -> Tells (1 slot a pod, <=256 events) -> annotations, events
//! ```
//! All of it runs in one thread of its own. Only [`Pods::find`] waits for the API server, for 2 s
//! at most. While the API server is unreachable, the last known objects stay valid, also over a
//! restart.
//! over a restart.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crds::ForwarderStatus;
use kube::Client;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, oneshot};

use super::{Snapshot, Source};
use crate::error::Error;
use crate::mailbox::Mailbox;
use crate::objects::own_pod::OwnPod;
use crate::objects::pods::Pods;
use watches::Revisions;

pub(crate) mod cache;
pub(crate) mod client;
mod events;
mod health;
mod normal;
mod pace;
mod pods;
mod read;
mod reports;
mod store;
#[cfg(test)]
mod tests;
mod watching;

use cache::Cache;
use events::Tells;
pub use health::Health;
use pace::Pace;
use reports::Reports;
use store::{Feed, Store, Update};

/// The Kubernetes adapter of [`Source`].
#[derive(Debug)]
pub struct Kubernetes {
    shared: Arc<Shared>,
    own: Option<OwnPod>,
    /// False until the node is known not to be uninstalled.
    may_begin: bool,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// State shared by the adapter's thread and its callers.
#[derive(Debug)]
struct Shared {
    node: String,
    mailbox: Arc<Mailbox>,
    store: Mutex<Store>,
    cache: Cache,
    reports: Reports,
    tells: Tells,
    health: Arc<Health>,
    pace: Arc<Pace>,
    networks_changed: Notify,
    revisions: Revisions,
    api: Api,
}

/// Client of the API server.
struct Api {
    client: Client,
    handle: Handle,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Api")
    }
}

impl Kubernetes {
    /// Starts the watches of objects that concern `node`, beginning with the cache in `cache_dir`.
    /// Every change is sent to the mailbox. Waits for no server. The desired state stays empty
    /// until the daemon's `own` pod, where there is one, is known not to request uninstallation.
    ///
    /// # Errors
    /// [`Error::Start`] when the API server's address is unknown, or the thread cannot be started.
    pub fn open(
        node: &str,
        own: Option<OwnPod>,
        kubeconfig: Option<&Path>,
        cache_dir: &Path,
        mailbox: Arc<Mailbox>,
    ) -> Result<Kubernetes, Error> {
        let what = "the client of the API server";
        let started = |source| Error::Start { what, source };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(2)
            .build()
            .map_err(started)?;
        let pace = Arc::<Pace>::default();
        let client = runtime.block_on(client::paced(kubeconfig, Arc::clone(&pace)))?;
        let health = Arc::<Health>::default();
        let (cache, tables) = Cache::open(cache_dir, node, Arc::clone(&health));
        let shared = Arc::new(Shared {
            node: node.to_owned(),
            mailbox,
            store: Mutex::new(Store::new(tables)),
            cache,
            reports: Reports::default(),
            tells: Tells::default(),
            health,
            pace,
            networks_changed: Notify::new(),
            revisions: Revisions::default(),
            api: Api {
                client,
                handle: runtime.handle().clone(),
            },
        });
        let (stop, stopped) = oneshot::channel();
        let work = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("kubernetes".into())
            .spawn(move || follow(&runtime, work, stopped))
            .map_err(started)?;
        Ok(Kubernetes {
            shared,
            own,
            may_begin: false,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Health of the API server.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.shared.health)
    }

    /// Pods of this node.
    pub fn pods(&self) -> Arc<dyn Pods> {
        Arc::new(pods::KubernetesPods::new(Arc::clone(&self.shared)))
    }
}

fn follow(runtime: &Runtime, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    runtime.block_on(async {
        let client = shared.api.client.clone();
        tokio::spawn(watching::run(Arc::clone(&shared), client));
        tokio::spawn(reports::run(Arc::clone(&shared)));
        tokio::spawn(events::run(Arc::clone(&shared)));
        tokio::spawn(cache::run(Arc::clone(&shared)));
        // An error means that the sender was dropped: a stop too.
        let _ = stopped.await;
    });
    shared.flush();
}

impl Drop for Kubernetes {
    /// Stops the thread after a last write of the cache.
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // The panic was logged already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        // Every change leaves the value whole, so a panic of another thread does not corrupt it.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies an update to the store, and notifies the affected parts. The cache is marked before the update is visible:
    /// see `Cache`.
    fn take(&self, feed: &Feed, update: Update) {
        let mut store = self.store();
        while !self.cache.is_marked() && store.is_kept(feed, &update) {
            drop(store);
            self.cache.mark();
            store = self.store();
        }
        let change = store.take(feed, update);
        if change.cache {
            debug_assert!(self.cache.is_marked(), "{feed}: seen before it is marked");
            self.cache.changed();
        }
        drop(store);
        if change.networks {
            self.networks_changed.notify_one();
        }
        if !change.statuses.is_empty() {
            self.reports.look_again(&change.statuses);
        }
        if change.source || change.pods {
            self.mailbox.tell(|pending| {
                pending.source |= change.source;
                pending.pods |= change.pods;
            });
        }
    }

    /// Writes the store to the cache. True when that succeeded.
    fn flush(&self) -> bool {
        let records = {
            let store = self.store();
            self.cache.records(store.tables())
        };
        let is_written = self.cache.write(&records);
        if is_written {
            self.cache.unmark(&records, || self.store());
        }
        is_written
    }
}

impl Source for Kubernetes {
    fn load(&mut self) -> Snapshot {
        let store = self.shared.store();
        self.may_begin = self.may_begin || store.may_begin(self.own.as_ref());
        match self.may_begin {
            true => store.snapshot(),
            false => Snapshot::default(),
        }
    }

    fn report(&mut self, forwarder: &str, status: &ForwarderStatus) -> Result<bool, Error> {
        let before = self.reported(forwarder).unwrap_or_default();
        let store = self.shared.store();
        let Some(declared) = store.own(forwarder) else {
            return Ok(false);
        };
        let wanted = normal::about(normal::since(status.clone(), &before), declared.generation);
        let is_new = declared.status.as_deref() != Some(&wanted);
        drop(store);
        self.shared.reports.want(forwarder, wanted);
        Ok(is_new)
    }

    fn reported(&mut self, forwarder: &str) -> Option<ForwarderStatus> {
        if let Some(status) = self.shared.reports.wanted(forwarder) {
            return Some(status);
        }
        let store = self.shared.store();
        let status = store.own(forwarder)?.status.as_deref()?;
        (*status != ForwarderStatus::default()).then(|| status.clone())
    }

    fn forget(&mut self, forwarder: &str) {
        self.shared.reports.forget(forwarder);
    }
}
