//! Names of Apps, as the API server and the cluster's DNS get them.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Namespace, shared};

/// A Forwarder on one node, with two Apps.
fn settled<'a>(name: &str) -> Result<Namespace<'a>> {
    let cluster = shared()?;
    let namespace = cluster.namespace(name)?;
    cluster.node(&format!("{name}-1"), &json!({}))?;
    let selector = |app: &str| json!({"matchLabels": {"app": app}});
    let spec = json!({
        "forwarders": [{"name": "a", "node": format!("{name}-1")}],
        "apps": [
            {"name": "web", "podSelector": selector("web")},
            {"name": "db", "podSelector": selector("db")},
        ],
    });
    namespace.topology("iot", &spec)?;
    namespace.until("iot", "Computed", "True", "")?;
    for pod in ["web-0", "web-1", "db-0"] {
        let (app, _) = pod.split_once('-').context("a number")?;
        namespace.pod(pod, &format!("{name}-1"), &json!({"app": app}), &json!({}))?;
    }
    Ok(namespace)
}

/// Reports of the node: these pods, each with one address of both families.
fn attach(namespace: &Namespace<'_>, pods: &[&str]) -> Result<()> {
    let attachment = |(number, pod): (usize, &&str)| {
        let app = pod.split('-').next();
        json!({
            "app": app,
            "key": format!("container-{pod} eth1"),
            "pod": format!("{}/{pod}", namespace.name),
            "addresses": [format!("10.80.0.{}/32", number + 2), format!("fd00:80::{}/128", number + 2)],
        })
    };
    let attachments: Vec<Value> = pods.iter().enumerate().map(attachment).collect();
    let status = json!({"status": {"attachments": attachments}});
    namespace.patch_status("fwd", "iot.a", &status)
}

/// The slices of a Service, by family.
fn slices(namespace: &Namespace<'_>, service: &str) -> Result<Vec<Value>> {
    let mut slices = namespace.list("endpointslices.discovery.k8s.io")?;
    slices.retain(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service);
    slices.sort_by_key(|slice| slice["addressType"].as_str().map(str::to_owned));
    Ok(slices)
}

/// `hostname address` of each endpoint of a slice.
fn endpoints(slice: &Value) -> Vec<String> {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let line = |endpoint: &Value| {
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        word(&endpoint["hostname"]) + " " + &word(&endpoint["addresses"][0])
    };
    endpoints.map(line).collect()
}

/// Waits until the Service has these endpoints of IPv4, and as many of IPv6; returns it with its slices.
fn until(namespace: &Namespace<'_>, service: &str, expected: &[&str]) -> Result<Vec<Value>> {
    let what = format!("{service} has {expected:?}");
    namespace.eventually(&what, || {
        let mut objects = vec![namespace.get("service", service)?];
        objects.extend(slices(namespace, service)?);
        let [_, v4, v6] = objects.as_slice() else {
            anyhow::bail!("{} objects", objects.len());
        };
        ensure!(endpoints(v4) == expected, "{:?}", endpoints(v4));
        ensure!(endpoints(v6).len() == expected.len(), "{:?}", endpoints(v6));
        Ok(objects)
    })
}

pub(crate) fn apps_with_pods_are_found_by_name() -> Result<()> {
    let namespace = settled("names")?;
    ensure!(namespace.list("services")?.is_empty(), "names before pods");
    attach(&namespace, &["web-0", "web-1"])?;
    let web = until(
        &namespace,
        "iot-web",
        &["web-0 10.80.0.2", "web-1 10.80.0.3"],
    )?;
    let spec = &web[0]["spec"];
    ensure!(spec["clusterIP"] == "None", "{spec}");
    ensure!(spec["selector"].is_null(), "{spec}");
    // Whatever families the cluster has.
    ensure!(spec["ipFamilyPolicy"] == "RequireDualStack", "{spec}");
    for object in &web {
        let owner = &object["metadata"]["ownerReferences"][0];
        ensure!(owner["kind"] == "MicroServiceTopology", "{owner}");
    }
    attach(&namespace, &["web-0", "web-1", "db-0"])?;
    until(&namespace, "iot-db", &["db-0 10.80.0.4"])?;
    // A pod that goes is not to be found, whatever its node still reports.
    namespace.delete("pod", "web-0")?;
    until(&namespace, "iot-web", &["web-1 10.80.0.3"])?;
    let before = until(&namespace, "iot-db", &["db-0 10.80.0.4"])?;
    attach(&namespace, &["db-1", "web-9", "db-0", "web-1"])?;
    until(&namespace, "iot-web", &["web-1 10.80.0.5"])?;
    let after = until(&namespace, "iot-db", &["db-0 10.80.0.4"])?;
    for (before, after) in before.iter().zip(&after) {
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        ensure!(version(before) == version(after), "written again: {after}");
    }
    attach(&namespace, &["db-1", "web-9", "db-0"])?;
    namespace.eventually("an App without pods has no name", || {
        let services = namespace.list("services")?;
        ensure!(services.len() == 1, "{services:?}");
        ensure!(slices(&namespace, "iot-web")?.is_empty(), "slices are left");
        Ok(())
    })
}

