//! A daemon whose user has no inotify instance left.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command};

use crate::world::{World, output, wait_for};

/// Takes inotify away, in a namespace of users of its own, and runs what follows there.
const WITHOUT: &str = "echo 0 > /proc/sys/user/max_inotify_instances && mount -t tmpfs run /run && \
                       ip link set lo up && exec \"$0\" \"$@\"";
const OTHERS: [&str; 4] = ["--user", "--map-root-user", "--net", "--mount"];

/// Why this cannot be tested here; none when it can.
pub(crate) fn missing() -> Option<&'static str> {
    let able = output(&format!("unshare {} true", OTHERS.join(" ")));
    (!able.status.success()).then_some("needs namespaces of users")
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(world: &World) -> (Daemon, PathBuf) {
    let state = world.state("n1");
    fs::create_dir_all(&state).expect("a directory");
    let log = state.join("log");
    let child = Command::new("unshare")
        .args(OTHERS)
        .args(["sh", "-c", WITHOUT, env!("CARGO_BIN_EXE_beemesh-node")])
        .args(["--name=n1", "--resync-seconds=3600"])
        .arg(format!("--directory={}", world.objects().display()))
        .arg(format!("--socket={}", world.socket("n1").display()))
        .arg(format!("--state-dir={}", state.display()))
        .env("NO_COLOR", "1")
        .stderr(File::create(&log).expect("a log"))
        .spawn();
    (Daemon(child.expect("it starts")), log)
}

pub(crate) fn a_daemon_without_inotify_says_so_and_serves() {
    let mut world = World::new(1);
    let tag = world.tag.clone();
    let shape = |forwarders: &[&str]| {
        let on = forwarders
            .iter()
            .map(|name| format!("{{name: {name}, node: n1}}"));
        let all = on.collect::<Vec<_>>().join(", ");
        format!("  forwarders: [{all}]\n  shape: Line\n")
    };
    world.declare(&tag, &shape(&["f1", "f2"]));
    let (mut daemon, log) = start(&world);
    let said = || fs::read_to_string(&log).unwrap_or_default();
    let links_up = |name: &str| world.status(&tag, name).links_up;
    wait_for("both are made and linked", || links_up("f2") == "1/1");
    // Nothing but a look at the directory finds this.
    world.declare(&tag, &shape(&["f1", "f2", "f3"]));
    let links_up = |name: &str| world.status(&tag, name).links_up;
    wait_for("a third one is linked", || links_up("f2") == "2/2");
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").expect("a limit");
    let expected = format!("raise fs.inotify.max_user_instances, now {}", limit.trim());
    assert_eq!(said().matches(&expected).count(), 1, "{}", said());
    assert_eq!(daemon.0.try_wait().expect("its state"), None);
}
