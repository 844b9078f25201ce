//! Queue of events and annotations about this node's pods.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, ObjectMeta};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use watches::code;

use super::Shared;
use super::health::{Backoff, chain, is_for_all};
use super::read::{NETWORK_STATUS, WirePod};
use crate::objects::pods::{News, NodePod, Told};

/// Largest number of queued events; further ones are dropped.
const QUEUE: usize = 256;
/// Largest number of pods whose sent events are remembered.
const REMEMBERED: usize = 1024;
/// Timeout of an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Largest note of an event at the API server, in bytes.
const NOTE_MAX: usize = 1024;
/// Largest part of a pod's name in an event's name, in bytes.
const NAME_MAX: usize = 230;
const CONTROLLER: &str = "beemesh-node";
/// Pause after a refused request: there may be many.
const REFUSED: Duration = Duration::from_millis(100);

/// Queued events and annotations.
#[derive(Debug, Default)]
pub(super) struct Tells {
    waiting: Mutex<Waiting>,
    due: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Annotations by uid; a later one replaces an earlier one.
    statuses: BTreeMap<String, Slot>,
    events: VecDeque<Slot>,
    /// Hashes of sent events, by uid.
    told: BTreeMap<String, BTreeSet<u64>>,
    /// Kinds that were refused, while no request of the kind is queued.
    refused: BTreeSet<String>,
}

/// Queued request.
#[derive(Debug)]
struct Slot {
    told: Told,
    /// Time of the retry; `None` before the first refusal.
    not_before: Option<Instant>,
    backoff: Backoff,
}

/// Next action.
#[derive(Debug)]
enum Next {
    Tell(Slot),
    /// No action before this time, unless a request is queued.
    At(Instant),
    Nothing,
}

impl Tells {
    pub(super) fn add(&self, told: Told) {
        self.lock().add(told);
        self.due.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Every change leaves the value whole, so a panic of another thread does not corrupt it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn new(told: Told) -> Slot {
        Slot {
            told,
            not_before: None,
            backoff: Backoff::default(),
        }
    }
}

impl Waiting {
    fn add(&mut self, told: Told) {
        match &told.news {
            News::NetworkStatus(_) => {
                drop(self.statuses.insert(told.uid.clone(), Slot::new(told)));
            }
            News::Event {
                reason, message, ..
            } => {
                let fact = fact(reason, message);
                if self.told.len() >= REMEMBERED && !self.told.contains_key(&told.uid) {
                    self.told.pop_first();
                }
                let is_new = self.told.entry(told.uid.clone()).or_default().insert(fact);
                if is_new && self.has_room() {
                    self.events.push_back(Slot::new(told));
                }
            }
        }
    }

    /// Makes room in a full queue by dropping refused events.
    fn has_room(&mut self) -> bool {
        if self.events.len() >= QUEUE {
            let refused = self
                .events
                .iter()
                .position(|slot| slot.not_before.is_some());
            let refused = refused.and_then(|place| self.events.remove(place));
            return refused.is_some();
        }
        true
    }

    /// Oldest request whose retry is due: a refused one does not block the others.
    fn next(&mut self, now: Instant) -> Next {
        let status = self.statuses.iter().min_by_key(|(_, it)| it.not_before);
        let status = status.map(|(uid, slot)| (slot.not_before, uid.clone()));
        let events = self.events.iter().enumerate();
        let event = events.min_by_key(|(_, slot)| slot.not_before);
        let event = event.map(|(place, slot)| (slot.not_before, place));
        let at = |wait: Option<Instant>| wait.filter(|at| *at > now);
        match (status, event) {
            (Some((wait, uid)), event) if event.is_none_or(|(other, _)| wait <= other) => {
                if let Some(at) = at(wait) {
                    return Next::At(at);
                }
                self.statuses.remove(&uid).map_or(Next::Nothing, Next::Tell)
            }
            (_, Some((wait, place))) => {
                if let Some(at) = at(wait) {
                    return Next::At(at);
                }
                self.events.remove(place).map_or(Next::Nothing, Next::Tell)
            }
            (_, None) => Next::Nothing,
        }
    }

    /// Queues a failed request again, unless a newer one is there.
    fn put_back(&mut self, slot: Slot) {
        self.refused.insert(what(&slot.told));
        match slot.told.news {
            News::NetworkStatus(_) => {
                let uid = slot.told.uid.clone();
                self.statuses.entry(uid).or_insert(slot);
            }
            News::Event { .. } => self.events.push_front(slot),
        }
    }

