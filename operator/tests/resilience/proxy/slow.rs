//! Answers that do not come, and writes that do not last: one tenant's trouble is nobody else's, and no hot loop.

use anyhow::{Context, Result};
use e2e::{ApiServer, ensure, eventually};
use serde_json::{Value, json};

use super::Proxy;
use crate::bed::{Bed, SOON, topology};
use crate::cluster::Kind;

/// Most writes of the same content while much else happens.
const MOST: usize = 20;
/// Events of pods that are under way at once.
const AT_ONCE: usize = 8;

/// A server, a proxy before it, and an operator behind that.
fn proxied() -> Result<(Bed, Proxy)> {
    let mut bed = Bed::start(ApiServer::options(), 2)?;
    let proxy = Proxy::start(&bed.server)?;
    bed.replica_as(&proxy.kubeconfig, &[])?;
    Ok((bed, proxy))
}

/// A namespace with a topology `t` of one Forwarder and one App, whose instance `x` runs.
fn tenant(bed: &Bed, namespace: &str) -> Result<()> {
    let words = ["create", "namespace", namespace];
    bed.server.kubectl(&words)?.ok()?;
    pod(bed, namespace, "x", "n0")?;
    let spec = json!({
        "forwarders": [{"name": "f0", "node": "n0"}],
        "apps": [{"name": "web", "podSelector": {"matchLabels": {"app": "web"}}}],
    });
    bed.cluster
        .apply(Kind::Topology, &topology(namespace, "t", &spec))?;
    computed(bed, namespace, "t")
}

fn pod(bed: &Bed, namespace: &str, name: &str, node: &str) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": "web"}},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "none"}]},
    });
    bed.cluster.create(Kind::Pod, pod)?;
    let running = json!({"phase": "Running"});
    bed.cluster
        .merge_status(Kind::Pod, namespace, name, &running)
}

fn computed(bed: &Bed, namespace: &str, name: &str) -> Result<()> {
    eventually("it is computed", SOON, || {
        let object = bed.cluster.get(Kind::Topology, namespace, name)?;
        let object = object.context("a topology")?;
        let conditions = object["status"]["conditions"].as_array();
        let is_computed = |condition: &Value| {
            condition["type"] == "Computed"
                && condition["status"] == "True"
                && condition["observedGeneration"] == object["metadata"]["generation"]
        };
        let is_done = conditions.into_iter().flatten().any(is_computed);
        ensure(is_done, || object["status"].to_string())
    })
    .map_err(|error| bed.explain(error))
}

/// Report of the node: the instance `x` has this address.
fn attach(bed: &Bed, namespace: &str, address: &str) -> Result<()> {
    let attachment = json!({
        "app": "web",
        "key": "container-x eth1",
        "pod": format!("{namespace}/x"),
        "addresses": [format!("{address}/32")],
    });
    let status = json!({"attachments": [attachment]});
    bed.cluster
        .merge_status(Kind::Forwarder, namespace, "t.f0", &status)
}

/// Waits until the App is found at this address.
fn found(bed: &Bed, namespace: &str, address: &str) -> Result<()> {
    eventually("the App has this address", SOON, || {
        let get = ["get", "endpointslices", "-n", namespace];
        let format = ["-o", "jsonpath={.items[*].endpoints[*].addresses[*]}"];
        let found = bed.server.kubectl(&[&get[..], &format].concat())?.ok()?;
        ensure(found == address, || format!("{found:?}, not {address:?}"))
    })
}

/// A while, counted in what an operator does for somebody else.
fn a_while(bed: &Bed, namespace: &str) -> Result<()> {
    for number in 0..40 {
        let address = format!("10.80.0.{}", number % 2 + 2);
        attach(bed, namespace, &address)?;
        found(bed, namespace, &address)?;
    }
    Ok(())
}

pub(crate) fn a_namespace_without_answers_holds_up_no_other() -> Result<()> {
    let (bed, proxy) = proxied()?;
    tenant(&bed, "mute")?;
    tenant(&bed, "free")?;
    proxy.rule(|rules| rules.mute = ["/namespaces/mute/services", ""]);
    attach(&bed, "mute", "10.80.0.2")?;
    eventually("a write waits", SOON, || {
        ensure(proxy.waiting() > 0, || "none".to_owned())
    })?;
    attach(&bed, "free", "10.80.0.2")?;
    found(&bed, "free", "10.80.0.2")?;
    let given_up = proxy.given_up();
    ensure(given_up == 0, || format!("after {given_up} were given up"))
}

