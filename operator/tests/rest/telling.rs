//! Reports of the operator on itself.

use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use e2e::eventually;

use crate::{
    client::{self, Answer, Asked},
    world::{DEADLINE, Operator, path, topology, world},
};

const SPEC: &str = "{forwarders: [{name: a}, {name: b}], shape: Line}";

pub(crate) fn every_operation_answers_as_the_document_says() -> Result<()> {
    let world = world()?;
    let body = topology("all", SPEC);
    world.apply("all", &body)?.with(200)?;
    world.computed("all")?;
    let base = "/apis/beemesh.io/v1alpha1";
    #[rustfmt::skip]
    let asked = [
        ("listAllTopologies", "GET",    format!("{base}/topologies"),                  ""),
        ("listTopologies",    "GET",    format!("{base}/namespaces/plant/topologies"), ""),
        ("readTopology",      "GET",    path("all"),                                   ""),
        ("applyTopology",     "PUT",    path("all"),                                   &body),
        ("readStage",         "GET",    path("all") + "/stages/spt",                   ""),
        ("readRoutes",        "GET",    path("all") + "/routes",                       ""),
        ("readTables",        "GET",    path("all") + "/tables",                       ""),
        ("planTopology",      "POST",   path("all") + "/plan",                         &body),
        ("deleteTopology",    "DELETE", path("all"),                                   ""),
        ("readLogLevel",      "GET",    "/loglevel".to_owned(),                        ""),
        ("changeLogLevel",    "PUT",    "/loglevel".to_owned(),                        "{\"level\": \"info\"}"),
        ("readDocument",      "GET",    "/openapi.json".to_owned(),                    ""),
    ];
    let mut names = BTreeSet::new();
    for (name, method, path, body) in &asked {
        let answer = world.ask(&Asked {
            method,
            path,
            token: Some(&world.root),
            body,
            ..Asked::default()
        })?;
        ensure!(
            (200..300).contains(&answer.status),
            "{method} {path}: {answer:?}"
        );
        ensure!(answer.headers["x-trace-id"].len() == 32, "{answer:?}");
        names.insert(*name);
    }
    let document = world.operator.document();
    let paths = document["paths"].as_object().context("paths")?;
    let operations = paths.values().filter_map(|path| path.as_object());
    let declared = operations.flat_map(|path| path.values());
    let declared: BTreeSet<&str> = declared
        .filter_map(|operation| operation["operationId"].as_str())
        .collect();
    ensure!(declared == names, "{declared:?}");
    // What is in no document is answered in the same form.
    let direct = |method, path| {
        let asked = Asked {
            method,
            path,
            ..Asked::default()
        };
        client::ask(&mut client::connect(world.operator.api)?, &asked)
    };
    for (answer, status) in [
        (direct("GET", "/nothing")?, 404),
        (direct("PATCH", "/loglevel")?, 405),
    ] {
        let answer = answer.with(status)?;
        ensure!(
            answer.headers["content-type"] == "application/problem+json",
            "{answer:?}"
        );
    }
    Ok(())
}

pub(crate) fn the_level_of_the_log_changes_at_once() -> Result<()> {
    let world = world()?;
    // One of its own: others change the level too.
    let operator = Operator::start(&world.server, "talkative", &[])?;
    let change = |body: &str| {
        operator.ask(&Asked {
            method: "PUT",
            path: "/loglevel",
            token: Some(&world.root),
            body,
            ..Asked::default()
        })
    };
    let read = |path: &str| {
        operator.ask(&Asked {
            method: "GET",
            path,
            ..Asked::default()
        })
    };
    let debug = |path: &str| {
        let log = operator.process.log();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines
            .filter(|line| line["level"] == "DEBUG" && line["span"]["path"] == path)
            .count()
    };
    read("/apis/beemesh.io/v1alpha1/topologies")?.with(200)?;
    let wrong = change("{\"level\": \"loud\"}")?.with(422)?.json()?;
    ensure!(wrong["errors"][0]["path"] == "level", "{wrong:#}");
    let level = change("{\"level\": \"info,operator=debug\"}")?
        .with(200)?
        .json()?;
    ensure!(level["level"] == "operator=debug,info", "{level}");
    ensure!(read("/loglevel")?.json()? == level, "not what was set");
    eventually("the log tells more", DEADLINE, || {
        ensure!(debug("/loglevel") > 0, "{}", operator.process.log());
        Ok(())
    })?;
    ensure!(
        debug("/apis/beemesh.io/v1alpha1/topologies") == 0,
        "told before it was asked to"
    );
    let log = operator.process.log();
    let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    ensure!(log.lines().all(is_json), "{log}");
    Ok(())
}

