//! Traffic keeps away from what is drained, and comes back.

use crate::{
    operated::{has_row, ring, story},
    stories::{RING, apply},
    world::{beemesh, beemesh_with, has, namespace},
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

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
