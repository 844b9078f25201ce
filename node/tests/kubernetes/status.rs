//! Reports of a node.

use anyhow::{Result, ensure};
use crds::forwarder::LinkState;
use crds::status::LinkCount;
use crds::{Condition, ForwarderStatus};
use e2e::{ApiServer, eventually};
use node::objects::Source;
use serde_json::{Value, json};

use crate::bed::{Bed, Follower, SOON, shared};

/// A report with `up` links of two.
pub(crate) fn report(up: u32) -> ForwarderStatus {
    let link = |number: u32| LinkState {
        id: format!("a/{number}"),
        up: number < up,
        reason: if number < up { "" } else { "no carrier" }.to_owned(),
        ..LinkState::default()
    };
    ForwarderStatus {
        links: LinkCount {
            up,
            total: 2,
            suspect: 0,
        },
        links_up: format!("{up}/2"),
        epoch: "0000000000000001".to_owned(),
        netns: "bm-iot-a".to_owned(),
        // Not in the order of their ids.
        link_states: vec![link(1), link(0)],
        conditions: vec![Condition {
            r#type: "Ready".to_owned(),
            status: "True".to_owned(),
            reason: "Programmed".to_owned(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Some("2026-01-01T00:00:00Z".to_owned()),
        }],
        ..ForwarderStatus::default()
    }
}

fn until(bed: &Bed, namespace: &str, what: &str, look: impl Fn(&Value) -> bool) -> Result<Value> {
    eventually(what, SOON, || {
        let object = bed.get(namespace, "fwd", "iot.a")?;
        ensure!(look(&object["status"]), "{}", object["status"]);
        Ok(object)
    })
}

/// Writes to Forwarders of a namespace, in the audit log.
fn writes(bed: &Bed, namespace: &str) -> Result<usize> {
    let audit = bed.server.audit()?;
    let ours = audit.iter().filter(|event| {
        event.is_write()
            && event.namespace == namespace
            && event.user_agent.starts_with("beemesh-node/")
    });
    Ok(ours.count())
}

pub(crate) fn a_status_is_written_once() -> Result<()> {
    let bed = shared()?;
    bed.namespace("once")?;
    bed.forwarder("once", "iot", "a", "once-1", &[])?;
    let mut here = Follower::new("once-1", &bed.server.kubeconfig())?;
    here.until_forwarders(&["once.iot.a"])?;
    ensure!(here.source.reported("once.iot.a").is_none());

    ensure!(here.source.report("once.iot.a", &report(2))?);
    let object = until(bed, "once", "it is written", |status| {
        status["linksUp"] == "2/2"
    })?;
    let condition = &object["status"]["conditions"][0];
    let generation = &object["metadata"]["generation"];
    ensure!(
        condition["observedGeneration"] == *generation,
        "{condition}"
    );
    let computed = json!({"status": {"computed": {"epoch": "1", "digest": "2"}}});
    bed.merge("once", "fwd/iot.a", Some("status"), &computed)?;

    // The same again, also by a daemon that has just started and knows nothing, is no write.
    let before = writes(bed, "once")?;
    ensure!(before == 1, "{before} writes");
    eventually("it is known", SOON, || {
        ensure!(!here.source.report("once.iot.a", &report(2))?, "it is news");
        Ok(())
    })?;
    drop(here);
    let mut again = Follower::new("once-1", &bed.server.kubeconfig())?;
    again.until_forwarders(&["once.iot.a"])?;
    let known = again.source.reported("once.iot.a").unwrap_or_default();
    ensure!(
        known.links_up == "2/2" && known.computed.is_none(),
        "{known:?}"
    );
    ensure!(!again.source.report("once.iot.a", &report(2))?);

    // Of many, the last is what counts.
    for up in [0, 1, 0, 1, 0, 1] {
        again.source.report("once.iot.a", &report(up))?;
    }
    let last = until(bed, "once", "the last", |status| status["linksUp"] == "1/2")?;
    ensure!(
        last["status"]["computed"]["digest"] == "2",
        "it is not ours"
    );
    let written = writes(bed, "once")? - before;
    ensure!((1..=2).contains(&written), "{written} writes");

    // A new generation is reported of as such; whoever edits what is ours is overruled.
    bed.forwarder("once", "iot", "a", "once-1", &["b"])?;
    again.until("a link", |snapshot| {
        !snapshot.forwarders["once.iot.a"].spec.links.is_empty()
    })?;
    again.source.report("once.iot.a", &report(1))?;
    let is_second = |status: &Value| status["conditions"][0]["observedGeneration"] == 2;
    until(bed, "once", "the second generation", is_second)?;
    bed.merge(
        "once",
        "fwd/iot.a",
        Some("status"),
        &json!({"status": {"epoch": "mine"}}),
    )?;
    until(bed, "once", "ours again", |status| {
        status["epoch"] == "0000000000000001"
    })?;

    bed.delete("once", "fwd", "iot.a")?;
    again.until_forwarders(&[])?;
    ensure!(
        !again.source.report("once.iot.a", &report(2))?,
        "there is none"
    );
    Ok(())
}

pub(crate) fn an_epoch_with_the_same_table_is_no_write() -> Result<()> {
    let bed = shared()?;
    bed.namespace("calm")?;
    bed.forwarder("calm", "iot", "a", "calm-1", &[])?;
    let mut here = Follower::new("calm-1", &bed.server.kubeconfig())?;
    here.until_forwarders(&["calm.iot.a"])?;
    let at = |epoch: &str, digest: &str, up| ForwarderStatus {
        epoch: format!("{epoch:0>16}"),
        digest: format!("{digest:0>16}"),
        ..report(up)
    };
    here.source.report("calm.iot.a", &at("1", "d", 2))?;
    until(bed, "calm", "the first table", |status| {
        status["linksUp"] == "2/2"
    })?;
    // Pods join elsewhere in the topology; also for a daemon that has just started.
    for epoch in ["2", "3", "4"] {
        ensure!(!here.source.report("calm.iot.a", &at(epoch, "d", 2))?);
    }
    drop(here);
    let mut again = Follower::new("calm-1", &bed.server.kubeconfig())?;
    again.until_forwarders(&["calm.iot.a"])?;
    ensure!(!again.source.report("calm.iot.a", &at("5", "d", 2))?);
    again.source.report("calm.iot.a", &at("6", "d", 1))?;
    let same = until(bed, "calm", "a link", |status| status["linksUp"] == "1/2")?;
    ensure!(
        same["status"]["epoch"] == "0000000000000001",
        "the table is from then: {same}"
    );
    again.source.report("calm.iot.a", &at("7", "e", 1))?;
    until(bed, "calm", "another table", |status| {
        status["epoch"] == "0000000000000007"
    })?;
    let written = writes(bed, "calm")?;
    ensure!(written == 3, "{written} writes");
    Ok(())
}

pub(crate) fn what_another_node_reported_is_replaced() -> Result<()> {
    let bed = shared()?;
    bed.namespace("heir")?;
    bed.forwarder("heir", "iot", "a", "heir-1", &[])?;
    let mut first = Follower::new("heir-1", &bed.server.kubeconfig())?;
    first.until_forwarders(&["heir.iot.a"])?;
    let mut rich = report(2);
    rich.attachments = serde_json::from_value(json!([
        {"app": "sensors", "key": "k1/eth0", "pod": "heir/x", "addresses": ["10.80.0.9/32"]},
    ]))?;
    rich.link_states.push(LinkState {
        id: "a/gone".to_owned(),
        up: true,
        ..LinkState::default()
    });
    first.source.report("heir.iot.a", &rich)?;
    until(bed, "heir", "the first", |status| {
        status["attachments"][0]["app"] == "sensors"
    })?;
    drop(first);

    bed.merge(
        "heir",
        "fwd/iot.a",
        None,
        &json!({"spec": {"node": "heir-2"}}),
    )?;
    let mut second = Follower::new("heir-2", &bed.server.kubeconfig())?;
    second.until_forwarders(&["heir.iot.a"])?;
    second.source.report("heir.iot.a", &report(2))?;
    until(bed, "heir", "only the second's", |status| {
        status.get("attachments").is_none()
            && status["linkStates"].as_array().map(Vec::len) == Some(2)
    })?;
    Ok(())
}

pub(crate) fn reports_wait_for_the_server() -> Result<()> {
    let bed = Bed::on(ApiServer::options())?;
    bed.namespace("wait")?;
    bed.forwarder("wait", "iot", "a", "wait-1", &[])?;
    let mut here = Follower::new("wait-1", &bed.server.kubeconfig())?;
    here.until_forwarders(&["wait.iot.a"])?;
    bed.server.kill_apiserver()?;
    for up in [0, 2, 1] {
        here.source.report("wait.iot.a", &report(up))?;
    }
    let known = here.source.reported("wait.iot.a").unwrap_or_default();
    ensure!(
        known.links_up == "1/2",
        "what was said last is known: {known:?}"
    );
    bed.server.restart_apiserver()?;
    until(&bed, "wait", "the last one", |status| {
        status["linksUp"] == "1/2"
    })?;
    Ok(())
}
