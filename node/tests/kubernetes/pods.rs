//! Pods of this node.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::eventually;
use node::objects::pods::{Lookup, News, NodePod, Told};
use serde_json::{Value, json};

use crate::bed::{Bed, Follower, SOON, shared};

const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// Waits until the pods of this node are as wanted, by being told.
fn until(here: &Follower, what: &str, look: impl Fn(&[NodePod]) -> bool) -> Result<()> {
    let deadline = Instant::now() + SOON;
    loop {
        let pods: Vec<NodePod> = here.pods.here().iter().map(|pod| (**pod).clone()).collect();
        if look(&pods) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "not: {what}: {pods:?}");
        here.mailbox.take(deadline);
    }
}

fn uid(bed: &Bed, namespace: &str, name: &str) -> Result<String> {
    let object = bed.get(namespace, "pod", name)?;
    let uid = object["metadata"]["uid"].as_str().context("a uid")?;
    Ok(uid.to_owned())
}

pub(crate) fn pods_are_found_and_followed() -> Result<()> {
    let bed = shared()?;
    bed.namespace("pods")?;
    bed.pod("pods", "one", "pods-1")?;
    bed.pod("pods", "elsewhere", "pods-2")?;
    let here = Follower::new("pods-1", &bed.server.kubeconfig())?;
    // The watch may not have begun: then the server is asked.
    let one = uid(bed, "pods", "one")?;
    // A server that takes longer than it is waited for says nothing of a pod.
    eventually("it is found", SOON, || {
        let found = here.pods.find("pods", "one", Some(&one));
        let is_so = matches!(&found, Lookup::Found(pod) if pod.pod.labels["app"] == "one");
        ensure!(is_so, "{found:?}");
        Ok(())
    })?;
    for (name, uid) in [
        ("nobody", None),
        ("elsewhere", None),
        ("one", Some("another")),
    ] {
        eventually("it is absent", SOON, || {
            let found = here.pods.find("pods", name, uid);
            ensure!(found == Lookup::Absent, "{name}: {found:?}");
            Ok(())
        })?;
    }
    until(&here, "one", |pods| pods.len() == 1 && pods[0].is_running)?;
    let labels = json!({"metadata": {
        "labels": {"beemesh.io/app": "sensors"},
        "annotations": {"beemesh.io/topologies": "iot", "other/note": "x"},
    }});
    bed.merge("pods", "pod/one", None, &labels)?;
    until(&here, "labelled", |pods| {
        let pod = &pods[0].pod;
        let is_kept = |key: &str| pod.annotations.contains_key(key);
        pod.labels.contains_key("beemesh.io/app")
            && is_kept("beemesh.io/topologies")
            && !is_kept("other/note")
    })?;
    let over = json!({"status": {"phase": "Succeeded"}});
    bed.merge("pods", "pod/one", Some("status"), &over)?;
    until(&here, "over", |pods| !pods[0].is_running)?;
    bed.delete("pods", "pod", "one")?;
    until(&here, "gone", <[NodePod]>::is_empty)
}

pub(crate) fn pods_are_told() -> Result<()> {
    let bed = shared()?;
    bed.namespace("told")?;
    bed.pod("told", "one", "told-1")?;
    let here = Follower::new("told-1", &bed.server.kubeconfig())?;
    until(&here, "one", |pods| pods.len() == 1)?;
    let uid = uid(bed, "told", "one")?;
    let tell = |uid: &str, news: News| {
        here.pods.tell(Told {
            namespace: "told".to_owned(),
            name: "one".to_owned(),
            uid: uid.to_owned(),
            news,
        });
    };
    let status = |value: &str| News::NetworkStatus(value.to_owned());
    let event = |message: &str| News::Event {
        is_warning: true,
        reason: "FailedAttach",
        message: message.to_owned(),
    };
    // Another pod of that name is not meant.
    tell("00000000-0000-0000-0000-000000000000", status("wrong"));
    tell(&uid, status("first"));
    tell(&uid, status("[]"));
    for _ in 0..3 {
        tell(&uid, event("no room"));
    }
    tell(&uid, event("the end"));
    let events = eventually("events are there", SOON, || {
        let all =
            bed.server
                .kubectl(&["-n", "told", "get", "events.events.k8s.io", "-o", "json"])?;
        let all = all.json()?["items"].as_array().cloned().unwrap_or_default();
        // They are told in order.
        ensure!(
            all.iter().any(|event| event["note"] == "the end"),
            "{all:?}"
        );
        Ok(all)
    })?;
    let notes: Vec<&Value> = events.iter().map(|event| &event["note"]).collect();
    ensure!(notes.len() == 2, "{notes:?}");
    ensure!(
        events
            .iter()
            .all(|event| event["regarding"]["uid"] == *uid && event["type"] == "Warning")
    );

    eventually("the last status is there", SOON, || {
        let object = bed.get("told", "pod", "one")?;
        let annotation = &object["metadata"]["annotations"][NETWORK_STATUS];
        ensure!(annotation == "[]", "{annotation}");
        Ok(())
    })?;
    until(&here, "it is seen", |pods| {
        pods[0].network_status.as_deref() == Some("[]")
    })?;
    tell(&uid, status("[]"));
    tell(&uid, event("after that"));
    eventually("what came after is told", SOON, || {
        let all = bed
            .server
            .kubectl(&["-n", "told", "get", "events.events.k8s.io"])?
            .ok()?;
        ensure!(all.contains("after that"), "{all}");
        Ok(())
    })?;
    let audit = bed.server.audit()?;
    let patches = |code: u16| {
        let is_so = |event: &&e2e::AuditEvent| {
            event.namespace == "told"
                && event.resource == "pods"
                && event.subresource == "status"
                && event.code == code
                && event.user_agent.starts_with("beemesh-node/")
        };
        audit.iter().filter(is_so).count()
    };
    // The API server calls it a change of what cannot be changed.
    ensure!(patches(422) == 1, "the other pod's was not refused");
    // The first one may have been on its way before the second was said.
    ensure!((1..=2).contains(&patches(200)), "{} patches", patches(200));
    Ok(())
}
