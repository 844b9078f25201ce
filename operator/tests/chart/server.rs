//! One real API server for the tests that need one, and what it says to the rendered objects.

use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context, Result, anyhow, ensure};
use e2e::ApiServer;

use crate::golden;
use crate::helm::{self, NAMESPACE, Values};
use crate::metadata;

/// PodMonitor, ServiceMonitor and PrometheusRule as far as the chart uses them, written by hand.
const MONITORING: &str = "monitoring-crds";

static SERVER: LazyLock<Result<ApiServer>> = LazyLock::new(|| {
    let server = ApiServer::start()?;
    server.apply_crds(&helm::chart().join("crds"))?;
    server.apply_crds(&helm::tests().join(MONITORING))?;
    server.kubectl_apply(&format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}"
    ))?;
    Ok(server)
});

/// The server that all tests share which install nothing: it has our definitions, the monitoring ones and our namespace.
pub(crate) fn shared() -> Result<&'static ApiServer> {
    SERVER.as_ref().map_err(|error| anyhow!("{error:#}"))
}

/// Real admission: defaults, cross-field rules of the built-in kinds, CEL of ours; unknown fields are errors.
pub(crate) fn the_api_server_accepts_what_is_rendered() -> Result<()> {
    let server = shared()?;
    let apply = [
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
    ];
    for values in Values::ALL {
        let manifests = helm::template("beemesh", &values.arguments())?;
        server
            .kubectl_with_input(&apply, &manifests)?
            .ok()
            .with_context(|| values.name())?;
    }
    Ok(())
}

/// The examples that a catalogue shows beside the chart.
pub(crate) fn the_api_server_accepts_the_examples_of_the_catalogue() -> Result<()> {
    let server = shared()?;
    for mut example in metadata::examples()? {
        example["metadata"]["namespace"] = NAMESPACE.into();
        let apply = [
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            "-",
        ];
        server
            .kubectl_with_input(&apply, &example.to_string())?
            .ok()?;
    }
    Ok(())
}

/// Notes of helm after an installation.
pub(crate) fn golden_notes() -> Result<()> {
    let server = shared()?;
    for values in Values::ALL {
        let mut arguments = vec!["install", "beemesh", "--dry-run=server"];
        let more = values.arguments();
        arguments.extend(more.iter().map(String::as_str));
        let text = run(server, NAMESPACE, &arguments)?;
        let (_, notes) = text.split_once("NOTES:\n").context("no notes")?;
        golden::compare(&format!("{}-notes.txt", values.name()), notes)?;
    }
    Ok(())
}

/// Notes of helm where `helm test` attaches no pods.
pub(crate) fn notes_tell_what_is_not_tested() -> Result<()> {
    let unwatched = r#"--set-json=operator.watchNamespaces=["plant"]"#;
    let arguments = ["install", "beemesh", "--dry-run=server", unwatched];
    let text = run(shared()?, NAMESPACE, &arguments)?;
    let told = "The test sends no packet: operator.watchNamespaces is without beemesh-system,";
    ensure!(text.contains(told), "{text}");
    Ok(())
}

/// Runs a verb of helm that takes a release and the chart (`[verb, release, options...]`) against `server`.
pub(crate) fn run(server: &ApiServer, namespace: &str, arguments: &[&str]) -> Result<String> {
    let [verb, release, options @ ..] = arguments else {
        return Err(anyhow!("a verb and a release are wanted"));
    };
    helm_on(server, namespace)?
        .args([verb, release])
        .arg(helm::chart())
        .args(options)
        .output_text()
}

/// helm with the administrator's kubeconfig.
pub(crate) fn helm_on(server: &ApiServer, namespace: &str) -> Result<Helm> {
    let mut command = helm::helm(server.folder())?;
    command
        .env("KUBECONFIG", server.kubeconfig())
        .env("HELM_NAMESPACE", namespace);
    Ok(Helm(command))
}

/// A command line of helm.
pub(crate) struct Helm(std::process::Command);

impl Helm {
    pub(crate) fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a &'a str>) -> Self {
        self.0.args(arguments);
        self
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<Path>) -> Self {
        self.0.arg(argument.as_ref());
        self
    }

    pub(crate) fn output_text(mut self) -> Result<String> {
        helm::output(&mut self.0)
    }
}
