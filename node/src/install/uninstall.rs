//! Uninstallation: removes everything from the node, and counts the leftovers.
//!
//! ```text
//! own pod's annotation `requested` (run) -> our conflist goes -> engine, service and tasks end
//!   -> attachments, Forwarders' namespaces, plugin, state, cache go -> census -> annotations
//!   -> idle, alive and not ready, until the pod goes; asked again, it answers again
//! ```
//! After a kill at any point, the next start finds the annotation and continues. Nothing is created
//! while the annotation is present.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dataplane::netns;
use dataplane::{LinuxKernel, remove};

use crate::attach::lease_store::LeaseStore;
use crate::attach::leases::Lease;
use crate::attach::pod_links::{KernelPodWiring, PodWiring};
use crate::config::{Config, InstallCni};
use crate::error::Error;
use crate::host::labs::Labs;
use crate::host::netns_registry::NetnsRegistry;
use crate::install::{Installer, conflist};

pub use crds::uninstall::{ANNOTATION, CENSUS, DONE, REQUESTED};

/// Numbers of leftover objects by kind; the node is clean when all are zero.
pub type Census = BTreeMap<&'static str, u64>;

/// All objects of beemesh on the node.
#[derive(Debug)]
pub struct Leftovers {
    installer: Installer,
    state_dir: PathBuf,
    cache_dir: PathBuf,
    link_states: PathBuf,
    leases: Vec<Lease>,
    namespaces: Vec<String>,
}

impl Leftovers {
    /// Objects of a daemon with this `config`, which must not be running.
    pub fn find(config: &Config) -> Leftovers {
        // The namespaces belong to the current boot, or are gone.
        let boot = fs::read_to_string(&config.boot_id).unwrap_or_default();
        let has_state = config
            .state_dir
            .join(crate::attach::lease_store::FILE)
            .exists();
        let book = has_state.then(|| LeaseStore::open(&config.state_dir, boot.trim()));
        let leases = match book {
            Some(Ok((book, _))) => book.leases().iter().cloned().collect(),
            Some(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "lease journal not readable"
                );
                Vec::new()
            }
            None => Vec::new(),
        };
        let owned = NetnsRegistry::open(&config.state_dir).beside(Labs::beside(None));
        Leftovers {
            installer: Installer::of(config),
            state_dir: config.state_dir.clone(),
            cache_dir: config.cache_dir.clone(),
            link_states: config.link_states(),
            leases,
            namespaces: owned.iter().map(|(netns, _)| netns.clone()).collect(),
        }
    }

    /// Removes all objects, and goes on after a failure. Registries and journals go last.
    pub fn remove(&self) -> Vec<Error> {
        let mut failures = Vec::new();
        let mut note = |result: Result<(), Error>| failures.extend(result.err());
        note(self.installer.withdraw());
        for lease in &self.leases {
            for share in &lease.shares {
                note(KernelPodWiring.cut(lease, &share.attachment));
            }
        }
        note(self.remove_namespaces());
        // For namespaces that have lost their names and are still in use.
        let removed = LinuxKernel::new().and_then(|kernel| kernel.delete_interfaces());
        note(removed.map(drop).map_err(|source| Error::Kernel {
            object: "interfaces".to_owned(),
            source: Box::new(source),
        }));
        if self.naming_us().is_empty() {
            note(self.remove_program());
        }
        let is_kernel_clean = failures.is_empty();
        let mut note = |result: Result<(), Error>| failures.extend(result.err());
        note(remove_directory(&self.link_states));
        note(remove_directory(&self.cache_dir));
        if is_kernel_clean {
            note(remove_directory(&self.state_dir));
        }
        failures
    }

    fn remove_namespaces(&self) -> Result<(), Error> {
        if self.namespaces.is_empty() {
            return Ok(());
        }
        let failed = |object: String, source| Error::Kernel {
            object,
            source: Box::new(source),
        };
        let kernel = LinuxKernel::new();
        let mut kernel = kernel.map_err(|error| failed("namespaces".to_owned(), error))?;
        let applied = remove(&mut kernel, self.namespaces.iter().cloned());
        match applied.failures.into_iter().next() {
            Some(failure) => Err(failed(failure.netns, failure.source)),
            None => Ok(()),
        }
    }

    fn remove_program(&self) -> Result<(), Error> {
        match self.installer.mode() {
            InstallCni::None => Ok(()),
            InstallCni::Chained | InstallCni::Binary => {
                self.installer.places().sweep()?;
                self.installer.places().remove_program()
            }
        }
    }

    /// Foreign conflists that name our plugin: without its binary their pods would not start.
    fn naming_us(&self) -> Vec<String> {
        let files = self.installer.places().files().unwrap_or_default();
        conflist::naming_us(&files)
    }

    /// Counts the leftovers.
    pub fn census(&self) -> Census {
        let wired = self.leases.iter().flat_map(|lease| &lease.shares);
        let wired =
            wired.filter(|share| KernelPodWiring.is_wired(&share.attachment).unwrap_or(true));
        let there = netns::list().unwrap_or_else(|_| self.namespaces.clone());
        let namespaces = self.namespaces.iter().filter(|name| there.contains(name));
        let (installed, named) = match self.installer.mode() {
            InstallCni::None => (0, 0),
            _ => (
                self.installer.places().count(),
                self.naming_us().len() as u64,
            ),
        };
        Census::from([
            ("attachments", wired.count() as u64),
            ("namespaces", namespaces.count() as u64),
            ("interfaces", interfaces()),
            ("installedFiles", installed),
            ("foreignConflists", named),
            ("stateFiles", count(&self.state_dir)),
            ("cacheFiles", count(&self.cache_dir)),
            ("linkStateFiles", count(&self.link_states)),
        ])
    }
}

/// Number of interfaces with our alias, in named and unnamed namespaces. An uncountable one counts
/// as left.
fn interfaces() -> u64 {
    let counted = LinuxKernel::new().and_then(|kernel| kernel.count_interfaces());
    counted.map_or(1, |count| count as u64)
}

fn remove_directory(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Number of files below a directory.
fn count(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let counts = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => count(&entry.path()),
        _ => 1,
    });
    counts.sum()
}

#[cfg(test)]
mod tests;
