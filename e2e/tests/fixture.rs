//! The fixture itself, tried on real servers.

use std::path::Path;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use e2e::{ApiServer, Process, ensure, eventually};
use libtest_mimic::{Arguments, Trial, run};

const MINUTE: Duration = Duration::from_secs(60);

/// One server for all tests that do not break it.
static SHARED: LazyLock<Result<ApiServer>> =
    LazyLock::new(|| ApiServer::options().audit_log().start());

type Test = fn() -> Result<()>;

fn main() -> ExitCode {
    let missing = e2e::needs_servers();
    e2e::tell(missing.as_deref());
    let tests: [(&str, Test); 8] = [
        (
            "kubectl_applies_by_two_managers",
            kubectl_applies_by_two_managers,
        ),
        (
            "a_definition_is_served_once_applied",
            a_definition_is_served_once_applied,
        ),
        (
            "rbac_refuses_a_service_account_without_roles",
            rbac_refuses_a_service_account,
        ),
        (
            "writes_are_counted_by_resource",
            writes_are_counted_by_resource,
        ),
        (
            "the_audit_log_names_who_asked",
            the_audit_log_names_who_asked,
        ),
        (
            "an_api_server_restarts_with_what_it_stored",
            an_api_server_restarts,
        ),
        (
            "a_frozen_etcd_answers_after_it_is_thawed",
            a_frozen_etcd_answers,
        ),
        (
            "owned_objects_and_namespaces_go",
            owned_objects_and_namespaces_go,
        ),
    ];
    let trials = tests.map(|(name, test)| e2e::trial(name, missing.as_deref(), test));
    let processes: [(&str, Test); 2] = [
        (
            "a_process_is_killed_and_started_again",
            a_process_is_killed_and_started_again,
        ),
        (
            "a_server_that_ends_says_its_last_words",
            a_server_that_ends_says_its_last_words,
        ),
    ];
    let processes = processes.map(|(name, test)| e2e::trial(name, missing.as_deref(), test));
    let trials: Vec<Trial> = trials.into_iter().chain(processes).collect();
    run(&Arguments::from_args(), trials).exit_code()
}

fn shared() -> Result<&'static ApiServer> {
    SHARED.as_ref().map_err(|error| anyhow!("{error:#}"))
}

fn kubectl_applies_by_two_managers() -> Result<()> {
    let server = shared()?;
    let map = |data: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: two, namespace: default}}\ndata: {data}\n"
        )
    };
    let apply = |manager: &str, data: &str| {
        let manager = format!("--field-manager={manager}");
        server
            .kubectl_with_input(&["apply", "--server-side", &manager, "-f", "-"], &map(data))?
            .ok()
    };
    apply("one", "{a: '1'}")?;
    apply("two", "{b: '2'}")?;
    let found = server
        .kubectl(&["get", "configmap", "two", "-o", "json"])?
        .json()?;
    assert_eq!(found["data"], serde_json::json!({"a": "1", "b": "2"}));
    let refused = apply("two", "{a: '2'}").map_err(|error| error.to_string());
    assert!(
        refused.is_err_and(|error| error.contains("conflict")),
        "a field has one owner"
    );
    Ok(())
}

fn a_definition_is_served_once_applied() -> Result<()> {
    let server = shared()?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("hives.yaml"), HIVES)?;
    server.apply_crds(folder.path())?;
    let hive = "apiVersion: e2e.beemesh.io/v1\nkind: Hive\nmetadata: {name: h, namespace: default}\nspec: {bees: 1}\n";
    server.kubectl_apply(hive)?;
    let refused = server.kubectl_apply(&hive.replace("bees: 1", "bees: 0"));
    let message = refused
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(message.contains("a hive has bees"), "{message}");
    Ok(())
}

fn rbac_refuses_a_service_account() -> Result<()> {
    let server = shared()?;
    server
        .kubectl(&["create", "serviceaccount", "drone"])?
        .ok()?;
    let token = server.kubectl(&["create", "token", "drone"])?.ok()?;
    let config = server.kubeconfig_for_token(token.trim())?;
    let ran = server.kubectl_as(&config, &["get", "pods"], "")?;
    assert!(
        !ran.is_success && ran.stderr.contains("serviceaccount:default:drone"),
        "{ran:?}"
    );
    let look = [
        "create",
        "clusterrole",
        "look",
        "--verb=list",
        "--resource=pods",
    ];
    server.kubectl(&look)?.ok()?;
    let role = [
        "create",
        "clusterrolebinding",
        "drone",
        "--clusterrole=look",
    ];
    server
        .kubectl(&[&role[..], &["--serviceaccount=default:drone"]].concat())?
        .ok()?;
    eventually("the role is known", MINUTE, || {
        server
            .kubectl_as(&config, &["get", "pods"], "")?
            .ok()
            .map(drop)
    })
}

