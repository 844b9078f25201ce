use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::super::collect::Cni;
use super::super::{Counts, Observed};
use super::*;

/// Metrics of which each has a sample.
pub(crate) fn counted() -> Metrics {
    let vitals = Vitals::default();
    let metrics = Metrics::new(&vitals);
    let took = Duration::from_millis(3);
    vitals.converged(took);
    metrics.answered(word_of(&Request::Status), &Reply::Done, took);
    metrics.answered("claim", &Reply::NotOurs, took);
    let observed = Observed {
        counts: Counts {
            forwarders: 3,
            links: 4,
            links_up: 2,
            kernel_writes: 70,
            kernel_failures: 1,
            resyncs: 9,
        },
        attachments: 5,
        live_attachments: Some(1),
        missing: Some((2, 3)),
        cni: Some(Cni {
            is_installed: true,
            is_displaced: false,
            writes: 2,
        }),
        peers: Some((2, 1)),
        cache_age: Some(0.25),
        api_writes: vec![("ok", 7)],
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
            let ends = ["{", " ", "_bucket", "_sum", "_count"];
            ends.iter().any(|next| rest.starts_with(next))
        };
        let sample = text.lines().find(is_sample).expect(name);
        let labels = sample.split_once('{').map_or("", |(_, rest)| {
            rest.split_once('}').expect("a closing brace").0
        });
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        let labels = labels.map(|(label, _)| format!("`{label}`"));
        let labels: Vec<String> = labels.filter(|label| label != "`le`").collect();
        found.insert(format!("`{name}`|{metric_type}|{}", labels.join(", ")));
    }
    found
}

#[test]
fn the_document_lists_every_metric_with_type_and_labels() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics-node.md");
    let document = fs::read_to_string(file).expect("docs/metrics-node.md is there");
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
fn values_are_those_that_were_counted() {
    let text = counted().text();
    #[rustfmt::skip]
    let expected = [
        "beemesh_node_links_up 2",
        "beemesh_node_pods_waiting 2",
        "beemesh_node_pods_refused 3",
        "beemesh_node_kernel_writes_total 70",
        "beemesh_node_cni_installed 1",
        "beemesh_node_cni_displaced 0",
        "beemesh_node_peers_connected 1",
        "beemesh_node_cache_age_seconds 0.25",
        "beemesh_node_api_writes_total{result=\"ok\"} 7",
        "beemesh_node_cni_request_duration_seconds_count{request=\"claim\",result=\"not_ours\"} 1",
        "beemesh_node_convergence_duration_seconds_count 1",
    ];
    for line in expected {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

#[test]
fn what_is_not_known_is_not_told() {
    let metrics = Metrics::new(&Vitals::default());
    metrics.observe(Observed::default);
    let text = metrics.text();
    for absent in ["peers", "cache_age", "cni_installed", "api_writes"] {
        assert!(
            !text.contains(&format!("beemesh_node_{absent}")),
            "{absent} in\n{text}"
        );
    }
}