pub(crate) fn probes_list_their_checks() -> Result<()> {
    for path in ["/livez", "/readyz", "/healthz"] {
        let answer = probe(path)?.with(200)?;
        ensure!(answer.body == "ok", "{answer:?}");
    }
    let live = probe("/livez?verbose")?.with(200)?.body;
    ensure!(live == "[+]heartbeat ok\nlivez check passed\n", "{live}");
    let ready = probe("/readyz?verbose=true")?.with(200)?.body;
    for check in [
        "heartbeat",
        "microservicetopologies.beemesh.io",
        "nodes",
        "pods",
        "shutdown",
    ] {
        ensure!(ready.contains(&format!("[+]{check} ok\n")), "{ready}");
    }
    ensure!(ready.ends_with("readyz check passed\n"), "{ready}");
    Ok(())
}

pub(crate) fn lives_and_is_read_while_the_api_server_is_away() -> Result<()> {
    let (server, operator) = crate::world::alone()?;
    let nodes = "{forwarderPerNode: {}, shape: Mesh}";
    server.kubectl_apply(&topology("kept", nodes))?;
    let read = |method, path: &str, token| {
        let asked = Asked {
            method,
            path,
            token,
            body: &topology("kept", nodes),
            ..Asked::default()
        };
        operator.ask(&asked)
    };
    let path = path("kept").replace("plant", "default");
    let stage = format!("{path}/stages/global");
    eventually("the topology is computed", DEADLINE, || {
        read("GET", &stage, None)?.with(200)
    })?;
    server.kill_apiserver()?;
    read("GET", &stage, None)?.with(200)?;
    read("PUT", &path, Some(server.token()))?.with(503)?;
    let asked = Asked {
        method: "GET",
        path: "/livez",
        ..Asked::default()
    };
    client::ask(&mut client::connect(operator.metrics)?, &asked)?.with(200)?;
    Ok(())
}

pub(crate) fn prometheus_has_nothing_against_the_metrics() -> Result<()> {
    let world = world()?;
    world
        .apply("counted", &topology("counted", SPEC))?
        .with(200)?;
    world.computed("counted")?;
    let metrics = eventually("the cache has the status", DEADLINE, || {
        let metrics = probe("/metrics")?.with(200)?;
        let sample = "beemesh_topology_forwarders{namespace=\"plant\",topology=\"counted\"} 2\n";
        ensure!(metrics.body.contains(sample), "{}", metrics.body);
        Ok(metrics)
    })?;
    ensure!(
        metrics.headers["content-type"].starts_with("text/plain; version=0.0.4"),
        "{metrics:?}"
    );
    for name in [
        "beemesh_api_writes_total",
        "beemesh_http_requests_total",
        "beemesh_reconcile_duration_seconds_bucket",
    ] {
        ensure!(
            metrics.body.contains(&format!("\n{name}{{")),
            "no {name} in {}",
            metrics.body
        );
    }
    let mut promcheck = Command::new(world.server.tool("promcheck")?)
        .arg("metrics")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = promcheck.stdin.take().context("a pipe")?;
    input.write_all(metrics.body.as_bytes())?;
    drop(input);
    let output = promcheck.wait_with_output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(
        output.status.success() && said.is_empty(),
        "{said}\n{}",
        metrics.body
    );
    Ok(())
}

fn probe(path: &str) -> Result<Answer> {
    let asked = Asked {
        method: "GET",
        path,
        ..Asked::default()
    };
    client::ask(&mut client::connect(world()?.operator.metrics)?, &asked)
}
