//! Views beyond the topology's own objects: paths, leftovers, the support archive.

use crate::{
    daemons,
    operated::{ring, story},
    world::{beemesh, beemesh_with, has, install, namespace, shared},
};
use anyhow::{Result, ensure};
use e2e::{ApiServer, eventually};
use serde_json::{Value, json};
use std::{io::Read, path::PathBuf, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);
const RING: [(&str, &str); 4] = [("a", "n1"), ("b", "n2"), ("c", "n3"), ("d", "n4")];

pub(crate) fn paths_go_where_nodes_say_that_links_are_up() -> Result<()> {
    story(|operated| {
        namespace(&operated.server, "paths")?;
        let server = &operated.server;
        let topology = ring("iot", &RING);
        server
            .kubectl_with_input(&["apply", "-n", "paths", "-f", "-"], &topology)?
            .ok()?;
        beemesh(server, "status iot -n paths --wait --for Computed")?.code(0)?;
        let path = "path a c --topology iot -n paths -o json";
        let report = beemesh(server, path)?.code(0)?.json()?;
        ensure!(report["ways"][0]["paths"] == 2, "{report}");
        ensure!(
            report["ways"][0]["forwarders"][0]["node"] == "n1",
            "{report}"
        );

        operated.report("paths")?;
        let down = json!({"linkStates": [{"id": "a/b", "up": false, "reason": "no carrier"}, {"id": "a/d", "up": true}],
                          "attachments": [{"app": "sensors", "key": "c/eth0", "pod": "paths/s-1", "addresses": ["10.80.0.2/32"]}]});
        operated.patch_status("paths", "iot.a", &down)?;
        let report = beemesh(server, path)?.code(0)?.json()?;
        ensure!(report["down"] == json!(["a/b"]), "{report}");
        ensure!(report["ways"][0]["paths"] == 1, "{report}");
        // The only topology of the namespace need not be named, nor a pod's namespace.
        for pod in ["s-1", "paths/s-1", "pod/s-1"] {
            let report = beemesh(server, &format!("path {pod} b -n paths -o json"))?
                .code(0)?
                .json()?;
            ensure!(
                report["ways"][0]["from"] == "a" && report["from"] == "paths/s-1",
                "{report}"
            );
        }
        beemesh(server, "path a nobody -n paths")?.code(3)?;
        let trace = beemesh(server, "trace s-1 b -n paths")?.code(1)?;
        trace.tells(&["node n2 cannot be asked: no daemon runs in this cluster"])
    })
}

/// A Forwarder, an Allocation and a range of a topology that is no more.
fn orphans(server: &ApiServer) -> Result<()> {
    let owner = json!([{"apiVersion": crds::API_VERSION, "kind": "MicroServiceTopology", "name": "gone",
                        "uid": "00000000-0000-0000-0000-000000000001"}]);
    let metadata =
        |name: &str| json!({"name": name, "namespace": "orphans", "ownerReferences": owner});
    let objects = [
        json!({"apiVersion": crds::API_VERSION, "kind": "Forwarder", "metadata": metadata("gone.a"),
               "spec": {"topology": "gone", "name": "a"}}),
        json!({"apiVersion": crds::API_VERSION, "kind": "Allocation", "metadata": metadata("gone"), "spec": {}}),
        json!({"apiVersion": crds::API_VERSION, "kind": "VniRange", "metadata": {"name": "vni-9000000"},
               "spec": {"first": 9_000_000, "namespace": "orphans", "topology": "gone",
                        "uid": "00000000-0000-0000-0000-000000000001"}}),
    ];
    for object in objects {
        server.kubectl_apply(&object.to_string())?;
    }
    Ok(())
}

