//! What a user does with a topology, from the plan to the drain.

use crate::{
    operated::{Operated, has_row, ring, story},
    world::{beemesh, beemesh_with, has, namespace},
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const RING: [(&str, &str); 3] = [("edge-a", "n1"), ("edge-b", "n2"), ("edge-c", "n3")];

/// Writes `topology` to a file of the server's folder.
fn file(operated: &Operated, name: &str, topology: &str) -> Result<String> {
    let path = operated.server.folder().join(name);
    std::fs::write(&path, topology)?;
    Ok(path.display().to_string())
}

fn apply(operated: &Operated, namespace: &str, topology: &str) -> Result<()> {
    let apply = ["apply", "-n", namespace, "-f", "-"];
    operated
        .server
        .kubectl_with_input(&apply, topology)?
        .ok()
        .map(drop)
}

pub(crate) fn what_is_planned_is_what_is_given() -> Result<()> {
    story(|operated| {
        namespace(&operated.server, "planned")?;
        let server = &operated.server;
        let path = file(operated, "planned.yaml", &ring("iot", &RING))?;
        let plan = beemesh(server, &format!("plan -f {path} -n planned -o json"))?
            .code(0)?
            .json()?;
        ensure!(plan["grants"]["exists"] == false, "{plan}");
        ensure!(
            plan["forwarders"]["added"] == json!(["edge-a", "edge-b", "edge-c"]),
            "{plan}"
        );
        let needed = &plan["grants"]["vnis"]["needed"];
        ensure!(
            *needed == json!(["edge-a/edge-b", "edge-a/edge-c", "edge-b/edge-c"]),
            "{plan}"
        );

        apply(operated, "planned", &ring("iot", &RING))?;
        let wait = "status iot -n planned --wait --for Computed -o json";
        let status = beemesh(server, wait)?.code(0)?.json()?;
        let given = |list: &Value| -> Vec<(Value, Value)> {
            let list = list.as_array().into_iter().flatten();
            list.map(|it| (it["name"].clone(), it["blocks"].clone()))
                .collect()
        };
        let planned: Vec<(Value, Value)> = given(&plan["grants"]["forwarders"])
            .into_iter()
            .map(|(name, blocks)| (name, blocks["after"].clone()))
            .collect();
        ensure!(planned == given(&status["forwarders"]), "{plan}\n{status}");

        let again = beemesh(server, &format!("plan -f {path} -n planned"))?
            .code(0)?
            .stdout();
        has(
            &again,
            &["against planned/iot in the cluster\n", "no route changes\n"],
        )?;
        let moved = [("edge-a", "n4"), ("edge-b", "n2"), ("edge-d", "n3")];
        let path = file(operated, "moved.yaml", &ring("iot", &moved))?;
        let text = beemesh(server, &format!("plan -f {path} -n planned"))?
            .code(0)?
            .stdout();
        has_row(&text, &["edge-a", "moves", "n1", "->", "n4"])?;
        has_row(&text, &["edge-c", "goes", "n3"])?;
        has_row(&text, &["edge-d", "comes", "n3"])?;
        has(
            &text,
            &["links that give theirs back: edge-a/edge-c, edge-b/edge-c\n"],
        )
    })
}

pub(crate) fn a_topology_is_looked_at_as_its_file_is() -> Result<()> {
    story(|operated| {
        namespace(&operated.server, "looked-at")?;
        let server = &operated.server;
        let path = file(operated, "looked-at.yaml", &ring("iot", &RING))?;
        apply(operated, "looked-at", &ring("iot", &RING))?;
        beemesh(server, "status iot -n looked-at --wait --for Computed")?.code(0)?;
        for options in ["", "--from edge-b", "--without edge-a/edge-b"] {
            let there = format!("routes iot -n looked-at -o json {options}");
            let there = beemesh(server, &there)?.code(0)?.json()?;
            let here = beemesh(server, &format!("routes -f {path} -o json {options}"))?.code(0)?;
            let (mut there, mut here) = (there, here.json()?);
            // No pod runs here; a file stands for one instance of each App.
            for tables in [&mut there, &mut here] {
                tables["epoch"].take();
                let tables = tables["tables"].as_object_mut().context("tables")?;
                for table in tables.values_mut().filter_map(Value::as_object_mut) {
                    table.remove("sensors");
                }
            }
            ensure!(there == here, "{options}: {there}\n{here}");
        }
        let graph = beemesh(server, "graph iot -n looked-at -o json")?
            .code(0)?
            .json()?;
        let status = operated.object("looked-at", "mst", "iot")?;
        ensure!(
            graph["epoch"] == status["status"]["epoch"],
            "{graph}\n{status}"
        );
        beemesh(server, "routes iot -n looked-at --from edge-z")?.code(3)?;
        Ok(())
    })
}

pub(crate) fn status_tells_what_is_wrong_until_it_is_ready() -> Result<()> {
    story(|operated| {
        namespace(&operated.server, "told")?;
        let server = &operated.server;
        apply(operated, "told", &ring("iot", &RING))?;
        beemesh(server, "status iot -n told --wait --for Computed")?.code(0)?;
        let late = beemesh(server, "status iot -n told --wait --timeout 1s")?.code(4)?;
        late.tells(&["topology told/iot is not Ready after 1s: "])?;
        let text = beemesh(server, "status iot -n told")?.code(0)?.stdout();
        has_row(&text, &["edge-a", "n1"])?;
        has(
            &text,
            &[
                "computed, not reported",
                "see whether the node daemon runs on n1, n2, n3",
            ],
        )?;

        operated.report("told")?;
        let ready = beemesh(server, "status iot -n told --wait -o json")?
            .code(0)?
            .json()?;
        ensure!(ready["problems"] == json!([]), "{ready}");
        ensure!(ready["forwarders"][0]["state"] == "same", "{ready}");
        let line = beemesh(server, "status -n told")?.code(0)?.stdout();
        has_row(&line, &["told", "iot", "True"])?;

        let down = json!({"linkStates": [{"id": "edge-a/edge-b", "up": false, "reason": "no answer"},
                                         {"id": "edge-a/edge-c", "up": true}]});
        operated.patch_status("told", "iot.edge-a", &down)?;
        let text = beemesh(server, "status iot -n told")?.code(0)?.stdout();
        has(
            &text,
            &["! 1 link is down: edge-a/edge-b (seen by edge-a: no answer)"],
        )
    })
}

pub(crate) fn a_topology_without_a_node_says_what_to_do() -> Result<()> {
    story(|operated| {
        namespace(&operated.server, "nowhere")?;
        let server = &operated.server;
        let topology = json!({
            "apiVersion": crds::API_VERSION, "kind": "MicroServiceTopology", "metadata": {"name": "lost"},
            "spec": {"forwarders": [{"name": "a", "nodeSelector": {"zone": "moon"}}]},
        });
        apply(operated, "nowhere", &topology.to_string())?;
        let late = beemesh(
            server,
            "status lost -n nowhere --wait --for Accepted --timeout 5s",
        )?;
        late.code(4)?
            .tells(&["is not Accepted after 5s: NoNode: "])?;
        let text = beemesh(server, "status lost -n nowhere")?.code(0)?.stdout();
        has(
            &text,
            &[
                "! not accepted: NoNode: spec.forwarders[0]",
                "label a node so that it matches",
            ],
        )?;
        let path = file(operated, "lost.yaml", &topology.to_string())?;
        let plan = beemesh(server, &format!("plan -f {path} -n nowhere"))?.code(2)?;
        plan.tells(&["lost.yaml: spec.forwarders[0].nodeSelector: expected a node with zone=moon"])
    })
}

pub(crate) fn validate_finds_what_was_tampered_with() -> Result<()> {
    story(|operated| {
        namespace(&operated.server, "tampered")?;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "s", "labels": {"app": "sensor"}},
            "spec": {"nodeName": "n2", "containers": [{"name": "main", "image": "none"}]},
        });
        apply(operated, "tampered", &pod.to_string())?;
        apply(operated, "tampered", &ring("iot", &RING))?;
        let server = &operated.server;
        beemesh(server, "status iot -n tampered --wait --for Computed")?.code(0)?;
        let text = beemesh(server, "validate iot -n tampered")?
            .code(0)?
            .stdout();
        has(
            &text,
            &[
                "ok       declaration = forwarders: 3 compared\n",
                "3 not reported by their nodes",
            ],
        )?;
        has(
            &text,
            &[
                "unknown  reported = kernel: nothing compared; cannot tell of n1, n2, n3: no daemon runs in this cluster\n",
            ],
        )?;
        has(&text, &["not looked at: traffic\n"])?;
        operated.report("tampered")?;
        beemesh(server, "validate iot -n tampered")?.code(0)?;

        // Away, it cannot put right what is wrong.
        operated.operator.kill()?;
        let found = tampered(operated);
        operated.operator.restart()?;
        found
    })
}

