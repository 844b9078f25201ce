//! A daemon that is killed at any moment.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{ApiServer, free_port};
use node::mailbox::Mailbox;
use node::objects::kubernetes::Kubernetes;
use node::objects::{Snapshot, Source};
use tempfile::TempDir;

use crate::bed::{Bed, Follower, cache, forwarder, kubeconfig_at, until_kept};

/// Makes the test's program a node that says what it sees.
const CHILD: &str = "BEEMESH_TEST_FOLLOWS";
const ROUNDS: u32 = 25;
const NODE: &str = "killed-1";

/// Runs as a child when it was started as one: says the number of each state that it sees.
pub(crate) fn child() -> Option<ExitCode> {
    let arguments = std::env::var(CHILD).ok()?;
    let (kubeconfig, cache) = arguments.split_once('|')?;
    let mailbox = Arc::new(Mailbox::default());
    let (kubeconfig, cache) = (PathBuf::from(kubeconfig), PathBuf::from(cache));
    let opened = Kubernetes::open(NODE, None, Some(&kubeconfig), &cache, Arc::clone(&mailbox));
    let mut source = opened.expect("a source");
    loop {
        let snapshot = source.load();
        if snapshot.is_complete
            && let Some(number) = number(&snapshot)
        {
            println!("{number}");
        }
        mailbox.take(Instant::now() + Duration::from_secs(60));
    }
}

/// The number of a state: how many links the first Forwarder has.
fn number(snapshot: &Snapshot) -> Option<u32> {
    let first = snapshot.forwarders.get("killed.iot.a")?;
    u32::try_from(first.spec.links.len()).ok()
}

/// Applies state `number`: the second topology exists in every other one.
fn put(bed: &Bed, number: u32) -> Result<()> {
    let peers: Vec<String> = (0..number).map(|peer| format!("p{peer}")).collect();
    let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
    if number.is_multiple_of(2) {
        bed.forwarder("killed", "two", "b", NODE, &[])?;
    }
    bed.apply(&forwarder("killed", "iot", "a", NODE, &peers))?;
    if !number.is_multiple_of(2) {
        let words = [
            "-n",
            "killed",
            "delete",
            "fwd",
            "two.b",
            "--ignore-not-found",
        ];
        bed.server.kubectl(&words)?.ok()?;
    }
    Ok(())
}

/// A child, and the last number that it said.
struct Running {
    child: Child,
    said: Arc<AtomicU32>,
    reader: thread::JoinHandle<()>,
}

fn start(kubeconfig: &str, directory: &TempDir) -> Result<Running> {
    let cache = cache(directory).display().to_string();
    let mut child = Command::new(std::env::current_exe()?)
        .env(CHILD, format!("{kubeconfig}|{cache}"))
        .stdout(Stdio::piped())
        .spawn()?;
    let said = Arc::new(AtomicU32::new(0));
    let heard = Arc::clone(&said);
    let lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
    let reader = thread::spawn(move || {
        let numbers = lines
            .map_while(Result::ok)
            .filter_map(|line| line.parse().ok());
        numbers.for_each(|number| heard.store(number, Ordering::SeqCst));
    });
    Ok(Running {
        child,
        said,
        reader,
    })
}

impl Running {
    /// Kills it; the last number that it said.
    fn kill(mut self) -> Result<u32> {
        self.child.kill()?;
        self.child.wait()?;
        // What it said before is in the pipe still.
        ensure!(self.reader.join().is_ok(), "the reader panicked");
        Ok(self.said.load(Ordering::SeqCst))
    }
}

pub(crate) fn at_any_moment() -> Result<()> {
    let bed = Bed::on(ApiServer::options())?;
    bed.namespace("killed")?;
    let kubeconfig = bed.server.kubeconfig();
    // Nobody listens there.
    let nowhere = kubeconfig_at(&bed.server, free_port()?)?;
    let mut directory = TempDir::new()?;
    let (mut whole, mut number) = (0, 0);
    for round in 0..ROUNDS {
        let running = start(&kubeconfig.display().to_string(), &directory)?;
        // Changes take about as long as they are gathered for: the kill comes anywhere in between.
        for _ in 0..2 + round % 7 {
            number += 1;
            put(&bed, number)?;
        }
        thread::sleep(Duration::from_millis(u64::from(round) * 97 % 1500));
        // However slow the disk is, one is killed when all is on it.
        if round + 1 == ROUNDS {
            until_kept(&directory)?;
        }
        let said = running.kill()?;
        let mut after = Follower::at(NODE, &nowhere, directory)?;
        let kept = after.source.load();
        if kept.is_complete {
            whole += 1;
            let found = self::number(&kept).unwrap_or(0);
            ensure!(
                found >= said,
                "round {round}: {found} is kept, {said} was seen"
            );
        }
        directory = after.stop();
    }
    ensure!(whole > 0, "no kill left a whole state: nothing was tried");
    ensure!(
        whole < ROUNDS,
        "every kill left a whole state: nothing was tried"
    );
    Ok(())
}
