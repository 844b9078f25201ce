//! Columns of `kubectl get`; `-o wide` adds those of priority 1.

use serde_json::{Value, json};

/// Name, type, path, description, priority.
type Column = (&'static str, &'static str, &'static str, &'static str, u8);

#[rustfmt::skip]
const TOPOLOGY: [Column; 9] = [
    ("Ready", "string", READY_STATUS, "True when traffic is routed as declared", 0),
    ("Forwarders", "integer", ".status.forwarders.total", "Number of Forwarders", 0),
    ("Links", "string", ".status.linksUp", "Links up at both ends, of all links", 0),
    ("Epoch", "string", ".status.epoch", "Digest of the global topology", 0),
    ("Age", "date", ".metadata.creationTimestamp", "Age of the object", 0),
    ("Reason", "string", READY_REASON, "Reason of the Ready condition", 1),
    ("Suspect", "integer", ".status.links.suspect", "Number of links that pass no packets although their interfaces are up", 1),
    ("Pods", "integer", ".status.pods", "Number of attached pods", 1),
    ("Convergence", "string", ".status.convergence", "Time from the last change until everything is computed", 1),
];

#[rustfmt::skip]
const FORWARDER: [Column; 10] = [
    ("Topology", "string", ".spec.topology", "Its topology", 0),
    ("Node", "string", ".spec.node", "Node of the Forwarder", 0),
    ("Block", "string", ".spec.blocks[0]", "Its first address block", 0),
    ("Links", "string", ".status.linksUp", "Links that are up, of all", 0),
    ("Epoch", "string", ".status.epoch", "Epoch in which the programmed table changed last", 0),
    ("Ready", "string", READY_STATUS, "True once its node has programmed it", 0),
    ("Age", "date", ".metadata.creationTimestamp", "Age of the object", 0),
    ("Computed", "string", ".status.computed.digest", "Digest of the table that the operator computed", 1),
    ("Reason", "string", READY_REASON, "Reason of the Ready condition", 1),
    ("Suspect", "integer", ".status.links.suspect", "Number of links that pass no packets although their interfaces are up", 1),
];

#[rustfmt::skip]
const VNI_RANGE: [Column; 4] = [
    ("First", "integer", ".spec.first", "The first VNI", 0),
    ("Namespace", "string", ".spec.namespace", "Kubernetes namespace of the topology", 0),
    ("Topology", "string", ".spec.topology", "Topology that claims the range", 0),
    ("Age", "date", ".metadata.creationTimestamp", "Age of the object", 0),
];

const AGE: Column = (
    "Age",
    "date",
    ".metadata.creationTimestamp",
    "Age of the object",
    0,
);

const READY_STATUS: &str = ".status.conditions[?(@.type==\"Ready\")].status";
const READY_REASON: &str = ".status.conditions[?(@.type==\"Ready\")].reason";

/// The columns of a kind.
pub(super) fn of(kind: &str) -> Value {
    let columns: &[Column] = match kind {
        "MicroServiceTopology" => &TOPOLOGY,
        "Forwarder" => &FORWARDER,
        "VniRange" => &VNI_RANGE,
        _ => &[AGE],
    };
    let column = |(name, r#type, path, description, priority): &Column| {
        json!({
            "name": name, "type": r#type, "jsonPath": path, "description": description,
            "priority": priority,
        })
    };
    columns.iter().map(column).collect()
}
