//! Reports of a daemon, each written once: a displaced conflist, missing keys.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::daemon::{Daemon, PRIMARY, SYSTEM, declared, made};

/// Reasons and notes of the events about a node, in the order in which they came.
fn events(daemon: &Daemon<'_>) -> Result<Vec<(String, String)>> {
    let words = ["-n", "default", "get", "events.events.k8s.io", "-o", "json"];
    let mut all = daemon.bed.server.kubectl(&words)?.json()?;
    let all = all["items"].as_array_mut().context("a list")?;
    all.retain(|event| {
        event["regarding"]["kind"] == "Node" && event["regarding"]["name"] == daemon.name
    });
    all.sort_by_key(|event| event["eventTime"].to_string());
    let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    Ok(all
        .iter()
        .map(|event| (text(event, "reason"), text(event, "note")))
        .collect())
}

fn wait_for(daemon: &Daemon<'_>, expected: &[(&str, &str)]) -> Result<()> {
    let what = format!("events {expected:?}");
    daemon.waits(&what, || {
        let events = events(daemon)?;
        ensure!(events.len() <= expected.len(), "{events:?}");
        let is_so = |((reason, note), (wanted, part)): (&(String, String), &(&str, &str))| {
            reason == wanted && note.contains(part)
        };
        Ok(events.len() == expected.len() && events.iter().zip(expected).all(is_so))
    })
}

pub(crate) fn a_list_that_is_displaced_is_an_event_and_so_is_its_end() -> Result<()> {
    const FIRST: (&str, &str) = ("CNIDisplaced", "00-another.conflist comes before");
    const OVER: (&str, &str) = ("CNIInForce", "at once again");
    let daemon = made("displaced-1")?;
    let theirs = |name: &str| daemon.at("net.d").join(name);
    fs::write(theirs("00-another.conflist"), PRIMARY)?;
    wait_for(&daemon, &[FIRST])?;
    fs::remove_file(theirs("00-another.conflist"))?;
    wait_for(&daemon, &[FIRST, OVER])
}

pub(crate) fn a_daemon_without_a_key_says_so_once() -> Result<()> {
    let daemon = made("keyless-1")?;
    let said = "no link states are exchanged with other nodes: there is no --peer-key-file";
    let verbose = daemon.probe("/readyz?verbose");
    ensure!(
        verbose.contains(&format!("[!]peers warning: {said}\n")),
        "{verbose}"
    );
    let log = daemon.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(said)).collect();
    ensure!(lines.len() == 1 && lines[0].contains(" INFO "), "{log}");
    Ok(())
}

/// Writes a file that nobody sees half written.
fn place(path: &Path, text: &str) -> Result<()> {
    let aside = path.with_extension("new");
    fs::write(&aside, text)?;
    Ok(fs::rename(aside, path)?)
}

pub(crate) fn a_key_that_is_not_there_yet_is_waited_for_and_said_once() -> Result<()> {
    let mut daemon = declared("keyless-2")?;
    let key = daemon.at("key");
    daemon
        .arguments
        .push(format!("--peer-key-file={}", key.display()));
    daemon.begin()?;
    let warning = format!("[!]peers warning: key: {}: No such file", key.display());
    let verbose = daemon.probe("/readyz?verbose");
    ensure!(verbose.contains(&warning), "{verbose}");
    let attempts = || -> Result<u64> {
        let pod = daemon.bed.get(SYSTEM, "pod", daemon.name)?;
        let asked = pod["metadata"]["annotations"][node::install::node_object::AWAITED].as_str();
        Ok(asked.unwrap_or_default().parse().unwrap_or(0))
    };
    // Each change of its pod has the kubelet show it what the Secret holds by now.
    daemon.waits("the kubelet is asked again", || Ok(attempts()? > 1))?;
    // Two more looks, each of which finds something else.
    for (text, problem) in [("short", "a key of 5 bytes"), ("", "there is no key in it")] {
        place(&key, text)?;
        daemon.waits(problem, || Ok(daemon.log().contains(problem)))?;
    }
    place(&key, "a key of thirty-two bytes or more")?;
    daemon.waits("the key is taken", || {
        Ok(daemon.probe("/readyz?verbose").contains("[+]peers ok\n"))
    })?;
    let log = daemon.log();
    let count = |text: &str| log.matches(text).count();
    ensure!(count("No such file") == 1, "{log}");
    ensure!(count("link states are not exchanged") == 3, "{log}");
    ensure!(count("mesh keys loaded") == 1, "{log}");
    Ok(())
}
