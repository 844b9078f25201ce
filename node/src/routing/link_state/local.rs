//! Own reports by generation: a peer receives the changes since its generation, independent of the
//! number of reports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use linkstate::{MAX_WITHDRAWN, Report, Sequence};

use super::LinkStates;

/// Generation of the last change of each own report. Each change takes the next generation.
#[derive(Debug, Default)]
pub(super) struct Generations {
    last: u64,
    by_forwarder: BTreeMap<String, u64>,
    by_generation: BTreeMap<u64, String>,
    /// Generations of withdrawals, at most [`MAX_WITHDRAWN`].
    withdrawn: BTreeSet<u64>,
}

impl Generations {
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Starts a generation in which no report changed.
    pub(super) fn advance(&mut self) {
        self.last += 1;
    }

    pub(super) fn touch(&mut self, forwarder: &str) {
        self.last += 1;
        if let Some(before) = self.by_forwarder.insert(forwarder.to_owned(), self.last) {
            self.by_generation.remove(&before);
            self.withdrawn.remove(&before);
        }
        self.by_generation.insert(self.last, forwarder.to_owned());
    }

    pub(super) fn withdraw(&mut self, forwarder: &str) {
        self.touch(forwarder);
        self.withdrawn.insert(self.last);
        if self.withdrawn.len() > MAX_WITHDRAWN {
            let oldest = self.withdrawn.pop_first();
            let forgotten = oldest.and_then(|it| self.by_generation.remove(&it));
            forgotten.and_then(|name| self.by_forwarder.remove(&name));
        }
    }

    fn after(&self, generation: u64) -> impl Iterator<Item = &String> {
        let later = self.by_generation.range(generation.saturating_add(1)..);
        later.map(|(_, forwarder)| forwarder)
    }
}

/// Change of an own report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalChange {
    /// New report.
    Report(Arc<Report>),
    /// Withdrawn report.
    Withdrawn {
        /// Key of the Forwarder.
        forwarder: String,
        /// Sequence number of the withdrawal.
        sequence: Sequence,
    },
}

/// Changes of own reports since a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catchup {
    /// Changes, oldest first.
    pub changes: Vec<LocalChange>,
    /// Generation that is reached.
    pub generation: u64,
    /// Own Forwarders without a report so far, whose earlier report stays valid. `None` while
    /// Forwarders may be missing, and where nobody asked.
    pub pending: Option<BTreeSet<String>>,
}

impl LinkStates {
    /// Changes of own reports after `generation`; all reports after 0, without withdrawals: the end of
    /// the synchronisation removes what is not reported. Pending Forwarders are collected only where the
    /// end of the synchronisation is due.
    pub fn since(&self, generation: u64, is_end_due: bool) -> Catchup {
        let inner = self.lock();
        let change = |forwarder: &String| match inner.lsdb.get(&self.node, forwarder) {
            Some(report) => Some(LocalChange::Report(Arc::clone(report))),
            None => (generation > 0).then(|| LocalChange::Withdrawn {
                forwarder: forwarder.clone(),
                sequence: inner.lsdb.sequence(&self.node, forwarder),
            }),
        };
        let is_pending = |(name, node): &(&String, &String)| {
            // Neither reported nor withdrawn.
            **node == self.node && inner.lsdb.sequence(node, name) == Sequence::default()
        };
        let pending = (is_end_due && inner.owners.is_complete).then(|| {
            let owned = inner.owners.node_by_forwarder.iter();
            owned
                .filter(is_pending)
                .map(|(name, _)| name.clone())
                .collect()
        });
        Catchup {
            changes: inner
                .generations
                .after(generation)
                .filter_map(change)
                .collect(),
            generation: inner.generations.last(),
            pending,
        }
    }
}
