//! Whole topologies brought up by `beemesh lab`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    harness::{
        bench::{Bench, Context},
        command::{self, ip},
        figure::Figure,
        netns::unique_name,
        sample::time,
    },
    memory,
};

/// Number of Forwarders of the large lab.
pub(crate) const FORWARDERS: usize = 1_000;
const LINKS: usize = 4_000;

/// The benches of this subject.
pub(crate) fn benches() -> Vec<Bench> {
    vec![Bench::new(["lab-1000", "node-memory-4000"], measure)]
}

/// A running lab, taken down when the guard goes.
pub(crate) struct Lab {
    beemesh: PathBuf,
    file: PathBuf,
    /// Name of the topology, as no other on this machine.
    pub(crate) topology: String,
    is_up: bool,
}

/// Output of `beemesh lab status -o json`, its used part.
#[derive(Deserialize)]
pub(crate) struct Status {
    /// Forwarders by name.
    pub(crate) forwarders: std::collections::BTreeMap<String, Forwarder>,
    /// App instances by name.
    pub(crate) apps: std::collections::BTreeMap<String, Instance>,
}

/// A Forwarder in the status.
#[derive(Deserialize)]
pub(crate) struct Forwarder {
    /// Its namespace.
    pub(crate) netns: String,
    /// Its links' ends.
    pub(crate) links: Ends,
}

/// Ends of links.
#[derive(Deserialize)]
pub(crate) struct Ends {
    /// Usable ends.
    pub(crate) up: usize,
    /// All ends.
    pub(crate) total: usize,
}

/// An App's instance in the status.
#[derive(Deserialize)]
pub(crate) struct Instance {
    /// Its namespace.
    pub(crate) netns: String,
    /// Its addresses.
    pub(crate) addresses: Vec<String>,
}

impl Lab {
    /// Writes the topology with a name of its own, and brings nothing up yet.
    ///
    /// # Errors
    /// When it is not an object with metadata, or cannot be written.
    pub(crate) fn new(context: &Context, mut topology: Value) -> Result<Self> {
        // Names of Kubernetes objects have no capitals; mktemp's have.
        let name = unique_name(context).to_lowercase();
        let metadata = topology.get_mut("metadata").context("no metadata")?;
        metadata["name"] = json!(name);
        let file = context.work.join(format!("{name}.lab.yaml"));
        // JSON is YAML.
        fs::write(&file, serde_json::to_vec(&topology)?)?;
        Ok(Self {
            beemesh: context.program("beemesh"),
            file,
            topology: name,
            is_up: false,
        })
    }

    /// `lab up`, which returns when all links and routes are there.
    ///
    /// # Errors
    /// Failure of `beemesh lab`, with its message.
    pub(crate) fn up(&mut self) -> Result<()> {
        self.is_up = true;
        self.beemesh(&["lab", "up", "--quiet", "--timeout", "600"])
            .map(|_| ())
    }

    /// `lab down`.
    ///
    /// # Errors
    /// Failure of `beemesh lab`, with its message.
    pub(crate) fn down(&mut self) -> Result<()> {
        self.is_up = false;
        self.beemesh(&["lab", "down"]).map(|_| ())
    }

    /// `lab status`.
    ///
    /// # Errors
    /// Output of the lab, or an error when it is unexpected.
    pub(crate) fn status(&self) -> Result<Status> {
        let text = self.beemesh(&["lab", "status", "-o", "json"])?;
        serde_json::from_slice(&text).context("lab status")
    }

    /// `lab conflist` of an App.
    ///
    /// # Errors
    /// Failure of `beemesh lab`, and output that is not JSON.
    pub(crate) fn conflist(&self, app: &str) -> Result<Value> {
        let text = self.beemesh(&["lab", "conflist", "--app", app])?;
        serde_json::from_slice(&text).context("lab conflist")
    }

    /// Another verb, with what it is about.
    ///
    /// # Errors
    /// Failure of `beemesh lab`, with its message.
    pub(crate) fn verb(&self, verb: &[&str], subject: &str) -> Result<()> {
        let words: Vec<&str> = verb.iter().copied().chain([subject]).collect();
        self.beemesh(&words).map(|_| ())
    }

    fn beemesh(&self, verb: &[&str]) -> Result<Vec<u8>> {
        command::output(
            Command::new(&self.beemesh)
                .args(verb)
                .arg("-f")
                .arg(&self.file),
        )
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.is_up
            && let Err(error) = self.down()
        {
            eprintln!("warning: {error:#}");
        }
    }
}

fn measure(context: &Context) -> Result<Vec<Figure>> {
    let mut lab = Lab::new(context, generate(&context.program("beemesh"))?)?;
    let (up, result) = time(|| lab.up());
    result?;
    let status = lab.status()?;
    check(&status)?;
    let memory = memory::of_node(&context.program("beemesh"), &lab.topology)?;
    let (down, result) = time(|| lab.down());
    result?;
    let bring_up = Figure::alone("lab-1000", up.as_secs_f64(), "s").note(format!(
        "one `lab up` of {FORWARDERS} forwarders and {LINKS} links until all routes are there; down in {:.1} s",
        down.as_secs_f64()
    ));
    let node = Figure::alone("node-memory-4000", memory.now_mb, "MB").note(format!(
        "RSS of the one node daemon that holds them all; highest ever {:.0}",
        memory.highest_mb
    ));
    Ok(vec![bring_up, node])
}

/// The random topology of [`FORWARDERS`] Forwarders, the same each time.
///
/// # Errors
/// Failure of `beemesh generate`, with its message.
pub(crate) fn generate(beemesh: &Path) -> Result<Value> {
    let mut generate = Command::new(beemesh);
    generate.args([
        "generate",
        "random",
        "--seed",
        "1",
        "-o",
        "json",
        "--forwarders",
    ]);
    let text = command::output(generate.arg(FORWARDERS.to_string()))?;
    serde_json::from_slice(&text).context("beemesh generate")
}

/// All links are up, and a few Forwarders, evenly spread, have a route to every other one.
fn check(status: &Status) -> Result<()> {
    let ends = |count: fn(&Ends) -> usize| -> usize {
        status
            .forwarders
            .values()
            .map(|forwarder| count(&forwarder.links))
            .sum()
    };
    let (up, total) = (ends(|ends| ends.up), ends(|ends| ends.total));
    ensure!(
        status.forwarders.len() == FORWARDERS && up == 2 * LINKS && total == 2 * LINKS,
        "{} forwarders, {up} of {total} ends of links up",
        status.forwarders.len()
    );
    for forwarder in status.forwarders.values().step_by(FORWARDERS / 8) {
        let netns = forwarder.netns.as_str();
        let seen = ip(["-n", netns, "-o", "route", "show", "proto", "190"])?;
        ensure!(
            seen.lines().count() >= FORWARDERS - 1,
            "{netns} has {} routes only",
            seen.lines().count()
        );
    }
    Ok(())
}
