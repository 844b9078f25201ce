//! Registry of the network namespaces that this node created, so that it deletes no others. Written
//! before a namespace is created.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::host::labs::Labs;
use store::atomic;

/// Names of namespaces, with the Forwarder object of each.
#[derive(Debug)]
pub struct NetnsRegistry {
    path: PathBuf,
    object_by_netns: BTreeMap<String, String>,
    labs: Labs,
    /// Lab of each namespace of labs, as last seen.
    lab_by_netns: BTreeMap<String, String>,
}

impl NetnsRegistry {
    /// Reads the registry in `state_dir`. An unreadable one counts as empty: then an unwanted
    /// namespace stays, but no foreign one is deleted.
    pub fn open(state_dir: &Path) -> NetnsRegistry {
        let path = state_dir.join("namespaces.json");
        let read = fs::read(&path).ok();
        let parsed = read.map(|bytes| serde_json::from_slice(&bytes));
        let object_by_netns = match parsed {
            Some(Ok(map)) => map,
            Some(Err(error)) => {
                tracing::warn!(path = %path.display(), %error, "namespace registry damaged, treated as empty");
                BTreeMap::new()
            }
            None => BTreeMap::new(),
        };
        NetnsRegistry {
            path,
            object_by_netns,
            labs: Labs::default(),
            lab_by_netns: BTreeMap::new(),
        }
    }

    /// The registry beside `labs`: their namespaces are not this node's, also where a registry that survived a reboot has
    /// their names.
    pub fn beside(mut self, labs: Labs) -> NetnsRegistry {
        self.labs = labs;
        self.look_at_labs();
        self
    }

    /// Reads which namespaces are of labs.
    pub fn look_at_labs(&mut self) {
        self.lab_by_netns = self.labs.namespaces();
    }

    /// Lab that the namespace is of, as last seen.
    pub fn lab_of(&self, netns: &str) -> Option<&str> {
        self.lab_by_netns.get(netns).map(String::as_str)
    }

    /// Adds namespaces that are about to be created; written when this returns.
    ///
    /// # Errors
    /// [`Error::File`]: they must not be created.
    pub fn add(&mut self, wanted: &BTreeMap<String, String>) -> Result<(), Error> {
        let is_new =
            |(netns, object): (&String, &String)| self.object_by_netns.get(netns) != Some(object);
        if !wanted.iter().any(is_new) {
            return Ok(());
        }
        let mut all = self.object_by_netns.clone();
        all.extend(
            wanted
                .iter()
                .map(|(netns, object)| (netns.clone(), object.clone())),
        );
        self.replace(all)
    }

    /// Removes deleted namespaces.
    ///
    /// # Errors
    /// [`Error::File`]: they stay registered, which does no harm.
    pub fn remove(&mut self, gone: &[String]) -> Result<(), Error> {
        let mut all = self.object_by_netns.clone();
        all.retain(|netns, _| !gone.contains(netns));
        if all.len() == self.object_by_netns.len() {
            return Ok(());
        }
        self.replace(all)
    }

    fn replace(&mut self, all: BTreeMap<String, String>) -> Result<(), Error> {
        let bytes = serde_json::to_vec(&all).unwrap_or_default();
        atomic::write(&self.path, &bytes)?;
        self.object_by_netns = all;
        Ok(())
    }

    /// True when this node created the namespace, or is about to.
    pub fn contains(&self, netns: &str) -> bool {
        self.object_by_netns.contains_key(netns) && self.lab_of(netns).is_none()
    }

    /// Namespaces of this node with their Forwarder objects.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        let all = self.object_by_netns.iter();
        all.filter(|(netns, _)| self.lab_of(netns).is_none())
    }
}
