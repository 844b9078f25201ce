//! Alerts and dashboards against what the operator really serves.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::helm::{self, Values};
use crate::rules;

pub(crate) fn every_metric_of_rules_and_dashboards_is_documented() -> Result<()> {
    let page = |name: &str| fs::read_to_string(helm::root().join("docs").join(name));
    let pages = page("metrics.md")? + &page("metrics-node.md")?;
    let documented: BTreeSet<&str> = pages
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let groups = rules::groups(Values::Everything)?;
    let alerts = rules::rules(&groups).filter_map(|rule| rule["expr"].as_str().map(str::to_owned));
    let used: BTreeSet<String> = alerts
        .chain(expressions()?)
        .flat_map(|text| metrics(&text))
        .collect();
    ensure!(used.len() > 10, "only {used:?} are used");
    let unknown: Vec<&String> = used
        .iter()
        .filter(|name| {
            let histogram = ["_bucket", "_count", "_sum"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix));
            !documented.contains(name.as_str())
                && !histogram.is_some_and(|name| documented.contains(name))
        })
        .collect();
    ensure!(unknown.is_empty(), "not in docs/metrics*.md: {unknown:?}");
    Ok(())
}

pub(crate) fn every_alert_says_what_to_do() -> Result<()> {
    for rule in rules::rules(&rules::groups(Values::Everything)?) {
        let name = rule["alert"].as_str().context("a rule that is no alert")?;
        ensure!(name.starts_with("Beemesh"), "{name}");
        ensure!(
            ["critical", "warning"]
                .iter()
                .any(|word| rule["labels"]["severity"] == *word),
            "{name}: severity"
        );
        ensure!(rule["for"].is_string(), "{name} fires on one sample");
        for annotation in ["summary", "description"] {
            let text = rule["annotations"][annotation].as_str().unwrap_or_default();
            ensure!(text.len() > 20, "{name}: {annotation}");
        }
    }
    Ok(())
}

/// Panels with ids of their own that do not overlap, on a grid of 24 columns, each with a question to the data source
/// that the user chooses; and every question is one that Prometheus can answer.
pub(crate) fn dashboards_are_whole() -> Result<()> {
    for dashboard in dashboards()? {
        let mut ids = BTreeSet::new();
        let mut cells = BTreeSet::new();
        for panel in panels(&dashboard)? {
            ensure!(
                ids.insert(panel["id"].as_u64().context("no id")?),
                "id twice: {panel}"
            );
            ensure!(panel["title"].is_string(), "no title: {panel}");
            let [x, y, w, h] =
                ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap_or(99));
            ensure!(x + w <= 24, "too wide: {panel}");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                ensure!(cells.insert(cell), "overlaps: {panel}");
            }
            for target in panel["targets"].as_array().into_iter().flatten() {
                ensure!(target["datasource"]["uid"] == "${datasource}", "{target}");
            }
        }
    }
    let rules: Vec<Value> = expressions()?
        .iter()
        .enumerate()
        .map(|(number, expression)| json!({"record": format!("panel:{number}"), "expr": plain(expression)}))
        .collect();
    let folder = tempfile::tempdir()?;
    let groups = [json!({"name": "panels", "rules": rules})];
    rules::promcheck(folder.path(), &groups, &["rules", "alerts.yaml"])?;
    Ok(())
}

/// An expression of a dashboard, as Prometheus gets it.
fn plain(expression: &str) -> String {
    let expression = expression.replace("$__rate_interval", "5m");
    expression
        .replace("$namespace", ".*")
        .replace("$topology", ".*")
}

/// The dashboards as rendered.
fn dashboards() -> Result<Vec<Value>> {
    let mut dashboards = vec![];
    for object in helm::objects_of("ConfigMap", Values::Everything)? {
        let data = object["data"].as_object().context("no data")?;
        for (name, text) in data.iter().filter(|(name, _)| name.ends_with(".json")) {
            let text = text.as_str().context("no text")?;
            dashboards.push(serde_json::from_str(text).with_context(|| name.clone())?);
        }
    }
    ensure!(!dashboards.is_empty(), "no dashboards");
    Ok(dashboards)
}

fn panels(dashboard: &Value) -> Result<&Vec<Value>> {
    dashboard["panels"].as_array().context("no panels")
}

/// Prometheus expressions of all panels.
fn expressions() -> Result<Vec<String>> {
    let mut expressions = vec![];
    for dashboard in dashboards()? {
        for panel in panels(&dashboard)? {
            let targets = panel["targets"].as_array().into_iter().flatten();
            expressions
                .extend(targets.filter_map(|target| target["expr"].as_str().map(str::to_owned)));
        }
    }
    Ok(expressions)
}

/// The names of metrics in an expression: words that begin as ours or the process' do.
fn metrics(expression: &str) -> Vec<String> {
    expression
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("beemesh_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}
