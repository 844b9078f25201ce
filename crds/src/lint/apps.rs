//! Checks of Apps: placement, selectors, external prefixes.

use ipnetwork::IpNetwork;

use super::{Lint, MAX_ENTRIES, Problems, addressing, labels, message};
use crate::{
    cidr,
    topology::{AUTO, AppEntry, External},
};

pub(super) fn check(lint: &Lint<'_>, problems: &mut Problems) {
    let mut externals = Externals::default();
    for (index, app) in lint.spec.apps.iter().enumerate() {
        let path = format!("spec.apps[{index}]");
        problems.weight(format!("{path}.weight"), app.weight);
        if let Some(selector) = &app.pod_selector {
            labels::check_selector(&format!("{path}.podSelector"), selector, problems);
        }
        check_place(lint, &path, app, problems);
        if let Some(external) = &app.external {
            let path = format!("{path}.external");
            check_external(lint, &path, external, &mut externals, problems);
        }
    }
    externals.check_overlaps(problems);
}

fn check_place(lint: &Lint<'_>, path: &str, app: &AppEntry, problems: &mut Problems) {
    match &app.external {
        Some(external) => {
            lint.check_forwarder(
                &format!("{path}.external.forwarder"),
                &external.forwarder,
                problems,
            );
            if app.pod_selector.is_some() {
                let path = format!("{path}.external");
                problems.push(path, message::SELECTOR_AND_EXTERNAL);
            }
            if app.forwarder != AUTO && app.forwarder != external.forwarder {
                let message = message::OTHER_FORWARDER;
                let message = format!("{message}, {:?}", external.forwarder);
                problems.push(
                    format!("{path}.forwarder"),
                    format!("{message}, found {:?}", app.forwarder),
                );
            }
        }
        None if app.forwarder == AUTO => {}
        None => lint.check_forwarder(&format!("{path}.forwarder"), &app.forwarder, problems),
    }
}

fn check_external<'a>(
    lint: &Lint<'a>,
    path: &str,
    external: &'a External,
    externals: &mut Externals,
    problems: &mut Problems,
) {
    let path = format!("{path}.cidrs");
    if external.cidrs.is_empty() || external.cidrs.len() > MAX_ENTRIES {
        let found = external.cidrs.len();
        return problems.push(
            path,
            format!("expected 1 to {MAX_ENTRIES} CIDRs, found {found}"),
        );
    }
    let ours = &lint.spec.addressing.cidrs;
    for (index, prefix) in external.cidrs.iter().enumerate() {
        let path = format!("{path}[{index}]");
        addressing::check_network(&path, *prefix, problems);
        if let Some(own) = ours.iter().find(|own| cidr::overlap(**own, *prefix)) {
            let message =
                format!("{prefix} overlaps {own} of spec.addressing: expected another range");
            problems.push(&path, message);
        }
        if !ours.is_empty() && !ours.iter().any(|own| own.is_ipv4() == prefix.is_ipv4()) {
            let message =
                format!("{prefix} is of a family that spec.addressing.cidrs does not have");
            problems.push(&path, message);
        }
        externals.0.push((cidr::network(*prefix), path));
    }
}

/// External prefixes of all Apps, with their places.
#[derive(Default)]
struct Externals(Vec<(IpNetwork, String)>);

impl Externals {
    /// Prefixes overlap only when one holds the other, so that in sorted order an overlap shows
    /// with the widest one that is still open.
    fn check_overlaps(mut self, problems: &mut Problems) {
        // Stable: of equal prefixes the first one written is the one that is right.
        self.0.sort_by_key(|(prefix, _)| *prefix);
        let mut open: Option<&(IpNetwork, String)> = None;
        for entry in &self.0 {
            match open {
                Some((wide, first)) if cidr::overlap(*wide, entry.0) => {
                    let message = format!(
                        "{} overlaps {wide} of {first}: expected another range",
                        entry.0
                    );
                    problems.push(&entry.1, message);
                }
                _ => open = Some(entry),
            }
        }
    }
}
