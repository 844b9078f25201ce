use ::telemetry::{described, ill_formed, listed};
use crds::{Condition, TopologyStatus};

use super::super::ObservedTopology;
use super::*;

/// Metrics of which each has a sample.
pub(crate) fn counted() -> Metrics {
    let metrics = Metrics::new();
    let took = Duration::from_millis(3);
    metrics.reconciled("MicroServiceTopology", took, Ok(()));
    metrics.reconciled("MicroServiceTopology", took, Err("Conflict"));
    metrics.computed(took);
    metrics.wrote("Forwarder", "create", Written::Ok);
    metrics.watch_restarted("Pod");
    metrics.requested("GET", "/openapi.json", 200, took);
    let ready = Condition {
        r#type: "Ready".to_owned(),
        status: "True".to_owned(),
        reason: String::new(),
        message: String::new(),
        observed_generation: None,
        last_transition_time: None,
    };
    let observed = Observed {
        topologies: vec![ObservedTopology {
            namespace: "plant".to_owned(),
            name: "iot".to_owned(),
            status: TopologyStatus {
                conditions: vec![ready],
                ..TopologyStatus::default()
            },
        }],
        cached: vec![("Pod", 5)],
        queued: vec![("Forwarder", 2)],
        ranges: 1,
    };
    metrics.observe(move || observed.clone());
    metrics
}

#[test]
fn the_document_lists_every_metric_with_type_and_labels() {
    let document = include_str!("../../../../docs/metrics.md");
    assert_eq!(listed(document), described(&counted().text()));
}

#[test]
fn help_texts_are_sentences_and_counters_end_in_total_once() {
    assert_eq!(ill_formed(&counted().text()), [""; 0]);
}

#[test]
fn a_topology_without_a_condition_counts_as_unknown() {
    let text = counted().text();
    let sample = |condition: &str, status: &str| {
        let start = format!("beemesh_topologies{{condition=\"{condition}\",status=\"{status}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.map(str::to_owned)
    };
    assert_eq!(sample("Ready", "True").as_deref(), Some("1"));
    assert_eq!(sample("Ready", "Unknown").as_deref(), Some("0"));
    assert_eq!(sample("Degraded", "Unknown").as_deref(), Some("1"));
}

#[test]
fn what_came_of_a_write_is_one_of_five_words() {
    let words = [Some(201), Some(409), Some(403), Some(422), Some(503), None];
    let words = words.map(Written::from_code);
    use Written::{Conflict, Failed, Forbidden, Ok, Refused};
    assert_eq!(words, [Ok, Conflict, Forbidden, Refused, Failed, Failed]);
}
