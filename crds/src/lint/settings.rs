//! Routing, liveness and who may join.

use std::{collections::BTreeSet, time::Duration};

use super::{Lint, Problems};
use crate::{duration, names};

/// Below it a busy host would declare its peers dead; above it nobody would call it liveness.
const INTERVAL: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(60)];

pub(super) fn check(lint: &Lint<'_>, problems: &mut Problems) {
    let spec = lint.spec;
    problems.range("spec.routing.maxPaths", spec.routing.max_paths, 1, 256);
    let interval = spec.liveness.interval;
    if interval < INTERVAL[0] || interval > INTERVAL[1] {
        let [least, most, found] = [INTERVAL[0], INTERVAL[1], interval].map(duration::format);
        problems.push(
            "spec.liveness.interval",
            format!("expected {least} to {most}, found {found}"),
        );
    }
    // RFC 5880, section 4.1: an octet, not zero.
    problems.range("spec.liveness.multiplier", spec.liveness.multiplier, 1, 255);
    let mut seen = BTreeSet::new();
    for (index, namespace) in spec.allowed_namespaces.iter().enumerate() {
        let path = format!("spec.allowedNamespaces[{index}]");
        if namespace != "*" && !names::is_dns_label(namespace) {
            let message = format!("expected a namespace's name or \"*\", found {namespace:?}");
            problems.push(&path, message);
        }
        if !seen.insert(namespace) {
            problems.push(&path, format!("duplicate namespace {namespace:?}"));
        }
    }
}
