//! Traffic keeps away from what is drained, and comes back.

use crate::{
    operated::{has_row, ring, story},
    stories::{RING, apply},
    world::{Said, beemesh, beemesh_with, has, namespace, shared},
};
use anyhow::{Result, anyhow, ensure};
use serde_json::{Value, json};
use std::thread;

pub(crate) fn traffic_keeps_away_from_what_is_drained() -> Result<()> {
    story(|operated| {
        namespace(&operated.server, "drained")?;
        let square = [("a", "n1"), ("b", "n2"), ("c", "n3"), ("d", "n4")];
        apply(operated, "drained", &ring("iot", &square))?;
        let server = &operated.server;
        beemesh(server, "status iot -n drained --wait --for Computed")?.code(0)?;
        let distance = || -> Result<Value> {
            let routes = beemesh(server, "routes iot -n drained -o json")?
                .code(0)?
                .json()?;
            Ok(routes["tables"]["a"]["c"]["nextHops"].clone())
        };
        let drain = || -> Result<Value> {
            Ok(operated.object("drained", "mst", "iot")?["spec"]["drain"].clone())
        };
        let dry = beemesh(server, "drain iot -n drained --forwarder b --dry-run")?.code(0)?;
        has(
            &dry.stdout(),
            &["links changed: a/b, b/c\n", "dry run, nothing was written"],
        )?;
        has_row(
            &dry.stdout(),
            &["a", "c", "2", "via", "b,", "d", "2", "via", "d"],
        )?;
        ensure!(drain()?.is_null(), "{}", drain()?);

        beemesh(server, "drain iot -n drained --forwarder b --wait")?.code(0)?;
        ensure!(drain()? == json!({"forwarders": ["b"]}), "{}", drain()?);
        ensure!(
            distance()? == json!([{"via": "d", "link": "a/d"}]),
            "{}",
            distance()?
        );
        has(
            &beemesh(server, "status iot -n drained")?.code(0)?.stdout(),
            &[", drained"],
        )?;
        operated.validated("drained")?;

        let refused = beemesh(server, "drain iot -n drained --forwarder d")?.code(1)?;
        refused.tells(&[
            "would not run empty: these reach one another only across it: a | c",
            "--force",
        ])?;
        let forced = beemesh(server, "drain iot -n drained --link d/a --force --wait")?.code(0)?;
        has(
            &forced.stdout(),
            &["applied: drained in drained/iot: b, a/d\n"],
        )?;
        beemesh(server, "undrain iot -n drained --forwarder b")?.code(0)?;
        ensure!(drain()? == json!({"links": ["a/d"]}), "{}", drain()?);
        beemesh(server, "undrain iot -n drained --wait")?.code(0)?;
        let left = drain()?;
        ensure!(left.is_null() || left == json!({}), "{left}");
        let nothing = beemesh(server, "undrain iot -n drained")?.code(0)?;
        has(&nothing.stdout(), &["nothing to change"])?;
        beemesh(server, "drain iot -n drained --forwarder e")?.code(3)?;
        beemesh(server, "drain iot -n drained")?.code(2)?;
        Ok(())
    })
}

pub(crate) fn what_a_file_drains_is_not_undrained_here() -> Result<()> {
    story(|operated| {
        namespace(&operated.server, "foreign")?;
        let mut topology: Value = serde_json::from_str(&ring("iot", &RING))?;
        topology["spec"]["drain"] = json!({"forwarders": ["edge-a"]});
        let apply = [
            "apply",
            "--server-side",
            "--field-manager=git",
            "-n",
            "foreign",
            "-f",
            "-",
        ];
        let server = &operated.server;
        server
            .kubectl_with_input(&apply, &topology.to_string())?
            .ok()?;
        let refused = beemesh(server, "undrain iot -n foreign --forwarder edge-a")?.code(1)?;
        refused.tells(&["edge-a is drained by git, not by `beemesh drain`"])?;
        let drained = || -> Result<Value> {
            Ok(operated.object("foreign", "mst", "iot")?["spec"]["drain"]["forwarders"].clone())
        };
        // Both declare their own.
        beemesh(server, "drain iot -n foreign --forwarder edge-b")?.code(0)?;
        ensure!(drained()? == json!(["edge-a", "edge-b"]), "{}", drained()?);
        beemesh(server, "undrain iot -n foreign")?.code(0)?;
        ensure!(drained()? == json!(["edge-a"]), "{}", drained()?);
        Ok(())
    })
}

