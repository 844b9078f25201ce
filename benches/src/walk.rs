//! Time from the kernel's word that a link is down to the tables that follow, as another program sees it.

use std::{
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    failover::{End, lab_end},
    harness::{
        bench::{Bench, Context},
        command::{self, ip},
        figure::Figure,
        sample::{Samples, ms},
    },
    lab::Lab,
};

mod inotify;
mod monitor;

use inotify::Taken;
use monitor::{Event, Kind, Monitor, first_writes};

const ROUNDS: usize = 20;
const LARGE_ROUNDS: usize = 5;
const FORWARDERS: usize = 1_000;
/// Nodes of the large topology.
const NODES: usize = 3;
/// Time without a write after which all tables are taken as written: older programs wait for 2 s.
const QUIET: Duration = Duration::from_secs(4);
const LIMIT: Duration = Duration::from_secs(30);
const READER_START: Duration = Duration::from_millis(100);

/// The benches of this subject.
pub(crate) fn benches() -> Vec<Bench> {
    let mut benches = vec![];
    for (part, is_taken) in [("", false), ("-no-inotify", true)] {
        let names = ["walk-own", "walk-other"].map(|name| format!("{name}{part}"));
        let given = names.clone();
        benches.push(Bench::new(names, move |context| {
            let _taken = is_taken.then(Taken::all).transpose()?;
            small(&given, context)
        }));
        let name = format!("walk-{FORWARDERS}{part}");
        benches.push(Bench::new([name.clone()], move |context| {
            let _taken = is_taken.then(Taken::all).transpose()?;
            large(&name, context)
        }));
    }
    benches
}

/// A diamond on three nodes: s and a on one, b and t on one each. The link a - t falls at a.
fn small(names: &[String; 2], context: &Context) -> Result<Vec<Figure>> {
    let mut lab = Lab::new(context, diamond())?;
    lab.up()?;
    let status = lab.status()?;
    let end = lab_end(&status, "a", "a/t")?;
    let netns = |name: &str| {
        let forwarder = status.forwarders.get(name);
        forwarder
            .map(|it| it.netns.as_str())
            .with_context(|| format!("no {name}"))
    };
    let namespaces = [netns("a")?, netns("s")?, netns("t")?];
    let mut times = [vec![], vec![]];
    for round in 0..=context.rounds(ROUNDS) {
        let is_over = |events: &[Event], _| first_writes(events, &[1, 2]).len() == 2;
        let reading = Monitor::new(namespaces)?.read(LIMIT, is_over);
        sleep(READER_START);
        set(&end, "down")?;
        let events = reading.finish()?;
        let found = first_writes(&events, &[1, 2]);
        set(&end, "up")?;
        ensure!(found.len() == 2, "no tables follow within {LIMIT:?}");
        // The first round warms up.
        if round > 0 {
            times[0].push(found[&1]);
            times[1].push(found[&2]);
        }
        wait_healthy(&lab)?;
    }
    let figures = names.iter().zip(times).map(|(name, times)| {
        let samples = Samples::new(times);
        let note = format!(
            "p99 of {} falls of a link, median {:.2}; three nodes",
            samples.count(),
            ms(samples.median())
        );
        Figure::alone(name, ms(samples.quantile(0.99)), "ms").note(note)
    });
    Ok(figures.collect())
}

fn diamond() -> Value {
    let forwarders = [("s", "n1"), ("a", "n1"), ("b", "n2"), ("t", "n3")];
    let links = [("s", "a"), ("s", "b"), ("a", "t"), ("b", "t")];
    json!({
        "apiVersion": "beemesh.io/v1alpha1",
        "kind": "MicroServiceTopology",
        "metadata": {"name": "to be replaced"},
        "spec": {
            "addressing": {"cidrs": ["10.96.0.0/16"]},
            "forwarders": forwarders.map(|(name, node)| json!({"name": name, "node": node})),
            "links": links.map(|(a, b)| json!({"a": a, "b": b}))
        }
    })
}

fn set(end: &End, state: &str) -> Result<()> {
    ip(["-n", &end.netns, "link", "set", &end.interface, state]).map(drop)
}

