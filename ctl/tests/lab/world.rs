//! A lab of its own for each test: a file, the command, and the proof that nothing is left.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tempfile::TempDir;

/// Whether network namespaces can be made and named.
pub(crate) fn is_privileged() -> bool {
    nix::unistd::geteuid().is_root() && dataplane::netns::list().is_ok()
}

/// A lab that is taken down, and looked for, when dropped.
pub(crate) struct Lab {
    directory: TempDir,
    /// Name of the topology, which nobody else on this machine uses.
    pub(crate) name: String,
    namespace: &'static str,
    /// What the machine's own namespace held before.
    host: BTreeMap<String, u64>,
}

/// Everything in the machine's own namespace: a lab has no business there.
fn host() -> BTreeMap<String, u64> {
    let scope = dataplane::census::Scope {
        netns_prefix: "in no namespace".to_owned(),
        host: true,
        ..Default::default()
    };
    dataplane::census::census(&scope).unwrap()
}

impl Lab {
    /// Of the declaration `spec`, with a name of its own.
    pub(crate) fn new(spec: &str) -> Lab {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Lab::named(format!("t{}-{number}", std::process::id()), "default", spec)
    }

    /// With this name, in this Kubernetes namespace.
    pub(crate) fn named(name: String, namespace: &'static str, spec: &str) -> Lab {
        let lab = Lab {
            directory: TempDir::new().unwrap(),
            name,
            namespace,
            host: host(),
        };
        lab.declare(spec);
        lab
    }

    /// Of a file in `examples/`, under a name of its own.
    pub(crate) fn of_example(name: &str) -> Lab {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../examples")
            .join(name);
        let text = fs::read_to_string(path).unwrap();
        let (_, spec) = text.split_once("\nspec:").unwrap();
        Lab::new(spec)
    }

    /// Writes the file anew.
    pub(crate) fn declare(&self, spec: &str) {
        let (name, namespace) = (&self.name, self.namespace);
        let text = format!(
            "apiVersion: beemesh.io/v1alpha1\nkind: MicroServiceTopology\n\
             metadata: {{name: {name}, namespace: {namespace}}}\nspec:{spec}\n"
        );
        fs::write(self.file(), text).unwrap();
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("topology.yaml")
    }

    /// Where the lab keeps its state.
    pub(crate) fn state(&self) -> PathBuf {
        PathBuf::from(format!("/run/beemesh/lab/{}.{}", self.namespace, self.name))
    }

    /// `beemesh lab VERB -f FILE ARGUMENTS`.
    pub(crate) fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(["lab", verb, "-f"])
            .arg(self.file())
            .args(arguments);
        command
    }

    /// Runs it; panics with all it said unless it exits with `code`.
    pub(crate) fn expect(&self, code: i32, verb: &str, arguments: &[&str]) -> Output {
        let output = self.command(verb, arguments).output().unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert_eq!(
            output.status.code(),
            Some(code),
            "{verb} {arguments:?}\n{out}\n{err}"
        );
        output
    }

    /// Runs it to a good end.
    pub(crate) fn run(&self, verb: &str, arguments: &[&str]) -> String {
        String::from_utf8(self.expect(0, verb, arguments).stdout).unwrap()
    }

    /// What it prints with `-o json`, whatever its exit code.
    pub(crate) fn json(&self, verb: &str, arguments: &[&str]) -> Value {
        let output = self
            .command(verb, arguments)
            .args(["-o", "json"])
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{verb}: {error}: {output:?}"))
    }

    /// Namespaces, files and processes of this lab, and what it left in the machine's own namespace.
    pub(crate) fn remains(&self) -> Vec<String> {
        let mut remains: Vec<String> = dataplane::netns::list()
            .unwrap()
            .into_iter()
            .filter(|netns| netns.contains(&format!("-{}-", self.name)))
            .collect();
        if self.state().exists() {
            remains.push(self.state().display().to_string());
        }
        remains.extend(
            self.processes()
                .into_iter()
                .map(|id| format!("process {id}")),
        );
        let host = host();
        if host != self.host {
            remains.push(format!("{host:?} where there was {:?}", self.host));
        }
        remains
    }

    /// Processes that were told of this lab's directory.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let state = self.state().display().to_string();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        ids.filter(|id| {
            let words = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
            words.contains(&state)
        })
        .collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let output = self.command("down", &[]).output();
        if !std::thread::panicking() {
            let output = output.unwrap();
            assert!(output.status.success(), "{output:?}");
            assert_eq!(self.remains(), Vec::<String>::new(), "left behind");
        }
    }
}

/// The command under test, with the plugin beside it.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_beemesh"));
        let plugin = program.with_file_name("beemesh-cni");
        if !plugin.exists() {
            // Only where this crate alone is tested: cargo builds the plugin for the workspace.
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Command::new(cargo);
            build
                .args(["build", "-p", "beemesh-cni"])
                .current_dir(env!("CARGO_MANIFEST_DIR"));
            assert!(build.status().unwrap().success(), "beemesh-cni");
        }
        program
    })
}
