//! Findings on a topology, each with advice.

use super::one::{ForwarderLine, State};
use crate::cluster::{
    stored::{Stored, condition},
    wait::told,
};
use crds::forwarder::LinkHealth;
use crds::{Condition, ForwarderObject, TopologyStatus};
use serde::Serialize;
use std::collections::BTreeMap;

/// One thing that is wrong.
#[derive(Serialize)]
pub(super) struct Advised {
    /// The finding.
    pub(super) what: String,
    /// The advice.
    pub(super) advice: String,
}

/// Most names in one line.
const NAMES: usize = 5;

/// Problems of a topology, causes before their consequences.
pub(super) fn problems(
    stored: &Stored,
    lines: &[ForwarderLine],
    forwarders: &[ForwarderObject],
) -> Vec<Advised> {
    let status = stored.status();
    if let Some(problem) = unseen(stored, &status) {
        return vec![problem];
    }
    let mut problems = Vec::new();
    problems.extend(rejected(stored, &status));
    problems.extend(not_computed(stored, &status));
    problems.extend(not_reported(lines));
    problems.extend(differing(lines));
    problems.extend(impaired(forwarders));
    problems.extend(degraded(&status));
    problems
}

fn unseen(stored: &Stored, status: &TopologyStatus) -> Option<Advised> {
    let generation = stored.generation();
    let observed = status.observed_generation;
    if observed >= Some(generation) {
        return None;
    }
    let what = match observed {
        None => "the operator has not reconciled this topology".to_owned(),
        Some(observed) => {
            format!("the operator has reconciled generation {observed}, this is {generation}")
        }
    };
    let advice = "see whether it runs: kubectl get pods -A -l app.kubernetes.io/name=beemesh; and \
                  whether it watches this namespace";
    Some(advised(what, advice))
}

fn rejected(stored: &Stored, status: &TopologyStatus) -> Option<Advised> {
    let accepted = condition(status, "Accepted").filter(|it| it.status == "False")?;
    let advice = match accepted.reason.as_str() {
        "NoNode" => {
            "label a node so that it matches, or change the selector; running Forwarders stay"
                .to_owned()
        }
        "NoAddresses" => "larger CIDRs or longer blockPrefixes need a new topology: addresses in \
                          use cannot change"
            .to_owned(),
        _ => format!(
            "correct the field and apply it again (beemesh lint -f says the same beforehand); what \
             runs already goes on: kubectl edit mst {} -n {}",
            stored.name(),
            stored.namespace()
        ),
    };
    Some(advised(format!("not accepted: {}", told(accepted)), advice))
}

fn not_computed(stored: &Stored, status: &TopologyStatus) -> Option<Advised> {
    let is_false = |it: &&Condition| it.status == "False";
    if condition(status, "Accepted").is_some_and(|it| it.status == "False") {
        return None;
    }
    let computed = condition(status, "Computed").filter(is_false)?;
    let advice = match computed.reason.as_str() {
        "Blocked" => {
            "lift what refuses it (a quota, a policy, RBAC, the size of an object): the operator \
             tries again by itself"
                .to_owned()
        }
        _ => format!(
            "it continues by itself; otherwise see the events: kubectl describe mst {} -n {}",
            stored.name(),
            stored.namespace()
        ),
    };
    Some(advised(
        format!("not computed yet: {}", told(computed)),
        advice,
    ))
}