fn writes_are_counted_by_resource() -> Result<()> {
    let server = shared()?;
    let before = server.metrics()?;
    for number in 0..5 {
        let name = format!("counted-{number}");
        server
            .kubectl(&["create", "secret", "generic", &name])?
            .ok()?;
    }
    // An answer is counted a moment after it is sent.
    eventually("five writes are counted", MINUTE, || {
        let after = server.metrics()?.since(&before);
        let writes = after.writes(|resource| resource == "secrets");
        ensure(writes == 5, || format!("{after:?}"))
    })
}

fn the_audit_log_names_who_asked() -> Result<()> {
    let server = shared()?;
    server.kubectl(&["create", "configmap", "audited"])?.ok()?;
    let event = eventually("the create is in the log", MINUTE, || {
        let mut events = server.audit()?.into_iter();
        let event = events.find(|event| event.verb == "create" && event.name == "audited");
        event.context("not yet")
    })?;
    assert!(
        event.is_write() && event.user == "admin" && event.code == 201,
        "{event:?}"
    );
    assert!(event.user_agent.starts_with("kubectl/"), "{event:?}");
    Ok(())
}

fn an_api_server_restarts() -> Result<()> {
    let server = ApiServer::start()?;
    server.kubectl(&["create", "configmap", "kept"])?.ok()?;
    let (_, pid) = server.pids();
    server.kill_apiserver()?;
    assert!(!server.kubectl(&["get", "configmap", "kept"])?.is_success);
    server.restart_apiserver()?;
    assert_ne!(server.pids().1, pid);
    server.kubectl(&["get", "configmap", "kept"])?.ok()?;
    server.stop();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    Ok(())
}

fn a_frozen_etcd_answers() -> Result<()> {
    let server = ApiServer::start()?;
    server.pause_etcd()?;
    let ran = server.kubectl(&["create", "configmap", "late", "--request-timeout=1s"])?;
    assert!(!ran.is_success, "{ran:?}");
    server.resume_etcd()?;
    eventually("etcd answers again", MINUTE, || {
        server
            .kubectl(&["get", "configmaps", "-A", "--request-timeout=5s"])?
            .ok()
            .map(drop)
    })
}

fn owned_objects_and_namespaces_go() -> Result<()> {
    let server = ApiServer::start()?.with_controller_manager()?;
    server.kubectl(&["create", "namespace", "short"])?.ok()?;
    server
        .kubectl(&["create", "configmap", "owner", "-n", "short"])?
        .ok()?;
    let uid = [
        "get",
        "configmap",
        "owner",
        "-n",
        "short",
        "-o",
        "jsonpath={.metadata.uid}",
    ];
    let uid = server.kubectl(&uid)?.ok()?;
    let owner = format!("{{apiVersion: v1, kind: ConfigMap, name: owner, uid: {uid}}}");
    let owned = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: owned, namespace: short, ownerReferences: [{owner}]}}\n"
    );
    // A server that has started describes its kinds.
    server.kubectl_apply(&owned)?;
    server
        .kubectl(&["delete", "configmap", "owner", "-n", "short"])?
        .ok()?;
    let is_gone = |arguments: &[&str]| {
        let ran = server.kubectl(arguments)?;
        ensure(ran.stderr.contains("NotFound"), || {
            format!("still there: {ran:?}")
        })
    };
    let get_owned = ["get", "configmap", "owned", "-n", "short"];
    eventually("the owned object goes", MINUTE, || is_gone(&get_owned))?;
    server
        .kubectl(&["delete", "namespace", "short", "--wait=false"])?
        .ok()?;
    eventually("the namespace goes", MINUTE, || {
        is_gone(&["get", "namespace", "short"])
    })
}

fn a_process_is_killed_and_started_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let script = "trap 'echo bye; exit 0' TERM; echo up $KUBECONFIG; while :; do sleep 0.05; done";
    let mut process = Process::start(
        "bash",
        "looper",
        &["-c", script],
        Path::new("/config"),
        folder.path(),
    )?;
    let ups = |process: &Process, wanted: usize| {
        eventually("it says that it is up", MINUTE, || {
            let ups = process.log().matches("up /config").count();
            ensure(ups == wanted, || format!("{ups} of {wanted}"))
        })
    };
    ups(&process, 1)?;
    let first = process.pid();
    assert!(process.resident_bytes()? > 0 && process.cpu_seconds()? >= 0.0);
    process.kill()?;
    assert!(process.ensure_alive().is_err());
    process.restart()?;
    ups(&process, 2)?;
    assert_ne!(process.pid(), first);
    assert!(process.terminate(MINUTE)?.success());
    ensure(process.log().contains("bye"), || process.log())
}

fn a_server_that_ends_says_its_last_words() -> Result<()> {
    let started = ApiServer::options().flag("--no-such-flag").start();
    let message = started
        .err()
        .ok_or_else(|| anyhow!("it started"))?
        .to_string();
    ensure(message.contains("unknown flag: --no-such-flag"), || message)
}

const HIVES: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: hives.e2e.beemesh.io}
spec:
  group: e2e.beemesh.io
  scope: Namespaced
  names: {kind: Hive, plural: hives, singular: hive}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties: {bees: {type: integer}}
              x-kubernetes-validations:
                - {rule: self.bees > 0, message: a hive has bees}
";
