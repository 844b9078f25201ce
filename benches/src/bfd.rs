//! Processor share of a node's detector with many BFD sessions.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    harness::{
        bench::{Bench, Context},
        command::ip,
        figure::Figure,
    },
    lab::{Lab, Status},
    memory,
};

/// Forwarders in a ring, each with links to the next four: two sessions for each link, as both ends
/// are on the one node.
const FORWARDERS: usize = 125;
const NEXT: usize = 4;
const SESSIONS: usize = 2 * FORWARDERS * NEXT;
const INTERVAL_MS: usize = 100;
/// Time for sessions to come up: slowly at first (RFC 5880, section 6.8.3).
const SETTLE: Duration = Duration::from_secs(15);
/// Time that is measured.
const MEASURED: Duration = Duration::from_secs(30);
/// Beginning of the name of the detector's thread.
const THREAD: &str = "liveness";

/// The benches of this subject.
pub(crate) fn benches() -> Vec<Bench> {
    let name = format!("bfd-{SESSIONS}");
    vec![Bench::new([name.clone()], move |context| {
        measure(&name, context)
    })]
}

fn measure(name: &str, context: &Context) -> Result<Vec<Figure>> {
    let mut lab = Lab::new(context, topology())?;
    lab.up()?;
    sleep(SETTLE);
    let status = lab.status()?;
    let processes = memory::processes_of_lab(&context.program("beemesh"), &lab.topology)?;
    let process = processes.first().context("the lab has no daemon")?;
    let (start, sent) = (Instant::now(), packets(&status)?);
    let before = ticks_by_thread(process)?;
    sleep(MEASURED);
    let (after, elapsed) = (ticks_by_thread(process)?, start.elapsed().as_secs_f64());
    let rate = (packets(&status)? - sent) as f64 / elapsed;
    // Jitter makes intervals shorter, by 12.5 % on average (RFC 5880, section 6.8.7).
    let least = (SESSIONS * 1_000 / INTERVAL_MS) as f64;
    ensure!(
        rate > least,
        "{rate:.0} packets/s, wanted {least:.0} at least: not all links are watched"
    );
    lab.status().context("the links are not all up")?;
    let share = |name: &str| {
        let used = |ticks: &BTreeMap<String, u64>| -> u64 {
            let counted = ticks.iter().filter(|(thread, _)| thread.starts_with(name));
            counted.map(|(_, ticks)| ticks).sum()
        };
        // 100 ticks a second: each is a percent of a second.
        used(&after).saturating_sub(used(&before)) as f64 / elapsed
    };
    let figure = Figure::alone(name, share(THREAD), "% of a core").note(format!(
        "thread of the detector in {MEASURED:?}; {SESSIONS} sessions send {rate:.0} packets/s; all threads of the daemon {:.1}",
        share("")
    ));
    Ok(vec![figure])
}

/// Packets that all links of all Forwarders have sent.
fn packets(status: &Status) -> Result<u64> {
    let mut sent = 0;
    for forwarder in status.forwarders.values() {
        let arguments = ["-n", &forwarder.netns, "-j", "-s", "link", "show", "up"];
        let links: Vec<Value> = serde_json::from_str(&ip(arguments)?)?;
        let counters = links.iter().map(|link| &link["stats64"]["tx"]["packets"]);
        sent += counters.filter_map(Value::as_u64).sum::<u64>();
    }
    Ok(sent)
}

/// Processor time of the threads of a process by name, in ticks of 10 ms (`USER_HZ`).
fn ticks_by_thread(process: &Path) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(process.join("task"))? {
        // Threads may end meanwhile.
        if let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) {
            let (name, ticks) = thread(&stat).context("a thread's stat has another form")?;
            *found.entry(name.to_owned()).or_default() += ticks;
        }
    }
    Ok(found)
}

/// Name and ticks (utime and stime) of a line of `stat` (proc_pid_stat(5)).
fn thread(stat: &str) -> Option<(&str, u64)> {
    let (head, rest) = stat.rsplit_once(") ")?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    Some((name, ticks(11)? + ticks(12)?))
}

fn topology() -> Value {
    let name = |number: usize| format!("f{}", number % FORWARDERS);
    let forwarders = (0..FORWARDERS).map(|number| json!({"name": name(number), "node": "n1"}));
    let links = (0..FORWARDERS).flat_map(|from| {
        (1..=NEXT).map(move |step| json!({"a": name(from), "b": name(from + step)}))
    });
    json!({
        "apiVersion": "beemesh.io/v1alpha1",
        "kind": "MicroServiceTopology",
        "metadata": {"name": "to be replaced"},
        "spec": {
            "addressing": {"cidrs": ["10.97.0.0/16"]},
            "forwarders": forwarders.collect::<Vec<_>>(),
            "links": links.collect::<Vec<_>>(),
            "liveness": {"interval": format!("{INTERVAL_MS}ms"), "multiplier": 3}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_with_spaces_and_brackets_in_its_name_is_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 64 1 0 0 0 31 11 0 0 20 0 1 0 5";
        assert_eq!(thread(stat), Some(("a) b", 42)));
        assert_eq!(thread("7 (a"), None);
    }

    #[test]
    fn there_are_as_many_links_as_the_name_says() {
        let links = topology()["spec"]["links"].as_array().unwrap().len();
        assert_eq!((2 * links, SESSIONS), (1_000, 1_000));
    }
}
