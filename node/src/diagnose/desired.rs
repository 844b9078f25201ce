//! Desired state of a node: cached objects of its daemon, and the snapshot of link states.

use super::paths::Paths;
use crate::objects::kubernetes::cache::view;
use crds::Forwarder;
use linkstate::{End, Impaired, Report, decode};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};
use topology::Topology;

/// Desired state that is readable without the API server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desired {
    /// Forwarders of this node and of those that share a topology with it.
    pub(crate) forwarders: Vec<Forwarder>,
    /// Link-state reports, by file name.
    reports: BTreeMap<String, Report>,
    /// Name of this node, where it is known.
    node: Option<String>,
    /// Reasons why the state may be incomplete.
    pub(crate) problems: Vec<String>,
}

impl Desired {
    /// Reads cache and snapshot.
    pub(crate) fn read(paths: &Paths) -> Self {
        let mut desired = Self {
            node: paths.name.clone(),
            ..Self::default()
        };
        let directory = paths.cache_dir.join("forwarders");
        match files(&directory) {
            Ok(files) if files.is_empty() && !directory.exists() => {
                let directory = directory.display();
                desired
                    .problems
                    .push(format!("{directory}: no objects are kept here"));
            }
            Ok(files) => files.iter().for_each(|file| desired.take(file)),
            Err(error) => desired
                .problems
                .push(format!("{}: {error}", directory.display())),
        }
        desired.problems.extend(view::incomplete(&paths.cache_dir));
        for file in files(&link_states(paths)).unwrap_or_default() {
            let report = fs::read(&file).ok();
            let report = report.and_then(|bytes| decode(&bytes).ok());
            if let (Some(report), Some(key)) = (report, stem(&file)) {
                desired.reports.insert(key, report);
            }
        }
        desired
    }

    fn take(&mut self, file: &Path) {
        let read = fs::read(file).map_err(|error| error.to_string());
        let parsed = read.and_then(|bytes| forwarder(&bytes));
        match parsed {
            Ok(forwarder) => self.forwarders.push(forwarder),
            Err(error) => self.problems.push(format!("{}: {error}", file.display())),
        }
    }

    /// True when the desired state is complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.problems.is_empty()
    }

    /// Forwarders of this node; all where its name is unknown.
    pub(crate) fn here(&self) -> impl Iterator<Item = &Forwarder> {
        let is_here = |it: &&Forwarder| self.node.as_ref().is_none_or(|node| it.spec.node == *node);
        self.forwarders.iter().filter(is_here)
    }

    /// Forwarder whose namespace has this name.
    pub(crate) fn of_netns(&self, netns: &str) -> Option<&Forwarder> {
        self.here().find(|it| crds::names::netns_of(it) == netns)
    }

    /// Forwarders of the same topology.
    pub(crate) fn topology_of(&self, forwarder: &Forwarder) -> Vec<Forwarder> {
        let network = forwarder.topology_key();
        let is_of = |it: &&Forwarder| it.topology_key() == network;
        self.forwarders.iter().filter(is_of).cloned().collect()
    }

    /// Keys under which link states of Forwarders may be reported.
    pub(crate) fn keys(&self) -> BTreeSet<String> {
        self.forwarders.iter().flat_map(keys_of).collect()
    }

    /// Links of a topology that are not reported up from both ends.
    pub(crate) fn impaired(&self, topology: &Topology, forwarders: &[Forwarder]) -> Impaired {
        let reports = forwarders.iter().filter_map(|it| {
            let keys = keys_of(it);
            let found = keys.into_iter().find_map(|key| self.reports.get(&key));
            found.map(|report| (it.spec.name.as_str(), report))
        });
        let reports: BTreeMap<&str, &Report> = reports.collect();
        Impaired::reported(topology, |forwarder, id| {
            let name = topology.forwarders()[forwarder.position()].as_str();
            reports.get(name)?.ends.get(id).map(End::state)
        })
    }
}

/// Decodes a Forwarder from the cache of a cluster's or a lab's daemon.
fn forwarder(bytes: &[u8]) -> Result<Forwarder, String> {
    view::forwarder(bytes)
        .unwrap_or_else(|| serde_saphyr::from_slice(bytes).map_err(|error| error.to_string()))
}

fn keys_of(forwarder: &Forwarder) -> [String; 2] {
    let (namespace, name) = (&forwarder.metadata.namespace, &forwarder.metadata.name);
    [format!("{namespace}.{name}"), name.clone()]
}

/// Directory of the snapshot of link states.
pub(crate) fn link_states(paths: &Paths) -> PathBuf {
    paths.run_dir.join("link-states")
}

/// File name without its extension.
pub(crate) fn stem(file: &Path) -> Option<String> {
    Some(file.file_stem()?.to_str()?.to_owned())
}

/// Object files of a directory, sorted; empty where the directory is absent. Hidden files are
/// temporary.
pub(crate) fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let is_object = |path: &PathBuf| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".json"))
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|it| it.path())
        .filter(is_object)
        .collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_keeps_plain_objects() {
        let plain = r#"{"apiVersion": "beemesh.io/v1alpha1", "kind": "Forwarder", "metadata": {"name": "t.a"},
            "spec": {"topology": "t", "name": "a", "node": "n1"}}"#;
        assert_eq!(forwarder(plain.as_bytes()).unwrap().spec.node, "n1");
        assert!(forwarder(b"{").is_err());
    }
}
