//! The plugin put where a runtime finds it, by the real daemon.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use dataplane::netns::Netns;
use serde_json::Value;

use crate::killer::Killer;
use crate::plugin::plugin;
use crate::world::{World, wait_for};

const LIST: &str = "00-beemesh.conflist";
const PRIMARY: &str = r#"{"cniVersion":"1.0.0","name":"cbr0","plugins":[{"type":"ptp"}]}"#;
const CHANGED: &str = r#"{"cniVersion":"1.0.0","name":"cbr0","plugins":[{"type":"ptp","mtu":9}]}"#;

/// A host whose runtime's directories are a daemon's to look after.
struct Runtime {
    world: World,
}

impl Runtime {
    fn new() -> Runtime {
        let mut world = World::new(1);
        let at = |name: &str| world.state("n1").join(name).display().to_string();
        let arguments = [
            "--install-cni=chained".to_owned(),
            format!("--cni-conf-dir={}", at("net.d")),
            format!("--cni-bin-dir={}", at("bin")),
            "--http-address=127.0.0.1:4790".to_owned(),
        ];
        world.arguments.extend(arguments);
        // Beside the daemon, as in the image.
        plugin();
        let runtime = Runtime { world };
        fs::create_dir_all(runtime.conf("")).expect("a directory");
        runtime
    }

    fn start(&mut self) {
        self.world.start("n1");
    }

    fn conf(&self, name: &str) -> PathBuf {
        self.world.state("n1").join("net.d").join(name)
    }

    fn program(&self) -> PathBuf {
        self.world.state("n1").join("bin/beemesh-cni")
    }

    fn primary(&self, content: &str) {
        fs::write(self.conf("10-ptp.conflist"), content).expect("a file");
    }

    /// Primary plugin in our conflist; `None` without one. Panics when it is truncated.
    fn list(&self) -> Option<String> {
        let bytes = fs::read(self.conf(LIST)).ok()?;
        let mut list: Value = serde_json::from_slice(&bytes).expect("a list is whole or not there");
        let ours = list["plugins"].as_array_mut().expect("plugins").pop();
        assert_eq!(ours.expect("our plugin")["type"], "beemesh-cni");
        Some(list.to_string())
    }

    fn is_of(&self, primary: &str) -> bool {
        let primary: Value = serde_json::from_str(primary).expect("JSON");
        self.list() == Some(primary.to_string())
    }

    /// The program is whole or not there.
    fn has_program(&self) -> bool {
        let Ok(found) = fs::read(self.program()) else {
            return false;
        };
        assert!(
            found == fs::read(plugin()).expect("it is built"),
            "it is torn"
        );
        let mode = fs::metadata(self.program()).expect("it is there").mode();
        assert_eq!(mode & 0o7777, 0o755);
        true
    }

    /// Files that are neither ours nor the primary.
    fn others(&self) -> Vec<String> {
        let directories = [self.conf(""), self.program().with_file_name("")];
        let entries = directories
            .iter()
            .flat_map(|it| fs::read_dir(it).expect("a directory"));
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        let known = [LIST, "beemesh-cni", "10-ptp.conflist"];
        names.filter(|name| !known.contains(&&**name)).collect()
    }

    fn get(&self, path: &str) -> String {
        let netns = Netns::open(&self.world.netns("n1")).expect("a namespace");
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect("127.0.0.1:4790")?;
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n"
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        netns
            .run(ask)
            .expect("it can be entered")
            .unwrap_or_default()
    }

    fn waits_for_probe(&self, path: &str, what: &str) {
        wait_for(&format!("{path}: {what}"), || self.get(path).contains(what));
    }
}

/// System calls of an installation.
const CALLS: [i64; 6] = [
    nix::libc::SYS_write,
    nix::libc::SYS_copy_file_range,
    nix::libc::SYS_fchmod,
    nix::libc::SYS_fsync,
    nix::libc::SYS_rename,
    nix::libc::SYS_unlink,
];

