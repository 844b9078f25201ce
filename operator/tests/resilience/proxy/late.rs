//! Two replicas, one of which hears late over one watch: a proxy holds it back.

use anyhow::{Context, Result};
use e2e::{ApiServer, ensure, eventually};
use serde_json::{Value, json};

use super::Proxy;
use crate::bed::{Bed, SOON, ring};
use crate::chaos::put_pod;
use crate::cluster::{Kind, NAMESPACE, text};
use crate::snapshot::{names, settled};
use crate::steady::RECONCILED;

pub(crate) fn one_watch_is_held_back() -> Result<()> {
    let mut bed = Bed::start(ApiServer::options(), 3)?;
    let proxy = Proxy::start(&bed.server)?;
    bed.replica(&[])?;
    bed.replica_as(&proxy.kubeconfig, &["--resync=1"])?;
    let spec = |weight: u32| {
        let mut spec = ring(&[0, 1, 2]);
        let selector = json!({"matchLabels": {"app": "app-1"}});
        spec["apps"] = json!([{"name": "app-1", "podSelector": selector}]);
        spec["links"] = json!([{"a": "f0", "b": "f1", "weight": weight}]);
        spec
    };
    bed.apply("t", &spec(1))?;
    settled(&mut bed, &names(["t"]))?;

    // A pod of which the second replica does not hear: what the first one makes of it stays.
    let before = generation(&bed, "t.f0")?;
    proxy.rule(|rules| rules.held = "pods");
    put_pod(&bed, "pod-x", 0)?;
    written(&bed, before, |forwarder| {
        let apps = forwarder["spec"]["apps"].as_array();
        apps.into_iter()
            .flatten()
            .any(|app| app["attached"] == true)
    })?;
    proxy.rule(|rules| rules.held = "");
    settled(&mut bed, &names(["t"]))?;
    let now = generation(&bed, "t.f0")?;
    ensure(now == before + 1, || {
        format!("written {} times", now - before)
    })?;

    // An edit of which it does not hear.
    proxy.rule(|rules| rules.held = "microservicetopologies");
    bed.apply("t", &spec(7))?;
    written(&bed, now, |forwarder| {
        let links = forwarder["spec"]["links"].as_array();
        links.into_iter().flatten().any(|link| link["weight"] == 7)
    })?;
    proxy.rule(|rules| rules.held = "");
    settled(&mut bed, &names(["t"]))?;
    let last = generation(&bed, "t.f0")?;
    ensure(last == now + 1, || format!("written {} times", last - now))
}

/// Waits until the Forwarder is as `is_done` wants it, and the second replica has looked at it several times
/// since: it is still the first write after `before`.
fn written(bed: &Bed, before: u64, is_done: impl Fn(&Value) -> bool) -> Result<()> {
    let object = "t.f0";
    eventually("the first replica has written it", SOON, || {
        let forwarder = bed.cluster.get(Kind::Forwarder, NAMESPACE, object)?;
        let is_done = forwarder.as_ref().is_some_and(&is_done);
        ensure(is_done, || format!("{forwarder:?}"))
    })
    .map_err(|error| bed.explain(error))?;
    let looks = bed.replicas[1].metric(RECONCILED)?;
    eventually("the second replica has looked again", SOON, || {
        let now = bed.replicas[1].metric(RECONCILED)?;
        ensure(now >= looks + 3.0, || format!("{} looks", now - looks))
    })?;
    let forwarder = bed.cluster.get(Kind::Forwarder, NAMESPACE, object)?;
    let forwarder = forwarder.context("it is there")?;
    ensure(is_done(&forwarder), || {
        format!("undone: {}", forwarder["spec"])
    })?;
    let now = generation(bed, object)?;
    ensure(now == before + 1, || {
        format!("written {} times", now - before)
    })
}

fn generation(bed: &Bed, object: &str) -> Result<u64> {
    let forwarder = bed.cluster.get(Kind::Forwarder, NAMESPACE, object)?;
    let forwarder = forwarder.with_context(|| format!("no {object}"))?;
    let generation = forwarder["metadata"]["generation"].as_u64();
    generation.with_context(|| text(&forwarder, "/metadata/name").to_owned())
}