pub(crate) fn what_outlived_its_topology_is_named_and_removed() -> Result<()> {
    // Of its own: `gc` looks at all namespaces.
    let server = ApiServer::start()?;
    install(&server)?;
    namespace(&server, "orphans")?;
    let topology = ring("living", &[("a", "n1")]);
    server
        .kubectl_with_input(&["apply", "-n", "orphans", "-f", "-"], &topology)?
        .ok()?;
    beemesh(&server, "check")?.code(0)?;
    orphans(&server)?;
    let names = |report: &Value, list: &str| -> Vec<String> {
        let list = report[list].as_array().into_iter().flatten();
        list.filter_map(|it| Some(format!("{} {}", it["kind"].as_str()?, it["removable"])))
            .collect()
    };
    let checked = beemesh(&server, "check -o json")?.code(1)?.json()?;
    // A range is used as long as a Forwarder may carry a VNI of it.
    let found = ["Forwarder true", "Allocation true", "VniRange false"];
    ensure!(names(&checked, "orphans") == found, "{checked}");
    let dry = beemesh(&server, "gc --dry-run -o json")?.code(0)?.json()?;
    ensure!(names(&dry, "orphansRemoved") == found[..2], "{dry}");
    beemesh(&server, "check")?.code(1)?;
    beemesh(&server, "gc")?.code(0)?;
    let second = beemesh(&server, "gc -o json")?.code(0)?.json()?;
    ensure!(
        names(&second, "orphansRemoved") == ["VniRange true"],
        "{second}"
    );
    let checked = beemesh(&server, "check -o json")?.code(0)?.json()?;
    ensure!(checked["counts"]["MicroServiceTopology"] == 1, "{checked}");
    Ok(())
}

/// A kubeconfig for who may list everything that `gc` looks at, but not `hidden`.
fn without_a_right(server: &ApiServer, hidden: &str) -> Result<PathBuf> {
    let ours = [
        "microservicetopologies",
        "forwarders",
        "allocations",
        "vniranges",
    ];
    let shown: Vec<&str> = ours.into_iter().filter(|it| *it != hidden).collect();
    let name = format!("without-{hidden}");
    let rbac = "rbac.authorization.k8s.io";
    let verbs = ["get", "list", "delete"];
    let objects = [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "orphans"}}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": [
            {"apiGroups": ["beemesh.io"], "resources": shown, "verbs": verbs},
            {"apiGroups": [""], "resources": ["nodes", "pods", "services"], "verbs": verbs},
            {"apiGroups": [rbac], "resources": ["clusterrolebindings"], "verbs": ["list"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": verbs}]}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
               "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name},
               "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "orphans"}]}),
    ];
    for object in objects {
        server.kubectl_apply(&object.to_string())?;
    }
    let create = ["create", "token", &name, "-n", "orphans"];
    let token = server.kubectl(&create)?.ok()?;
    server.kubeconfig_for_token(token.trim())
}

pub(crate) fn a_range_stays_while_its_users_cannot_be_listed() -> Result<()> {
    // Of its own: `gc` looks at all namespaces.
    let server = ApiServer::start()?;
    install(&server)?;
    namespace(&server, "orphans")?;
    orphans(&server)?;
    let range = |report: &Value, list: &str| {
        let list = report[list].as_array().into_iter().flatten();
        list.filter(|it| it["kind"] == "VniRange").count()
    };
    // The last user that is left is the one that cannot be seen.
    for (hidden, left) in [("allocations", "Allocation"), ("forwarders", "Forwarder")] {
        orphans(&server)?;
        let guest = without_a_right(&server, hidden)?;
        eventually("the rights are in force", MINUTE, || {
            let seen = beemesh_with(Some(&guest), "gc --dry-run -o json")?
                .code(0)?
                .json()?;
            let unknown = seen["unknown"].as_array().map_or(0, Vec::len);
            ensure!(
                unknown == 1 && seen["unknown"][0]["where"] == left,
                "{seen}"
            );
            Ok(())
        })?;
        for _ in 0..2 {
            let report = beemesh_with(Some(&guest), "gc -o json")?.code(0)?.json()?;
            ensure!(range(&report, "orphansKept") == 1, "{hidden}: {report}");
        }
    }
    Ok(())
}

pub(crate) fn a_test_of_connectivity_without_daemons_makes_nothing() -> Result<()> {
    let server = shared()?;
    let count = || -> Result<usize> {
        let all = server
            .kubectl(&["get", "namespaces", "-o", "json"])?
            .json()?;
        Ok(all["items"].as_array().map_or(0, Vec::len))
    };
    let before = count()?;
    let said = beemesh(server, "connectivity test")?.code(3)?;
    said.tells(&["no daemon runs in this cluster"])?;
    // Other stories make namespaces beside this one, but none that is called so.
    let all = server.kubectl(&["get", "namespaces", "-o", "name"])?.ok()?;
    ensure!(
        !all.to_string().contains("connectivity"),
        "{before} {}",
        count()?
    );
    Ok(())
}

