//! Cache of pods that are not ours, which the plugin reads while the daemon is away.

use std::path::{Path, PathBuf};

use cni::known::{self, Known};

use store::atomic;

/// Cache file, rewritten on change.
#[derive(Debug)]
pub(super) struct Keeper {
    path: PathBuf,
    kept: Option<Known>,
}

impl Keeper {
    /// Keeper that starts from the file in `state_dir`.
    pub(super) fn open(state_dir: &Path) -> Keeper {
        Keeper {
            path: known::path(state_dir),
            kept: Known::read(state_dir).ok(),
        }
    }

    /// Writes `known`. A failed write is retried in the next round.
    pub(super) fn keep(&mut self, known: Known) {
        if self.kept.as_ref() == Some(&known) {
            return;
        }
        let bytes = serde_json::to_vec(&known).expect("a list of names");
        match atomic::write(&self.path, &bytes) {
            Ok(()) => self.kept = Some(known),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "plugin's pod cache not written, the old one stays in use"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_file_is_replaced_only_when_it_says_something_else() {
        let directory = tempfile::tempdir().unwrap();
        let inode = || {
            std::fs::metadata(known::path(directory.path()))
                .unwrap()
                .ino()
        };
        let known = |uid: &str| Known {
            namespaces: ["plant".to_owned()].into(),
            not_ours: [uid.to_owned()].into(),
        };
        let mut keeper = Keeper::open(directory.path());
        keeper.keep(known("a"));
        let first = inode();
        keeper.keep(known("a"));
        Keeper::open(directory.path()).keep(known("a"));
        assert_eq!(inode(), first);
        // Kept open, so that its inode is not reused.
        let _first = std::fs::File::open(known::path(directory.path())).unwrap();
        keeper.keep(known("b"));
        assert_ne!(inode(), first);
        assert_eq!(Known::read(directory.path()).unwrap(), known("b"));
    }
}