fn tampered(operated: &Operated) -> Result<()> {
    let server = &operated.server;
    operated.patch_status(
        "tampered",
        "iot.edge-b",
        &json!({"digest": "0000000000000000"}),
    )?;
    let report = beemesh(server, "validate iot -n tampered -o json")?
        .code(1)?
        .json()?;
    let layers = &report["topologies"][0]["layers"];
    ensure!(
        layers[0]["differences"] == json!([]) && layers[1]["differences"] == json!([]),
        "{report}"
    );
    let difference = &layers[2]["differences"][0];
    ensure!(
        difference["object"] == "fwd/iot.edge-b" && difference["field"] == "status.digest",
        "{report}"
    );

    let patch = r#"[{"op": "replace", "path": "/spec/links/0/weight", "value": 7}]"#;
    let patch = [
        "patch",
        "fwd",
        "iot.edge-a",
        "-n",
        "tampered",
        "--type=json",
        "-p",
        patch,
    ];
    server.kubectl(&patch)?.ok()?;
    server
        .kubectl(&["delete", "fwd", "iot.edge-c", "-n", "tampered"])?
        .ok()?;
    let text = beemesh(server, "validate iot -n tampered")?
        .code(1)?
        .stdout();
    has_row(&text, &["fwd/iot.edge-a", "spec.links[0].weight", "1", "7"])?;
    has_row(&text, &["fwd/iot.edge-c", "an", "object", "-"])
}

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
        beemesh(server, "validate iot -n drained")?.code(0)?;

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
