//! Detection of differences from the declaration.

use crate::{
    operated::{Operated, has_row, ring, story},
    stories::{RING, apply},
    world::{beemesh, has, namespace},
};
use anyhow::{Result, ensure};
use serde_json::json;

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
        let text = operated.validated("tampered")?;
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
                "unknown  reported = kernel: nothing compared; cannot check n1, n2, n3: no daemon runs in this cluster\n",
            ],
        )?;
        has(&text, &["not checked: traffic\n"])?;
        operated.report("tampered")?;
        beemesh(server, "validate iot -n tampered")?.code(0)?;

        // Away, it cannot put right what is wrong.
        operated.operator.kill()?;
        let found = tampered(operated);
        operated.restart()?;
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
