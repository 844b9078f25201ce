//! Cache of pods that are certainly not ours, which the plugin uses while the daemon does not
//! answer or does not know a pod yet.
//!
//! The daemon writes `<state dir>/known.json` from a complete desired state only. A pod that the
//! file does not clear may be ours. A pod that it clears wrongly, because a topology was created
//! since, is attached by the daemon later.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::node_protocol::{Claim, Pod};

/// More than the uids of any node's pods take.
const MAX_BYTES: u64 = 4 << 20;

/// Every namespace, as `allowedNamespaces` of a topology has it.
const ALL: &str = "*";

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// The Kubernetes namespaces of which some topology takes pods; `*` means all.
    pub namespaces: BTreeSet<String>,
    /// The uids of this node's pods that no topology takes.
    pub not_ours: BTreeSet<String>,
}

/// The file under `state_dir`.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("known.json")
}

/// True when a claim passes while no daemon answers: chained behind another plugin, and not ours by
/// the cache under `state_dir`.
pub fn passes(state_dir: &Path, claim: &Claim) -> bool {
    let clears = |pod| Known::read(state_dir).is_ok_and(|known| known.clears(pod));
    claim.chained && claim.topology.is_none() && claim.pod.as_ref().is_some_and(clears)
}

impl Known {
    /// Reads the file under `state_dir`.
    ///
    /// # Errors
    /// Errors of the file system, and `InvalidData` for another format.
    pub fn read(state_dir: &Path) -> io::Result<Known> {
        let mut bytes = Vec::new();
        File::open(path(state_dir))?
            .take(MAX_BYTES)
            .read_to_end(&mut bytes)?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// True when no topology takes `pod` for certain.
    pub fn clears(&self, pod: &Pod) -> bool {
        let takes = |namespace: &str| self.namespaces.contains(namespace);
        let is_untaken = !takes(ALL) && !takes(&pod.namespace);
        let is_cleared = |uid: &String| self.not_ours.contains(uid);
        is_untaken || pod.uid.as_ref().is_some_and(is_cleared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(namespace: &str, uid: Option<&str>) -> Pod {
        Pod {
            namespace: namespace.to_owned(),
            name: "p".to_owned(),
            uid: uid.map(str::to_owned),
        }
    }

    #[test]
    fn a_pod_is_cleared_by_its_namespace_or_its_uid() {
        let known = |namespaces: &[&str]| Known {
            namespaces: namespaces.iter().map(ToString::to_string).collect(),
            not_ours: ["u1".to_owned()].into(),
        };
        #[rustfmt::skip]
        let cases = [
            // taken from          pod                        cleared
            (&["plant"][..],       pod("plant", None),        false),
            (&["plant"][..],       pod("plant", Some("u2")),  false),
            (&["plant"][..],       pod("plant", Some("u1")),  true),
            (&["plant"][..],       pod("office", None),       true),
            (&["plant", "*"][..],  pod("office", None),       false),
            (&["*"][..],           pod("office", Some("u1")), true),
            (&[][..],              pod("plant", None),        true),
        ];
        for (namespaces, pod, expected) in cases {
            assert_eq!(
                known(namespaces).clears(&pod),
                expected,
                "{namespaces:?} {pod:?}"
            );
        }
    }

    #[test]
    fn what_is_not_the_file_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Known::read(directory.path()).is_err(), "absent");
        for garbage in [
            "",
            "{",
            "[]",
            "{\"namespaces\": [\"a\"]}",
            "{\"notOurs\": []}",
        ] {
            std::fs::write(path(directory.path()), garbage).unwrap();
            assert!(Known::read(directory.path()).is_err(), "{garbage}");
        }
        let known = Known {
            namespaces: ["plant".to_owned()].into(),
            not_ours: BTreeSet::new(),
        };
        let text = serde_json::to_vec(&known).unwrap();
        std::fs::write(path(directory.path()), text).unwrap();
        assert_eq!(Known::read(directory.path()).unwrap(), known);
    }
}
