//! A state directory on a disk without room.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use node::attach::leases::{Leases, Record};

use crate::pods::{LABELS, leased, pair, reboot};
use crate::world::{World, output, run, wait_for};

/// A small disk of its own for the state of a daemon that does not run, unmounted at the end.
struct Disk {
    state: PathBuf,
    log: tempfile::TempDir,
}

impl Disk {
    fn of(world: &World) -> Disk {
        let state = world.state("n1");
        let kept: Vec<_> = fs::read_dir(&state).unwrap().flatten().collect();
        let aside = tempfile::tempdir().unwrap();
        for entry in kept.iter().filter(|entry| entry.path().is_file()) {
            fs::copy(entry.path(), aside.path().join(entry.file_name())).unwrap();
        }
        run(&format!(
            "mount -t tmpfs -o size=512k tmpfs {}",
            state.display()
        ));
        let disk = Disk {
            state,
            log: tempfile::tempdir().unwrap(),
        };
        for entry in fs::read_dir(aside.path()).unwrap().flatten() {
            fs::copy(entry.path(), disk.state.join(entry.file_name())).unwrap();
        }
        // What the daemon says takes no room there.
        let log = disk.state.join("log");
        fs::rename(&log, disk.state.join("log-before")).unwrap();
        symlink(disk.log.path().join("log"), log).unwrap();
        disk
    }

    fn fill(&self) {
        // Fails when nothing fits any more: that is what it is for.
        let _ = fs::write(self.state.join("filler"), vec![0; 1 << 20]);
    }

    fn make_room(&self) {
        fs::remove_file(self.state.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.state, nix::mount::MntFlags::MNT_DETACH);
    }
}

pub(crate) fn a_full_disk_gives_no_address_away_and_heals() {
    let (mut world, _) = pair();
    world.kill("n1");
    let disk = Disk::of(&world);
    world.start("n1");
    let first = world.add_pod("n1", "p1", LABELS);
    world.add_netns("p2");
    let before = world.census();

    disk.fill();
    // The journal's last page has room for a few records more.
    let refusal = (0..200)
        .flat_map(|_| ["ADD", "DEL"])
        .map(|verb| (verb, world.cni(verb, "n1", "p2", LABELS)))
        .find(|(_, (is_done, _))| !is_done);
    let (verb, (_, output)) = refusal.expect("a full disk is told");
    eprintln!("refused on a full disk: {verb}: {output}");
    let error: serde_json::Value = serde_json::from_str(&output).expect(&output);
    assert_eq!(error["code"], 11, "try again later: {verb}: {output}");
    // Pods that are evicted because of the disk must be able to go.
    assert_eq!(verb, "ADD", "a DEL is never refused: {output}");
    assert!(world.cni("DEL", "n1", "p2", LABELS).0);
    let interfaces = run(&format!("ip -n {} -o link", world.netns("p2")));
    assert!(!interfaces.contains("eth0"), "{interfaces}");
    disk.make_room();
    wait_for("nothing is left of what was refused", || {
        world.census() == before
    });

    wait_for("an ADD succeeds", || world.cni("ADD", "n1", "p2", LABELS).0);
    let leased = leased(&world);
    assert_eq!(leased.len(), 4);
    assert!(first.iter().all(|address| leased.contains_key(address)));
    for pod in ["p1", "p2"] {
        assert!(world.cni("DEL", "n1", pod, LABELS).0);
    }
    world.kill("n1");
}

pub(crate) fn a_node_that_reboots_with_a_full_disk_serves() {
    let (mut world, _) = pair();
    world.add_pod("n1", "p1", LABELS);
    world.kill("n1");
    let disk = Disk::of(&world);
    reboot(&mut world, &["p1"]);
    world.add_netns("p1");
    // Half a line, as a kill in the midst of a write leaves it, up to the end of a page.
    let journal = disk.state.join("leases.journal");
    let mut bytes = fs::read(&journal).unwrap();
    bytes.resize(bytes.len().next_multiple_of(1 << 16), b'0');
    fs::write(&journal, &bytes).unwrap();
    disk.fill();
    world.start("n1");
    let f1 = world.forwarder_netns("f1");
    wait_for("it forwards", || {
        let routes = output(&format!("ip -n {f1} -4 route show proto 190"));
        !routes.stdout.is_empty()
    });
    // One that starts says "try again later" as well: what it cannot write is the journal.
    wait_for("it is told", || {
        let (is_done, told) = world.cni("ADD", "n1", "p1", LABELS);
        assert!(!is_done && told.contains(r#""code":11"#), "{told}");
        told.contains("leases.journal")
    });
    assert_eq!(fs::read(&journal).unwrap(), bytes, "there is no room");

    disk.make_room();
    wait_for("an ADD succeeds", || world.cni("ADD", "n1", "p1", LABELS).0);
    let records = store::journal::decode::<Record>(&fs::read(&journal).unwrap()).records;
    let leases = Leases::replay(&records);
    assert_eq!(leases.boot(), Some("second"));
    let are_past_boot: Vec<_> = leases.iter().map(|lease| lease.is_past_boot).collect();
    assert_eq!(are_past_boot, [false]);
    world.kill("n1");
}
