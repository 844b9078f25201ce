use std::{collections::BTreeSet, fs, path::Path};

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

/// Name, type and labels of each metric in `text`, as `name|type|label, label`.
fn described(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for (name, metric_type) in types.filter_map(|line| line.split_once(' ')) {
        let is_sample = |line: &&str| {
            let rest = line.strip_prefix(name).unwrap_or(line);
            ["{", " ", "_bucket", "_sum", "_count"]
                .iter()
                .any(|next| rest.starts_with(next))
        };
        let sample = text.lines().find(is_sample).expect(name);
        let labels = sample.split_once('{').map_or("", |(_, rest)| {
            rest.split_once('}').expect("a closing brace").0
        });
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        let labels: Vec<String> = labels
            .map(|(label, _)| format!("`{label}`"))
            .filter(|label| label != "`le`")
            .collect();
        found.insert(format!("`{name}`|{metric_type}|{}", labels.join(", ")));
    }
    found
}

#[test]
fn the_document_lists_every_metric_with_type_and_labels() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let document = fs::read_to_string(file).expect("docs/metrics.md is there");
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let is_metric = cells.len() == 6 && cells[1].starts_with('`');
        is_metric.then(|| cells[1..4].join("|"))
    };
    let listed: BTreeSet<String> = document.lines().filter_map(row).collect();
    assert_eq!(listed, described(&counted().text()));
}

#[test]
fn help_texts_are_sentences_and_counters_end_in_total_once() {
    for line in counted().text().lines() {
        if line.starts_with("# HELP") {
            assert!(line.ends_with('.') && !line.ends_with(".."), "{line}");
        }
        if let Some(heading) = line.strip_prefix("# TYPE ") {
            let is_counter = heading.ends_with(" counter");
            assert_eq!(heading.contains("_total "), is_counter, "{line}");
            assert!(!heading.contains("_total_total"), "{line}");
        }
    }
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
