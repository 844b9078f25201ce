//! Life of a topology, from the plan until it is ready.

use crate::{
    operated::{DEADLINE, Operated, has_row, ring, story},
    world::{beemesh, has, namespace},
};
use anyhow::{Context, Result, ensure};
use e2e::eventually;
use serde_json::{Value, json};

pub(crate) const RING: [(&str, &str); 3] = [("edge-a", "n1"), ("edge-b", "n2"), ("edge-c", "n3")];

/// Writes `topology` to a file of the server's folder.
fn file(operated: &Operated, name: &str, topology: &str) -> Result<String> {
    let path = operated.server.folder().join(name);
    std::fs::write(&path, topology)?;
    Ok(path.display().to_string())
}

pub(crate) fn apply(operated: &Operated, namespace: &str, topology: &str) -> Result<()> {
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
            &["links that release their VNI: edge-a/edge-c, edge-b/edge-c\n"],
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
        operated.validated("told")?;
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
        eventually("it is not accepted", DEADLINE, || {
            let status = operated.object("nowhere", "mst", "lost")?["status"].take();
            has(&status.to_string(), &["NoNode"])
        })?;
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