pub(crate) fn a_write_that_is_altered_each_time_is_made_ever_more_seldom() -> Result<()> {
    let (bed, proxy) = proxied()?;
    tenant(&bed, "altered")?;
    tenant(&bed, "free")?;
    proxy.rule(|rules| rules.altered = "/namespaces/altered/endpointslices");
    attach(&bed, "altered", "10.80.0.2")?;
    found(&bed, "altered", "10.80.0.2")?;
    a_while(&bed, "free")?;
    let writes = proxy.writes("/namespaces/altered/endpointslices");
    ensure((2..=MOST).contains(&writes), || format!("{writes} writes"))
}

/// Four Forwarders; the way from `f0` to `f3` leads over `f1`, or over `f2` when that is cheaper.
fn square(weight: u32) -> Value {
    let forwarder = |name: &str| json!({"name": name, "node": "n0"});
    let link = |a: &str, b: &str, weight: u32| json!({"a": a, "b": b, "weight": weight});
    let forwarders = ["f0", "f1", "f2", "f3"].map(forwarder);
    let links = [
        link("f0", "f1", 1),
        link("f0", "f2", 1),
        link("f1", "f3", weight),
        link("f2", "f3", 5),
    ];
    json!({"forwarders": forwarders, "links": links})
}

pub(crate) fn a_table_of_an_object_that_is_not_as_heard_is_published_ever_more_seldom() -> Result<()>
{
    let (bed, proxy) = proxied()?;
    tenant(&bed, "free")?;
    let apply = |weight| {
        let square = topology("default", "square", &square(weight));
        bed.cluster.apply(Kind::Topology, &square)
    };
    apply(1)?;
    computed(&bed, "default", "square")?;
    let published = || {
        let f0 = bed.cluster.get(Kind::Forwarder, "default", "square.f0")?;
        let digest = f0.context("f0")?["status"]["computed"]["digest"].clone();
        ensure(digest.is_string(), || "no digest".to_owned())
    };
    eventually("a table is published", SOON, published)?;
    // Its node reports, and the operator does not hear of it.
    proxy.rule(|rules| rules.held = "forwarders");
    let status = json!({"netns": "bm-square-f0"});
    bed.cluster
        .merge_status(Kind::Forwarder, "default", "square.f0", &status)?;
    let before = proxy.writes("/square.f0/status");
    apply(9)?;
    eventually("the other table of f0 is to be published", SOON, || {
        let writes = proxy.writes("/square.f0/status") - before;
        ensure(writes > 0, || "not yet".to_owned())
    })?;
    // Pods need no Forwarders that are heard of.
    let told = || proxy.writes("/namespaces/free/events");
    let first = told();
    for number in 0..80 {
        pod(&bed, "free", &format!("y{number}"), "n1")?;
        eventually("a pod is told", SOON, || {
            let events = told() - first;
            ensure(events > number, || format!("{events} events"))
        })?;
    }
    let writes = proxy.writes("/square.f0/status") - before;
    ensure(writes <= MOST, || format!("{writes} writes"))
}

pub(crate) fn pods_are_told_several_at_once() -> Result<()> {
    let (bed, proxy) = proxied()?;
    let words = ["create", "namespace", "crowd"];
    bed.server.kubectl(&words)?.ok()?;
    // None has a Forwarder on its node.
    for number in 0..2 * AT_ONCE {
        pod(&bed, "crowd", &format!("p{number}"), "n1")?;
    }
    proxy.rule(|rules| rules.mute = ["/namespaces/crowd/events", r#""kind":"Pod""#]);
    let spec = json!({
        "forwarders": [{"name": "f0", "node": "n0"}],
        "apps": [{"name": "web", "podSelector": {"matchLabels": {"app": "web"}}}],
    });
    bed.cluster
        .apply(Kind::Topology, &topology("crowd", "t", &spec))?;
    eventually("events wait side by side", SOON, || {
        let waiting = proxy.waiting();
        ensure(waiting == AT_ONCE, || format!("{waiting} wait"))
    })
    .map_err(|error| bed.explain(error))
}