/// Waits until the lab says that all is as declared, and a little longer.
fn wait_healthy(lab: &Lab) -> Result<()> {
    let start = Instant::now();
    while let Err(error) = lab.status() {
        if start.elapsed() > LIMIT {
            return Err(error.context("not healed"));
        }
        sleep(Duration::from_millis(100));
    }
    sleep(Duration::from_millis(500));
    Ok(())
}

/// Large topology on three nodes: from the fall of one link to the last write to any table.
fn large(name: &str, context: &Context) -> Result<Vec<Figure>> {
    dataplane::descriptors::raise_limit()?;
    let topology = topology(context)?;
    let links = links_between_nodes(&topology)?;
    let mut lab = Lab::new(context, topology)?;
    lab.up()?;
    let status = lab.status()?;
    let namespaces: Vec<&str> = status
        .forwarders
        .values()
        .map(|it| it.netns.as_str())
        .collect();
    let rounds = context.rounds(LARGE_ROUNDS);
    let (mut times, mut writes) = (vec![], vec![]);
    for round in 0..=rounds {
        let [a, b] = &links[round * (links.len() - 1) / rounds];
        let link = format!("{a}/{b}");
        let end = lab_end(&status, a, &link)?;
        let is_over = |events: &[Event], quiet| !events.is_empty() && quiet >= QUIET;
        let monitor = Monitor::new(namespaces.iter().copied())?;
        let reading = monitor.read(10 * LIMIT, is_over);
        sleep(READER_START);
        set(&end, "down")?;
        let (time, count) = until_last_write(&reading.finish()?)?;
        // Compares all tables with the computed ones: they were right after the last write.
        lab.verb(&["lab", "cut"], &link)?;
        lab.verb(&["lab", "heal"], &link)?;
        wait_healthy(&lab)?;
        if round > 0 {
            times.push(time);
            writes.push(count);
        }
    }
    lab.down()?;
    writes.sort_unstable();
    let samples = Samples::new(times);
    let note = format!(
        "median of {} falls of a link between nodes, worst {:.1}; {} writes (median) of {FORWARDERS} Forwarders on {NODES} nodes",
        samples.count(),
        ms(samples.longest()),
        writes[writes.len() / 2]
    );
    Ok(vec![
        Figure::alone(name, ms(samples.median()), "ms").note(note),
    ])
}

fn until_last_write(events: &[Event]) -> Result<(Duration, usize)> {
    let down = events.iter().find(|event| event.kind == Kind::LinkDown);
    let down = down.context("the link did not fall")?.at;
    let writes = events
        .iter()
        .filter(|it| it.kind == Kind::Table && it.at >= down);
    let (last, count) = (writes.clone().next_back(), writes.count());
    Ok((last.context("no table was written")?.at - down, count))
}

/// The generated topology, its Forwarders on the nodes in turn.
fn topology(context: &Context) -> Result<Value> {
    let mut generate = Command::new(context.program("beemesh"));
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
    let mut topology: Value = serde_json::from_slice(&text).context("beemesh generate")?;
    let forwarders = topology["spec"]["forwarders"].as_array_mut();
    for (number, forwarder) in forwarders.context("no Forwarders")?.iter_mut().enumerate() {
        forwarder["node"] = json!(format!("n{}", 1 + number % NODES));
    }
    Ok(topology)
}

/// Links whose ends are on different nodes, as ids name them.
fn links_between_nodes(topology: &Value) -> Result<Vec<[String; 2]>> {
    let spec = &topology["spec"];
    let forwarders = spec["forwarders"].as_array().context("no Forwarders")?;
    let node = |name: &str| {
        forwarders
            .iter()
            .find(|it| it["name"] == name)
            .map(|it| &it["node"])
    };
    let links = spec["links"].as_array().context("no links")?;
    let ends = links
        .iter()
        .filter_map(|link| Some([link["a"].as_str()?, link["b"].as_str()?]));
    let between = ends.filter(|[a, b]| node(a) != node(b));
    let mut found: Vec<_> = between.map(|ends| ends.map(str::to_owned)).collect();
    found.iter_mut().for_each(|ends| ends.sort());
    ensure!(!found.is_empty(), "no link between nodes");
    Ok(found)
}
