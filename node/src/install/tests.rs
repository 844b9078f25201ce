use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use nix::fcntl::OFlag;

use super::conflist::tests::PTP;
use super::conflist::{FILE, SET_ASIDE};
use super::*;

struct Node {
    directory: tempfile::TempDir,
    installer: Arc<Installer>,
}

impl Node {
    fn new(mode: Mode) -> Node {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        fs::write(at("program"), "#!/bin/sh\nexit 7\n").expect("a file");
        let places = Places {
            conf_dir: at("net.d"),
            bin_dir: at("bin"),
            program: at("program"),
        };
        fs::create_dir(&places.conf_dir).expect("a directory");
        let entry = conflist::entry(Path::new("/run/s"), Path::new("/var/lib/s"));
        Node {
            installer: Arc::new(Installer::new(mode, places, entry)),
            directory,
        }
    }

    fn conf(&self, name: &str) -> PathBuf {
        self.installer.places.conf_dir.join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.conf(name), content).expect("a file");
    }

    fn look(&self) -> Report {
        self.look_at(Instant::now())
    }

    fn look_at(&self, now: Instant) -> Report {
        let wait = self.installer.step(true, now);
        wait.expect("the directories can be used");
        self.installer.report()
    }

    fn plugins(&self) -> Vec<String> {
        let bytes = fs::read(self.conf(FILE)).expect("our list");
        let list: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        let plugins = list["plugins"].as_array().expect("plugins").iter();
        plugins
            .map(|plugin| plugin["type"].as_str().expect("type").to_owned())
            .collect()
    }
}

/// File state that a write would change: `stat` fields and bytes.
fn state(path: &Path) -> (u64, i64, i64, i64, u32, Vec<u8>) {
    let it = path.symlink_metadata().expect("a file");
    let bytes = fs::read(path).unwrap_or_default();
    (
        it.ino(),
        it.mtime(),
        it.mtime_nsec(),
        it.ctime_nsec(),
        it.mode(),
        bytes,
    )
}

#[test]
fn files_of_others_are_only_read() {
    let node = Node::new(Mode::Chained);
    node.write("10-a.conflist", PTP);
    node.write("05-b.conflist.cilium_bak", "theirs");
    node.write("20-c.conf", "broken");
    node.write("kubeconfig", "secret");
    symlink("10-a.conflist", node.conf("30-d.conflist")).expect("a link");
    fs::create_dir(node.conf("multus.d.conf")).expect("a directory");
    let others = [
        "10-a.conflist",
        "05-b.conflist.cilium_bak",
        "20-c.conf",
        "kubeconfig",
        "30-d.conflist",
    ];
    let before = others.map(|name| state(&node.conf(name)));
    assert_eq!(node.look(), Report::default());
    assert_eq!(node.plugins(), ["ptp", "portmap", "beemesh-cni"]);
    fs::write(node.conf(FILE), "by hand").expect("a file");
    node.look();
    node.installer.withdraw().expect("ours goes");
    assert!(!node.conf(FILE).exists());
    assert_eq!(before, others.map(|name| state(&node.conf(name))));
}

#[test]
fn nothing_is_written_while_equal() {
    let node = Node::new(Mode::Chained);
    node.write("10-a.conflist", PTP);
    node.look();
    let (list, program) = (node.conf(FILE), node.installer.places.installed());
    let before = (state(&list), state(&program), node.installer.writes());
    node.look();
    assert_eq!(
        (state(&list), state(&program), node.installer.writes()),
        before
    );
    assert_eq!(before.2, 2, "the program and the list");
    assert_eq!((before.0.4 & 0o7777, before.1.4 & 0o7777), (0o600, 0o755));
}

#[test]
fn our_list_follows_the_primary() {
    let node = Node::new(Mode::Chained);
    assert!(node.look().missing.is_some());
    node.write("10-a.conflist", PTP);
    assert_eq!(node.look(), Report::default());
    node.write("10-a.conflist", &PTP.replace("portmap", "bandwidth"));
    assert_eq!(node.look(), Report::default());
    assert_eq!(node.plugins(), ["ptp", "bandwidth", "beemesh-cni"]);
    node.write("10-a.conflist", "{\"plu");
    assert!(node.look().primary.expect("told").contains("10-a.conflist"));
    assert_eq!(node.plugins(), ["ptp", "bandwidth", "beemesh-cni"]);
    fs::rename(
        node.conf("10-a.conflist"),
        node.conf("10-a.conflist.cilium_bak"),
    )
    .expect("rename");
    assert!(node.look().missing.is_some());
    assert!(!node.conf(FILE).exists(), "what we chain behind is gone");
}

#[test]
fn what_was_removed_or_edited_is_repaired_once_and_then_with_patience() {
    let node = Node::new(Mode::Chained);
    node.write("10-a.conflist", PTP);
    let now = Instant::now();
    node.look_at(now);
    fs::remove_file(node.conf(FILE)).expect("ours");
    assert_eq!(node.look_at(now), Report::default());
    fs::rename(node.conf(FILE), node.conf(SET_ASIDE)).expect("as Cilium does");
    assert!(
        node.look_at(now)
            .displaced
            .expect("told")
            .contains(SET_ASIDE)
    );
    assert!(!node.conf(FILE).exists());
    assert_eq!(
        node.installer.step(true, now).expect("a step"),
        Some(Duration::from_secs(1))
    );
    node.look_at(now + Duration::from_secs(1));
    assert_eq!(node.plugins(), ["ptp", "portmap", "beemesh-cni"]);
}

