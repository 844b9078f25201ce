//! Detachment without the runtime: of hotplug attachments, and of pods that no longer belong to a
//! topology.

use cni::node_protocol::{Attachment, Key, Pod};

use super::AttachService;
use crate::attach::key::is_hotplug;
use crate::attach::leases::{Lease, Record};
use crate::attach::pod_links::{PodWiring, same_path};
use crate::error::Error;
use crds::TopologyKey;

impl<W: PodWiring> AttachService<W> {
    /// Detaches a pod from one topology; its last share ends the lease.
    ///
    /// # Errors
    /// [`Error`]: the pod is still attached, or may be.
    pub fn leave(&self, key: &Key, network: &TopologyKey, why: &str) -> Result<(), Error> {
        let _turn = self.wait_for(key);
        let Some(lease) = self.state().book.leases().get(key).cloned() else {
            return Ok(());
        };
        let (leaving, staying): (Vec<_>, Vec<_>) = lease
            .shares
            .iter()
            .cloned()
            .partition(|share| share.network() == *network);
        if leaving.is_empty() {
            return Ok(());
        }
        if staying.is_empty() {
            self.free(&lease)?;
        } else {
            // The addresses are freed last, when the kernel holds none of their links.
            for share in &leaving {
                self.wires.cut(&lease, &share.attachment)?;
            }
            let rest = Lease {
                shares: staying,
                ..lease.clone()
            };
            self.state().book.record(Record::Claimed(rest))?;
            self.changed();
        }
        for share in &leaving {
            self.tell_detached(&lease, share, why);
        }
        Ok(())
    }

    /// Releases the hotplug attachments of the pod whose sandbox the runtime deletes.
    ///
    /// # Errors
    /// As [`AttachService::release`].
    pub(crate) fn release_live(
        &self,
        netns: Option<&str>,
        pod: Option<&Pod>,
    ) -> Result<Vec<Attachment>, Error> {
        let candidates: Vec<Lease> = self
            .state()
            .book
            .leases()
            .iter()
            .filter(|lease| is_hotplug(&lease.key))
            .filter(|lease| match pod {
                // The path may belong to another pod by now.
                Some(pod) => is_of(lease, pod),
                None => netns.is_some_and(|netns| same_path(netns, &lease.netns)),
            })
            .cloned()
            .collect();
        let mut released = Vec::new();
        for lease in candidates {
            // A late DEL of an earlier sandbox must not release the current one.
            let is_meant = netns.is_some_and(|netns| same_path(netns, &lease.netns));
            if is_meant || !self.wires.is_alive(&lease.netns, lease.netns_id) {
                released.extend(self.release(&lease.key)?);
            }
        }
        Ok(released)
    }
}

/// True when a lease belongs to the pod that the runtime names.
fn is_of(lease: &Lease, pod: &Pod) -> bool {
    match pod.uid.as_deref().filter(|uid| !uid.is_empty()) {
        Some(uid) if !lease.uid.is_empty() => lease.uid == uid,
        _ => lease.pod == format!("{}/{}", pod.namespace, pod.name),
    }
}
