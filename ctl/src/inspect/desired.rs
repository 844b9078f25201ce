//! What a node is to hold: the objects that its daemon has seen last, and what nodes report of links.

use super::paths::Paths;
use crds::Forwarder;
use linkstate::down_links;
use node::link_state::Report;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};
use topology::{LinkIndex, Topology};

/// Everything that is known without the API server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desired {
    /// Forwarders of this node and of those that share a topology with it.
    pub(crate) forwarders: Vec<Forwarder>,
    /// Ends of links that are up, by the name of the report's file.
    reports: BTreeMap<String, Report>,
    /// This node's name, where it is known.
    node: Option<String>,
    /// Why it may not be all.
    pub(crate) problems: Vec<String>,
}

impl Desired {
    /// Reads the files.
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
        desired.problems.extend(unsettled(&paths.cache_dir));
        for file in files(&link_states(paths)).unwrap_or_default() {
            let report = fs::read(&file).ok();
            let report = report.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if let (Some(report), Some(key)) = (report, stem(&file)) {
                desired.reports.insert(key, report);
            }
        }
        desired
    }

    fn take(&mut self, file: &Path) {
        let read = fs::read_to_string(file).map_err(|error| error.to_string());
        let parsed = read.and_then(|text| forwarder(&text));
        match parsed {
            Ok(forwarder) => self.forwarders.push(forwarder),
            Err(error) => self.problems.push(format!("{}: {error}", file.display())),
        }
    }

    /// Whether all that should be there is known.
    pub(crate) fn is_complete(&self) -> bool {
        self.problems.is_empty()
    }

    /// The Forwarders of this node; all where its name is not known.
    pub(crate) fn here(&self) -> impl Iterator<Item = &Forwarder> {
        let is_here = |it: &&Forwarder| self.node.as_ref().is_none_or(|node| it.spec.node == *node);
        self.forwarders.iter().filter(is_here)
    }

    /// The Forwarder whose namespace has this name.
    pub(crate) fn of_netns(&self, netns: &str) -> Option<&Forwarder> {
        self.here().find(|it| node::catalog::netns_of(it) == netns)
    }

    /// The Forwarders of the same topology.
    pub(crate) fn topology_of(&self, forwarder: &Forwarder) -> Vec<Forwarder> {
        let network = node::catalog::network_of(forwarder);
        let is_of = |it: &&Forwarder| node::catalog::network_of(it) == network;
        self.forwarders.iter().filter(is_of).cloned().collect()
    }

    /// Names under which a Forwarder's link states may be reported.
    pub(crate) fn keys(&self) -> BTreeSet<String> {
        self.forwarders.iter().flat_map(keys_of).collect()
    }

    /// Links of a topology that are not reported up from both ends: no node uses them.
    pub(crate) fn down(&self, topology: &Topology, forwarders: &[Forwarder]) -> Vec<LinkIndex> {
        let reports = forwarders.iter().filter_map(|it| {
            let keys = keys_of(it);
            let found = keys.into_iter().find_map(|key| self.reports.get(&key));
            found.map(|report| (it.spec.name.as_str(), report))
        });
        let reports: BTreeMap<&str, &Report> = reports.collect();
        down_links(topology, |forwarder, id| {
            let name = topology.forwarders()[forwarder.position()].as_str();
            reports.get(name)?.links.get(id).copied()
        })
    }
}

/// As a daemon in Kubernetes keeps it: a line with a checksum, and the object within what else it knows of it.
#[derive(serde::Deserialize)]
struct Kept {
    forwarder: Forwarder,
}

/// What is behind the line with the checksum; `None` where there is no such line.
fn within(text: &str) -> Option<&str> {
    let (checksum, kept) = text.split_once('\n')?;
    (checksum.len() == 8 && kept.starts_with('{')).then_some(kept)
}

fn forwarder(text: &str) -> Result<Forwarder, String> {
    match within(text) {
        Some(kept) => {
            let kept: Result<Kept, _> = serde_json::from_str(kept);
            kept.map(|kept| kept.forwarder)
                .map_err(|error| error.to_string())
        }
        None => serde_saphyr::from_str(text).map_err(|error| error.to_string()),
    }
}

/// Of the index that a daemon in Kubernetes writes last.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    tables: Vec<Table>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    is_whole: bool,
}

/// Why there may be more than the files say: they are being written, or were not all known.
fn unsettled(cache: &Path) -> Option<String> {
    let index = match fs::read_to_string(cache.join("index.json")) {
        Ok(index) => index,
        // Of a directory of plain objects.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(format!("{}: {error}", cache.display())),
    };
    if cache.join("changing").exists() {
        return Some("the objects are changing this moment".to_owned());
    }
    match serde_json::from_str::<Index>(within(&index).unwrap_or(&index)) {
        Ok(index) if index.tables.iter().all(|table| table.is_whole) => None,
        Ok(_) => Some("the daemon has not seen all objects yet".to_owned()),
        Err(error) => Some(format!("{}: {error}", cache.join("index.json").display())),
    }
}

fn keys_of(forwarder: &Forwarder) -> [String; 2] {
    let (namespace, name) = (&forwarder.metadata.namespace, &forwarder.metadata.name);
    [format!("{namespace}.{name}"), name.clone()]
}

/// Where nodes' reports of links are kept: of this boot, or beside the objects.
pub(crate) fn link_states(paths: &Paths) -> PathBuf {
    match paths.run_dir.join("link-states") {
        directory if directory.is_dir() => directory,
        _ => paths.cache_dir.join("link-states"),
    }
}

/// The name of a file without its ending.
pub(crate) fn stem(file: &Path) -> Option<String> {
    Some(file.file_stem()?.to_str()?.to_owned())
}

/// Objects in a directory, in order; none where there is no directory. Hidden files are being written.
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
    fn objects_are_read_as_a_lab_and_as_a_daemon_in_kubernetes_keep_them() {
        let plain = r#"{"apiVersion": "beemesh.io/v1alpha1", "kind": "Forwarder", "metadata": {"name": "t.a"},
            "spec": {"topology": "t", "name": "a", "node": "n1"}}"#;
        let kept = format!("0a1b2c3d\n{{\"forwarder\": {plain}, \"generation\": 1}}");
        for text in [plain, &kept] {
            assert_eq!(forwarder(text).unwrap().spec.node, "n1", "{text}");
        }
        assert!(forwarder("0a1b2c3d\n{").is_err());
    }

    #[test]
    fn what_is_changing_is_not_complete() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(unsettled(cache.path()), None, "plain objects");
        let index = cache.path().join("index.json");
        fs::write(&index, r#"{"tables": [{"isWhole": true}]}"#).unwrap();
        assert_eq!(unsettled(cache.path()), None);
        fs::write(&index, "0a1b2c3d\n{\"tables\": [{\"isWhole\": true}]}").unwrap();
        assert_eq!(unsettled(cache.path()), None, "with its checksum");
        fs::write(cache.path().join("changing"), "").unwrap();
        assert!(unsettled(cache.path()).is_some());
        fs::remove_file(cache.path().join("changing")).unwrap();
        fs::write(&index, r#"{"tables": [{"isWhole": false}]}"#).unwrap();
        assert!(unsettled(cache.path()).is_some());
    }
}
