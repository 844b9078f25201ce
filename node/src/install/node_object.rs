//! What the daemon says to the API server of its own node and its own pod.

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

/// Annotation of a daemon's pod: how often the key of the mesh was looked for and not there.
pub const AWAITED: &str = "beemesh.io/mesh-key-awaited";

/// Longest time for an answer.
const ANSWER: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Where events of what has no namespace are.
const EVENTS: &str = "default";

/// Takes the taints of `key` off the node, whatever their effect. Tried again until it is done.
pub async fn remove_taint(client: Client, node: &str, key: &str) {
    let api: Api<Node> = Api::all(client);
    retry("the startup taint", || try_to_remove(&api, node, key)).await;
    tracing::info!(key, "the node has no startup taint");
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

/// The patch that leaves all taints but those of `key`, if nobody changes them meanwhile; none where
/// there is none.
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

/// What an event of the node says of our list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The runtime does not take it, for this reason.
    Displaced(String),
    /// The runtime takes it again.
    InForce,
}

/// Tells of the node, as an event, how our list stands, and has since that moment.
///
/// # Errors
/// When the API server does not take it.
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
        // The answer to an attempt before this one was lost.
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
        reporting_controller: Some("beemesh.io/node".to_owned()),
        reporting_instance: Some(node.chars().take(128).collect()),
        action: Some("Install".to_owned()),
        reason: Some(reason.to_owned()),
        note: Some(note),
        type_: Some(kind.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            // As the kubelet's own events have it.
            uid: Some(node.to_owned()),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}

/// What the daemon's own pod says of uninstalling; none when it says nothing.
///
/// # Errors
/// When the API server does not answer.
pub async fn asked(client: &Client, own: &OwnPod) -> Result<Option<String>, kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &own.namespace);
    let got = tokio::time::timeout(ANSWER, api.get(&own.name)).await;
    let pod = got.map_err(|late| kube::Error::Service(late.into()))??;
    Ok(pod
        .metadata
        .annotations
        .and_then(|mut all| all.remove(ANNOTATION)))
}

/// Answers what is left, by annotations of the daemon's own pod.
///
/// # Errors
/// When the API server does not take it.
pub async fn answer(client: &Client, own: &OwnPod, census: &Census) -> Result<(), kube::Error> {
    annotate(client, own, told(census)).await
}

/// Changes the daemon's own pod while the key of the mesh is not there: the kubelet then looks at the pod,
/// and shows it what its Secrets hold by now.
///
/// # Errors
/// When the API server does not take it.
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
    // By way of the status: there the daemon may.
    let patched = tokio::time::timeout(ANSWER, api.patch_status(&own.name, &parameters, &patch));
    let patched = patched
        .await
        .map_err(|late| kube::Error::Service(late.into()))?;
    patched.map(drop)
}

/// The annotations that say `census`; done is what left nothing.
fn told(census: &Census) -> Value {
    let text = json!(census).to_string();
    let mut annotations = json!({CENSUS: text});
    if census.values().all(|left| *left == 0) {
        annotations[ANNOTATION] = json!(DONE);
    }
    json!({"metadata": {"annotations": annotations}})
}

/// Tries until it is done, with growing pauses; what is wrong is told once.
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
            tracing::warn!(what, error, "the API server does not take it; tried again");
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
