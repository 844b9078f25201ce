//! The API server, or what it serves, is away.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use e2e::{ApiServer, Process, eventually, free_port};
use serde_json::{Value, json};

use crate::cluster::{Cluster, DEADLINE};

/// An operator that looks at everything again each second.
fn restless(server: &ApiServer) -> Result<(Process, String)> {
    let metrics = format!("127.0.0.1:{}", free_port()?);
    let api = format!("127.0.0.1:{}", free_port()?);
    let arguments = [
        "--name=restless",
        "--listen-metrics",
        &metrics,
        "--listen-api",
        &api,
        "--resync=1",
    ];
    let program = env!("CARGO_BIN_EXE_beemesh-operator");
    let folder = server.folder();
    let operator = Process::start(
        program,
        "restless",
        &arguments,
        &server.kubeconfig(),
        folder,
    )?;
    Ok((operator, metrics))
}

/// Status line and body of a GET.
fn get(address: &str, path: &str) -> Result<(String, String)> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("a head and a body")?;
    let line = head.lines().next().unwrap_or_default();
    Ok((line.to_owned(), body.to_owned()))
}

/// How often topologies were looked at.
fn looks(address: &str) -> Result<u64> {
    let (_, body) = get(address, "/metrics")?;
    let name = r#"beemesh_reconcile_duration_seconds_count{kind="MicroServiceTopology"}"#;
    let line = body.lines().find(|line| line.starts_with(name));
    let count = line
        .and_then(|line| line.split_whitespace().last())
        .context("no looks yet")?;
    Ok(count.parse::<f64>()? as u64)
}

fn spec(weight: u32) -> Value {
    json!({
        "forwarders": [{"name": "a", "node": "away-1"}, {"name": "b", "node": "away-1"}],
        "links": [{"a": "a", "b": "b", "weight": weight}],
    })
}

pub(crate) fn it_waits_for_definitions_and_servers() -> Result<()> {
    let server = ApiServer::start()?;
    let (operator, address) = restless(&server)?;
    let mut cluster = Cluster { server, operator };
    let not_ready = eventually("it says what it waits for", DEADLINE, || {
        let (line, body) = get(&address, "/readyz?verbose")?;
        let waits = "[-]microservicetopologies.beemesh.io failed";
        ensure!(
            line.contains("500") && body.contains(waits),
            "{line}: {body}"
        );
        ensure!(body.contains("[+]pods ok"), "{body}");
        Ok(body)
    })?;
    ensure!(
        not_ready.contains("waiting for the kind to be served"),
        "{not_ready}"
    );
    let (line, _) = get(&address, "/livez")?;
    ensure!(line.contains("200"), "it lives: {line}");

    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml");
    cluster.server.apply_crds(&definitions)?;
    eventually("it is ready", DEADLINE, || {
        let (line, body) = get(&address, "/readyz?verbose")?;
        ensure!(line.contains("200"), "{body}");
        Ok(())
    })?;
    cluster.node("away-1", &json!({}))?;
    let namespace = cluster.namespace("away")?;
    namespace.topology("pair", &spec(1))?;
    namespace.until("pair", "Computed", "True", "")?;

    cluster.server.kill_apiserver()?;
    let looked = looks(&address)?;
    eventually("it goes on without", DEADLINE, || {
        ensure!(looks(&address)? > looked, "no look yet");
        Ok(())
    })?;
    cluster.server.restart_apiserver()?;
    let namespace = crate::cluster::Namespace {
        cluster: &cluster,
        name: "away".to_owned(),
    };
    namespace.topology("pair", &spec(2))?;
    namespace.until("pair", "Computed", "True", "")?;
    ensure!(cluster.operator.ensure_alive().is_ok(), "it ended");
    Ok(())
}

pub(crate) fn it_follows_a_store_that_was_restored() -> Result<()> {
    let server = ApiServer::start()?;
    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml");
    server.apply_crds(&definitions)?;
    let (operator, _) = restless(&server)?;
    let cluster = Cluster { server, operator };
    cluster.node("away-1", &json!({}))?;
    let namespace = cluster.namespace("restored")?;
    namespace.topology("kept", &spec(1))?;
    namespace.until("kept", "Computed", "True", "")?;
    cluster.server.back_up()?;
    // So many that the restored store does not reach this revision while the test runs.
    let filler = |number: u32| {
        let metadata = json!({"name": format!("filler-{number}"), "namespace": "restored"});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}).to_string()
    };
    let fillers: Vec<String> = (0..1_000).map(filler).collect();
    cluster.server.kubectl_apply(&fillers.join("\n---\n"))?;
    namespace.topology("lost", &spec(1))?;
    namespace.until("lost", "Computed", "True", "")?;

    cluster.server.restore()?;
    ensure!(
        namespace.get("mst", "lost").is_err(),
        "the backup has no such topology"
    );
    namespace.topology("new", &spec(1))?;
    namespace.until("new", "Computed", "True", "")?;
    namespace.topology("kept", &spec(7))?;
    namespace.eventually("a change of what the backup has is followed", || {
        let forwarders = namespace.forwarders("kept")?;
        let weights: Vec<&Value> = forwarders
            .iter()
            .map(|forwarder| &forwarder["spec"]["links"][0]["weight"])
            .collect();
        ensure!(weights == [7, 7], "{weights:?}");
        Ok(())
    })
}

pub(crate) fn nothing_is_written_when_nothing_changes() -> Result<()> {
    let server = ApiServer::start()?;
    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml");
    server.apply_crds(&definitions)?;
    let (operator, address) = restless(&server)?;
    let cluster = Cluster { server, operator };
    cluster.node("away-1", &json!({}))?;
    let namespace = cluster.namespace("calm")?;
    for name in ["one", "two"] {
        namespace.topology(name, &spec(1))?;
        namespace.until(name, "Computed", "True", "")?;
        namespace.eventually("tables are published", || {
            let forwarders = namespace.forwarders(name)?;
            let is_there = |forwarder: &Value| forwarder["status"]["computed"]["epoch"].is_string();
            ensure!(forwarders.iter().all(is_there), "{forwarders:?}");
            Ok(())
        })?;
    }
    let ours = |resource: &str| !matches!(resource, "leases" | "apiservices" | "configmaps");
    // Events of the last transition may be under way until the next look.
    let looked = looks(&address)?;
    let until_looks = |count: u64| {
        eventually("it looks again", DEADLINE, || {
            ensure!(looks(&address)? >= count, "not yet");
            Ok(())
        })
    };
    until_looks(looked + 4)?;
    let before = cluster.server.metrics()?;
    until_looks(looked + 12)?;
    let written = cluster.server.metrics()?.since(&before);
    ensure!(written.writes(ours) == 0, "{written:?}");
    Ok(())
}