    /// Kinds of refused requests that are obsolete: dropped for room, or sent already.
    fn given_up(&mut self) -> Vec<String> {
        if self.refused.is_empty() {
            return Vec::new();
        }
        let slots = self.statuses.values().chain(&self.events);
        let waiting: BTreeSet<String> = slots.map(|slot| what(&slot.told)).collect();
        let given_up = self.refused.difference(&waiting).cloned().collect();
        self.refused.retain(|what| waiting.contains(what));
        given_up
    }
}

fn fact(reason: &str, message: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (reason, message).hash(&mut hasher);
    hasher.finish()
}

/// Sends requests for ever, one after another.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut backoff = Backoff::default();
    loop {
        match shared.next_to_tell() {
            Next::Tell(slot) if shared.is_said(&slot.told) => {}
            Next::Tell(slot) => {
                let pause = attempt(&shared, slot, &mut backoff).await;
                tokio::time::sleep(pause).await;
            }
            Next::At(at) => {
                // New requests are handled.
                let _ = timeout_at(at, shared.tells.due.notified()).await;
            }
            Next::Nothing => shared.tells.due.notified().await,
        }
    }
}

/// Sends one request, or queues it again; returns the pause before the next one.
async fn attempt(shared: &Shared, mut slot: Slot, backoff: &mut Backoff) -> Duration {
    let told = &slot.told;
    let what = what(told);
    let answer = timeout(ANSWER, tell(shared, told)).await;
    shared.health.wrote(matches!(answer, Ok(Ok(()))));
    let error = match answer {
        Ok(Ok(())) => {
            shared.health.succeeded(&what);
            return Duration::ZERO;
        }
        Ok(Err(error)) => error,
        Err(late) => kube::Error::Service(late.into()),
    };
    let code = code(&error);
    // The pod is gone or replaced by another of its name; or the event exists already; or it is
    // invalid.
    if let Some(404 | 409 | 413 | 422) = code {
        tracing::debug!(
            pod = told.name,
            error = chain(&error),
            "event or annotation of a pod dropped"
        );
        shared.health.succeeded(&what);
        return Duration::ZERO;
    }
    shared.health.failed(&what, code, &chain(&error));
    let is_for_all = is_for_all(code);
    let pause = if is_for_all {
        backoff.next() + shared.pace.alone()
    } else {
        slot.backoff.next()
    };
    // Others come first in any case: a lost answer may be this request's own fault.
    slot.not_before = Some(Instant::now() + pause);
    shared.tells.lock().put_back(slot);
    if is_for_all { pause } else { REFUSED }
}

/// Kind of the request in the health log: a refusal in one namespace does not concern another.
fn what(told: &Told) -> String {
    let kind = match told.news {
        News::NetworkStatus(_) => "network status",
        News::Event { .. } => "event",
    };
    format!("{kind} of a pod in {}", told.namespace)
}

impl Shared {
    fn next_to_tell(&self) -> Next {
        let mut waiting = self.tells.lock();
        for what in waiting.given_up() {
            self.health.forget(&what);
        }
        waiting.next(Instant::now())
    }

    /// True when the pod's object has the annotation already.
    fn is_said(&self, told: &Told) -> bool {
        let News::NetworkStatus(value) = &told.news else {
            return false;
        };
        let is_so = |pod: &Arc<NodePod>| {
            pod.pod.uid == told.uid && pod.network_status.as_ref() == Some(value)
        };
        self.store().pods().any(is_so)
    }
}

async fn tell(shared: &Shared, told: &Told) -> Result<(), kube::Error> {
    let client = shared.api.client.clone();
    match &told.news {
        News::NetworkStatus(value) => {
            let resource = ApiResource::erase::<Pod>(&());
            let api: Api<WirePod> = Api::namespaced_with(client, &told.namespace, &resource);
            // The uid makes it a conflict when another pod has the name by now.
            let metadata = json!({"uid": told.uid, "annotations": {NETWORK_STATUS: value}});
            let patch = Patch::Merge(json!({"metadata": metadata}));
            let parameters = PatchParams::default();
            api.patch_status(&told.name, &parameters, &patch).await?;
        }
        News::Event {
            is_warning,
            reason,
            message,
        } => {
            let api: Api<Event> = Api::namespaced(client, &told.namespace);
            let event = event(&shared.node, told, *is_warning, reason, message);
            api.create(&PostParams::default(), &event).await?;
        }
    }
    Ok(())
}

fn event(node: &str, told: &Told, is_warning: bool, reason: &str, message: &str) -> Event {
    let now = Timestamp::now();
    let moment = now.as_microsecond();
    let fact = fact(reason, message);
    let name = format!(
        "{}.{moment:x}.{:08x}",
        cut(&told.name, NAME_MAX),
        fact >> 32
    );
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(told.namespace.clone()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(cut(node, 128).to_owned()),
        action: Some("Attach".to_owned()),
        reason: Some(reason.to_owned()),
        note: Some(cut(message, NOTE_MAX).to_owned()),
        type_: Some(if is_warning { "Warning" } else { "Normal" }.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(told.namespace.clone()),
            name: Some(told.name.clone()),
            uid: Some(told.uid.clone()),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}

/// Prefix of `text` that fits into `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
