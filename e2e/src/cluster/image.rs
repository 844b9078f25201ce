//! Images made of this machine's files, without a container engine and without a registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::kubectl::run;
use crate::tools;

/// Image of sandboxes.
pub const PAUSE: &str = "localhost/pause:1";
/// dash, curl, ping, ip, ss, nft, traceroute, tcpdump, iperf3, socat, and busybox for the rest.
pub const TEST: &str = "localhost/e2e-test:1";
/// As clusters have it.
pub const COREDNS: &str = "localhost/coredns:1";

const TEST_PROGRAMS: [&str; 10] = [
    "dash",
    "curl",
    "ping",
    "ip",
    "ss",
    "nft",
    "traceroute",
    "tcpdump",
    "iperf3",
    "socat",
];
/// Applets of busybox that the test image has by name: those that need nothing of libc's name service.
const APPLETS: &str = "cat chmod cp cut date env false find grep head hostname httpd id kill ls mkdir nc printenv ps rm \
                       sed sleep sort stat tail test touch tr true uname wc";

/// Writes the archives of all images to `folder`; those that are there stay.
pub(super) fn write_all(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let image = |name: &str, fill: &dyn Fn(&Path) -> Result<Vec<String>>| -> Result<()> {
        let work = tempfile::tempdir_in(folder)?;
        let root = work.path().join("root");
        fs::create_dir(&root)?;
        let entrypoint = fill(&root)?;
        archive(
            work.path(),
            name,
            &entrypoint,
            &folder.join(file_name(name)),
        )
    };
    image(PAUSE, &pause)?;
    image(TEST, &test)?;
    image(COREDNS, &coredns)
}

/// The archives in `folder`.
pub(super) fn archives(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "tar"))
        .collect();
    found.sort();
    Ok(found)
}

fn file_name(image: &str) -> String {
    format!("{}.tar", image.replace(['/', ':'], "-"))
}

fn pause(root: &Path) -> Result<Vec<String>> {
    install("busybox".as_ref(), root, "busybox")?;
    // The runtime ends it by SIGKILL.
    Ok(["/busybox", "sleep", "2147483647"]
        .map(str::to_owned)
        .into())
}

fn coredns(root: &Path) -> Result<Vec<String>> {
    install(&tools::find("coredns")?, root, "coredns")?;
    Ok(vec!["/coredns".to_owned()])
}

fn test(root: &Path) -> Result<Vec<String>> {
    for program in TEST_PROGRAMS {
        install(program.as_ref(), root, &format!("bin/{program}"))?;
        libraries(&which(program)?, root)?;
    }
    install("busybox".as_ref(), root, "bin/busybox")?;
    for applet in APPLETS.split_whitespace() {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))?;
    }
    std::os::unix::fs::symlink("dash", root.join("bin/sh"))?;
    for folder in ["etc", "tmp", "root", "var/run", "usr"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\n")?;
    Ok(["/bin/sleep", "2147483647"].map(str::to_owned).into())
}

fn install(program: &Path, root: &Path, to: &str) -> Result<()> {
    let from = match program.is_absolute() {
        true => program.to_owned(),
        false => which(&program.to_string_lossy())?,
    };
    let to = root.join(to);
    fs::create_dir_all(to.parent().context("a file has a folder")?)?;
    fs::copy(&from, &to).with_context(|| format!("failed to copy {}", from.display()))?;
    Ok(())
}

/// Copies what `program` is linked with, to where its loader looks.
fn libraries(program: &Path, root: &Path) -> Result<()> {
    let mut ldd = Command::new("ldd");
    ldd.arg(program);
    let said = run(ldd, "")?.ok()?;
    for word in said.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = root.join(word.trim_start_matches('/'));
        if !to.exists() {
            install(word.as_ref(), root, word.trim_start_matches('/'))?;
        }
    }
    Ok(())
}

fn which(program: &str) -> Result<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    let found = path
        .split(':')
        .chain(more)
        .map(|folder| Path::new(folder).join(program))
        .find(|file| file.is_file());
    match found {
        Some(file) => Ok(file.canonicalize()?),
        None => bail!("no {program} on this machine: make e2e installs what the cluster needs"),
    }
}

/// An OCI layout as a tar: one layer, its configuration, its manifest.
fn archive(work: &Path, reference: &str, entrypoint: &[String], to: &Path) -> Result<()> {
    let image = work.join("image");
    fs::create_dir_all(image.join("blobs/sha256"))?;
    let layer = work.join("layer");
    tar(&work.join("root"), &layer)?;
    let layer = blob(&image, &fs::read(layer)?, "layer.v1.tar")?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": {"Entrypoint": entrypoint, "Env": ["PATH=/bin:/"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    });
    let config = blob(&image, config.to_string().as_bytes(), "config.v1+json")?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": [layer],
    });
    let mut manifest = blob(&image, manifest.to_string().as_bytes(), "manifest.v1+json")?;
    manifest["annotations"] = json!({"io.containerd.image.name": reference});
    manifest["platform"] = json!({"architecture": architecture, "os": "linux"});
    let index = json!({"schemaVersion": 2, "manifests": [manifest],
                       "mediaType": "application/vnd.oci.image.index.v1+json"});
    fs::write(image.join("index.json"), index.to_string())?;
    fs::write(
        image.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    tar(&image, to)
}

/// Puts `bytes` among the blobs; the descriptor that points there.
fn blob(image: &Path, bytes: &[u8], kind: &str) -> Result<Value> {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let digest: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    fs::write(image.join("blobs/sha256").join(&digest), bytes)?;
    let kind = format!("application/vnd.oci.image.{kind}");
    Ok(json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len()}))
}

fn tar(folder: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command
        .args(["--create", "--format=gnu", "--sort=name", "--mtime=@0"])
        .args(["--owner=0", "--group=0", "--numeric-owner"])
        .arg("-C")
        .arg(folder)
        .arg("-f")
        .arg(to)
        .arg(".");
    run(command, "")?.ok().map(drop)
}
