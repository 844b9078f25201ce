//! The alerts, as rendered, before the packages of Prometheus itself (`e2e/tools/promcheck`).

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::helm::{self, Values};

pub(crate) fn prometheus_accepts_the_rules_as_rendered() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let groups = groups(Values::Everything)?;
    let count = rules(&groups).count();
    for rule in rules(&groups) {
        ensure!(
            rule["labels"]["team"] == "network",
            "no alertLabels: {rule}"
        );
    }
    let said = promcheck(folder.path(), &groups, &["rules", "alerts.yaml"])?;
    ensure!(
        said.contains(&format!("SUCCESS: {count} rules found")),
        "{said}"
    );
    Ok(())
}

pub(crate) fn alerts_fire_when_they_should_and_only_then() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut groups = groups_with(&["--set", "prometheusRule.enabled=true"])?;
    let tests = fs::read_to_string(helm::tests().join("alerts_test.yaml"))?;
    for rule in groups
        .iter_mut()
        .filter_map(|group| group["rules"].as_array_mut())
        .flatten()
    {
        let name = rule["alert"].as_str().context("a rule that is no alert")?;
        ensure!(
            tests.matches(name).count() >= 2,
            "{name} has no test that it fires and one that it does not"
        );
        rule["annotations"]
            .as_object_mut()
            .context("no annotations")?
            .remove("description");
    }
    fs::write(folder.path().join("alerts_test.yaml"), tests)?;
    let said = promcheck(folder.path(), &groups, &["test", "alerts_test.yaml"])?;
    ensure!(said.contains("SUCCESS"), "{said}");
    Ok(())
}

/// Runs promcheck in `folder`, where `groups` are written as `alerts.yaml`.
pub(crate) fn promcheck(folder: &Path, groups: &[Value], arguments: &[&str]) -> Result<String> {
    // JSON is YAML.
    fs::write(
        folder.join("alerts.yaml"),
        json!({"groups": groups}).to_string(),
    )?;
    let mut command = Command::new(e2e::tools::find("promcheck")?);
    helm::output(command.args(arguments).current_dir(folder))
}

/// The groups of the PrometheusRule as rendered.
pub(crate) fn groups(values: Values) -> Result<Vec<Value>> {
    let arguments = values.arguments();
    groups_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The rules of `groups`.
pub(crate) fn rules(groups: &[Value]) -> impl Iterator<Item = &Value> {
    groups
        .iter()
        .filter_map(|group| group["rules"].as_array())
        .flatten()
}

fn groups_with(arguments: &[&str]) -> Result<Vec<Value>> {
    let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
    let objects = helm::objects(&helm::template("beemesh", &arguments)?)?;
    let rule = objects
        .iter()
        .find(|object| object["kind"] == "PrometheusRule");
    let groups = &rule.context("no PrometheusRule")?["spec"]["groups"];
    groups.as_array().cloned().context("no groups")
}