#[test]
fn the_program_is_replaced_while_it_runs() {
    let node = Node::new(Mode::Binary);
    fs::copy("/bin/sleep", &node.installer.places.program).expect("a program");
    node.look();
    let installed = node.installer.places.installed();
    let mut running = Command::new(&installed)
        .arg("1000")
        .spawn()
        .expect("it runs");
    fs::write(&node.installer.places.program, "#!/bin/sh\nexit 7\n").expect("a file");
    node.look();
    let status = Command::new(&installed).status().expect("it runs");
    assert_eq!(status.code(), Some(7), "the new one");
    assert!(
        running.try_wait().expect("a child").is_none(),
        "the old one runs on"
    );
    running.kill().expect("kill");
    running.wait().expect("wait");
    // Another mode, other bytes of the same length, a link: each is made good.
    let program = fs::read(&node.installer.places.program).expect("bytes");
    fs::set_permissions(&installed, fs::Permissions::from_mode(0o644)).expect("mode");
    node.look();
    fs::write(&installed, vec![b'x'; program.len()]).expect("bytes");
    node.look();
    fs::remove_file(&installed).expect("a file");
    symlink("/bin/true", &installed).expect("a link");
    node.look();
    assert!(installed.symlink_metadata().expect("it is there").is_file());
    assert_eq!(fs::read(&installed).expect("bytes"), program);
    assert_eq!(state(&installed).4 & 0o7777, 0o755);
}

#[test]
fn a_list_is_not_written_where_the_program_cannot_be() {
    let node = Node::new(Mode::Chained);
    node.write("10-a.conflist", PTP);
    fs::create_dir_all(node.installer.places.installed().join("x")).expect("a directory");
    assert!(node.installer.step(true, Instant::now()).is_err());
    assert!(!node.conf(FILE).exists());
    assert!(
        node.installer
            .report()
            .missing
            .expect("told")
            .contains("beemesh-cni")
    );
    assert_eq!(node.installer.places.count(), 1, "no temporary file stays");
}

#[test]
fn what_killed_writers_left_goes_and_nothing_else() {
    let node = Node::new(Mode::Chained);
    node.write(".00-beemesh.conflist.7.0.tmp", "{");
    node.write(".10-a.conflist.7.0.tmp", "{");
    node.write("10-a.conflist", PTP);
    node.look();
    assert!(!node.conf(".00-beemesh.conflist.7.0.tmp").exists());
    assert!(node.conf(".10-a.conflist.7.0.tmp").exists(), "not ours");
}

#[test]
fn withdrawing_is_for_good_and_can_be_repeated() {
    let node = Node::new(Mode::Chained);
    node.write("10-a.conflist", PTP);
    node.look();
    for _ in 0..2 {
        node.installer.withdraw().expect("ours goes");
        node.installer.places.remove_program().expect("ours goes");
        node.look();
        assert_eq!(node.installer.places.count(), 0);
    }
    assert!(node.directory.path().exists());
}

#[tokio::test]
async fn changes_are_heard() {
    let node = Node::new(Mode::Chained);
    let (ready, is_ready) = watch::channel(false);
    let keeper = tokio::spawn(Arc::clone(&node.installer).keep(is_ready));
    let until = async |condition: &dyn Fn() -> bool| {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let all = async {
        node.write("10-a.conflist", PTP);
        let waits = || {
            node.installer
                .report()
                .missing
                .is_some_and(|it| it.contains("not ready"))
        };
        until(&waits).await;
        assert!(!node.conf(FILE).exists());
        ready.send_replace(true);
        until(&|| node.conf(FILE).exists()).await;
        fs::remove_file(node.conf(FILE)).expect("ours");
        until(&|| node.conf(FILE).exists()).await;
        node.installer.withdraw().expect("ours goes");
        fs::remove_file(node.conf("10-a.conflist")).expect("theirs");
        keeper.await.expect("it ends");
    };
    // Sooner than the slow look at everything.
    tokio::time::timeout(LOOK, all)
        .await
        .expect("changes are heard");
}

#[test]
fn what_is_told_waits_for_no_disk() {
    let node = Node::new(Mode::Chained);
    node.write("10-a.conflist", PTP);
    let places = &node.installer.places;
    // What is read of the one is what there is of the other: nothing.
    fs::create_dir(&places.bin_dir).expect("a directory");
    fs::write(places.installed(), "").expect("a file");
    fs::set_permissions(places.installed(), Permissions::from_mode(0o755)).expect("a file");
    let program = &places.program;
    fs::remove_file(program).expect("a file");
    nix::unistd::mkfifo(program, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let installer = Arc::clone(&node.installer);
    let step = thread::spawn(move || installer.step(true, Instant::now()));
    let deadline = Instant::now() + Duration::from_secs(60);
    // There is a reader once the step has come to it, and it reads until this is closed.
    let unread = loop {
        let mut options = fs::File::options();
        options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
        match options.open(program) {
            Ok(unread) => break unread,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::sleep(Duration::from_millis(2));
    };
    let installer = Arc::clone(&node.installer);
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send((installer.report().missing, installer.writes())));
    let told = told.recv_timeout(Duration::from_secs(60));
    let before = (Some("not checked yet".to_owned()), 0);
    assert_eq!(told, Ok(before), "while the step waits");
    drop(unread);
    step.join().expect("no panic").expect("the step is done");
    assert_eq!(
        (node.installer.report(), node.installer.writes()),
        (Report::default(), 1)
    );
}
