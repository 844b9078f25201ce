//! Options of a cluster.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::layout::{Layout, number};

/// Container runtime of a node.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Runtime {
    /// Debian's containerd 1.6 on `n1`, containerd 2 on the others.
    #[default]
    Mixed,
    /// Debian's containerd 1.6 everywhere.
    Containerd1,
    /// containerd 2 everywhere.
    Containerd2,
}

const RUNTIMES: [(&str, Runtime); 3] = [
    ("mixed", Runtime::Mixed),
    ("containerd1", Runtime::Containerd1),
    ("containerd2", Runtime::Containerd2),
];

impl std::str::FromStr for Runtime {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match RUNTIMES.iter().find(|(name, _)| *name == text) {
            Some(&(_, runtime)) => Ok(runtime),
            None => bail!("no such runtime: {text} (mixed, containerd1, containerd2)"),
        }
    }
}

/// Settings of [`super::Cluster::up`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Number of nodes: 1 to 9, named `n1`, `n2`, ...
    pub nodes: u8,
    /// Container runtime of the nodes.
    pub runtime: Runtime,
    /// Its minor version, such as `1.35`; none is the newest that `e2e/tools` has.
    pub kubernetes: Option<String>,
    /// The folder that holds all of the cluster, as [`real_dir`] gives it. It must not exist, or be empty.
    pub dir: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            nodes: 3,
            runtime: Runtime::Mixed,
            kubernetes: None,
            dir: super::default_dir(),
        }
    }
}

impl Settings {
    /// True when the node runs Debian's containerd 1.6 instead of containerd 2.
    pub(super) fn has_containerd_1(&self, node: &str) -> bool {
        match self.runtime {
            Runtime::Mixed => number(node) == 1,
            Runtime::Containerd1 => true,
            Runtime::Containerd2 => false,
        }
    }

    pub(super) fn write(&self) -> Result<()> {
        let runtime = RUNTIMES
            .iter()
            .find(|(_, runtime)| *runtime == self.runtime);
        let runtime = runtime.map(|(name, _)| name);
        let text = json!({"nodes": self.nodes, "runtime": runtime, "kubernetes": self.kubernetes});
        let layout = Layout {
            root: self.dir.clone(),
        };
        Ok(fs::write(layout.settings(), text.to_string())?)
    }

    pub(super) fn read(dir: PathBuf) -> Result<Self> {
        let layout = Layout { root: dir.clone() };
        let text = fs::read_to_string(layout.settings())
            .with_context(|| format!("no cluster in {}", dir.display()))?;
        let value: Value = serde_json::from_str(&text)?;
        let nodes = value["nodes"].as_u64().and_then(|n| u8::try_from(n).ok());
        Ok(Self {
            nodes: nodes.context("settings name no number of nodes")?,
            runtime: value["runtime"].as_str().unwrap_or("mixed").parse()?,
            kubernetes: value["kubernetes"].as_str().map(str::to_owned),
            dir,
        })
    }
}

/// A cluster's folder by the one name that mounts and command lines have it under: absolute, without links.
///
/// # Errors
/// When the folder above it does not exist, or a character of its name means something to `mount` or a shell.
pub fn real_dir(dir: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(dir)?;
    let real = match (
        absolute.canonicalize(),
        absolute.parent(),
        absolute.file_name(),
    ) {
        (Ok(real), ..) => real,
        (Err(_), Some(above), Some(name)) => {
            let above = above.canonicalize();
            let above = above.with_context(|| format!("no folder above {}", dir.display()))?;
            above.join(name)
        }
        (Err(error), ..) => bail!("{}: {error}", dir.display()),
    };
    let text = real.to_str().unwrap_or_default();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+@%".contains(c);
    if text.is_empty() || !text.chars().all(is_plain) {
        bail!(
            "{real:?}: a cluster's folder has letters, digits and /._-+@% in its name, and nothing else"
        );
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_name_however_it_is_given() -> Result<()> {
        let tree = tempfile::tempdir()?;
        let real = tree.path().canonicalize()?;
        fs::create_dir(real.join("there"))?;
        std::os::unix::fs::symlink(&real, real.join("link"))?;
        std::os::unix::fs::symlink("there", real.join("alias"))?;
        #[rustfmt::skip]
        let cases = [
            // given        it is
            ("new",         Some("new")),
            ("there",       Some("there")),
            ("there/",      Some("there")),
            ("link/new",    Some("new")),
            ("alias",       Some("there")),
            ("there/../new", Some("new")),
            ("no/new",      None),
            ("two words",   None),
            ("a,b",         None),
            ("a'b",         None),
        ];
        for (given, expected) in cases {
            let found = real_dir(&real.join(given)).ok();
            assert_eq!(found, expected.map(|name| real.join(name)), "{given}");
        }
        Ok(())
    }

    #[test]
    fn a_relative_folder_is_the_absolute_one() -> Result<()> {
        let tree = tempfile::tempdir()?;
        let expected = tree.path().canonicalize()?.join("two");
        let up = "../".repeat(std::env::current_dir()?.components().count() - 1);
        let relative = PathBuf::from(up).join(expected.strip_prefix("/")?);
        assert_eq!(real_dir(&relative)?, expected);
        Ok(())
    }
}