pub(crate) fn a_test_of_connectivity_leaves_topologies_of_others() -> Result<()> {
    // Of its own: other tests count on a cluster without daemons.
    let server = ApiServer::start()?;
    install(&server)?;
    for name in ["system", "taken"] {
        namespace(&server, name)?;
    }
    daemons::install(&server, "system", &["n1"])?;
    // A user's, and one of a test that somebody else runs.
    for (name, labels) in [
        ("users", json!({})),
        (
            "running",
            json!({"beemesh.io/connectivity-test": "running"}),
        ),
    ] {
        let mut topology: Value = serde_json::from_str(&ring(name, &RING))?;
        topology["metadata"]["labels"] = labels;
        let apply = ["apply", "-n", "taken", "-f", "-"];
        server
            .kubectl_with_input(&apply, &topology.to_string())?
            .ok()?;
    }
    let format = "-o=jsonpath={range .items[*]}{.metadata.name}:{.metadata.uid}:{.metadata.generation} {end}";
    let list = ["get", "mst", "-n", "taken", format];
    let before = server.kubectl(&list)?.ok()?;
    let run = "connectivity test --namespace taken --timeout 1s --topology";
    for name in ["users", "running"] {
        let said = beemesh(&server, &format!("{run} {name}"))?.code(1)?;
        said.tells(&[
            &format!("topology taken/{name} is there already"),
            "--topology",
        ])?;
    }
    // No operator runs: its own topology is never ready, and goes.
    beemesh(&server, &format!("{run} free"))?.code(4)?;
    let after = server.kubectl(&list)?.ok()?;
    ensure!(
        before == after && before.split(' ').count() >= 2,
        "{before}; {after}"
    );
    Ok(())
}

/// Everything in an archive: names and contents.
fn unpacked(path: &std::path::Path) -> Result<Vec<(String, String)>> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(path)?));
    let entries = archive.entries()?.map(|entry| {
        let mut entry = entry?;
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        Ok((entry.path()?.display().to_string(), text))
    });
    entries.collect()
}

pub(crate) fn the_archive_for_support_holds_no_secret() -> Result<()> {
    let server = shared()?;
    namespace(server, "bundled")?;
    let planted = "PlAnTeD0sEcReT1vAlUe2aBcDeFgHiJkLmNoPqRsTuVw3";
    let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJwbGFudGVkIn0.cGxhbnRlZA";
    let mut topology: Value = serde_json::from_str(&ring("iot", &[("a", "n1")]))?;
    topology["metadata"]["annotations"] =
        json!({"example.org/api-token": planted, "note": format!("see {jwt}")});
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "bundled"},
        "involvedObject": {"kind": "MicroServiceTopology", "name": "iot", "namespace": "bundled"},
        "reason": "Planted", "message": format!("password={planted}"), "type": "Normal"});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "bundled",
        "labels": {"app.kubernetes.io/part-of": "beemesh"}}, "stringData": {"key": planted}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "bundled",
        "labels": {"app.kubernetes.io/part-of": "beemesh"}}, "spec": {"containers": [{"name": "c", "image": "none",
        "env": [{"name": "DB_PASSWORD", "value": planted}, {"name": "PLAIN", "value": "stays"}]}]}});
    for object in [event, secret, pod] {
        server.kubectl_apply(&object.to_string())?;
    }
    let apply = ["apply", "-n", "bundled", "-f", "-"];
    server
        .kubectl_with_input(&apply, &topology.to_string())?
        .ok()?;

    let path = server.folder().join("bundle.tar.gz");
    let system = "--system-namespace bundled";
    let line = format!("bundle --file {} {system} -o json", path.display());
    let written = beemesh(server, &line)?.code(0)?.json()?;
    let files = unpacked(&path)?;
    ensure!(written["entries"] == files.len(), "{written}");
    let find = |end: &str| {
        files
            .iter()
            .find(|(name, _)| name.ends_with(end))
            .map(|(_, text)| text.as_str())
    };
    has(
        find("objects/topologies.yaml").unwrap_or_default(),
        &["name: iot", "example.org/api-token"],
    )?;
    has(
        find("events/bundled.yaml").unwrap_or_default(),
        &["Planted"],
    )?;
    has(
        find("objects/bundled/pods.yaml").unwrap_or_default(),
        &["DB_PASSWORD", "stays"],
    )?;
    has(find("versions.txt").unwrap_or_default(), &["kubernetes v"])?;
    // It never ran: its log is empty.
    ensure!(find("logs/p.c.log") == Some(""), "{written}");
    for (name, text) in &files {
        ensure!(
            !text.contains(planted) && !text.contains(jwt),
            "{name}:\n{text}"
        );
        ensure!(!name.contains("secret"), "{name}");
    }
    Ok(())
}
