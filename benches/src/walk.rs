//! Time from the kernel's word that a link is down to the tables that follow, as another program sees it.

use std::{thread::sleep, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    failover::{End, lab_end},
    harness::{
        bench::{Bench, Context},
        command::ip,
        figure::Figure,
        sample::{Samples, ms},
    },
    lab::FORWARDERS,
};

mod inotify;
mod large;
mod monitor;
mod restart;
mod walked;

use large::large;
use monitor::{Event, Monitor, first_writes};
use walked::Walked;

const ROUNDS: usize = 20;
const LIMIT: Duration = Duration::from_secs(30);
const READER_START: Duration = Duration::from_millis(100);

/// The benches of this subject.
pub(crate) fn benches() -> Vec<Bench> {
    let mut benches = vec![];
    for (part, is_taken) in [("", false), ("-no-inotify", true)] {
        let names = ["walk-own", "walk-other"].map(|name| format!("{name}{part}"));
        let given = names.clone();
        benches.push(Bench::new(names, move |context| {
            small(&given, is_taken, context)
        }));
        let name = format!("walk-{FORWARDERS}{part}");
        benches.push(Bench::new([name.clone()], move |context| {
            large(&name, is_taken, context)
        }));
    }
    benches
}

/// A diamond on three nodes: s and a on one, b and t on one each. The link a - t falls at a.
fn small(names: &[String; 2], without_inotify: bool, context: &Context) -> Result<Vec<Figure>> {
    let lab = Walked::up(context, diamond(), without_inotify)?;
    let status = lab.healthy()?;
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
        lab.healthy()?;
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
