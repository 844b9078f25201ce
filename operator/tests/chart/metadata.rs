//! Contents of Chart.yaml, compared with the repository.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::helm;

pub(crate) fn the_chart_and_the_program_have_one_version() -> Result<()> {
    let chart = chart()?;
    let version = env!("CARGO_PKG_VERSION");
    ensure!(
        chart["appVersion"] == version,
        "appVersion: {}",
        chart["appVersion"]
    );
    let images = annotation(&chart, "images")?;
    let image = images[0]["image"].as_str().context("no image")?;
    ensure!(
        image.ends_with(&format!(":{version}")),
        "artifacthub.io/images: {image}"
    );
    Ok(())
}

pub(crate) fn every_example_is_what_lint_accepts() -> Result<()> {
    for example in examples()? {
        // JSON is YAML.
        let found = crds::read("crdsExamples", example.to_string().as_bytes());
        ensure!(found.is_ok(), "{found:?}");
    }
    Ok(())
}

/// The examples that a catalogue shows beside the chart.
pub(crate) fn examples() -> Result<Vec<Value>> {
    let examples = annotation(&chart()?, "crdsExamples")?;
    let examples = examples.as_array().cloned().unwrap_or_default();
    ensure!(!examples.is_empty(), "no examples");
    Ok(examples)
}

pub(crate) fn every_definition_is_announced() -> Result<()> {
    let announced: BTreeSet<String> = annotation(&chart()?, "crds")?
        .as_array()
        .context("no definitions")?
        .iter()
        .filter_map(|definition| definition["name"].as_str().map(str::to_owned))
        .collect();
    let mut shipped = BTreeSet::new();
    for definition in definitions()? {
        let name = definition["metadata"]["name"].as_str().context("no name")?;
        shipped.insert(name.to_owned());
    }
    ensure!(
        announced == shipped,
        "announced {announced:?}, shipped {shipped:?}"
    );
    Ok(())
}

/// The CustomResourceDefinitions that the chart ships.
pub(crate) fn definitions() -> Result<Vec<Value>> {
    let folder = helm::chart().join("crds");
    let mut definitions = vec![];
    for entry in fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))? {
        definitions.extend(helm::objects(&fs::read_to_string(entry?.path())?)?);
    }
    Ok(definitions)
}

fn chart() -> Result<Value> {
    let text = fs::read_to_string(helm::chart().join("Chart.yaml"))?;
    Ok(serde_saphyr::from_str(&text)?)
}

fn annotation(chart: &Value, name: &str) -> Result<Value> {
    let text = chart["annotations"][format!("artifacthub.io/{name}")]
        .as_str()
        .with_context(|| format!("no annotation {name}"))?;
    Ok(serde_saphyr::from_str(text)?)
}
