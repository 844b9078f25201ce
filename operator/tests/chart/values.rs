//! The values: lint, the schema's refusals, and that values and schema name the same things.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use operator::config::{Command, Config};
use serde_json::Value;

use crate::helm::{self, Values};

pub(crate) fn the_chart_passes_lint() -> Result<()> {
    for values in Values::ALL {
        let folder = tempfile::tempdir()?;
        let mut command = helm::helm(folder.path())?;
        command
            .args(["lint", "--strict", "--kube-version", "v1.33.0"])
            .arg(helm::chart())
            .args(values.arguments());
        helm::output(&mut command)?;
    }
    Ok(())
}

pub(crate) fn wrong_values_are_refused_with_their_place() -> Result<()> {
    #[rustfmt::skip]
    let cases = [
        // --set                                          what the message must hold
        ("operator.replica=2",                            "additional properties 'replica' not allowed"),
        ("replicas=2",                                    "additional properties 'replicas' not allowed"),
        ("operator.replicas=two",                         "at '/operator/replicas': got string, want integer"),
        ("operator.replicas=-1",                          "at '/operator/replicas': minimum: got -1, want 0"),
        ("operator.logFormat=xml",                        "at '/operator/logFormat': value must be one of 'text', 'json'"),
        ("operator.resync=ten minutes",                   "at '/operator/resync': 'ten minutes' does not match pattern"),
        ("operator.listenAddress=::",                     "at '/operator/listenAddress'"),
        ("operator.watchNamespaces={Plant}",              "at '/operator/watchNamespaces/0'"),
        ("operator.watchNamespaces={a,a}",                "at '/operator/watchNamespaces': items at 0 and 1 are equal"),
        ("operator.resources.limits.memory=lots",         "at '/operator/resources/limits/memory'"),
        ("operator.podDisruptionBudget.minAvailable=1",   "additional properties 'minAvailable' not allowed"),
        ("operator.podDisruptionBudget.maxUnavailable=x", "at '/operator/podDisruptionBudget/maxUnavailable'"),
        ("operator.livenessProbe.httpGet.path=/x",        "additional properties 'httpGet' not allowed"),
        ("image.pullPolicy=Sometimes",                    "at '/image/pullPolicy': value must be one of"),
        ("image.digest=sha256:1234",                      "at '/image/digest'"),
        ("image.tag=a b",                                 "at '/image/tag'"),
        ("image.repository=",                             "at '/image/repository': minLength: got 0, want 1"),
        ("global.imagePullSecrets={a}",                   "at '/global/imagePullSecrets/0': got string, want object"),
        ("metrics.port=0",                                "at '/metrics/port': minimum: got 0, want 1"),
        ("metrics.port=70000",                            "at '/metrics/port': maximum: got 70,000, want 65,535"),
        ("api.tls.secretName=Not A Name",                 "at '/api/tls/secretName'"),
        ("api.service.type=ExternalName",                 "at '/api/service/type': value must be one of"),
        ("commonLabels.app\\.kubernetes\\.io/name=x",     "invalid propertyName 'app.kubernetes.io/name'"),
        ("serviceMonitor.enabled=1",                      "at '/serviceMonitor/enabled': got number, want boolean"),
        ("extraObjects=text",                             "at '/extraObjects': got string, want array"),
        ("test.timeout=",                                 "at '/test/timeout'"),
        ("node.listenAddress=::",                         "at '/node/listenAddress'"),
        ("node.peerPort=0",                               "at '/node/peerPort': minimum: got 0, want 1"),
        ("node.startupTaint=not ready",                   "at '/node/startupTaint'"),
        ("node.updateStrategy.maxUnavailable=2",          "additional properties 'maxUnavailable' not allowed"),
        ("node.updateStrategy.rollingUpdate.maxUnavailable=x", "at '/node/updateStrategy/rollingUpdate/maxUnavailable'"),
        ("node.serviceAccount.nam=x",                     "additional properties 'nam' not allowed"),
        ("node.serviceAccount.create=false",              "node.serviceAccount.name: a name is wanted"),
        ("cni.mode=exclusive",                            "at '/cni/mode': value must be one of 'chained', 'binary', 'none'"),
        ("cni.binDir=opt/cni/bin",                        "at '/cni/binDir'"),
        ("meshKey.secretName=A B",                        "at '/meshKey/secretName'"),
        ("uninstall.timeout=2m",                          "at '/uninstall/timeout'"),
        ("test.connectivity.timeout=",                    "at '/test/connectivity/timeout'"),
        ("serviceAccount.create=false",                   "serviceAccount.name: a name is wanted when serviceAccount.create is false"),
    ];
    let mut wrong = vec![];
    for (set, expected) in cases {
        match helm::template("beemesh", &["--set".into(), set.into()]) {
            Ok(_) => wrong.push(format!("{set}: not refused")),
            Err(error) => {
                let message = format!("{error:#}");
                if !message.contains(expected) {
                    wrong.push(format!("{set}: {message}"));
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

pub(crate) fn every_value_has_a_schema_and_every_schema_a_value() -> Result<()> {
    let values = fs::read_to_string(helm::chart().join("values.yaml"))?;
    let values: Value = serde_saphyr::from_str(&values)?;
    let schema = fs::read_to_string(helm::chart().join("values.schema.json"))?;
    let schema: Value = serde_json::from_str(&schema)?;
    compare("", &values, &schema)
}

/// The command line as the kubelet would start it, read by the program itself.
pub(crate) fn the_operator_takes_the_arguments_of_the_chart() -> Result<()> {
    for values in Values::ALL {
        let deployment = &helm::objects_of("Deployment", values)?[0];
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let arguments = container["args"].as_array().context("no args")?;
        let words = arguments.iter().filter_map(Value::as_str);
        let config = Config::try_parse_from(["beemesh-operator"].into_iter().chain(words))?;
        let has_tls = matches!(values, Values::Everything);
        ensure!(config.tls_cert.is_some() == has_tls, "{config:?}");
        ensure!(
            config.api_address().ip().is_loopback() != has_tls,
            "{config:?}"
        );
        let makes_key = matches!(values, Values::Default);
        ensure!(config.mesh_key_secret.is_some() == makes_key, "{config:?}");
        let ports = container["ports"].to_string();
        ensure!(
            ports.contains(&config.listen_metrics.port().to_string()),
            "{ports}"
        );
        let pods = helm::objects_of("Pod", values)?;
        let pod = pods
            .iter()
            .find(|pod| pod["spec"]["containers"][0]["command"][0] == "/beemesh-operator");
        let pod = pod.context("helm test has no pod that checks")?;
        let arguments = &pod["spec"]["containers"][0]["args"];
        let words = arguments.as_array().context("no args")?;
        let words = words.iter().filter_map(Value::as_str);
        let config = Config::try_parse_from(["beemesh-operator"].into_iter().chain(words))?;
        let Some(Command::Check(check)) = config.command else {
            bail!("helm test does not check: {arguments}");
        };
        ensure!(check.urls.len() == 1 + usize::from(has_tls), "{check:?}");
    }
    Ok(())
}

/// Values that are there for somebody else to fill.
const WITHOUT_DEFAULT: [&str; 2] = ["/enabled", "/operator/resources/claims"];

fn compare(place: &str, values: &Value, schema: &Value) -> Result<()> {
    let Some(properties) = schema["properties"].as_object() else {
        return Ok(());
    };
    let values = values
        .as_object()
        .with_context(|| format!("{place}: the schema has properties, the values have none"))?;
    let written: BTreeSet<&String> = values.keys().collect();
    let described: BTreeSet<&String> = properties.keys().collect();
    for name in written.symmetric_difference(&described) {
        let place = format!("{place}/{name}");
        if !WITHOUT_DEFAULT.contains(&place.as_str()) {
            bail!("{place} is not in both values.yaml and values.schema.json");
        }
    }
    for (name, value) in values {
        compare(&format!("{place}/{name}"), value, &properties[name])?;
    }
    Ok(())
}
