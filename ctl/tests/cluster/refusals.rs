//! Refusals, each with a message and an exit code.

use crate::world::{beemesh, beemesh_with, command, has, namespace, root, shared};
use anyhow::Result;
use e2e::ApiServer;

pub(crate) fn without_a_kubeconfig_it_says_where_one_is_looked_for() -> Result<()> {
    let said = beemesh_with(None, "status iot")?.code(1)?;
    said.tells(&[
        "error: no kubeconfig: ",
        "--kubeconfig",
        "$KUBECONFIG",
        "~/.kube/config",
    ])?;
    let said = beemesh_with(None, "status iot --kubeconfig /nonexistent/config")?.code(2)?;
    said.tells(&["error: failed to read /nonexistent/config: No such file"])
}

pub(crate) fn a_kubeconfig_that_is_none_is_named_with_what_is_wrong() -> Result<()> {
    let cluster = |cluster: &str| {
        format!(
            "{{current-context: a, contexts: [{{name: a, context: {{cluster: a, user: a}}}}], \
             users: [{{name: a, user: {{}}}}], clusters: [{{name: a, cluster: {cluster}}}]}}"
        )
    };
    let authority = cluster("{server: 'https://127.0.0.1:1', certificate-authority: /nofile}");
    #[rustfmt::skip]
    let cases = [
        ("clusters: [",                    "failed to parse kubeconfig YAML: "),
        ("{}",                             "current-context: expected the name of a context, or --context\n"),
        ("{current-context: ''}",          "current-context: expected the name of a context, or --context\n"),
        (&*cluster("{server: 'no url'}"),  "failed to parse cluster url: invalid uri character\n"),
        (&*authority,                      "failed to load certificate authority: failed to read file '\"/nofile\"': No such file or directory (os error 2)\n"),
    ];
    let file = tempfile::NamedTempFile::new()?;
    let name = file.path().display();
    for (kubeconfig, wrong) in cases {
        std::fs::write(file.path(), kubeconfig)?;
        let said = beemesh_with(None, &format!("status --kubeconfig {name}"))?.code(2)?;
        said.tells(&[&format!("error: {name}: {wrong}")])?;
        anyhow::ensure!(said.stderr().lines().count() == 1, "{}", said.stderr());
    }
    Ok(())
}

pub(crate) fn an_unknown_context_is_not_found() -> Result<()> {
    let said = beemesh(shared()?, "status --context e3e")?.code(3)?;
    said.tells(&["error: no context \"e3e\" in the kubeconfig; did you mean \"e2e\"?"])
}

pub(crate) fn a_server_that_is_away_is_named() -> Result<()> {
    // A port that is free now may be given to somebody before the last verb has asked.
    let server = "https://127.0.0.1:1";
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "away",
        "clusters": [{"name": "away", "cluster": {"server": server}}],
        "users": [{"name": "away", "user": {}}],
        "contexts": [{"name": "away", "context": {"cluster": "away", "user": "away"}}],
    });
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), config.to_string())?;
    for verb in [
        "status",
        "status iot",
        "routes iot",
        "validate",
        "graph iot",
    ] {
        let said = beemesh_with(Some(file.path()), verb)?.code(1)?;
        said.tells(&[
            &format!("error: failed to reach {server}"),
            "Connection refused",
        ])?;
    }
    Ok(())
}

pub(crate) fn no_proxy_leads_to_this_machine() -> Result<()> {
    let server = shared()?;
    let mut command = command(Some(&server.kubeconfig()));
    command
        .args(["status", "-A"])
        .env("HTTPS_PROXY", "http://127.0.0.1:9");
    let output = command.output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{error}");
    Ok(())
}

