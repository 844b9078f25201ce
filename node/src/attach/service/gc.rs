//! Garbage collection of leases that nobody releases, with the same two proofs.

use std::path::Path;

use telemetry::{Failures, chain};

use super::{AttachService, now};
use crate::attach::leases::{Lease, Phase};
use crate::attach::pod_links::PodWiring;
use crate::objects::pods::Lookup;

impl<W: PodWiring> AttachService<W> {
    /// Frees leases that nobody will release: deleted namespaces, claims whose plugin died before
    /// it created anything, releases with links left in the kernel, leases of an earlier boot.
    pub fn collect_garbage(&self) -> Failures {
        let mut failures = Failures::default();
        let all: Vec<Lease> = self.state().book.leases().iter().cloned().collect();
        for lease in all.iter().filter(|lease| self.is_given_up(lease)) {
            let _turn = self.wait_for(&lease.key);
            let container = &lease.key.container_id;
            let is_current = self.state().book.leases().get(&lease.key) == Some(lease);
            if !is_current {
                continue;
            }
            match self.free(lease) {
                Ok(()) => tracing::info!(container, "lease without an owner collected"),
                Err(error) => failures.add(chain(&error)),
            }
        }
        if let Err(error) = self.state().book.keep() {
            failures.add(chain(&error));
        }
        failures
    }

    /// First proof without a DEL: the pod's namespace or its boot is gone.
    fn is_given_up(&self, lease: &Lease) -> bool {
        match lease.phase {
            Phase::Releasing => true,
            _ if self.unrecorded().contains(&lease.key) => true,
            _ if lease.is_past_boot => !self.is_wired(lease).unwrap_or(true),
            // A deleted namespace takes its end of the pair with it; if the other end still exists,
            // the namespace is still in use, but not by the pod.
            _ if !self.wires.is_alive(&lease.netns, lease.netns_id) => {
                !self.is_wired(lease).unwrap_or(true) || self.is_absent(lease)
            }
            Phase::Pending => self.is_abandoned(lease) && !self.is_wired(lease).unwrap_or(true),
            Phase::Confirmed => false,
        }
    }

    /// True when Kubernetes reports for certain that the pod of a lease was deleted.
    pub(crate) fn is_absent(&self, lease: &Lease) -> bool {
        let (Some(pods), Some((namespace, name))) = (&self.pods, lease.pod.split_once('/')) else {
            return false;
        };
        !lease.uid.is_empty() && pods.find(namespace, name, Some(&lease.uid)) == Lookup::Absent
    }

    /// True when the plugin of a claim has ended, or has exceeded its time limit.
    pub(super) fn is_abandoned(&self, lease: &Lease) -> bool {
        // 0 is the id of a process in another PID namespace, such as the runtime's.
        let is_gone = lease
            .plugin
            .is_some_and(|pid| pid > 0 && !Path::new(&format!("/proc/{pid}")).exists());
        is_gone || now().saturating_sub(lease.since) > self.claim_timeout.as_secs()
    }
}
