//! What is told Kubernetes about this node's pods.

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
use tokio::time::timeout;

use super::Shared;
use super::health::{Backoff, chain, code};
use super::read::{NETWORK_STATUS, WirePod};
use crate::pods::{News, PodHere, Told};

/// Events that wait at most; more are not told.
const QUEUE: usize = 256;
/// Pods of which it is remembered what was told.
const REMEMBERED: usize = 1024;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest note that the API server takes, in bytes.
const NOTE_MAX: usize = 1024;
/// Longest part of a pod's name in an event's name, in bytes.
const NAME_MAX: usize = 230;
const CONTROLLER: &str = "beemesh-node";
const WHAT: &str = "word about a pod";

/// What is to be told.
#[derive(Debug, Default)]
pub(super) struct Tells {
    waiting: Mutex<Waiting>,
    due: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By uid; a later one takes the place of one before it.
    statuses: BTreeMap<String, Told>,
    events: VecDeque<Told>,
    /// What was told already, by uid.
    told: BTreeMap<String, BTreeSet<u64>>,
}

impl Tells {
    pub(super) fn add(&self, told: Told) {
        self.lock().add(told);
        self.due.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Every change leaves the value whole, so a panic elsewhere does not spoil it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn add(&mut self, told: Told) {
        match &told.news {
            News::NetworkStatus(_) => drop(self.statuses.insert(told.uid.clone(), told)),
            News::Event {
                reason, message, ..
            } => {
                let fact = fact(reason, message);
                if self.told.len() >= REMEMBERED && !self.told.contains_key(&told.uid) {
                    self.told.pop_first();
                }
                let is_new = self.told.entry(told.uid.clone()).or_default().insert(fact);
                if is_new && self.events.len() < QUEUE {
                    self.events.push_back(told);
                }
            }
        }
    }

    fn next(&mut self) -> Option<Told> {
        let status = self.statuses.pop_first().map(|(_, told)| told);
        status.or_else(|| self.events.pop_front())
    }

    /// Puts back what could not be told, unless something newer is there.
    fn put_back(&mut self, told: Told) {
        match told.news {
            News::NetworkStatus(_) => {
                self.statuses.entry(told.uid.clone()).or_insert(told);
            }
            News::Event { .. } => self.events.push_front(told),
        }
    }
}

fn fact(reason: &str, message: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (reason, message).hash(&mut hasher);
    hasher.finish()
}

/// Tells for ever, one thing after the other.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut backoff = Backoff::default();
    loop {
        let next = shared.tells.lock().next();
        let Some(told) = next else {
            shared.tells.due.notified().await;
            continue;
        };
        if shared.is_said(&told) {
            continue;
        }
        let answer = timeout(ANSWER, tell(&shared, &told)).await;
        shared.health.wrote(matches!(answer, Ok(Ok(()))));
        let error = match answer {
            Ok(Ok(())) => {
                shared.health.succeeded(WHAT);
                continue;
            }
            Ok(Err(error)) => error,
            Err(late) => kube::Error::Service(late.into()),
        };
        match code(&error) {
            // The pod is gone, or another one has its name; or it was told already; or it can never be told.
            Some(404 | 409 | 413 | 422) => {
                tracing::debug!(pod = told.name, error = chain(&error), "not told");
            }
            code => {
                shared.health.failed(WHAT, code, &chain(&error));
                shared.tells.lock().put_back(told);
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}

impl Shared {
    /// Whether the pod's object says it already.
    fn is_said(&self, told: &Told) -> bool {
        let News::NetworkStatus(value) = &told.news else {
            return false;
        };
        let is_so = |pod: &Arc<PodHere>| {
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
            // The uid makes it a conflict where another pod has the name by now.
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

/// As much of `text` as goes into `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(uid: &str, news: News) -> Told {
        Told {
            namespace: "plant".to_owned(),
            name: "pod".to_owned(),
            uid: uid.to_owned(),
            news,
        }
    }

    fn event(message: &str) -> News {
        News::Event {
            is_warning: true,
            reason: "FailedAttach",
            message: message.to_owned(),
        }
    }

    #[test]
    fn the_latest_status_is_told_and_each_event_once() {
        let mut waiting = Waiting::default();
        for value in ["one", "two"] {
            waiting.add(told("1", News::NetworkStatus(value.to_owned())));
        }
        for (uid, message) in [("1", "x"), ("1", "x"), ("2", "x"), ("1", "y")] {
            waiting.add(told(uid, event(message)));
        }
        let first = waiting.next().unwrap();
        assert_eq!(first.news, News::NetworkStatus("two".to_owned()));
        waiting.add(told("1", News::NetworkStatus("three".to_owned())));
        waiting.put_back(first);
        let all = std::iter::from_fn(|| waiting.next());
        let all: Vec<_> = all.map(|told| (told.uid, told.news)).collect();
        let expected = [
            ("1".to_owned(), News::NetworkStatus("three".to_owned())),
            ("1".to_owned(), event("x")),
            ("2".to_owned(), event("x")),
            ("1".to_owned(), event("y")),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn what_waits_and_what_is_remembered_is_bounded() {
        let mut waiting = Waiting::default();
        for number in 0..3 * REMEMBERED {
            waiting.add(told(&number.to_string(), event("x")));
        }
        assert_eq!(
            (waiting.events.len(), waiting.told.len()),
            (QUEUE, REMEMBERED)
        );
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("öö", 3), "ö");
        assert_eq!(cut("short", NOTE_MAX), "short");
    }
}
