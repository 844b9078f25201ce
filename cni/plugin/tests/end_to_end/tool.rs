//! The runtimes' own library, libcni, through its tool.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::lab::Lab;

const CNITOOL: &str = "github.com/containernetworking/cni/cnitool@v1.3.0";

/// The `go` command, if there is one.
pub(crate) fn go() -> Option<PathBuf> {
    let usual = ["/usr/local/go/bin", "/usr/lib/go/bin"].map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&path)
        .chain(usual)
        .map(|path| path.join("go"));
    candidates.find(|go| go.is_file())
}

pub(crate) fn cnitool_adds_checks_and_deletes() {
    let bin = TempDir::new().unwrap();
    let go = go().expect("the test is ignored without Go");
    let install = Command::new(go)
        .args(["install", CNITOOL])
        .env("GOBIN", bin.path())
        .output();
    let install = install.unwrap();
    assert!(
        install.status.success(),
        "{}",
        String::from_utf8_lossy(&install.stderr)
    );
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        lifecycle(&bin, version, false);
        // The loopback plugins in distributions are often older than 1.1.0.
        if version != "1.1.0" && plugin_paths().any(|path| path.join("loopback").is_file()) {
            lifecycle(&bin, version, true);
        }
    }
}

/// Directories of other plugins in distributions.
fn plugin_paths() -> impl Iterator<Item = PathBuf> {
    ["/usr/lib/cni", "/opt/cni/bin"]
        .into_iter()
        .map(PathBuf::from)
}

fn lifecycle(bin: &TempDir, version: &str, is_chained: bool) {
    let lab = Lab::new();
    let before = lab.census();
    let mut plugin = lab.config(version);
    for key in ["cniVersion", "name"] {
        plugin.as_object_mut().unwrap().remove(key);
    }
    // A plugin before ours in the chain, which gives the pod its loopback.
    let plugins = match is_chained {
        true => json!([{"type": "loopback"}, plugin]),
        false => json!([plugin]),
    };
    let list = json!({"cniVersion": version, "name": "mesh", "plugins": plugins});
    fs::write(bin.path().join("10-mesh.conflist"), list.to_string()).unwrap();
    let ours = PathBuf::from(env!("CARGO_BIN_EXE_beemesh-cni"));
    let path = format!(
        "{}:/usr/lib/cni:/opt/cni/bin",
        ours.parent().unwrap().display()
    );
    let call = |verb: &str| {
        Command::new(bin.path().join("cnitool"))
            .args([verb, "mesh", &lab.sandbox()])
            .env("NETCONFPATH", bin.path())
            .env("CNI_PATH", &path)
            .env("CNI_CACHE_DIR", bin.path())
            .env("CNI_IFNAME", "eth0")
            .output()
            .unwrap()
    };
    let what = format!("{version} chained {is_chained}");
    let add = call("add");
    assert!(add.status.success(), "{what}: {add:?}");
    let result: Value = serde_json::from_slice(&add.stdout).unwrap();
    assert_eq!(result["cniVersion"], version, "{what}");
    let interfaces = result["interfaces"].as_array().unwrap();
    let name = if is_chained { "bm-iot" } else { "eth0" };
    assert!(
        interfaces.iter().any(|interface| interface["name"] == name),
        "{what}: {result}"
    );
    if version != "0.3.1" {
        let check = call("check");
        assert!(check.status.success(), "{what}: {check:?}");
    }
    if version == "1.1.0" {
        let status = call("status");
        assert!(status.status.success(), "{what}: {status:?}");
        // libcni first detaches what its cache remembers, then asks for GC without a list of valid attachments: taken at
        // its word that would free those of everybody.
        let gc = call("gc");
        let why = String::from_utf8_lossy(&gc.stderr);
        let is_refused = !gc.status.success() && why.contains("cni.dev/valid-attachments");
        assert!(is_refused, "{what}: {gc:?}");
    }
    let del = call("del");
    assert!(del.status.success(), "{what}: {del:?}");
    lab.wait_until_released();
    if !is_chained {
        assert_eq!(lab.census(), before, "{what}");
    }
}
