//! Checks that drained Forwarders and links exist.

use std::collections::BTreeSet;

use super::{Lint, MAX_ENTRIES, Problems};
use topology::LinkSelector;

use crate::{
    suggest,
    topology::Drain,
    wiring::{self, Wire},
};

pub(super) fn check(lint: &Lint<'_>, problems: &mut Problems) {
    let Some(drain) = &lint.spec.drain else {
        return;
    };
    let lists = [("forwarders", &drain.forwarders), ("links", &drain.links)];
    for (name, entries) in lists {
        let path = format!("spec.drain.{name}");
        if entries.len() > MAX_ENTRIES {
            let found = entries.len();
            let message = format!("expected at most {MAX_ENTRIES} entries, found {found}");
            return problems.push(path, message);
        }
        let mut seen = BTreeSet::new();
        for (index, entry) in entries.iter().enumerate() {
            if !seen.insert(entry) {
                problems.push(format!("{path}[{index}]"), format!("duplicate {entry:?}"));
            }
        }
    }
    for (index, name) in drain.forwarders.iter().enumerate() {
        lint.check_forwarder(&format!("spec.drain.forwarders[{index}]"), name, problems);
    }
    check_links(lint, drain, problems);
}

fn check_links(lint: &Lint<'_>, drain: &Drain, problems: &mut Problems) {
    let mut wires = None;
    for (index, text) in drain.links.iter().enumerate() {
        let path = format!("spec.drain.links[{index}]");
        let link = match LinkSelector::parse(text) {
            Ok(link) => link,
            Err(error) => {
                problems.push(path, format!("{error}, found {text:?}"));
                continue;
            }
        };
        let ends = link.ends();
        let before = problems.0.len();
        lint.check_forwarder(&path, ends.0, problems);
        lint.check_forwarder(&path, ends.1, problems);
        // The links of one Forwarder per node depend on the nodes.
        if problems.0.len() > before || lint.spec.forwarder_per_node.is_some() {
            continue;
        }
        let wires = wires.get_or_insert_with(|| lint.wires());
        let from = wires.partition_point(|wire| (wire.a, wire.b) < ends);
        let mut between = wires[from..]
            .iter()
            .take_while(|wire| (wire.a, wire.b) == ends);
        if !between.any(|wire| link.matches(&wire.id())) {
            let ids: Vec<String> = wires[..wires.len().min(1_000)]
                .iter()
                .map(|wire| wire.id().to_string())
                .collect();
            let hint = suggest::hint(text, ids.iter().map(String::as_str));
            let message = format!("expected a link of this topology, found {text:?}{hint}");
            problems.push(path, message);
        }
    }
}

impl<'a> Lint<'a> {
    /// All links, sorted by their ends.
    fn wires(&self) -> Vec<Wire<'a>> {
        let names: Vec<&str> = self
            .spec
            .forwarders
            .iter()
            .map(|entry| entry.name.as_str())
            .collect();
        wiring::wires(self.spec, &names)
    }
}
