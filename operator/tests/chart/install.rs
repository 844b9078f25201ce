//! The chart's life on a real API server: installed, upgraded, uninstalled.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{ApiServer, eventually};
use serde_json::Value;

use crate::helm;
use crate::server::{helm_on, run};

pub(crate) const RELEASE: &str = "beemesh";
const NAMESPACE: &str = helm::NAMESPACE;
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn a_release_comes_is_upgraded_and_goes_without_a_trace() -> Result<()> {
    let server = ApiServer::start()?;
    let before = settled(&server)?;
    run(
        &server,
        NAMESPACE,
        &["install", RELEASE, "--create-namespace", "--wait=false"],
    )?;
    let name = format!("deployment/{RELEASE}-operator");
    ensure!(replicas(&server, &name)? == 2, "replicas as installed");
    run(
        &server,
        NAMESPACE,
        &[
            "upgrade",
            RELEASE,
            "--set=operator.replicas=3",
            "--set=networkPolicy.enabled=true",
        ],
    )?;
    ensure!(replicas(&server, &name)? == 3, "replicas as upgraded");
    ensure!(everything(&server)?.contains(&format!(
        "NetworkPolicy.networking.k8s.io/v1 {NAMESPACE}/{RELEASE}-operator"
    )));
    helm_on(&server, NAMESPACE)?
        .args(&["rollback", RELEASE, "1"])
        .output_text()?;
    ensure!(replicas(&server, &name)? == 2, "replicas as rolled back");
    uninstall(&server)?;
    // What helm leaves: the definitions, and the namespace that it was told to make.
    let definitions = helm::chart().join("crds").display().to_string();
    server
        .kubectl(&["delete", "--filename", &definitions])?
        .ok()?;
    eventually("the definitions are gone", MINUTE, || {
        let mut left = everything(&server)?;
        left.retain(|object| {
            !before.contains(object) && object != &format!("Namespace.v1 /{NAMESPACE}")
        });
        ensure!(left.is_empty(), "left: {left:?}");
        Ok(())
    })
}

/// The command of docs/upgrade.md, on definitions that an older chart brought.
pub(crate) fn definitions_are_upgraded_by_the_documented_command() -> Result<()> {
    let documented = fs::read_to_string(helm::root().join("docs/upgrade.md"))?;
    let command = "kubectl apply --server-side --force-conflicts -f charts/beemesh/crds/";
    ensure!(
        documented.contains(command),
        "docs/upgrade.md does not say: {command}"
    );
    let server = ApiServer::start()?;
    run(
        &server,
        NAMESPACE,
        &["install", RELEASE, "--create-namespace", "--wait=false"],
    )?;
    let name = "microservicetopologies.beemesh.io";
    let shipped = version(&server, name)?;
    // As an older chart would have left it, under helm's own field manager: a column, a rule and a field that are
    // no more, and one field not there yet.
    let older = r#"[
        {"op": "add", "path": "/spec/versions/0/additionalPrinterColumns", "value":
            [{"name": "Old", "type": "string", "jsonPath": ".spec.shape"}]},
        {"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations", "value":
            [{"rule": "self == self", "message": "an old rule"}]},
        {"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/old", "value":
            {"type": "string"}},
        {"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/liveness"}]"#;
    let patch = [
        "patch",
        "crd",
        name,
        "--type=json",
        "--field-manager=helm",
        "-p",
        older,
    ];
    server.kubectl(&patch)?.ok()?;
    run(&server, NAMESPACE, &["upgrade", RELEASE])?;
    ensure!(
        version(&server, name)? != shipped,
        "helm upgrades definitions by now: docs/upgrade.md can go"
    );
    let folder = helm::chart().join("crds").display().to_string() + "/";
    let arguments: Vec<&str> = command
        .split_whitespace()
        .skip(1)
        .map(|word| {
            if word.ends_with("crds/") {
                &*folder
            } else {
                word
            }
        })
        .collect();
    server.kubectl(&arguments)?.ok()?;
    let upgraded = version(&server, name)?;
    ensure!(upgraded == shipped, "upgraded: {upgraded:#}");
    Ok(())
}

