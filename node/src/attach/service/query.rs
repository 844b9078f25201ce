//! Queries of the leases by other parts of the daemon.

use std::collections::{BTreeMap, BTreeSet};

use cni::node_protocol::{Attachment, Key};

use super::AttachService;
use crate::attach::leases::{Lease, Phase};
use crate::attach::pod_links::PodWiring;
use crds::TopologyKey;

impl<W: PodWiring> AttachService<W> {
    /// All leases.
    pub fn leases(&self) -> Vec<Lease> {
        self.state().book.leases().iter().cloned().collect()
    }

    /// Keys and topologies of attachments whose interface is missing.
    pub fn lost(&self) -> BTreeSet<(Key, TopologyKey)> {
        let lost: Vec<Lease> = {
            let state = self.state();
            let leases = state
                .lost
                .iter()
                .filter_map(|key| state.book.leases().get(key));
            leases.cloned().collect()
        };
        let confirmed = lost
            .into_iter()
            .filter(|lease| lease.phase == Phase::Confirmed);
        let mut of = BTreeSet::new();
        for lease in confirmed {
            for share in &lease.shares {
                // An attachment that cannot be observed is not lost.
                if !self.wires.is_wired(&share.attachment).unwrap_or(true) {
                    of.insert((lease.key.clone(), share.network()));
                }
            }
        }
        of
    }

    /// Attachments, by the path of the Forwarder's namespace.
    pub fn attached(&self) -> BTreeMap<String, Vec<(Key, String, Attachment)>> {
        let state = self.state();
        let mut attached: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for lease in state
            .book
            .leases()
            .iter()
            .filter(|lease| lease.phase == Phase::Confirmed)
        {
            for attachment in lease.attachments() {
                let entry = (lease.key.clone(), lease.pod.clone(), attachment.clone());
                attached
                    .entry(attachment.forwarder_netns)
                    .or_default()
                    .push(entry);
            }
        }
        attached
    }

    /// Number of attachments, unconfirmed claims included, whose key passes `counts`.
    pub fn attachment_count(&self, counts: impl Fn(&Key) -> bool) -> usize {
        let state = self.state();
        let leases = state
            .book
            .leases()
            .iter()
            .filter(|lease| counts(&lease.key));
        leases.map(|lease| lease.shares.len()).sum()
    }

    /// True when there is no lease.
    pub fn is_unused(&self) -> bool {
        self.state().book.leases().iter().next().is_none()
    }
}
