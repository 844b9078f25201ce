//! Several labs, and several users.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

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

pub(crate) fn namespaces_of_a_cluster_are_neither_used_nor_removed() {
    let lab = Lab::new(PAIR);
    let netns = crds::names::netns("default", &lab.name, "b");
    dataplane::netns::create(&netns).unwrap();
    let mut pod = Command::new("ip");
    let mut pod = pod
        .args(["netns", "exec", &netns, "sleep", "1000"])
        .spawn()
        .unwrap();
    let output = lab.expect(1, "up", &["-q"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains(&netns) && error.contains("cluster"),
        "{error}"
    );
    lab.run("down", &[]);
    assert!(dataplane::netns::list().unwrap().contains(&netns));
    assert_eq!(pod.try_wait().unwrap(), None, "the cluster's pod was ended");
    pod.kill().unwrap();
    pod.wait().unwrap();
    dataplane::netns::delete(&netns).unwrap();
    // A running lab that gets such a forwarder leaves it alone too.
    lab.run("up", &["-q"]);
    let netns = crds::names::netns("default", &lab.name, "c");
    dataplane::netns::create(&netns).unwrap();
    lab.declare(&PAIR.replace("node: n2}]", "node: n2}, {name: c, node: n2}]"));
    lab.expect(1, "up", &["-q"]);
    lab.run("ping", &["left", "right", "-c", "1"]);
    lab.run("down", &[]);
    assert!(
        dataplane::netns::delete(&netns).unwrap(),
        "removed by the lab"
    );
}

/// A daemon as on a node of a cluster, with the objects of a directory, beside the labs of this host.
struct Daemon {
    files: TempDir,
    process: Child,
}

impl Daemon {
    /// The daemon of `node`, with the objects of a lab, but another prefix.
    fn beside(lab: &Lab, node: &str) -> Daemon {
        let files = TempDir::new().unwrap();
        let objects = files.path().join("objects");
        for kind in ["forwarders", "nodes", "status"] {
            fs::create_dir_all(objects.join(kind)).unwrap();
        }
        for kind in ["forwarders", "nodes"] {
            let from = lab.state().join("directory").join(kind);
            for file in fs::read_dir(from).unwrap().flatten() {
                let text = fs::read_to_string(file.path()).unwrap();
                let text = text.replace("10.91.", "10.99.");
                fs::write(objects.join(kind).join(file.file_name()), text).unwrap();
            }
        }
        let mut command = Command::new(program());
        command.args(["node", "--name", node]);
        for (option, name) in [
            ("--directory", "objects"),
            ("--socket", "cni.sock"),
            ("--state-dir", "state"),
            ("--run-dir", "run"),
        ] {
            command.arg(option).arg(files.path().join(name));
        }
        let process = command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = process.spawn().unwrap();
        Daemon { files, process }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join("objects").join(name)
    }

    /// Status of a Forwarder, as the daemon reports it.
    fn status(&self, lab: &Lab, forwarder: &str) -> String {
        let name = format!("{}.{forwarder}.yaml", lab.name);
        fs::read_to_string(self.path("status").join(name)).unwrap_or_default()
    }

    fn wait_until(&mut self, what: &str, is_so: impl Fn(&Daemon) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(90);
        while !is_so(self) {
            assert_eq!(self.process.try_wait().unwrap(), None, "it ended: {what}");
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn namespaces_of_a_lab_are_neither_used_nor_removed_by_a_cluster() {
    let lab = Lab::new(PAIR);
    lab.run("up", &["-q"]);
    let whole = lab.json("status", &[]);
    let addresses = || lab.run("exec", &["a", "--", "ip", "-o", "addr", "show"]);
    let before = addresses();
    let netns = crds::names::netns("default", &lab.name, "a");
    let is_there = || dataplane::netns::list().unwrap().contains(&netns);

    let mut daemon = Daemon::beside(&lab, "n1");
    daemon.wait_until("it says that the namespace is a lab's", |daemon| {
        daemon.status(&lab, "a").contains("is of the lab default.")
    });
    assert_eq!(addresses(), before);
    lab.run("ping", &["left", "right", "-c", "2"]);
    assert_eq!(lab.json("status", &[]), whole);

    // When the lab is gone the name is free, and when the daemon has made it, it removes it.
    lab.run("down", &[]);
    daemon.wait_until("it makes the namespace", |_| is_there());
    for file in fs::read_dir(daemon.path("forwarders")).unwrap().flatten() {
        fs::remove_file(file.path()).unwrap();
    }
    daemon.wait_until("it removes the namespace", |_| !is_there());
}

/// Whether a user without root may make namespaces here.
pub(crate) fn are_namespaces_for_everyone() -> bool {
    nobody("unshare -Urnm true").is_ok_and(|output| output.status.success())
}

fn nobody(script: &str) -> io::Result<Output> {
    let mut command = Command::new("su");
    command.args(["nobody", "-s", "/bin/sh", "-c", script]);
    command.output()
}

pub(crate) fn a_user_without_root_has_a_lab_too() {
    // Not TMPDIR, which may be below a folder that is closed to others; nor may a mask of root's close what is in it.
    let directory = tempfile::TempDir::new_in("/tmp").unwrap();
    let lab = Lab::new(PAIR);
    let plugin = program().with_file_name("beemesh-cni");
    for (from, name, mode) in [
        (program().to_owned(), "beemesh", 0o755),
        (plugin, "beemesh-cni", 0o755),
        (lab.file(), "topology.yaml", 0o644),
    ] {
        let to = directory.path().join(name);
        fs::copy(from, &to).unwrap();
        fs::set_permissions(to, Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let script = format!(
        "set -e; cd {}; lab() {{ verb=$1; shift; ./beemesh lab $verb -f topology.yaml \"$@\"; }}; \
         export XDG_RUNTIME_DIR=/no/such/directory; \
         lab up -q; lab status; lab ping left right -c 2; lab test --cuts 1; lab exec left -- ip addr; \
         lab down; test ! -e /tmp/beemesh-$(id -u)/lab/default.{}",
        directory.path().display(),
        lab.name
    );
    let output = nobody(&script).unwrap();
    assert!(output.status.success(), "{output:?}");
}

pub(crate) fn a_lab_directory_of_another_user_is_refused() {
    let directory = tempfile::TempDir::new_in("/tmp").unwrap();
    let lab = Lab::new(PAIR);
    // As whoever else uses the machine may have prepared it.
    let runtime = directory.path().join("runtime");
    let theirs = runtime.join("beemesh/lab");
    fs::create_dir_all(&theirs).unwrap();
    let victim = directory.path().join("victim");
    fs::write(&victim, "mine").unwrap();
    std::os::unix::fs::symlink(&victim, theirs.join(".holder.lock")).unwrap();
    for path in [directory.path(), &runtime] {
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    }
    fs::set_permissions(&victim, Permissions::from_mode(0o666)).unwrap();
    for (from, to) in [
        (program().to_owned(), "beemesh"),
        (lab.file(), "topology.yaml"),
    ] {
        let to = directory.path().join(to);
        fs::copy(from, &to).unwrap();
        fs::set_permissions(to, Permissions::from_mode(0o755)).unwrap();
    }
    fs::copy(
        program().with_file_name("beemesh-cni"),
        directory.path().join("beemesh-cni"),
    )
    .unwrap();
    for verb in [
        "up -q -f topology.yaml",
        "status -f topology.yaml",
        "down -f topology.yaml",
        "list",
    ] {
        let script = format!(
            "cd {}; export XDG_RUNTIME_DIR=$PWD/runtime; ./beemesh lab {verb}",
            directory.path().display()
        );
        let output = nobody(&script).unwrap();
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && why.contains("it is of user 0"),
            "{verb}: {output:?}"
        );
    }
    assert_eq!(fs::read(&victim).unwrap(), b"mine");
}
