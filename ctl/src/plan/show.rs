//! Tables of changes, for people.

use console::output;
use crds::report::{PlanReport, Route};
use std::collections::BTreeMap;

/// Epochs, what comes and goes, and each route that changes.
pub(crate) fn table(report: &PlanReport) -> String {
    let mut text = format!("epoch {} -> {}\n", report.old_epoch, report.new_epoch);
    for (what, changes) in [
        ("forwarders", &report.forwarders),
        ("links", &report.links),
        ("apps", &report.apps),
    ] {
        let kinds = [
            ("added", &changes.added),
            ("removed", &changes.removed),
            ("changed", &changes.changed),
        ];
        for (kind, names) in kinds.into_iter().filter(|(_, names)| !names.is_empty()) {
            text += &format!("{what} {kind}: {}\n", shortened(names));
        }
    }
    let count: usize = report.routes.values().map(BTreeMap::len).sum();
    if count == 0 {
        return text + "no route changes\n";
    }
    let plural = |count: usize, one: &str, many: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    };
    let (routes, forwarders) = (
        plural(count, "route", "routes"),
        plural(report.routes.len(), "forwarder", "forwarders"),
    );
    text += &format!("{routes} of {forwarders} change\n\n");
    let mut rows = output::table(&["FROM", "TO", "BEFORE", "AFTER"], &[]);
    for (from, changes) in &report.routes {
        for (to, change) in changes {
            rows.add_row([
                from,
                to,
                &shown(change.before.as_ref()),
                &shown(change.after.as_ref()),
            ]);
        }
    }
    text + &output::table_text(&rows)
}

fn shown(route: Option<&Route>) -> String {
    match route {
        None => "-".into(),
        Some(route) if route.attached => format!("{} attached", route.distance),
        Some(route) => {
            let hops: Vec<&str> = route.next_hops.iter().map(|hop| hop.via.as_str()).collect();
            format!("{} via {}", route.distance, hops.join(", "))
        }
    }
}

/// The names, and of more than twenty the first ones and how many more there are.
pub(super) fn shortened(names: &[String]) -> String {
    match names.get(..20) {
        Some(first) if names.len() > 20 => {
            format!("{} and {} more", first.join(", "), names.len() - 20)
        }
        _ => names.join(", "),
    }
}
