//! Every probe reaches every other.

use super::{
    peer::Reached,
    stage::{Probes, Stage},
};
use crate::nodes::{
    cluster::PROGRAM,
    exec::{self, Container},
};
use console::failure::Failure;
use console::note;
use futures::StreamExt;
use serde::Serialize;
use std::{net::IpAddr, time::Duration};

/// Probes that run at once.
const AT_ONCE: usize = 16;
/// Longest time of one probe.
const PROBE: Duration = Duration::from_secs(60);

/// Every pair once.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Round {
    /// Change of the topology before the round.
    pub(super) name: String,
    /// Pairs, each family counted.
    pub(super) pairs: usize,
    /// Number of pairs that were not reached.
    pub(super) failed: usize,
    /// One for each pair and family.
    pub(super) results: Vec<Outcome>,
}

/// Result of one pair.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    /// Node of who asked.
    pub(super) from: String,
    /// Node of who answered.
    pub(super) to: String,
    /// `ipv4` or `ipv6`.
    pub(super) family: &'static str,
    /// Round-trip time in milliseconds.
    pub(super) ms: Option<f64>,
    /// Error, where it was not reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// All rounds: as it is, and where there is a way around a link, with that drained, and back.
///
/// # Errors
/// As [`Stage::declare`].
pub(super) fn all(stage: &Stage<'_>, probes: &Probes) -> Result<Vec<Round>, Failure> {
    let mut rounds = vec![round(stage, probes, "all links".to_owned())];
    let Some(link) = stage.test.link() else {
        note("no link is drained: that takes three nodes");
        return Ok(rounds);
    };
    stage.declare(true)?;
    rounds.push(round(stage, probes, format!("{link} drained")));
    stage.declare(false)?;
    rounds.push(round(stage, probes, format!("{link} back")));
    Ok(rounds)
}

fn round(stage: &Stage<'_>, probes: &Probes, name: String) -> Round {
    let one = |from: &String| {
        let targets = targets(probes, from);
        let container = Container {
            namespace: stage.test.namespace.clone(),
            pod: from.clone(),
            name: "probe".to_owned(),
        };
        let words = [PROGRAM, "probe", "run"].map(str::to_owned).into_iter();
        let command: Vec<String> = words
            .chain(targets.iter().map(|(_, it)| it.to_string()))
            .collect();
        let (client, from) = (stage.cluster.client(), from.clone());
        async move {
            let answer = match targets.is_empty() {
                true => Ok(Vec::new()),
                false => exec::run(client, &container, &command, PROBE)
                    .await
                    .and_then(exec::Ran::printed),
            };
            (from, targets, answer)
        }
    };
    let asked: Vec<_> = stage.cluster.block_on(
        futures::stream::iter(probes.keys().map(one).collect::<Vec<_>>())
            .buffered(AT_ONCE)
            .collect(),
    );
    let node = |pod: &String| stage.test.node_of(pod).unwrap_or(pod).clone();
    let mut results = Vec::new();
    for (from, targets, answer) in asked {
        let reached =
            crate::nodes::read::<Vec<Reached>>(answer.map(|bytes| match bytes.is_empty() {
                true => b"[]".to_vec(),
                false => bytes,
            }));
        results.extend(targets.iter().map(|(to, address)| {
            let outcome = outcome(&reached, *address);
            Outcome {
                from: node(&from),
                to: node(to),
                ..outcome
            }
        }));
    }
    Round {
        name,
        pairs: results.len(),
        failed: results.iter().filter(|it| it.ms.is_none()).count(),
        results,
    }
}

/// The addresses of all other probes.
fn targets(probes: &Probes, from: &str) -> Vec<(String, IpAddr)> {
    let others = probes.iter().filter(|(to, _)| *to != from);
    others
        .flat_map(|(to, addresses)| addresses.iter().map(|address| (to.clone(), *address)))
        .collect()
}

fn outcome(reached: &Result<Vec<Reached>, String>, address: IpAddr) -> Outcome {
    let (ms, error) = match reached {
        Ok(reached) => match reached.iter().find(|it| it.address == address) {
            Some(one) => (one.ms, one.error.clone()),
            None => (None, Some("it was not tried".to_owned())),
        },
        Err(why) => (None, Some(why.clone())),
    };
    Outcome {
        from: String::new(),
        to: String::new(),
        family: if address.is_ipv4() { "ipv4" } else { "ipv6" },
        ms,
        error,
    }
}
