//! Status reports of this node's Forwarders to the API server.
//!
//! Each Forwarder has one slot: repeated reports are merged into one write. A status that the
//! object has already is not written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crds::{Forwarder, ForwarderStatus};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use watches::code;

use super::Shared;
use super::health::{Backoff, chain, is_for_all};
use super::normal::{applied, replacing};
use super::{read, store::Declared};

/// Least time between two writes of one Forwarder.
const PACE: Duration = Duration::from_secs(1);
/// Debounce time before the first write.
const GATHER: Duration = Duration::from_millis(100);
/// Timeout of an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Number of parallel writes.
const AT_ONCE: usize = 4;
/// Longest name of a field manager in bytes.
const MANAGER_MAX: usize = 128;
const WHAT: &str = "report of a forwarder";

/// Pending reports.
#[derive(Debug, Default)]
pub(super) struct Reports {
    slots: Mutex<BTreeMap<String, Slot>>,
    rest: Mutex<Rest>,
    due: Notify,
}

/// Common pause of all slots while the API server fails all requests.
#[derive(Debug, Default)]
struct Rest {
    until: Option<Instant>,
    backoff: Backoff,
}

#[derive(Debug)]
struct Slot {
    wanted: ForwarderStatus,
    /// True when the slot has to be checked.
    is_due: bool,
    is_under_way: bool,
    not_before: Instant,
    backoff: Backoff,
    /// Last written status, and the object's status at that time.
    written: Option<(ForwarderStatus, ForwarderStatus)>,
}

/// Write request.
struct Job {
    key: String,
    forwarder: Arc<Forwarder>,
    wanted: ForwarderStatus,
}

/// Result of a write.
struct Done {
    key: String,
    wanted: ForwarderStatus,
    result: Result<DynamicObject, kube::Error>,
}

impl Reports {
    /// Sets the desired status of a Forwarder.
    pub(super) fn want(&self, key: &str, wanted: ForwarderStatus) {
        let mut slots = self.lock();
        if let Some(slot) = slots.get_mut(key) {
            slot.is_due = true;
            slot.wanted = wanted;
        } else {
            slots.insert(key.to_owned(), Slot::new(wanted));
        }
        self.due.notify_one();
    }

    pub(super) fn wanted(&self, key: &str) -> Option<ForwarderStatus> {
        self.lock().get(key).map(|slot| slot.wanted.clone())
    }

    pub(super) fn forget(&self, key: &str) {
        self.lock().remove(key);
        self.due.notify_one();
    }

    /// Marks Forwarders whose object's status changed.
    pub(super) fn look_again(&self, keys: &[String]) {
        let mut slots = self.lock();
        for key in keys {
            if let Some(slot) = slots.get_mut(key) {
                slot.is_due = true;
                self.due.notify_one();
            }
        }
    }

    /// End of the pause in which nothing is written.
    fn rest(&self) -> MutexGuard<'_, Rest> {
        // As below.
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        // Every change leaves the value whole, so a panic of another thread does not corrupt it.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn new(wanted: ForwarderStatus) -> Slot {
        Slot {
            wanted,
            is_due: true,
            is_under_way: false,
            not_before: Instant::now() + GATHER,
            backoff: Backoff::default(),
            written: None,
        }
    }

    /// True when the object has the desired status, or still has the status that followed this
    /// write: a server with an older CRD drops unknown fields.
    fn is_settled(&self, declared: &Declared) -> bool {
        let Some(observed) = declared.status.as_deref() else {
            return false;
        };
        let is_answer = |(wanted, answer): &(ForwarderStatus, ForwarderStatus)| {
            *wanted == self.wanted && answer == observed
        };
        *observed == self.wanted || self.written.as_ref().is_some_and(is_answer)
    }
}

/// Writes reports for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut writes = FuturesUnordered::new();
    loop {
        let next = shared.due(AT_ONCE - writes.len());
        for job in next.jobs {
            writes.push(write(&shared, job));
        }
        let later = async {
            match next.at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = writes.next() => shared.settle(done),
            () = shared.reports.due.notified() => {}
            () = later => {}
        }
    }
}

/// Next writes.
#[derive(Default)]
struct Next {
    jobs: Vec<Job>,
    /// Time of the next check without a change.
    at: Option<Instant>,
}

