use ::telemetry::{described, ill_formed, listed};

use super::super::collect::Cni;
use super::super::{Counts, Observed};
use super::*;

/// Metrics of which each has a sample.
pub(crate) fn counted() -> Metrics {
    let heartbeat = Heartbeat::default();
    let metrics = Metrics::new(&heartbeat);
    let took = Duration::from_millis(3);
    heartbeat.converged(took);
    metrics.answered(word_of(&Request::Status), &Reply::Done, took);
    metrics.answered("claim", &Reply::NotOurs, took);
    let observed = Observed {
        counts: Counts {
            forwarders: 3,
            links: 4,
            links_up: 2,
            links_suspect: 1,
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
        bfd: Some(liveness::Snapshot {
            up: 6,
            stretch: 1.25,
            ..liveness::Snapshot::default()
        }),
        cache_age: Some(0.25),
        api_writes: vec![("ok", 7)],
    };
    metrics.observe(move || observed.clone());
    metrics
}

#[test]
fn the_document_lists_every_metric_with_type_and_labels() {
    let document = include_str!("../../../../docs/metrics-node.md");
    assert_eq!(listed(document), described(&counted().text()));
}

#[test]
fn help_texts_are_sentences_and_counters_end_in_total_once() {
    assert_eq!(ill_formed(&counted().text()), [""; 0]);
}

#[test]
fn values_are_those_that_were_counted() {
    let text = counted().text();
    #[rustfmt::skip]
    let expected = [
        "beemesh_node_links_up 2",
        "beemesh_node_links_suspect 1",
        "beemesh_node_pods_waiting 2",
        "beemesh_node_pods_refused 3",
        "beemesh_node_kernel_writes_total 70",
        "beemesh_node_bfd_sessions_up 6",
        "beemesh_node_bfd_interval_stretch 1.25",
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
    let metrics = Metrics::new(&Heartbeat::default());
    metrics.observe(Observed::default);
    let text = metrics.text();
    for absent in ["peers", "cache_age", "cni_installed", "api_writes"] {
        assert!(
            !text.contains(&format!("beemesh_node_{absent}")),
            "{absent} in\n{text}"
        );
    }
}
