//! Expected statuses after convergence, and the missing ones.

use std::collections::BTreeMap;

use crds::Forwarder;
use crds::forwarder::ForwarderLink;

use crate::convergence::computed::Computed;
use crate::convergence::watch::Statuses;
use crate::state::directory::Record;
use console::failure::Failure;

/// Expected status by name of the object.
pub(crate) type Expectations = BTreeMap<String, Expected>;

/// Expected epoch and number of live links of each Forwarder object, by name. A link that drops packets in silence is suspect,
/// which is not up.
pub(crate) fn expected(forwarders: &[Forwarder], record: &Record) -> Result<Expectations, Failure> {
    let faults = &record.faults;
    let epoch = Computed::new(forwarders, faults)?.epoch();
    Ok(forwarders
        .iter()
        .map(|forwarder| {
            let spec = &forwarder.spec;
            let is_up = |link: &&ForwarderLink| {
                let ends = [(&*spec.name, &*spec.node), (&*link.peer, &*link.peer_node)];
                let is_down = faults.takes_out(&link.id, ends.map(|(name, _)| name));
                !is_down && !faults.silences(&link.id, ends)
            };
            let expected = Expected {
                epoch: epoch.clone(),
                up: spec.links.iter().filter(is_up).count() as u32,
            };
            (forwarder.metadata.name.clone(), expected)
        })
        .collect())
}

/// Expected status of one Forwarder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Epoch of the live topology.
    pub(crate) epoch: String,
    /// Links of this Forwarder that are up.
    pub(crate) up: u32,
}

/// Objects without their expected status.
pub(crate) fn missing<'a>(expected: &'a Expectations, statuses: &Statuses) -> Vec<&'a str> {
    expected
        .iter()
        .filter(|(name, expected)| {
            !statuses.get(*name).is_some_and(|status| {
                status.epoch == expected.epoch && status.links.up == expected.up
            })
        })
        .map(|(name, _)| name.as_str())
        .collect()
}

/// Description of the missing parts of a few objects.
pub(crate) fn explain(missing: &[&str], expected: &Expectations, statuses: &Statuses) -> String {
    const SHOWN: usize = 5;
    let mut lines: Vec<String> = missing
        .iter()
        .take(SHOWN)
        .map(|name| format!("{name}: {}", why(name, &expected[*name], statuses)))
        .collect();
    if missing.len() > SHOWN {
        lines.push(format!("and {} more", missing.len() - SHOWN));
    }
    lines.join("\n  ")
}

/// Difference between the status of one object and the expected one.
pub(crate) fn why(name: &str, expected: &Expected, statuses: &Statuses) -> String {
    match statuses.get(name) {
        None => "its node has not reported".to_owned(),
        Some(status) if status.links.up != expected.up => {
            let down: Vec<String> = status
                .link_states
                .iter()
                .filter(|link| !link.up)
                .map(|link| format!("{} {}", link.id, link.reason))
                .collect();
            let (up, wanted) = (status.links.up, expected.up);
            format!("{up} links up, expected {wanted}; {}", down.join(", "))
        }
        Some(status) => {
            let (has, wanted) = (&status.epoch, &expected.epoch);
            format!("table of epoch {has:?}, expected {wanted}")
        }
    }
}

#[cfg(test)]
mod tests {
    use crds::ForwarderStatus;

    use super::*;

    #[test]
    fn what_is_missing_is_told_with_its_reason() {
        let expected = |up| Expected {
            epoch: "1".to_owned(),
            up,
        };
        let expectations = Expectations::from([
            ("absent".to_owned(), expected(1)),
            ("down".to_owned(), expected(2)),
            ("late".to_owned(), expected(0)),
            ("right".to_owned(), expected(0)),
        ]);
        let status = |epoch: &str| ForwarderStatus {
            epoch: epoch.to_owned(),
            ..Default::default()
        };
        let statuses = Statuses::from([
            ("down".to_owned(), status("1")),
            ("late".to_owned(), status("0")),
            ("right".to_owned(), status("1")),
        ]);
        let missing = missing(&expectations, &statuses);
        assert_eq!(missing, ["absent", "down", "late"]);
        let words = explain(&missing, &expectations, &statuses);
        for expected in [
            "absent: its node has not reported",
            "0 links up, expected 2",
            "epoch \"0\"",
        ] {
            assert!(words.contains(expected), "{words}");
        }
    }
}
