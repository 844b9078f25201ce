//! Checks of routing, liveness and allowed namespaces.

use std::{collections::BTreeSet, time::Duration};

use super::{Lint, Problems};
use crate::{duration, names};

/// Bounds of the interval: a shorter one raises false alarms on a busy host, a longer one detects too late.
pub(crate) const INTERVAL: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(60)];

/// Most next hops of one route.
pub(crate) const MAX_PATHS: u32 = 256;
/// RFC 5880, section 4.1: an octet, not zero.
pub(crate) const MAX_MULTIPLIER: u32 = 255;

pub(super) fn check(lint: &Lint<'_>, problems: &mut Problems) {
    let spec = lint.spec;
    problems.range(
        "spec.routing.maxPaths",
        spec.routing.max_paths,
        1,
        MAX_PATHS,
    );
    let interval = spec.liveness.interval;
    if interval < INTERVAL[0] || interval > INTERVAL[1] {
        let [least, most, found] = [INTERVAL[0], INTERVAL[1], interval].map(duration::format);
        problems.push(
            "spec.liveness.interval",
            format!("expected {least} to {most}, found {found}"),
        );
    }
    let multiplier = spec.liveness.multiplier;
    problems.range("spec.liveness.multiplier", multiplier, 1, MAX_MULTIPLIER);
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