pub(crate) fn reports_beyond_the_plan_give_no_names() -> Result<()> {
    let namespace = settled("names-foreign")?;
    namespace.pod(
        "other",
        "names-foreign-1",
        &json!({"app": "other"}),
        &json!({}),
    )?;
    let report = |app: &str, pod: &str, address: &str| {
        json!({
            "app": app,
            "key": format!("container-{app}-{pod}-{address} eth1"),
            "pod": format!("{}/{pod}", namespace.name),
            "addresses": [format!("{address}/32"), "fd00:80::7/128"],
        })
    };
    let lies = [
        report("web", "db-0", "10.80.0.2"),
        report("web", "other", "10.80.0.2"),
        report("invented", "web-0", "10.80.0.2"),
        report("db", "db-0", "192.0.2.1"),
        report("web", "web-1", "10.80.0.3"),
    ];
    let status = json!({"status": {"attachments": lies}});
    namespace.patch_status("fwd", "iot.a", &status)?;
    until(&namespace, "iot-web", &["web-1 10.80.0.3"])?;
    let services = namespace.list("services")?;
    let mut names: Vec<&str> = services
        .iter()
        .filter_map(|service| service["metadata"]["name"].as_str())
        .collect();
    names.sort_unstable();
    // Of `db-0` the address of the Forwarder's own block is left.
    ensure!(names == ["iot-db", "iot-web"], "{names:?}");
    let slices = slices(&namespace, "iot-db")?;
    ensure!(
        slices.len() == 1 && slices[0]["addressType"] == "IPv6",
        "{slices:?}"
    );
    let long = json!({"status": {"linkStates": [{"id": "a/b", "up": false, "reason": "x".repeat(2_000)}]}});
    let refused = namespace.patch_status("fwd", "iot.a", &long);
    ensure!(refused.is_err(), "a reason of 2,000 characters is stored");
    Ok(())
}

pub(crate) fn a_service_of_somebody_else_is_left_alone() -> Result<()> {
    let namespace = settled("taken")?;
    let create = [
        "-n",
        "taken",
        "create",
        "service",
        "clusterip",
        "iot-web",
        "--tcp=80",
    ];
    namespace.cluster.server.kubectl(&create)?.ok()?;
    let theirs = namespace.get("service", "iot-web")?;
    attach(&namespace, &["web-0", "db-0"])?;
    until(&namespace, "iot-db", &["db-0 10.80.0.3"])?;
    namespace.eventually("it is told", || {
        let events = namespace.list("events.events.k8s.io")?;
        let told = events
            .iter()
            .filter(|event| event["reason"] == "ServiceNameTaken");
        let notes: Vec<&Value> = told.map(|event| &event["note"]).collect();
        ensure!(notes.len() == 1, "{notes:?}");
        ensure!(
            notes[0]
                .as_str()
                .is_some_and(|note| note.contains("iot-web")),
            "{notes:?}"
        );
        Ok(())
    })?;
    ensure!(
        namespace.get("service", "iot-web")? == theirs,
        "it was written"
    );
    ensure!(
        slices(&namespace, "iot-web")?.is_empty(),
        "it has slices of ours"
    );
    // Gone, it is in nobody's way: at the latest when something happens again.
    namespace.delete("service", "iot-web")?;
    attach(&namespace, &["web-0", "web-1", "db-0"])?;
    until(
        &namespace,
        "iot-web",
        &["web-0 10.80.0.2", "web-1 10.80.0.3"],
    )
    .map(drop)
}

pub(crate) fn names_that_are_refused_are_told() -> Result<()> {
    let namespace = settled("names-refused")?;
    let probe = ["create", "service", "clusterip", "probe", "--tcp=80"];
    namespace.forbid("", "services", &probe)?;
    attach(&namespace, &["web-0"])?;
    let words = ["failed to create Service iot-web", "no more services"];
    namespace.told("NamesNotWritten", &words)?;
    namespace.allow("services")?;
    until(&namespace, "iot-web", &["web-0 10.80.0.2"]).map(drop)
}

pub(crate) fn names_go_with_their_topology() -> Result<()> {
    let namespace = settled("names-gone")?;
    attach(&namespace, &["web-0"])?;
    until(&namespace, "iot-web", &["web-0 10.80.0.2"])?;
    namespace.delete("mst", "iot")?;
    // This server has no garbage collector.
    namespace.eventually("no names are left", || {
        for kind in ["services", "endpointslices.discovery.k8s.io"] {
            let left = namespace.list(kind)?;
            ensure!(left.is_empty(), "{left:?}");
        }
        Ok(())
    })
}
