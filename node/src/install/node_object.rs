//! Requests to the API server about the daemon's own node and pod.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Taint};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::install::uninstall::{ANNOTATION, CENSUS, Census, DONE};
use crate::objects::own_pod::OwnPod;

/// Annotation of a daemon's pod: number of waits for the mesh key.
pub const AWAITED: &str = "beemesh.io/mesh-key-awaited";

/// Timeout of an answer.
const ANSWER: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Namespace of events about objects without a namespace.
const EVENTS: &str = "default";

/// Removes the taints with `key` from the node, whatever their effect. Retries until it is done.
pub async fn remove_taint(client: Client, node: &str, key: &str) {
    let api: Api<Node> = Api::all(client);
    retry("the startup taint", || try_to_remove(&api, node, key)).await;
    tracing::info!(key, "node is free of the startup taint");
}

async fn try_to_remove(api: &Api<Node>, node: &str, key: &str) -> Result<(), kube::Error> {
    let taints = api.get(node).await?.spec.unwrap_or_default().taints;
    let Some(patch) = without_taint(&taints.unwrap_or_default(), key) else {
        return Ok(());
    };
    let patch: json_patch::Patch =
        serde_json::from_value(patch).map_err(kube::Error::SerdeError)?;
    let (parameters, patch) = (PatchParams::default(), Patch::Json::<()>(patch));
    api.patch(node, &parameters, &patch).await.map(drop)
}

/// Patch that removes the taints with `key`, guarded by a `test` of the current taints; `None`
/// without such a taint.
fn without_taint(taints: &[Taint], key: &str) -> Option<Value> {
    let kept: Vec<&Taint> = taints.iter().filter(|taint| taint.key != key).collect();
    if kept.len() == taints.len() {
        return None;
    }
    let path = "/spec/taints";
    let change = match kept.is_empty() {
        true => json!({"op": "remove", "path": path}),
        false => json!({"op": "replace", "path": path, "value": kept}),
    };
    Some(json!([{"op": "test", "path": path, "value": taints}, change]))
}

/// State of our conflist, as an event of the node reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The runtime does not use it, for this reason.
    Displaced(String),
    /// The runtime uses it again.
    InForce,
}

/// Emits an event on the node about the state of our conflist since the given time.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn tell_standing(
    client: Client,
    node: &str,
    standing: &Standing,
    since: Timestamp,
) -> Result<(), kube::Error> {
    let api: Api<Event> = Api::namespaced(client, EVENTS);
    let event = event(node, standing, since);
    let parameters = PostParams::default();
    let created = tokio::time::timeout(ANSWER, api.create(&parameters, &event)).await;
    match created.unwrap_or_else(|late| Err(kube::Error::Service(late.into()))) {
        // The answer to an earlier attempt was lost.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        created => created.map(drop),
    }
}

fn event(node: &str, standing: &Standing, since: Timestamp) -> Event {
    let (kind, reason, note) = match standing {
        Standing::Displaced(why) => {
            let note = format!("new pods are attached late: {why}");
            ("Warning", "CNIDisplaced", note)
        }
        Standing::InForce => {
            let note = "new pods are attached at once again".to_owned();
            ("Normal", "CNIInForce", note)
        }
    };
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{node}.{:x}", since.as_microsecond())),
            namespace: Some(EVENTS.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(since)),
        reporting_controller: Some("beemesh-node".to_owned()),
        reporting_instance: Some(node.chars().take(128).collect()),
        action: Some("Install".to_owned()),
        reason: Some(reason.to_owned()),
        note: Some(note),
        type_: Some(kind.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            // As in the kubelet's own events.
            uid: Some(node.to_owned()),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}

/// Uninstall annotation of the daemon's own pod; `None` without it.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn asked(client: &Client, own: &OwnPod) -> Result<Option<String>, kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &own.namespace);
    let got = tokio::time::timeout(ANSWER, api.get(&own.name)).await;
    let pod = got.map_err(|late| kube::Error::Service(late.into()))??;
    Ok(pod
        .metadata
        .annotations
        .and_then(|mut all| all.remove(ANNOTATION)))
}

/// Writes the census of an uninstallation into annotations of the daemon's own pod.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn answer(client: &Client, own: &OwnPod, census: &Census) -> Result<(), kube::Error> {
    annotate(client, own, told(census)).await
}

/// Changes an annotation of the daemon's own pod while the mesh key is missing: the kubelet then
/// syncs the pod and mounts the current Secrets.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn await_key(client: &Client, own: &OwnPod, attempt: u64) -> Result<(), kube::Error> {
    let annotations = json!({AWAITED: attempt.to_string()});
    annotate(
        client,
        own,
        json!({"metadata": {"annotations": annotations}}),
    )
    .await
}

async fn annotate(client: &Client, own: &OwnPod, patch: Value) -> Result<(), kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &own.namespace);
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
    // Through the status subresource, which the daemon's RBAC permits.
    let patched = tokio::time::timeout(ANSWER, api.patch_status(&own.name, &parameters, &patch));
    let patched = patched
        .await
        .map_err(|late| kube::Error::Service(late.into()))?;
    patched.map(drop)
}

/// Annotations that carry `census`; done when it is all zero.
fn told(census: &Census) -> Value {
    let text = json!(census).to_string();
    let mut annotations = json!({CENSUS: text});
    if census.values().all(|left| *left == 0) {
        annotations[ANNOTATION] = json!(DONE);
    }
    json!({"metadata": {"annotations": annotations}})
}

/// Retries with growing pauses until `work` succeeds; each problem is logged once.
async fn retry<F: Future<Output = Result<(), kube::Error>>>(
    what: &str,
    mut work: impl FnMut() -> F,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match tokio::time::timeout(ANSWER, work()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(late) => late.to_string(),
        };
        if pause == FIRST_PAUSE {
            tracing::warn!(what, error, "API server request failed, retried");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str, effect: &str) -> Taint {
        Taint {
            key: key.to_owned(),
            effect: effect.to_owned(),
            ..Taint::default()
        }
    }

    #[test]
    fn only_taints_of_the_key_go_and_only_from_what_was_seen() {
        let mine = [
            taint("beemesh.io/not-ready", "NoSchedule"),
            taint("beemesh.io/not-ready", "NoExecute"),
        ];
        let theirs = taint("other", "NoSchedule");
        let key = "beemesh.io/not-ready";
        assert_eq!(without_taint(&[], key), None);
        assert_eq!(without_taint(std::slice::from_ref(&theirs), key), None);
        let patch = without_taint(&mine, key).unwrap();
        assert_eq!(patch[0]["op"], "test");
        assert_eq!(patch[0]["value"].as_array().unwrap().len(), 2);
        assert_eq!(patch[1], json!({"op": "remove", "path": "/spec/taints"}));
        let [one, two] = mine;
        let patch = without_taint(&[one, theirs.clone(), two], key).unwrap();
        assert_eq!(patch[0]["value"].as_array().unwrap().len(), 3);
        assert_eq!(patch[1]["op"], "replace");
        assert_eq!(patch[1]["value"], json!([theirs]));
    }

    #[test]
    fn only_a_clean_node_is_done() {
        let left = told(&Census::from([("namespaces", 1), ("stateFiles", 0)]));
        assert_eq!(
            left["metadata"]["annotations"],
            json!({CENSUS: r#"{"namespaces":1,"stateFiles":0}"#})
        );
        let clean = told(&Census::from([("namespaces", 0)]));
        assert_eq!(clean["metadata"]["annotations"][ANNOTATION], DONE);
    }
}