impl Shared {
    /// At most `most` writes that are due.
    fn due(&self, most: usize) -> Next {
        let now = Instant::now();
        let at = self.reports.rest().until.filter(|until| *until > now);
        if at.is_some() {
            let jobs = Vec::new();
            return Next { jobs, at };
        }
        let mut next = Next::default();
        let store = self.store();
        let mut slots = self.reports.lock();
        // No status is written for a Forwarder that has left this node.
        slots.retain(|key, slot| slot.is_under_way || store.own(key).is_some());
        for (key, slot) in slots.iter_mut() {
            let Some(declared) = store.own(key).filter(|_| slot.is_due && !slot.is_under_way)
            else {
                continue;
            };
            if slot.is_settled(declared) {
                slot.is_due = false;
            } else if slot.not_before > now {
                next.at = Some(
                    next.at
                        .map_or(slot.not_before, |at| at.min(slot.not_before)),
                );
            } else if next.jobs.len() < most {
                slot.is_under_way = true;
                slot.is_due = false;
                next.jobs.push(Job {
                    key: key.clone(),
                    forwarder: Arc::clone(&declared.forwarder),
                    wanted: slot.wanted.clone(),
                });
            }
        }
        if !slots.values().any(|it| it.is_due || it.is_under_way) {
            // The failed write is obsolete, or done by another writer.
            self.health.forget(WHAT);
        }
        next
    }

    fn settle(&self, done: Done) {
        let Done {
            key,
            wanted,
            result,
        } = done;
        self.health.wrote(result.is_ok());
        let mut object = match result {
            Ok(object) => object,
            Err(error) => return self.failed(&key, &error),
        };
        self.health.succeeded(WHAT);
        *self.reports.rest() = Rest::default();
        let version = object.resource_version().unwrap_or_default();
        let answer = read::status(&mut object);
        if let Some(slot) = self.reports.lock().get_mut(&key) {
            slot.is_under_way = false;
            // Reports that came in between are handled, and the object's current status.
            slot.is_due = true;
            slot.not_before = Instant::now() + PACE;
            slot.written = Some((wanted, answer.clone()));
            slot.backoff = Backoff::default();
        }
        let version = version.parse().unwrap_or(0);
        let update = self.store().answered(&key, answer, version);
        if let Some((feed, update)) = update {
            self.take(&feed, update);
        }
    }

    fn failed(&self, key: &str, error: &kube::Error) {
        let code = code(error);
        let mut slots = self.reports.lock();
        if code == Some(404) {
            // The object is gone; the watch reports it soon.
            slots.remove(key);
            return;
        }
        let now = Instant::now();
        if let Some(slot) = slots.get_mut(key) {
            slot.is_under_way = false;
            slot.is_due = true;
            slot.not_before = now + slot.backoff.next().max(PACE);
        }
        drop(slots);
        let mut rest = self.reports.rest();
        if is_for_all(code) && rest.until.is_none_or(|until| until <= now) {
            let pause = rest.backoff.next().max(PACE) + self.pace.alone();
            rest.until = Some(now + pause);
        }
        drop(rest);
        self.health
            .failed(WHAT, code, &format!("{key}: {}", chain(error)));
    }
}

async fn write(shared: &Shared, job: Job) -> Done {
    let Job {
        key,
        forwarder,
        wanted,
    } = job;
    let metadata = &forwarder.metadata;
    let resource = ApiResource::erase::<crds::ForwarderObject>(&());
    let client = shared.api.client.clone();
    let api: Api<DynamicObject> = Api::namespaced_with(client, &metadata.namespace, &resource);
    let result = async {
        let manager = manager(&shared.node);
        let document = json!({
            "apiVersion": crds::API_VERSION,
            "kind": Forwarder::KIND,
            "metadata": {"name": metadata.name, "namespace": metadata.namespace},
            "status": applied(&wanted),
        });
        let parameters = PatchParams::apply(&manager).force();
        let object = patch(&api, &metadata.name, &parameters, &Patch::Apply(document)).await?;
        if read::status(&mut object.clone()) == wanted {
            return Ok(object);
        }
        // Fields of an earlier node are left, which apply cannot remove under this field manager.
        let document: Value = json!({"status": replacing(&wanted)});
        let parameters = PatchParams {
            field_manager: Some(manager),
            ..PatchParams::default()
        };
        patch(&api, &metadata.name, &parameters, &Patch::Merge(document)).await
    };
    Done {
        result: result.await,
        key,
        wanted,
    }
}

async fn patch(
    api: &Api<DynamicObject>,
    name: &str,
    parameters: &PatchParams,
    patch: &Patch<Value>,
) -> Result<DynamicObject, kube::Error> {
    let answer = timeout(ANSWER, api.patch_status(name, parameters, patch)).await;
    answer.unwrap_or_else(|late| Err(kube::Error::Service(late.into())))
}

/// Field manager: one name a node.
fn manager(node: &str) -> String {
    let name = format!("beemesh-node/{node}");
    if name.len() <= MANAGER_MAX {
        return name;
    }
    let hash = crc32fast::hash(node.as_bytes());
    format!("{}-{hash:08x}", &name[..MANAGER_MAX - 9])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managers_fit_and_differ() {
        assert_eq!(manager("n1"), "beemesh-node/n1");
        let [one, two] = ["a", "b"].map(|end| manager(&format!("{}{end}", "n".repeat(200))));
        assert_eq!(one.len(), MANAGER_MAX);
        assert_ne!(one, two);
    }
}