pub(crate) fn a_cluster_without_beemesh_says_how_to_install_it() -> Result<()> {
    let server = ApiServer::start()?;
    let file = root().join("examples/worked.yaml");
    let plan = format!("plan -f {}", file.display());
    for verb in [
        "status",
        "status iot",
        "status iot --wait",
        "routes iot",
        "validate",
        "path a b",
        "trace a b",
        "drain iot --forwarder a",
        "undrain iot",
        &plan,
    ] {
        let said = beemesh(&server, verb)?.code(1)?;
        said.tells(&["error: beemesh is not installed in this cluster: `helm install beemesh "])?;
    }
    let checked = beemesh(&server, "check")?.code(0)?.stdout();
    has(
        &checked,
        &[
            "cannot check Forwarder: ",
            "nothing is left over of what could be asked",
        ],
    )?;
    Ok(())
}

pub(crate) fn wrong_credentials_are_told() -> Result<()> {
    let kubeconfig = shared()?.kubeconfig_for_token("nobody")?;
    let said = beemesh_with(Some(&kubeconfig), "status")?.code(1)?;
    said.tells(&["does not accept these credentials"])
}

pub(crate) fn what_may_not_be_read_is_named() -> Result<()> {
    let server = shared()?;
    namespace(server, "closed")?;
    let account =
        r#"{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "guest"}}"#;
    server
        .kubectl_with_input(&["apply", "-n", "closed", "-f", "-"], account)?
        .ok()?;
    let token = server
        .kubectl(&["create", "token", "guest", "-n", "closed"])?
        .ok()?;
    let kubeconfig = server.kubeconfig_for_token(token.trim())?;
    let said = beemesh_with(Some(&kubeconfig), "status iot -n closed")?.code(1)?;
    said.tells(&[
        "cannot get resource \"microservicetopologies\"",
        "in the namespace \"closed\"",
        "`kubectl auth can-i get microservicetopologies.beemesh.io -n closed`",
    ])?;
    let said = beemesh_with(Some(&kubeconfig), "status -A")?.code(1)?;
    said.tells(&["`kubectl auth can-i list microservicetopologies.beemesh.io -A`"])?;
    let said = beemesh_with(Some(&kubeconfig), "status iot -n closed --wait")?.code(1)?;
    said.tells(&["cannot list resource"])
}

pub(crate) fn a_topology_that_is_not_there_is_not_found() -> Result<()> {
    let server = shared()?;
    for name in ["here", "there"] {
        namespace(server, name)?;
    }
    let topology = "apiVersion: beemesh.io/v1alpha1\nkind: MicroServiceTopology\n\
                    metadata: {name: plant-iot}\nspec: {forwarders: [{name: a}, {name: b}], shape: Line}\n";
    server
        .kubectl_with_input(&["apply", "-n", "there", "-f", "-"], topology)?
        .ok()?;
    for verb in ["status", "routes", "graph", "validate"] {
        let said = beemesh(server, &format!("{verb} plant-iot -n here"))?.code(3)?;
        said.tells(&[
            "no topology \"plant-iot\" in namespace \"here\"; there is one in namespace \"there\"",
        ])?;
        let said = beemesh(server, &format!("{verb} plant-iod -n there"))?.code(3)?;
        said.tells(&["; did you mean \"plant-iot\"?"])?;
    }
    for verb in [
        "path a b --topology nothing",
        "trace a b --topology nothing",
        "drain nothing --forwarder a",
        "undrain nothing",
    ] {
        let said = beemesh(server, &format!("{verb} -n there"))?.code(3)?;
        said.tells(&["no topology \"nothing\" in namespace \"there\"; expected plant-iot"])?;
    }
    let waited = beemesh(server, "status nothing -n there --wait")?.code(3)?;
    waited.tells(&["no topology \"nothing\" in namespace \"there\""])?;
    let none = beemesh(server, "status -n here")?.code(0)?;
    has(
        &none.stderr(),
        &["note: no topologies in namespace \"here\""],
    )
}

pub(crate) fn file_and_name_exclude_each_other() -> Result<()> {
    for verb in ["routes", "graph"] {
        let said = beemesh_with(None, &format!("{verb} iot -f examples/iot.yaml"))?.code(2)?;
        said.tells(&["cannot be used with"])?;
        let said = beemesh_with(None, verb)?.code(2)?;
        said.tells(&["<NAME|--file <FILE>>"])?;
    }
    Ok(())
}