/// Cluster roles `view` and `edit`, bound in one namespace, as clusters do for their tenants.
pub(crate) fn users_of_a_namespace_edit_its_topologies_and_view_the_rest() -> Result<()> {
    let server = ApiServer::start()?.with_controller_manager()?;
    run(
        &server,
        NAMESPACE,
        &["install", RELEASE, "--create-namespace", "--wait=false"],
    )?;
    server.kubectl(&["create", "namespace", "plant"])?.ok()?;
    for role in ["view", "edit", "admin"] {
        let (binding, user) = (format!("the-{role}"), format!("--user={role}or"));
        let role = format!("--clusterrole={role}");
        server
            .kubectl(&[
                "create",
                "rolebinding",
                &binding,
                &role,
                &user,
                "-n",
                "plant",
            ])?
            .ok()?;
    }
    #[rustfmt::skip]
    let cases = [
        // user      verb      resource                             namespace  allowed
        ("viewor",   "list",   "microservicetopologies.beemesh.io", "plant",   true),
        ("viewor",   "watch",  "forwarders.beemesh.io",             "plant",   true),
        ("viewor",   "create", "microservicetopologies.beemesh.io", "plant",   false),
        ("viewor",   "list",   "microservicetopologies.beemesh.io", "default", false),
        ("editor",   "create", "microservicetopologies.beemesh.io", "plant",   true),
        ("editor",   "delete", "microservicetopologies.beemesh.io", "plant",   true),
        ("editor",   "get",    "allocations.beemesh.io",            "plant",   true),
        ("editor",   "patch",  "forwarders.beemesh.io",             "plant",   false),
        ("editor",   "delete", "allocations.beemesh.io",            "plant",   false),
        ("editor",   "create", "microservicetopologies.beemesh.io", "default", false),
        ("adminor",  "patch",  "microservicetopologies.beemesh.io", "plant",   true),
        ("adminor",  "create", "forwarders.beemesh.io",             "plant",   false),
    ];
    // The controller that adds our rules to `view`, `edit` and `admin` takes a moment.
    eventually("rights are aggregated", MINUTE, || {
        for (user, verb, resource, namespace, is_allowed) in cases {
            let user = format!("--as={user}");
            let ran = server.kubectl(&["auth", "can-i", verb, resource, "-n", namespace, &user])?;
            let case = format!(
                "{user} {verb} {resource} in {namespace}: {} {}",
                ran.stdout, ran.stderr
            );
            ensure!(ran.is_success == is_allowed, "{case}");
        }
        Ok(())
    })
}

/// `helm uninstall`, with this test in the kubelet's place for the hook's Job.
fn uninstall(server: &ApiServer) -> Result<()> {
    std::thread::scope(|scope| {
        let helm = scope.spawn(|| {
            helm_on(server, NAMESPACE)?
                .args(&["uninstall", RELEASE])
                .output_text()
        });
        let daemons = format!("daemonset/{RELEASE}-node");
        let done = r#"{"status": {"succeeded": 1, "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:01Z",
            "conditions": [{"type": "SuccessCriteriaMet", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"},
                           {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"}]}}"#;
        let job = format!("job/{RELEASE}-uninstall");
        let complete = [
            "patch",
            &job,
            "-n",
            NAMESPACE,
            "--subresource=status",
            "--type=merge",
            "-p",
            done,
        ];
        let asked = eventually("the nodes are asked to clean up", MINUTE, || {
            server.kubectl(&["get", &job, "-n", NAMESPACE])?.ok()?;
            ensure!(!helm.is_finished(), "helm did not wait");
            // The daemons must still be there to do it.
            server.kubectl(&["get", &daemons, "-n", NAMESPACE])?.ok()?;
            server.kubectl(&complete)?.ok()
        });
        let said = helm.join().expect("helm's thread does not panic");
        asked?;
        said.map(drop)
    })
}

fn replicas(server: &ApiServer, deployment: &str) -> Result<u64> {
    let deployment = server
        .kubectl(&["get", deployment, "-n", NAMESPACE, "-o", "json"])?
        .json()?;
    deployment["spec"]["replicas"]
        .as_u64()
        .context("no replicas")
}

/// The only version of a definition.
fn version(server: &ApiServer, definition: &str) -> Result<Value> {
    let definition = server
        .kubectl(&["get", "crd", definition, "-o", "json"])?
        .json()?;
    Ok(definition["spec"]["versions"][0].clone())
}

/// Objects that the API server creates by itself, some time after it is ready.
const LATE: [&str; 8] = [
    "ConfigMap.v1 kube-system/kube-apiserver-legacy-service-account-token-tracking",
    "IPAddress.networking.k8s.io/v1 /10.96.0.1",
    "Namespace.v1 /default",
    "Namespace.v1 /kube-node-lease",
    "Namespace.v1 /kube-public",
    "Namespace.v1 /kube-system",
    "Service.v1 default/kubernetes",
    "ServiceCIDR.networking.k8s.io/v1 /kubernetes",
];

/// [`everything`], once the API server has made what it makes by itself in its first moments.
fn settled(server: &ApiServer) -> Result<BTreeSet<String>> {
    let mut last = BTreeSet::new();
    eventually("the server's own objects are there", MINUTE, || {
        let now = everything(server)?;
        let missing: Vec<&str> = LATE.into_iter().filter(|it| !now.contains(*it)).collect();
        ensure!(missing.is_empty(), "missing: {missing:?}");
        let has_changed = std::mem::replace(&mut last, now.clone()) != now;
        ensure!(!has_changed, "more objects came");
        Ok(now)
    })
}

/// Every object of every kind that can be listed, as `KIND.VERSION NAMESPACE/NAME`, but for events, which fade by themselves,
/// and the leases of the API server itself.
fn everything(server: &ApiServer) -> Result<BTreeSet<String>> {
    let kinds = server
        .kubectl(&["api-resources", "--verbs=list", "-o", "name"])?
        .ok()?;
    let kinds: Vec<&str> = kinds
        .lines()
        .filter(|kind| !kind.starts_with("events") && !kind.starts_with("leases"))
        .collect();
    let format = "-o=go-template={{range .items}}{{.kind}}.{{.apiVersion}} {{.metadata.namespace}}/{{.metadata.name}}\n{{end}}";
    let listed = server
        .kubectl(&["get", &kinds.join(","), "-A", format])?
        .ok()?;
    Ok(listed
        .lines()
        .map(|line| line.replace("<no value>", ""))
        .collect())
}