pub(crate) fn a_daemon_killed_at_any_write_leaves_a_list_that_is_whole_or_none() {
    let mut runtime = Runtime::new();
    runtime.start();
    for before in [None, Some(PRIMARY)] {
        let mut number = 1;
        loop {
            let what = format!("killed at call {number}, before: {before:?}");
            // Nothing there, or a list that is to become another.
            match before {
                None => drop(fs::remove_file(runtime.conf("10-ptp.conflist"))),
                Some(primary) => runtime.primary(primary),
            }
            wait_for(&what, || {
                before.map_or(runtime.list().is_none(), |it| runtime.is_of(it))
            });
            wait_for(&what, || runtime.has_program());
            // With all its threads: the killer is told of those that come, not of such as are coming.
            let probe = if before.is_none() {
                "[-]cni-installed failed: there is no"
            } else {
                "\r\n\r\nok"
            };
            runtime.waits_for_probe("/readyz", probe);
            let killer = Killer::seize(runtime.world.process("n1"), &CALLS);
            fs::remove_file(runtime.program()).expect("it is there");
            runtime.primary(CHANGED);
            let theirs = fs::metadata(runtime.conf("10-ptp.conflist")).expect("it is there");
            // By `stat` alone: reading is an event too, and so many keep its thread from anything else.
            let inode = |path: PathBuf| fs::metadata(path).map(|it| it.ino()).ok();
            let old = inode(runtime.conf(LIST));
            let is_new = || inode(runtime.conf(LIST)).is_some_and(|new| Some(new) != old);
            let is_over = || is_new() && inode(runtime.program()).is_some();
            let is_killed = killer.kill_at(number, is_over);
            runtime.world.bury("n1");
            let list = runtime.list();
            let is_known = list.is_none() || runtime.is_of(CHANGED) || runtime.is_of(PRIMARY);
            assert!(is_known, "{what}: {list:?}");
            assert!(
                list.is_some() || before.is_none(),
                "{what}: the old one stays"
            );
            runtime.has_program();
            let same = fs::metadata(runtime.conf("10-ptp.conflist")).expect("it is there");
            assert_eq!(
                (same.ino(), same.ctime_nsec()),
                (theirs.ino(), theirs.ctime_nsec())
            );
            runtime.start();
            wait_for(&what, || runtime.is_of(CHANGED) && runtime.has_program());
            assert_eq!(runtime.others(), [""; 0], "{what}");
            if !is_killed {
                break;
            }
            number += 1;
        }
        let is_there = before.is_some();
        eprintln!(
            "list there {is_there}: killed at each of {} calls",
            number - 1
        );
        assert!(number > 8, "{number} calls only");
    }
}

pub(crate) fn probes_tell_why_a_node_is_not_ready() {
    let mut runtime = Runtime::new();
    runtime.start();
    runtime.waits_for_probe("/readyz", "[-]cni-installed failed: there is no other CNI");
    runtime.waits_for_probe("/livez?verbose", "[+]engine ok");
    runtime.primary(PRIMARY);
    runtime.waits_for_probe("/readyz", "\r\n\r\nok");
    for check in [
        "engine",
        "desired-state",
        "socket",
        "cni-installed",
        "cni-in-force",
    ] {
        runtime.waits_for_probe("/readyz?verbose", &format!("[+]{check} ok\n"));
    }
    runtime.waits_for_probe("/metrics", "\nbeemesh_node_cni_installed 1\n");
    let before = runtime.conf("00-another.conflist");
    fs::write(&before, PRIMARY).expect("a file");
    runtime.waits_for_probe(
        "/readyz",
        "[-]cni-in-force failed: 00-another.conflist comes before",
    );
    runtime.waits_for_probe("/metrics", "\nbeemesh_node_cni_displaced 1\n");
    fs::remove_file(before).expect("it is there");
    runtime.waits_for_probe("/readyz", "\r\n\r\nok");
    fs::write(runtime.conf("10-ptp.conflist"), "{").expect("a file");
    runtime.waits_for_probe(
        "/readyz?verbose",
        "[!]cni-primary warning: 10-ptp.conflist: not JSON",
    );
    fs::remove_file(runtime.world.socket("n1")).expect("a socket");
    runtime.waits_for_probe("/readyz", "[-]socket failed");
    assert!(runtime.world.terminate("n1"));
    assert!(runtime.is_of(PRIMARY), "it stays when the daemon goes");
}

pub(crate) fn a_steady_node_writes_nothing() {
    let mut runtime = Runtime::new();
    runtime.primary(PRIMARY);
    runtime.start();
    let state = |runtime: &Runtime| {
        let paths = [runtime.conf(LIST), runtime.program()];
        paths.map(|path| {
            fs::metadata(path)
                .map(|it| (it.ino(), it.ctime(), it.ctime_nsec()))
                .ok()
        })
    };
    wait_for("installed", || {
        runtime.list().is_some() && runtime.has_program()
    });
    let before = state(&runtime);
    runtime.world.kill("n1");
    runtime.start();
    runtime.waits_for_probe("/readyz", "\r\n\r\nok");
    // Twice, so that one is after whatever the first one may have caused.
    for name in ["20-b.conflist", "30-c.conflist"] {
        fs::write(runtime.conf(name), "theirs").expect("a file");
        // That it looked is seen by what it says of the primary.
        runtime.primary("{");
        runtime.waits_for_probe("/readyz?verbose", "[!]cni-primary warning");
        runtime.primary(PRIMARY);
        runtime.waits_for_probe("/readyz?verbose", "[+]cni-primary ok\n");
    }
    runtime.waits_for_probe("/metrics", "\nbeemesh_node_cni_install_writes_total 0\n");
    assert_eq!(state(&runtime), before);
}
