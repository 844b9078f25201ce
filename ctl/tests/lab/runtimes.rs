//! Runtimes of others attach containers by what `lab conflist` prints: libcni by its own tool, old and new.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::world::{Lab, program};

const PAIR: &str = "
  addressing: {cidrs: [10.95.0.0/16, \"fd00:95::/48\"]}
  forwarders: [{name: a, node: n1}, {name: b, node: n1}]
  shape: Line
  apps:
    - {name: left, podSelector: {matchLabels: {app: left}}, forwarder: a}
    - {name: right, podSelector: {matchLabels: {app: right}}, forwarder: b}";

/// The `go` command, if there is one.
pub(crate) fn go() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = PathBuf::from("/usr/local/go/bin");
    let mut candidates = std::env::split_paths(&path)
        .chain([usual])
        .map(|path| path.join("go"));
    candidates.find(|go| go.is_file())
}

/// A network namespace that goes when dropped.
struct Sandbox(String);

impl Sandbox {
    fn new(name: String) -> Self {
        let add = Command::new("ip")
            .args(["netns", "add", &name])
            .status()
            .unwrap();
        assert!(add.success());
        Self(name)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

pub(crate) fn a_conflist_is_taken_by_libcni_old_and_new() {
    let bin = TempDir::new().unwrap();
    let go = go().expect("the test is ignored without Go");
    let lab = Lab::new(PAIR);
    lab.run("up", &["-q"]);
    // libcni 1.1 (podman 4) reads `cniVersion` alone, 1.3 chooses from `cniVersions`.
    #[rustfmt::skip]
    let cases = [
        ("v1.1.2", None,          "0.4.0"),
        ("v1.1.2", Some("1.0.0"), "1.0.0"),
        ("v1.3.0", None,          "1.1.0"),
        ("v1.3.0", Some("0.4.0"), "0.4.0"),
    ];
    for (number, (tool, version, expected)) in cases.into_iter().enumerate() {
        let package = format!("github.com/containernetworking/cni/cnitool@{tool}");
        let install = Command::new(&go)
            .args(["install", &package])
            .env("GOBIN", bin.path())
            .output();
        let install = install.unwrap();
        assert!(
            install.status.success(),
            "{}",
            String::from_utf8_lossy(&install.stderr)
        );
        let mut words = vec!["--app", "left"];
        words.extend(
            version
                .iter()
                .flat_map(|version| ["--cni-version", version]),
        );
        let list = lab.run("conflist", &words);
        let network: Value = serde_json::from_str(&list).unwrap();
        fs::write(bin.path().join("10-lab.conflist"), &list).unwrap();
        let sandbox = Sandbox::new(format!("bm-test-{}-{number}", std::process::id()));
        let path = format!("/run/netns/{}", sandbox.0);
        let call = |verb: &str| {
            let mut command = Command::new(bin.path().join("cnitool"));
            command
                .args([verb, network["name"].as_str().unwrap(), &path])
                .env("NETCONFPATH", bin.path())
                .env("CNI_PATH", program().parent().unwrap())
                .env("CNI_CACHE_DIR", bin.path());
            command.output().unwrap()
        };
        let what = format!("{tool}, {version:?}");
        let add = call("add");
        assert!(add.status.success(), "{what}: {add:?}");
        let result: Value = serde_json::from_slice(&add.stdout).unwrap();
        assert_eq!(result["cniVersion"], expected, "{what}");
        let status = lab.json("status", &[]);
        let to = status["apps"]["right-0"]["addresses"][0].as_str().unwrap();
        let ping = Command::new("ip")
            .args(["netns", "exec", &sandbox.0, "ping", "-c", "2", to])
            .output();
        let ping = ping.unwrap();
        assert!(ping.status.success(), "{what}: {ping:?}");
        for verb in ["check", "del"] {
            let done = call(verb);
            assert!(done.status.success(), "{what}: {verb}: {done:?}");
        }
    }
}
