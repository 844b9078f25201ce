//! Own reports: a peer receives the changes since its generation.

use std::collections::BTreeSet;
use std::sync::Arc;

use linkstate::{Report, Sequence};

use super::LinkStates;

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
    /// the synchronisation covers them. Pending Forwarders are collected only if that is due.
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
