//! Killed at every system call, not just at random moments: retries succeed and nothing is left.

use std::fs;
use std::path::Path;

use cni::queue;

use crate::killer::Killer;
use crate::plugin::feed;
use crate::pods::{LABELS, leased, pair};
use crate::world::{World, wait_for};

/// One run of the plugin for pod `p0`, killed at its `number`th stop; false when it ended before.
fn kill_plugin(world: &World, verb: &str, number: u64) -> bool {
    let (mut child, config) = world.start_cni(verb, "n1", "p0", LABELS);
    // It waits for its input: nothing was done yet.
    let killer = Killer::seize(child.id(), &[]);
    feed(&mut child, &config);
    killer.kill_at(number, || false)
}

fn retry(world: &World, what: &str) {
    let (is_done, output) = world.cni("DEL", "n1", "p0", LABELS);
    assert!(is_done, "DEL after {what}: {output}");
    // A release that the daemon did not answer in time is kept, and replayed.
    let state = world.state("n1");
    wait_for(what, || queue::list(&state).unwrap().0.is_empty());
    assert!(leased(world).is_empty(), "{what}");
}

pub(crate) fn a_plugin_killed_at_any_system_call_leaves_nothing() {
    let (world, _) = pair();
    world.add_netns("p0");
    let before = world.census();
    for verb in ["ADD", "DEL"] {
        let mut number = 1;
        loop {
            let what = format!("{verb} killed at stop {number}");
            if verb == "DEL" {
                let (is_done, output) = world.cni("ADD", "n1", "p0", LABELS);
                assert!(is_done, "ADD before {what}: {output}");
            }
            let is_killed = kill_plugin(&world, verb, number);
            retry(&world, &what);
            let (is_done, output) = world.cni("ADD", "n1", "p0", LABELS);
            assert!(is_done, "ADD after {what}: {output}");
            retry(&world, &what);
            wait_for(&what, || world.census() == before);
            if !is_killed {
                break;
            }
            number += 1;
        }
        eprintln!("{verb}: killed at each of {} stops", number - 1);
        assert!(number > 100, "{verb} was killed {number} times only");
    }
}

/// System calls with which the daemon's work on journal, plugin and kernel begins.
const CALLS: [i64; 4] = [
    nix::libc::SYS_write,
    nix::libc::SYS_sendto,
    nix::libc::SYS_openat,
    nix::libc::SYS_setns,
];

pub(crate) fn a_daemon_killed_at_any_write_gives_no_address_twice_and_keeps_none() {
    let (mut world, _) = pair();
    world.add_netns("p0");
    let before = world.census();
    for verb in ["ADD", "DEL"] {
        let mut number = 1;
        loop {
            let what = format!("{verb}, the daemon killed at call {number}");
            if verb == "DEL" {
                assert!(world.cni("ADD", "n1", "p0", LABELS).0, "ADD before {what}");
            }
            let killer = Killer::seize(world.process("n1"), &CALLS);
            let is_killed = std::thread::scope(|scope| {
                // Of another thread: the killer hears only of its own thread's children.
                let plugin = scope.spawn(|| world.cni(verb, "n1", "p0", LABELS).0);
                let is_killed = killer.kill_at(number, || plugin.is_finished());
                let is_done = plugin.join().unwrap();
                assert!(is_done || verb == "ADD", "DEL always succeeds: {what}");
                is_killed
            });
            world.bury("n1");
            assert!(leased(&world).len() <= 2, "{what}");
            world.start("n1");
            wait_for(&what, || {
                let is_done = world.cni("ADD", "n1", "p0", LABELS).0;
                assert!(is_done || world.cni("DEL", "n1", "p0", LABELS).0, "{what}");
                is_done
            });
            assert_eq!(leased(&world).len(), 2, "{what}");
            assert!(world.cni("DEL", "n1", "p0", LABELS).0, "DEL after {what}");
            wait_for(&what, || {
                leased(&world).is_empty() && world.census() == before
            });
            if !is_killed {
                break;
            }
            number += 1;
        }
        eprintln!("{verb}: the daemon killed at each of {} calls", number - 1);
        assert!(number > 4, "{verb}: {number} calls only");
    }
}

/// Durable steps of writers: a file is synced, takes its name, loses it, is cut off.
const DURABLE: [i64; 6] = [
    nix::libc::SYS_fsync,
    nix::libc::SYS_fdatasync,
    nix::libc::SYS_rename,
    nix::libc::SYS_unlink,
    nix::libc::SYS_mkdir,
    nix::libc::SYS_ftruncate,
];

/// Temporary files of writers below a directory.
fn leftovers(directory: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => left.extend(leftovers(&path)),
            false if path.extension().is_some_and(|it| it == "tmp") => {
                left.push(path.display().to_string());
            }
            false => {}
        }
    }
    left
}

/// A second topology, which comes and goes.
const SECOND: &str = "  addressing: {cidrs: [10.81.0.0/16]}\n\
                      \x20 forwarders: [{name: g1, node: n1}, {name: g2, node: n1}]\n\
                      \x20 shape: Line\n";

pub(crate) fn a_daemon_killed_at_any_durable_step_makes_and_removes_all_and_leaves_no_file() {
    let (mut world, first) = pair();
    let before = world.census();
    let second = format!("{first}b");
    let is_ready = |world: &World| {
        let status = world.status(&second, "g1");
        status.links.total == 1 && status.links.up == 1
    };
    for is_declared in [true, false] {
        let mut number = 1;
        loop {
            let what = format!("declared: {is_declared}, killed at step {number}");
            if !is_declared {
                world.declare(&second, SECOND);
                wait_for(&what, || is_ready(&world));
            }
            let killer = Killer::seize(world.process("n1"), &DURABLE);
            match is_declared {
                true => world.declare(&second, SECOND),
                false => world.remove(&second),
            }
            let is_over = || match is_declared {
                true => is_ready(&world),
                false => world.census() == before && !is_ready(&world),
            };
            let is_killed = killer.kill_at(number, is_over);
            world.bury("n1");
            world.start("n1");
            if is_declared {
                wait_for(&what, || is_ready(&world));
                world.remove(&second);
            }
            wait_for(&what, || world.census() == before && !is_ready(&world));
            let state = world.state("n1");
            wait_for(&format!("{what}: {:?}", leftovers(&state)), || {
                leftovers(&state).is_empty()
            });
            if !is_killed {
                break;
            }
            number += 1;
        }
        eprintln!(
            "declared {is_declared}: killed at each of {} steps",
            number - 1
        );
        assert!(number > 3, "{number} steps only");
    }
}
