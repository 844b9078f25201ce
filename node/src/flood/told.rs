//! What a peer has been told, and what it has yet to be told. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::message::Message;
use crate::link_state::Report;

/// What this node has to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Own {
    /// What it reports, by Forwarder.
    pub(super) reports: BTreeMap<String, Arc<Report>>,
    /// Forwarders of it that it has yet to look at: what was said of them before stands.
    pub(super) unsaid: BTreeSet<String>,
    /// False while there may be more Forwarders.
    pub(super) is_whole: bool,
}

/// What was told on one connection.
#[derive(Debug, Default)]
pub(super) struct Told {
    reports: BTreeMap<String, Arc<Report>>,
    /// Of these it was said that what was known of them stands.
    unsaid: BTreeSet<String>,
    is_whole: bool,
}

impl Told {
    /// What has to be said now, and counts as said from then on.
    pub(super) fn catch_up(&mut self, own: &Own) -> Vec<Message> {
        let mut messages = Vec::new();
        for (forwarder, report) in &own.reports {
            let told = self.reports.get(forwarder);
            if told.is_some_and(|told| Arc::ptr_eq(told, report) || told == report) {
                continue;
            }
            messages.push(Message::Report {
                forwarder: forwarder.clone(),
                seq: report.seq,
                links: report.links.clone(),
            });
            self.reports.insert(forwarder.clone(), Arc::clone(report));
        }
        if !own.is_whole {
            return messages;
        }
        let stands = |name: &String| own.reports.contains_key(name) || own.unsaid.contains(name);
        let known: BTreeSet<String> = self.reports.keys().chain(&self.unsaid).cloned().collect();
        for forwarder in known.into_iter().filter(|name| !stands(name)) {
            self.reports.remove(&forwarder);
            self.unsaid.remove(&forwarder);
            messages.push(Message::Withdrawn { forwarder });
        }
        if !self.is_whole {
            self.is_whole = true;
            self.unsaid.clone_from(&own.unsaid);
            messages.push(Message::Whole {
                unsaid: own.unsaid.clone(),
            });
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(reports: &[(&str, u64)], unsaid: &[&str], is_whole: bool) -> Own {
        let report = |seq| {
            Arc::new(Report {
                seq,
                ..Report::default()
            })
        };
        Own {
            reports: reports
                .iter()
                .map(|(name, seq)| ((*name).to_owned(), report(*seq)))
                .collect(),
            unsaid: unsaid.iter().map(|name| (*name).to_owned()).collect(),
            is_whole,
        }
    }

    /// Messages as a line: `a1` for a report, `-a` for a withdrawal, `=[a]` for the whole.
    fn line(messages: Vec<Message>) -> String {
        let word = |message| match message {
            Message::Report { forwarder, seq, .. } => format!("{forwarder}{seq}"),
            Message::Withdrawn { forwarder } => format!("-{forwarder}"),
            Message::Whole { unsaid } => format!("={}", Vec::from_iter(unsaid).join(",")),
            other => panic!("{other:?}"),
        };
        messages.into_iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn tells_all_then_what_changed() {
        #[rustfmt::skip]
        let steps = [
            // has to tell                                  says
            (own(&[], &[], false),                          ""),
            (own(&[("a", 1)], &[], false),                  "a1"),
            (own(&[], &[], false),                          ""),
            (own(&[("a", 1), ("b", 1)], &["c", "d"], true), "b1 =c,d"),
            (own(&[("a", 1), ("b", 1)], &["c", "d"], true), ""),
            (own(&[("a", 2), ("b", 1)], &["d"], true),      "a2 -c"),
            (own(&[("a", 2)], &["b", "d"], true),           ""),
            (own(&[("a", 2)], &["d"], true),                "-b"),
            (own(&[("a", 2), ("d", 9)], &[], true),         "d9"),
            (own(&[], &[], true),                           "-a -d"),
        ];
        let mut told = Told::default();
        for (number, (own, expected)) in steps.iter().enumerate() {
            assert_eq!(line(told.catch_up(own)), *expected, "step {number}");
        }
    }
}
