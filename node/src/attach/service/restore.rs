//! Repair of pods' interfaces after a link down.

use cni::node_protocol::Key;

use super::AttachService;
use crate::attach::leases::{Lease, Phase};
use crate::attach::pod_links::PodWiring;

impl<W: PodWiring> AttachService<W> {
    /// Restores routes that the pod's end of a confirmed attachment lost while it was down.
    /// `interface` is the Forwarder's end.
    pub fn restore(&self, key: &Key, interface: &str) {
        let _turn = self.wait_for(key);
        let lease = self.state().book.leases().get(key).cloned();
        let is_whole = |lease: &Lease| lease.phase == Phase::Confirmed && !lease.is_past_boot;
        let Some(lease) = lease.filter(is_whole) else {
            return;
        };
        let mut shares = lease.shares.iter();
        let share = shares.find(|share| share.attachment.forwarder_interface == interface);
        if let Some(Err(error)) = share.map(|share| self.wires.restore(&lease, &share.attachment)) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                pod = lease.pod,
                error,
                "routes of a pod's interface not restored"
            );
        }
    }
}
