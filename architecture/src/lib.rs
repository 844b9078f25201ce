//! The sources of the workspace as values that tests compare with the plan in ARCHITECTURE.md.
//!
//! ```text
//! crate folders -> Source (module, production lines) -> edges of modules -> circles
//! ```
//! Reads text, not syntax trees: production code is a file without its `#[cfg(test)]` items, and an
//! edge is a path that begins with `crate::`, `super::` or a sibling's name in a `use`.

use std::fs;
use std::path::{Path, PathBuf};

pub mod modules;
mod production;

pub use production::production;

/// One Rust file of a crate's `src/`.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path below the repository's root.
    pub path: PathBuf,
    /// Module path from the crate's root, such as `["attach", "leases"]`; empty for `lib.rs` and `main.rs`.
    pub module: Vec<String>,
    /// Its text without tests.
    pub text: String,
}

impl Source {
    /// Number of lines of production code, comments included.
    pub fn lines(&self) -> usize {
        self.text.lines().count()
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("the crate is below the root")
        .to_owned()
}

/// Folders of the workspace's members, in the order of Cargo.toml.
///
/// # Panics
/// When Cargo.toml has no `members` array on one or several lines.
pub fn members() -> Vec<String> {
    let manifest =
        fs::read_to_string(root().join("Cargo.toml")).expect("the workspace has a manifest");
    let (_, rest) = manifest.split_once("members = [").expect("members");
    let (list, _) = rest.split_once(']').expect("members end");
    let folders = list
        .split(',')
        .map(|item| item.trim().trim_matches('"').to_owned());
    folders.filter(|folder| !folder.is_empty()).collect()
}

/// The production sources below `FOLDER/src`, in path order.
///
/// # Panics
/// When the folder cannot be read.
pub fn sources(folder: &str) -> Vec<Source> {
    let src = root().join(folder).join("src");
    let mut found = Vec::new();
    collect(&src, &src, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(src: &Path, directory: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).expect("sources can be read") {
        let path = entry.expect("sources can be read").path();
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default()
            .to_owned();
        if path.is_dir() {
            if stem != "tests" {
                collect(src, &path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && stem != "tests" {
            found.push(read(src, &path));
        }
    }
}

fn read(src: &Path, path: &Path) -> Source {
    let inside = path
        .strip_prefix(src)
        .expect("below src")
        .with_extension("");
    let parts = inside
        .iter()
        .map(|part| part.to_string_lossy().into_owned());
    let mut module: Vec<String> = parts.collect();
    let is_root = |name: &String| ["mod", "lib", "main"].contains(&name.as_str());
    module.pop_if(|name| is_root(name));
    let text = fs::read_to_string(path).expect("sources are text");
    Source {
        path: path
            .strip_prefix(root())
            .expect("below the root")
            .to_owned(),
        module,
        text: production(&text),
    }
}
