//! Every file of the corpus, posted as its user wrote it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use e2e::ensure;
use serde_json::Value;

use crate::server::Server;

/// Files that the API server takes: `2.0` is the whole number that it means (lint cannot tell it from `02`), `010` reaches
/// it as a number already, and an empty namespace is that of the request.
const PUT_RIGHT: [&str; 4] = [
    "link-weight-exponent",
    "link-weight-float",
    "link-weight-leading-zero",
    "metadata-namespace-empty",
];

/// Outcome of one file.
enum Outcome {
    Refused,
    FoundByLint,
    PutRight,
    Missed(String),
}

fn files(folder: &str) -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crds/tests/corpus")
        .join(folder);
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let files: std::io::Result<BTreeSet<PathBuf>> =
        entries.map(|entry| Ok(entry?.path())).collect();
    Ok(files?.into_iter().collect())
}

fn name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// The documents of a file, where it is YAML.
fn documents(text: &str) -> Option<Vec<Value>> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_slice_multiple_with_options(text.as_bytes(), options).ok()
}

pub(crate) fn bad_objects(server: &Server) -> Result<()> {
    let (mut refused, mut found) = (0, 0);
    let (mut put_right, mut missed) = (BTreeSet::new(), Vec::new());
    let files = files("bad")?;
    for file in &files {
        match judge(server, file)? {
            Outcome::Refused => refused += 1,
            Outcome::FoundByLint => found += 1,
            Outcome::PutRight => drop(put_right.insert(name(file))),
            Outcome::Missed(why) => missed.push(format!("{}: {why}", name(file))),
        }
    }
    let all = files.len();
    println!(
        "{all} bad objects: {refused} refused by admission, {found} found by lint, {} put right",
        put_right.len()
    );
    ensure(missed.is_empty(), || missed.join("\n"))?;
    let allowed: BTreeSet<String> = PUT_RIGHT.map(str::to_owned).into();
    ensure(put_right.is_subset(&allowed), || {
        format!("taken though bad: {:?}", put_right.difference(&allowed))
    })?;
    ensure(refused >= 250, || {
        format!("only {refused} are refused by admission")
    })
}

fn judge(server: &Server, file: &Path) -> Result<Outcome> {
    let text = String::from_utf8_lossy(&fs::read(file)?).into_owned();
    if documents(&text).is_some_and(|documents| documents.len() > 1) {
        return through_kubectl(server, file);
    }
    let stored = match server.post("application/yaml", &text)? {
        Err(_) => return Ok(Outcome::Refused),
        Ok(stored) => stored,
    };
    // What the operator does with it.
    let problems = match crds::read::from_value(stored) {
        Ok(topology) => crds::lint(&topology),
        Err(problems) => problems,
    };
    let expected = text
        .lines()
        .find_map(|line| line.strip_prefix("# expect: "));
    let path = expected.and_then(|line| line.split_once(": "));
    let path = path.map_or("", |(path, _)| path);
    if problems.is_empty() {
        return Ok(Outcome::PutRight);
    }
    let is_told = problems.iter().any(|problem| problem.path == path);
    Ok(if is_told {
        Outcome::FoundByLint
    } else {
        Outcome::Missed(format!(
            "expected a problem at {path:?}, found {problems:?}"
        ))
    })
}

/// Several documents are several requests, and kubectl makes them.
fn through_kubectl(server: &Server, file: &Path) -> Result<Outcome> {
    let path = file.display().to_string();
    let created = server
        .api
        .kubectl(&["create", "--validate=strict", "-f", &path])?;
    let outcome = match created.ok() {
        Ok(_) => Outcome::Missed("kubectl created it".to_owned()),
        Err(_) => Outcome::Refused,
    };
    let all = ["delete", "mst", "--all", "-n", "default"];
    server.api.kubectl(&all)?.ok()?;
    Ok(outcome)
}

pub(crate) fn good_objects(server: &Server) -> Result<()> {
    let mut wrong = Vec::new();
    for file in files("good")? {
        let text = fs::read_to_string(&file)?;
        let read = crds::load("", text.as_bytes()).map_err(|found| anyhow::anyhow!("{found:?}"))?;
        let documents = documents(&text).context("no YAML")?;
        for (mut document, topology) in documents.into_iter().zip(read) {
            // The namespace of the request; that of the file need not exist.
            if let Some(Value::Object(metadata)) = document.get_mut("metadata") {
                metadata.retain(|field, _| ["name", "labels", "annotations"].contains(&&**field));
            }
            // As JSON: to the API server's YAML `y` is a boolean.
            let body = serde_json::to_string(&document)?;
            match server
                .post("application/json", &body)?
                .map(crds::read::from_value)
            {
                Ok(Ok(stored)) if stored.spec == topology.spec => {}
                Ok(Ok(stored)) => wrong.push(format!(
                    "{}: {:?}\n  read back as {:?}",
                    name(&file),
                    topology.spec,
                    stored.spec
                )),
                Ok(Err(problems)) => wrong.push(format!("{}: {problems:?}", name(&file))),
                Err(refusal) => wrong.push(format!("{}: {refusal}", name(&file))),
            }
        }
    }
    ensure(wrong.is_empty(), || wrong.join("\n"))
}
