//! The image archive that `make image` writes, of pretended programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::helm::{self, Values};

const REFERENCE: &str = concat!("localhost/beemesh:", env!("CARGO_PKG_VERSION"));

pub(crate) fn the_archive_is_an_oci_layout_and_a_docker_archive() -> Result<()> {
    let image = Image::make()?;
    ensure!(image.json("oci-layout")?["imageLayoutVersion"] == "1.0.0");
    let index = image.json("index.json")?;
    let described = &index["manifests"][0];
    ensure!(
        described["annotations"]["io.containerd.image.name"] == REFERENCE,
        "{index}"
    );
    let manifest = image.blob(described)?;
    let config = image.blob(&manifest["config"])?;
    let layer = &manifest["layers"][0];
    ensure!(
        config["rootfs"]["diff_ids"][0] == layer["digest"],
        "{config}"
    );
    ensure!(config["config"]["User"] == "65532:65532", "{config}");
    ensure!(config["config"]["Entrypoint"][0] == "/beemesh", "{config}");
    let docker = &image.json("manifest.json")?[0];
    ensure!(docker["RepoTags"][0] == REFERENCE, "{docker}");
    ensure!(
        docker["Config"] == path_of(&manifest["config"])?,
        "{docker}"
    );
    ensure!(docker["Layers"][0] == path_of(layer)?, "{docker}");
    image.each_digest_is_right()?;
    let listed = helm::output(
        Command::new("tar")
            .args(["--list", "--verbose", "--numeric-owner", "--file"])
            .arg(image.folder.path().join("image").join(path_of(layer)?)),
    )?;
    for program in ["beemesh", "beemesh-cni", "beemesh-node", "beemesh-operator"] {
        let line = listed
            .lines()
            .find(|line| line.ends_with(&format!(" {program}")));
        let line = line.with_context(|| format!("no {program}: {listed}"))?;
        ensure!(line.starts_with("-rwxr-xr-x 0/0"), "{line}");
    }
    ensure!(listed.contains(" var/run -> ../run"), "{listed}");
    Ok(())
}

pub(crate) fn the_same_programs_give_the_same_bytes() -> Result<()> {
    let (one, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    ensure!(archive(&programs(one.path())?)?.stdout == archive(&programs(other.path())?)?.stdout);
    Ok(())
}

pub(crate) fn a_missing_program_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ran = archive(folder.path())?;
    let message = String::from_utf8_lossy(&ran.stderr).into_owned();
    ensure!(
        !ran.status.success() && ran.stdout.is_empty(),
        "it succeeded"
    );
    ensure!(message.contains("/beemesh"), "{message}");
    Ok(())
}

pub(crate) fn the_archive_holds_the_image_that_the_chart_runs() -> Result<()> {
    for (kind, programs) in [
        ("Deployment", &["/beemesh-operator"][..]),
        ("Pod", &["/beemesh-operator", "/beemesh"]),
        ("DaemonSet", &["/beemesh-node"]),
        ("Job", &["/beemesh"]),
    ] {
        let mut found = BTreeSet::new();
        for object in helm::objects_of(kind, Values::Default)? {
            let template = object["spec"].get("template").unwrap_or(&object);
            let container = &template["spec"]["containers"][0];
            ensure!(container["image"] == REFERENCE, "{container}");
            let program = container["command"][0].as_str();
            found.insert(program.context("no command")?.to_owned());
        }
        let expected: BTreeSet<String> = programs.iter().map(|&program| program.into()).collect();
        ensure!(found == expected, "{kind}: {found:?}");
    }
    Ok(())
}

/// An unpacked archive.
struct Image {
    folder: tempfile::TempDir,
}

impl Image {
    fn make() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let ran = archive(&programs(folder.path())?)?;
        ensure!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        let (file, image) = (folder.path().join("image.tar"), folder.path().join("image"));
        fs::write(&file, ran.stdout)?;
        fs::create_dir(&image)?;
        let mut unpack = Command::new("tar");
        unpack
            .arg("--extract")
            .arg("--file")
            .arg(file)
            .arg("--directory")
            .arg(image);
        helm::output(&mut unpack)?;
        Ok(Self { folder })
    }

    fn json(&self, path: &str) -> Result<Value> {
        let bytes = fs::read(self.folder.path().join("image").join(path))?;
        serde_json::from_slice(&bytes).with_context(|| path.to_owned())
    }

    /// The blob that a descriptor names, which must have the size that it says.
    fn blob(&self, descriptor: &Value) -> Result<Value> {
        let path = path_of(descriptor)?;
        let size = fs::metadata(self.folder.path().join("image").join(&path))?.len();
        ensure!(descriptor["size"] == size, "{descriptor}: {size}");
        self.json(&path)
    }

    fn each_digest_is_right(&self) -> Result<()> {
        let blobs = self.folder.path().join("image/blobs/sha256");
        let mut sums = BTreeMap::new();
        for entry in fs::read_dir(blobs)? {
            let entry = entry?;
            let sum = helm::output(Command::new("sha256sum").arg(entry.path()))?;
            sums.insert(entry.file_name().into_string().unwrap_or_default(), sum);
        }
        ensure!(sums.len() == 3, "{sums:?}");
        ensure!(
            sums.iter().all(|(name, sum)| sum.starts_with(name)),
            "{sums:?}"
        );
        Ok(())
    }
}

/// Where a descriptor's blob is.
fn path_of(descriptor: &Value) -> Result<String> {
    let digest = descriptor["digest"].as_str().context("no digest")?;
    let digest = digest.strip_prefix("sha256:").context("no sha256")?;
    Ok(format!("blobs/sha256/{digest}"))
}

/// A folder with pretended programs.
fn programs(folder: &Path) -> Result<PathBuf> {
    let programs = folder.join("programs");
    fs::create_dir(&programs)?;
    for program in [
        "beemesh",
        "beemesh-cni",
        "beemesh-node",
        "beemesh-operator",
        "beemesh-of-no-concern",
    ] {
        fs::write(programs.join(program), format!("this is {program}\n"))?;
    }
    Ok(programs)
}

fn archive(programs: &Path) -> Result<Output> {
    let mut command = Command::new(helm::root().join("image/archive"));
    Ok(command.arg(programs).arg(REFERENCE).output()?)
}
