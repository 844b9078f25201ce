//! Several labs, and several users.

use std::process::Command;

use crate::world::{Lab, program};

const PAIR: &str = "
  addressing: {cidrs: [10.91.0.0/16]}
  forwarders: [{name: a, node: n1}, {name: b, node: n2}]
  shape: Line
  apps:
    - {name: left, podSelector: {matchLabels: {app: left}}, forwarder: a}
    - {name: right, podSelector: {matchLabels: {app: right}}, forwarder: b}";

pub(crate) fn labs_with_the_same_addresses_never_meet() {
    let name = format!("twin{}", std::process::id());
    let one = Lab::named(name.clone(), "plant", PAIR);
    let other = Lab::named(name, "office", PAIR);
    one.run("up", &["-q"]);
    other.run("up", &["-q", "--instances", "right=2"]);
    let (first, second) = (one.json("status", &[]), other.json("status", &[]));
    assert_eq!(
        first["apps"]["left-0"]["addresses"],
        second["apps"]["left-0"]["addresses"]
    );
    assert_ne!(
        first["apps"]["left-0"]["netns"],
        second["apps"]["left-0"]["netns"]
    );
    let alone = second["apps"]["right-1"]["addresses"][0].as_str().unwrap();
    other.run("ping", &["left", alone, "-c", "2"]);
    let taken = first["apps"]["right-0"]["addresses"][0].as_str().unwrap();
    let alone = if alone == taken {
        second["apps"]["right-0"]["addresses"][0].as_str().unwrap()
    } else {
        alone
    };
    one.expect(1, "ping", &["left", alone, "-c", "1", "-W", "200ms"]);
    // The end of one is nothing to the other.
    one.run("cut", &["a/b"]);
    other.run("ping", &["left", "right", "-c", "2"]);
    one.run("down", &[]);
    other.run("ping", &["left", "right", "-c", "2"]);
    assert_eq!(other.json("status", &[]), second);
}

pub(crate) fn a_user_without_root_has_a_lab_too() {
    let directory = tempfile::TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::copy(program(), at("beemesh")).unwrap();
    std::fs::copy(program().with_file_name("beemesh-cni"), at("beemesh-cni")).unwrap();
    let lab = Lab::new(PAIR);
    std::fs::copy(lab.file(), at("topology.yaml")).unwrap();
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), readable).unwrap();
    let script = "set -e; cd \"$0\"; lab() { verb=$1; shift; ./beemesh lab $verb -f topology.yaml \"$@\"; }; \
        export XDG_RUNTIME_DIR=/no/such/directory; \
        if ! unshare -Urnm true 2>/dev/null; then exec ./beemesh lab up -f topology.yaml; fi; \
        lab up -q; lab status; lab ping left right -c 2; lab test --cuts 1; lab exec left -- ip addr; \
        lab down; test ! -e /tmp/beemesh-$(id -u)/lab/default.*";
    let mut command = Command::new("su");
    command
        .args(["nobody", "-s", "/bin/sh", "-c", script])
        .arg(directory.path());
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let refused = words.contains("this machine refuses them");
    assert!(output.status.success() || refused, "{output:?}");
}
