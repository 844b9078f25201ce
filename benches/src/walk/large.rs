//! A fall of one link among 1,000 Forwarders.

use std::{thread::sleep, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    LIMIT, READER_START,
    monitor::{Event, Kind, Monitor},
    set,
    walked::Walked,
};
use crate::{
    failover::{End, lab_end},
    harness::{
        bench::Context,
        figure::Figure,
        sample::{Samples, ms},
    },
    lab::{FORWARDERS, Status, generate},
};

const ROUNDS: usize = 5;
const NODES: usize = 3;
/// Time without a write after which all tables are taken as written: older programs wait for 2 s.
const QUIET: Duration = Duration::from_secs(4);

/// From the fall of one link to the last write to any table, of 1,000 Forwarders on three nodes.
///
/// # Errors
/// Failure of `beemesh lab`, and when its tables are not the computed ones in the end.
pub(crate) fn large(name: &str, without_inotify: bool, context: &Context) -> Result<Vec<Figure>> {
    dataplane::descriptors::raise_limit()?;
    let topology = topology(context)?;
    let links = links_between_nodes(&topology)?;
    let mut lab = Walked::up(context, topology, without_inotify)?;
    let status = lab.healthy()?;
    let rounds = context.rounds(ROUNDS);
    let (mut times, mut writes) = (vec![], vec![]);
    for round in 0..=rounds {
        let [a, b] = &links[round * (links.len() - 1) / rounds];
        let link = format!("{a}/{b}");
        let end = lab_end(&status, a, &link)?;
        let (time, count) = until_last_write(&change(&status, &end, "down")?)?;
        // The first round warms up.
        if round > 0 {
            times.push(time);
            writes.push(count);
        }
        if round == rounds {
            lab.verify(&link)?;
        } else {
            // `lab status` would take longer than all else, as it compares a million routes.
            change(&status, &end, "up")?;
        }
    }
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

/// All that the kernel says after a change of a link, until it is quiet.
fn change(status: &Status, end: &End, state: &str) -> Result<Vec<Event>> {
    let namespaces = status.forwarders.values().map(|it| it.netns.as_str());
    let is_any = |events: &[Event]| events.iter().any(|event| event.kind == Kind::Table);
    let is_over = move |events: &[Event], quiet| is_any(events) && quiet >= QUIET;
    let reading = Monitor::new(namespaces)?.read(10 * LIMIT, is_over);
    sleep(READER_START);
    set(end, state)?;
    reading.finish()
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
    let mut topology = generate(&context.program("beemesh"))?;
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
