//! The floors of the house, held against `cargo metadata`.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use std::{collections::BTreeSet, process::Command};

/// Permitted dependencies between the crates of the workspace: imports go down, never sideways.
/// `lab` starts the daemon of `node`: the one exception. `ctl` reads answers of nodes by the types
/// of `crds`.
#[rustfmt::skip]
const FLOORS: &[(&str, &[&str])] = &[
    ("beemesh-topology",     &[]),
    ("beemesh-picture",      &["beemesh-topology"]),
    ("beemesh-linkstate",    &["beemesh-topology"]),
    ("beemesh-bfd",          &[]),
    ("beemesh-crds",         &["beemesh-topology"]),
    ("beemesh-dataplane",    &["beemesh-topology"]),
    ("beemesh-liveness",     &["beemesh-bfd", "beemesh-dataplane", "beemesh-linkstate"]),
    ("beemesh-probe",        &[]),
    ("beemesh-store",        &[]),
    ("beemesh-telemetry",    &[]),
    ("beemesh-watches",      &[]),
    ("beemesh-cni-protocol", &["beemesh-store"]),
    ("beemesh-cni",          &["beemesh-cni-protocol", "beemesh-dataplane"]),
    ("beemesh-node",         &["beemesh-cni-protocol", "beemesh-crds", "beemesh-dataplane", "beemesh-linkstate", "beemesh-liveness", "beemesh-probe", "beemesh-store", "beemesh-telemetry", "beemesh-topology", "beemesh-watches"]),
    ("beemesh-console",      &["beemesh-crds", "beemesh-probe", "beemesh-topology"]),
    // A lab starts the daemon of each of its hosts.
    ("beemesh-lab",          &["beemesh-console", "beemesh-crds", "beemesh-dataplane", "beemesh-linkstate", "beemesh-node", "beemesh-probe", "beemesh-store", "beemesh-topology"]),
    ("beemesh-ctl",          &["beemesh-console", "beemesh-crds", "beemesh-lab", "beemesh-linkstate", "beemesh-picture", "beemesh-probe", "beemesh-topology"]),
    ("beemesh-operator",     &["beemesh-crds", "beemesh-telemetry", "beemesh-linkstate", "beemesh-topology", "beemesh-watches"]),
    ("beemesh-e2e",          &[]),
    ("beemesh-architecture", &[]),
    ("beemesh-benches",      &["beemesh-cni-protocol", "beemesh-crds", "beemesh-dataplane", "beemesh-e2e", "beemesh-topology"]),
];

fn metadata() -> Metadata {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    // Only what this platform needs: the rest was never downloaded.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let options = ["--offline", "--filter-platform", &platform].map(str::to_owned);
    let mut command = MetadataCommand::new();
    command
        .manifest_path(manifest)
        .other_options(options.to_vec());
    command.exec().expect("cargo knows the workspace")
}

fn named<'a>(metadata: &'a Metadata, name: &str) -> &'a Package {
    let is_named = |package: &&Package| package.name.as_str() == name;
    metadata.packages.iter().find(is_named).expect(name)
}

/// Names of everything that is linked into `package` when it is built alone.
fn linked(package: &str) -> BTreeSet<String> {
    // The metadata's resolve joins the features of all members; `cargo tree -p` does not.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tree = Command::new(cargo);
    tree.args([
        "tree",
        "--offline",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    tree.args(["--package", package])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let output = tree.output().expect("cargo tree runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("names are text");
    text.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_edges_of_the_workspace_are_those_of_the_table() {
    let metadata = metadata();
    let members: BTreeSet<String> = metadata
        .workspace_packages()
        .iter()
        .map(|package| package.name.to_string())
        .collect();
    let table: BTreeSet<String> = FLOORS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(members, table, "every crate has its floor");
    for (name, expected) in FLOORS {
        let package = named(&metadata, name);
        let inside = package.dependencies.iter().filter(|dependency| {
            members.contains(dependency.name.as_str()) && dependency.kind == DependencyKind::Normal
        });
        let edges: BTreeSet<&str> = inside.map(|dependency| dependency.name.as_str()).collect();
        assert_eq!(
            edges,
            expected.iter().copied().collect(),
            "{name} uses another floor"
        );
    }
}

#[test]
fn topology_and_bfd_need_no_operating_system() {
    let metadata = metadata();
    for (folder, package) in [("topology", "beemesh-topology"), ("bfd", "beemesh-bfd")] {
        let lib = format!("{}/../{folder}/src/lib.rs", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(lib).expect("it has a lib.rs");
        assert!(source.contains("#![no_std]"), "the compiler guards floor 0");
        for dependency in &named(&metadata, package).dependencies {
            let is_normal = dependency.kind == DependencyKind::Normal;
            let has_std = dependency.uses_default_features
                || dependency.features.iter().any(|feature| feature == "std");
            assert!(
                !is_normal || !has_std,
                "{} would bring std",
                dependency.name
            );
        }
        let forbidden = ["serde", "tokio", "rand", "std", "libc", "chrono"];
        let linked = linked(package);
        let found: Vec<&str> = forbidden
            .into_iter()
            .filter(|name| linked.contains(*name))
            .collect();
        assert_eq!(
            found, [""; 0],
            "{package}: no I/O, no async, no clock, no randomness, no serde"
        );
    }
}

#[test]
fn nothing_links_a_second_tls() {
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock");
    let lock = std::fs::read_to_string(lock).expect("the workspace has a lock file");
    for name in [
        "openssl",
        "openssl-sys",
        "native-tls",
        "aws-lc-rs",
        "aws-lc-sys",
    ] {
        assert!(
            !lock.contains(&format!("name = \"{name}\"\n")),
            "{name} is in the lock file"
        );
    }
}

#[test]
fn the_daemon_carries_no_lab_and_no_drawing() {
    let linked = linked("beemesh-node");
    let foreign = [
        "beemesh-console",
        "beemesh-ctl",
        "beemesh-lab",
        "beemesh-picture",
        "clap_complete",
        "comfy-table",
        "indicatif",
    ];
    let found: Vec<&str> = foreign
        .into_iter()
        .filter(|name| linked.contains(*name))
        .collect();
    assert_eq!(found, [""; 0], "a privileged program has what a node needs");
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../charts/beemesh/templates/daemonset.yaml"
    );
    let daemon_set = std::fs::read_to_string(path).expect("the chart has a DaemonSet");
    assert!(daemon_set.contains("command: [/beemesh-node]"));
}

#[test]
fn the_plugin_carries_no_runtime_and_no_client() {
    let linked = linked("beemesh-cni");
    let is_heavy = |name: &&String| {
        [
            "tokio",
            "kube",
            "k8s-openapi",
            "hyper",
            "rustls",
            "rtnetlink",
        ]
        .contains(&name.as_str())
            || name.starts_with("kube-")
    };
    let found: Vec<&String> = linked.iter().filter(is_heavy).collect();
    assert_eq!(
        found,
        Vec::<&String>::new(),
        "the plugin is small and quick"
    );
}
