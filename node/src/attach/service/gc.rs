//! Housekeeping: what nobody will release is freed all the same, with the same two proofs.

use std::path::Path;

use super::{AttachService, now};
use crate::attach::leases::{Lease, Phase};
use crate::attach::pod_links::PodWiring;
use crate::objects::pods::Lookup;

impl<W: PodWiring> AttachService<W> {
    /// Frees what nobody will ever release: pods whose namespace is gone, claims whose plugin died
    /// before it made anything, releases that the kernel was not done with, leases of another boot.
    pub fn collect_garbage(&self) {
        let all: Vec<Lease> = self.state().book.leases().iter().cloned().collect();
        for lease in all.iter().filter(|lease| self.is_given_up(lease)) {
            let _turn = self.wait_for(&lease.key);
            let is_current = self.state().book.leases().get(&lease.key) == Some(lease);
            if !is_current {
                continue;
            }
            tracing::info!(container = lease.key.container_id, "collecting a lease");
            if let Err(error) = self.free(lease) {
                tracing::warn!(error = &error as &dyn std::error::Error, "lease stays");
            }
        }
        if let Err(error) = self.state().book.keep() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "journal stays as it is"
            );
        }
    }

    /// The runtime's proof, where there was no DEL.
    fn is_given_up(&self, lease: &Lease) -> bool {
        match lease.phase {
            Phase::Releasing => true,
            _ if self.unrecorded().contains(&lease.key) => true,
            _ if lease.is_past_boot => !self.is_wired(lease).unwrap_or(true),
            // The namespace took its end of the pair with it; if the other end is still there,
            // then the namespace lives on somewhere, but for a pod that is no more.
            _ if !self.wires.is_alive(&lease.netns, lease.netns_id) => {
                !self.is_wired(lease).unwrap_or(true) || self.is_absent(lease)
            }
            Phase::Pending => self.is_abandoned(lease) && !self.is_wired(lease).unwrap_or(true),
            Phase::Confirmed => false,
        }
    }

    /// Whether Kubernetes is certain that the pod of a lease is no more.
    pub(crate) fn is_absent(&self, lease: &Lease) -> bool {
        let (Some(pods), Some((namespace, name))) = (&self.pods, lease.pod.split_once('/')) else {
            return false;
        };
        !lease.uid.is_empty() && pods.find(namespace, name, Some(&lease.uid)) == Lookup::Absent
    }

    /// A claim whose plugin is gone, or has taken longer than any plugin may.
    pub(super) fn is_abandoned(&self, lease: &Lease) -> bool {
        // 0 is what a process in another PID namespace than ours has, as the runtime's may be.
        let is_gone = lease
            .plugin
            .is_some_and(|pid| pid > 0 && !Path::new(&format!("/proc/{pid}")).exists());
        is_gone || now().saturating_sub(lease.since) > self.claim_timeout.as_secs()
    }
}