/// The rules that the chart's roles add to `edit`, and nothing else: neither nodes nor pods.
const EDITOR: &str = "
{apiVersion: v1, kind: ServiceAccount, metadata: {name: editor}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: editor}
rules:
  - apiGroups: [beemesh.io]
    resources: [microservicetopologies, forwarders, allocations]
    verbs: [get, list, watch]
  - {apiGroups: [beemesh.io], resources: [microservicetopologies], verbs: [patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: editor}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: editor}
subjects: [{kind: ServiceAccount, name: editor, namespace: edited}]
";

pub(crate) fn who_may_edit_a_namespace_needs_no_more_to_drain() -> Result<()> {
    story(|operated| {
        namespace(&operated.server, "edited")?;
        apply(operated, "edited", EDITOR)?;
        apply(operated, "edited", &ring("iot", &RING))?;
        let token = ["create", "token", "editor", "-n", "edited"];
        let token = operated.server.kubectl(&token)?.ok()?;
        let kubeconfig = operated.server.kubeconfig_for_token(token.trim())?;
        let run = |line: &str| beemesh_with(Some(&kubeconfig), line);
        run("status iot -n edited --wait --for Computed")?.code(0)?;
        for verb in [
            "status -n edited",
            "routes iot -n edited",
            "graph iot -n edited",
        ] {
            run(verb)?.code(0)?;
        }
        run("drain iot -n edited --forwarder edge-b --wait")?.code(0)?;
        run("undrain iot -n edited")?.code(0)?;
        let nodes = "`kubectl auth can-i list nodes -A`";
        run("validate iot -n edited")?.code(1)?.tells(&[nodes])
    })
}

/// Runs `drain iot -n NAMESPACE --forwarder F` for each of `forwarders`, all at once; returns the exit codes.
fn drained_at_once(
    server: &e2e::ApiServer,
    namespace: &str,
    forwarders: &[&str],
) -> Result<Vec<Said>> {
    thread::scope(|scope| {
        let start = |name: &&str| {
            let line = format!("drain iot -n {namespace} --forwarder {name}");
            scope.spawn(move || beemesh(server, &line))
        };
        let started: Vec<_> = forwarders.iter().map(start).collect();
        let ended = started
            .into_iter()
            .map(|it| it.join().map_err(|_| anyhow!("a thread panicked"))?);
        ended.collect()
    })
}

pub(crate) fn drains_at_the_same_time_are_all_there() -> Result<()> {
    let server = shared()?;
    namespace(server, "together")?;
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut topology: Value = serde_json::from_str(&ring("iot", &names.map(|it| (it, "n1"))))?;
    topology["spec"]["shape"] = "Mesh".into();
    let apply = ["apply", "-n", "together", "-f", "-"];
    server
        .kubectl_with_input(&apply, &topology.to_string())?
        .ok()?;
    for said in drained_at_once(server, "together", &names[2..])? {
        said.code(0)?;
    }
    let get = ["get", "mst", "iot", "-n", "together", "-o", "json"];
    let stored = server.kubectl(&get)?.json()?;
    let drained = &stored["spec"]["drain"]["forwarders"];
    ensure!(*drained == json!(names[2..]), "{drained}");
    Ok(())
}

pub(crate) fn of_two_drains_that_cut_a_ring_one_is_refused() -> Result<()> {
    let server = shared()?;
    namespace(server, "cutting")?;
    let topology = ring("iot", &[("a", "n1"), ("b", "n1"), ("c", "n1"), ("d", "n1")]);
    let apply = ["apply", "-n", "cutting", "-f", "-"];
    server.kubectl_with_input(&apply, &topology)?.ok()?;
    let said = drained_at_once(server, "cutting", &["b", "d"])?;
    let (done, refused): (Vec<Said>, Vec<Said>) = said.into_iter().partition(Said::is_done);
    ensure!(done.len() == 1, "{} of two drains were applied", done.len());
    for said in refused {
        said.code(1)?.tells(&["only across it: a | c"])?;
    }
    Ok(())
}
