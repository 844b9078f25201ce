//! No write without a reason.

use anyhow::Result;
use e2e::{ApiServer, ensure, eventually};
use serde_json::json;

use crate::bed::{Bed, SOON, attach, ring};
use crate::chaos::put_pod;
use crate::cluster::{Kind, NAMESPACE};
use crate::snapshot::{names, settled};

/// How often each node and pod reports the same again, and each replica looks again.
const EVENTS: usize = 20;

/// Counts reconciliations of the operator, whatever they led to.
pub(crate) const RECONCILED: &str = "beemesh_reconcile_duration_seconds_count";

pub(crate) fn nothing_is_written() -> Result<()> {
    let mut bed = Bed::start(ApiServer::options(), 4)?;
    for number in 0..4 {
        put_pod(&bed, &format!("pod-{}", "x".repeat(number + 1)), number)?;
    }
    for _ in 0..2 {
        bed.replica(&["--resync=1"])?;
    }
    let all = ["a", "b", "c", "d", "e"];
    for name in all {
        let mut spec = ring(&[0, 1, 2, 3]);
        let selector = json!({"matchLabels": {"app": "app-1"}});
        spec["apps"] = json!([{"name": "app-1", "podSelector": selector}]);
        bed.apply(name, &spec)?;
    }
    settled(&mut bed, &names(all))?;
    attach(&bed, "a", "pod-x", "10.80.0.2")?;
    eventually("the pod is found by name", SOON, || {
        let get = ["get", "endpointslices", "-o", "name"];
        let slices = bed.server.kubectl(&get)?.ok()?;
        let is_there = slices.contains("/a-app-1-v4-0");
        ensure(is_there, || format!("only {slices:?}"))
    })?;
    // Replicas that came second are still finding that all is done.
    let before = calm(&bed, 10.0)?;
    let looks = reconciliations(&bed)?;
    for event in 0..EVENTS {
        for number in 0..4 {
            let beat = format!("2026-01-02T00:00:{event:02}Z");
            let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady",
                "message": "", "lastHeartbeatTime": beat, "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let node = format!("n{number}");
            bed.cluster
                .merge_status(Kind::Node, "", &node, &json!({"conditions": [ready]}))?;
            let message = json!({"message": format!("event {event}")});
            let pod = format!("pod-{}", "x".repeat(number + 1));
            bed.cluster
                .merge_status(Kind::Pod, NAMESPACE, &pod, &message)?;
        }
    }
    // Each replica has looked at each topology ten times more, by --resync=1.
    eventually("every replica looks again and again", SOON, || {
        let now = reconciliations(&bed)?;
        let is_enough = now.iter().zip(&looks).all(|(now, then)| now - then >= 50.0);
        ensure(is_enough, || format!("{looks:?} then, {now:?} now"))
    })?;
    let after = writes(&bed)?;
    ensure(after == before, || {
        format!("{} writes in steady state", after - before)
    })?;
    bed.pids().map(drop)
}

fn reconciliations(bed: &Bed) -> Result<Vec<f64>> {
    bed.replicas
        .iter()
        .map(|replica| replica.metric(RECONCILED))
        .collect()
}

/// Writes that operators make: our kinds and events.
fn writes(bed: &Bed) -> Result<u64> {
    let ours = [
        "microservicetopologies",
        "forwarders",
        "allocations",
        "vniranges",
        "services",
        "endpointslices",
        "events",
    ];
    Ok(bed
        .server
        .metrics()?
        .writes(|resource| ours.contains(&resource)))
}

/// The count of writes once every replica has looked as many times as `least` without one.
pub(crate) fn calm(bed: &Bed, least: f64) -> Result<u64> {
    eventually("writes end", SOON, || {
        let (writes_before, looks) = (writes(bed)?, reconciliations(bed)?);
        eventually("every replica looks at all of it", SOON, || {
            let now = reconciliations(bed)?;
            let is_enough = now
                .iter()
                .zip(&looks)
                .all(|(now, then)| now - then >= least);
            ensure(is_enough, || "not yet".to_owned())
        })?;
        let writes_after = writes(bed)?;
        ensure(writes_after == writes_before, || "still writing".to_owned())?;
        Ok(writes_after)
    })
}
