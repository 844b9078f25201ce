//! Own reports by generation: a peer that follows is given what changed since, whatever the number of reports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use linkstate::{Report, Sequence};

use super::LinkStates;

/// When each own report changed last. Each change takes the next generation.
#[derive(Debug, Default)]
pub(super) struct Generations {
    last: u64,
    by_forwarder: BTreeMap<String, u64>,
    by_generation: BTreeMap<u64, String>,
}

impl Generations {
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Takes a generation in which no report changed.
    pub(super) fn advance(&mut self) {
        self.last += 1;
    }

    pub(super) fn touch(&mut self, forwarder: &str) {
        self.last += 1;
        if let Some(before) = self.by_forwarder.insert(forwarder.to_owned(), self.last) {
            self.by_generation.remove(&before);
        }
        self.by_generation.insert(self.last, forwarder.to_owned());
    }

    fn after(&self, generation: u64) -> impl Iterator<Item = &String> {
        let later = self.by_generation.range(generation.saturating_add(1)..);
        later.map(|(_, forwarder)| forwarder)
    }
}

/// A change of an own report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalChange {
    /// The report is this one.
    Report(Arc<Report>),
    /// There is none any more.
    Withdrawn {
        /// The Forwarder.
        forwarder: String,
        /// Position of the withdrawal in the order of reports.
        sequence: Sequence,
    },
}

/// What changed of own reports since a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catchup {
    /// In order of the changes.
    pub changes: Vec<LocalChange>,
    /// The generation that was reached.
    pub generation: u64,
    /// Own Forwarders without a report as yet: what was reported of them before stands. None while Forwarders may be missing.
    pub pending: Option<BTreeSet<String>>,
}

impl LinkStates {
    /// What changed of own reports after `generation`; all of it after 0.
    pub fn since(&self, generation: u64) -> Catchup {
        let inner = self.lock();
        let change = |forwarder: &String| match inner.lsdb.get(&self.node, forwarder) {
            Some(report) => LocalChange::Report(Arc::clone(report)),
            None => LocalChange::Withdrawn {
                forwarder: forwarder.clone(),
                sequence: inner.lsdb.sequence(&self.node, forwarder),
            },
        };
        let is_pending = |(name, node): &(&String, &String)| {
            **node == self.node && inner.lsdb.get(&self.node, name).is_none()
        };
        let pending = inner.owners.is_complete.then(|| {
            let owned = inner.owners.node_by_forwarder.iter();
            owned
                .filter(is_pending)
                .map(|(name, _)| name.clone())
                .collect()
        });
        Catchup {
            changes: inner.generations.after(generation).map(change).collect(),
            generation: inner.generations.last(),
            pending,
        }
    }
}