fn not_reported(lines: &[ForwarderLine]) -> Option<Advised> {
    let silent: Vec<&ForwarderLine> = lines
        .iter()
        .filter(|line| line.state == State::NotReported)
        .collect();
    if silent.is_empty() {
        return None;
    }
    let mut nodes: Vec<&str> = silent.iter().map(|line| line.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let what = format!(
        "computed and not reported by their nodes: {} of {} forwarders",
        silent.len(),
        lines.len()
    );
    let advice = format!("see whether the node daemon runs on {}", few(&nodes));
    Some(advised(what, advice))
}

fn differing(lines: &[ForwarderLine]) -> Option<Advised> {
    let differing = lines.iter().filter(|line| line.state == State::Differs);
    let names: Vec<&str> = differing.map(|line| line.name.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    let what = format!(
        "a table that fits neither the declaration nor the links that are down is programmed on {}",
        few(&names)
    );
    let advice = "it should pass within a second; otherwise see the log of the node daemon there";
    Some(advised(what, advice))
}

/// Links that are down or suspect, each once, with what its ends say.
fn impaired(forwarders: &[ForwarderObject]) -> Vec<Advised> {
    let mut seen: BTreeMap<&str, (LinkHealth, Vec<String>)> = BTreeMap::new();
    for object in forwarders {
        let states = object.status.iter().flat_map(|status| &status.link_states);
        for state in states.filter(|state| !state.up) {
            let (name, reason) = (&object.spec.name, &state.reason);
            let health = state.health();
            let known = seen.entry(&state.id).or_insert((health, Vec::new()));
            known.0 = known.0.min(health);
            known.1.push(match reason.is_empty() {
                true => format!("seen by {name}"),
                false => format!("seen by {name}: {reason}"),
            });
        }
    }
    let told = |health: LinkHealth, word: &str, advice: &str| {
        let links = seen.iter().filter(|(_, (found, _))| *found == health);
        let links: Vec<String> = links
            .map(|(id, (_, seen))| format!("{id} ({})", seen.join("; ")))
            .collect();
        let names: Vec<&str> = links.iter().map(String::as_str).collect();
        let count = match names.len() {
            0 => return None,
            1 => "1 link is".to_owned(),
            count => format!("{count} links are"),
        };
        Some(advised(format!("{count} {word}: {}", few(&names)), advice))
    };
    let down = "traffic is rerouted; check the path between the two nodes";
    let suspect = "no packet passes although the interfaces are up: traffic goes around where there is \
                   another way; check the path between the two nodes";
    let findings = [
        told(LinkHealth::Down, "down", down),
        told(LinkHealth::Suspect, "suspect", suspect),
    ];
    findings.into_iter().flatten().collect()
}

fn degraded(status: &TopologyStatus) -> Option<Advised> {
    let degraded = condition(status, "Degraded").filter(|it| it.status == "True")?;
    let advice = match degraded.reason.as_str() {
        // Told with the links.
        "LinkDown" | "LinkSuspect" => return None,
        "Partitioned" => "heal a link between the parts, or add one",
        "NodeGone" => "bring the node back, or take its Forwarder out of the declaration",
        _ => "see the events: kubectl describe mst",
    };
    Some(advised(format!("degraded: {}", told(degraded)), advice))
}

fn advised(what: impl Into<String>, advice: impl Into<String>) -> Advised {
    Advised {
        what: what.into(),
        advice: advice.into(),
    }
}

/// The first few names, and how many more there are.
fn few(names: &[&str]) -> String {
    match names.get(..NAMES) {
        Some(first) if names.len() > NAMES => {
            format!("{} and {} more", first.join(", "), names.len() - NAMES)
        }
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Finding on a topology whose condition `Computed` is false for this reason.
    fn told_of(reason: &str) -> Vec<Advised> {
        let computed = json!({"type": "Computed", "status": "False", "reason": reason});
        let stored = serde_json::from_value(json!({
            "metadata": {"name": "iot", "namespace": "plant", "generation": 1},
            "status": {"observedGeneration": 1, "conditions": [computed]},
        }));
        problems(&stored.expect("a topology"), &[], &[])
    }

    #[test]
    fn what_is_refused_goes_on_only_when_it_is_allowed() {
        let [blocked] = &told_of("Blocked")[..] else {
            panic!("one problem");
        };
        assert_eq!(blocked.what, "not computed yet: Blocked");
        assert!(blocked.advice.starts_with("lift what refuses it"));
        let [writing] = &told_of("Writing")[..] else {
            panic!("one problem");
        };
        assert!(writing.advice.starts_with("it continues by itself"));
    }
    #[test]
    fn suspect_links_are_told_apart_from_those_that_are_down() {
        let forwarder = |name: &str, peer: &str, states| {
            let spec = json!({"topology": "t", "name": name, "node": "n1", "cidrs": [], "blocks": [],
                              "links": [{"id": "a/b", "peer": peer, "peerNode": "n1", "type": "Veth", "weight": 1, "weightBack": 1}]});
            let object = json!({"metadata": {"name": format!("t.{name}")}, "spec": spec,
                                "status": {"linkStates": states}});
            serde_json::from_value::<ForwarderObject>(object).expect("a Forwarder")
        };
        let suspect = json!({"id": "a/b", "up": false, "state": "Suspect", "reason": "a hears nothing from b"});
        let old = json!({"id": "a/c", "up": false, "reason": "no carrier"});
        let down = json!({"id": "a/b", "up": false, "state": "Down", "reason": "no carrier"});
        let up = json!({"id": "a/b", "up": true, "state": "Up"});
        let told = |of_a, of_b| {
            let found = impaired(&[forwarder("a", "b", of_a), forwarder("b", "a", of_b)]);
            found.into_iter().map(|it| it.what).collect::<Vec<_>>()
        };
        assert_eq!(
            told(json!([suspect, old]), json!([up])),
            [
                "1 link is down: a/c (seen by a: no carrier)",
                "1 link is suspect: a/b (seen by a: a hears nothing from b)"
            ]
        );
        assert_eq!(
            told(json!([suspect]), json!([down])),
            ["1 link is down: a/b (seen by a: a hears nothing from b; seen by b: no carrier)"]
        );
        assert_eq!(told(json!([up]), json!([up])), [""; 0]);
    }
}
