//! DEL and GC: what the runtime gives up, and when its addresses are free.

use std::collections::{BTreeSet, HashSet};
use std::sync::{MutexGuard, PoisonError};

use cni::agent::{Attachment, Key, Reply};

use super::AttachService;
use crate::attach::leases::{Lease, Phase, Record};
use crate::attach::pod_links::PodWiring;
use crate::error::Error;

impl<W: PodWiring> AttachService<W> {
    /// Gives up a lease at the runtime's word. An absent one is success. One that cannot be recorded as released, or that the
    /// kernel is not done with, is freed later.
    ///
    /// # Errors
    /// [`Error`] when the lease could not be looked at.
    pub fn release(&self, key: &Key) -> Result<Vec<Attachment>, Error> {
        let _turn = self.wait_for(key);
        self.release_in_turn(key)
    }

    /// As [`AttachService::release`], if `is_wanted` still holds when the key's turn comes; `done` is called
    /// before the next one's turn.
    ///
    /// # Errors
    /// As [`AttachService::release`]; `done` is not called then.
    pub fn release_once(
        &self,
        key: &Key,
        is_wanted: impl FnOnce() -> bool,
        done: impl FnOnce(),
    ) -> Result<(), Error> {
        let _turn = self.wait_for(key);
        if is_wanted() {
            self.release_in_turn(key)?;
            done();
        }
        Ok(())
    }

    fn release_in_turn(&self, key: &Key) -> Result<Vec<Attachment>, Error> {
        let lease = self.state().book.leases().get(key).cloned();
        let Some(lease) = lease else {
            return Ok(Vec::new());
        };
        match self.free(&lease) {
            Ok(()) => {}
            // Given up for good; the housekeeping goes on asking the kernel.
            Err(Error::Kernel { source, .. }) => tracing::warn!(%source, "release is not done yet"),
            // A full disk must not keep a pod from being deleted, which may be what makes room. After a restart the
            // namespace that is gone, or the runtime's GC, says the same again.
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "release not recorded, address kept until it is");
                self.unrecorded().insert(key.clone());
                self.cut_all(&lease);
            }
        }
        Ok(lease.attachments())
    }

    /// Frees what the runtime does not have any more, and goes on after an error.
    pub(super) fn collect(&self, network: &str, valid: &[Key]) -> Result<Reply, Error> {
        let valid: HashSet<&Key> = valid.iter().collect();
        let is_stale = |lease: &&Lease| {
            let is_under_way = lease.phase == Phase::Pending && !self.is_abandoned(lease);
            lease.key.network == network && !valid.contains(&lease.key) && !is_under_way
        };
        let stale: Vec<Key> = self
            .state()
            .book
            .leases()
            .iter()
            .filter(is_stale)
            .map(|l| l.key.clone())
            .collect();
        let mut released = Vec::new();
        let mut failed = None;
        for key in stale {
            match self.release(&key) {
                Ok(attachments) => released.extend(attachments),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(Reply::Released(released)), Err)
    }

    /// Both proofs, each written down: the runtime's, then the kernel's.
    pub(super) fn free(&self, lease: &Lease) -> Result<(), Error> {
        let key = &lease.key;
        if lease.phase != Phase::Releasing {
            self.state()
                .book
                .record(Record::Releasing { key: key.clone() })?;
        }
        for share in &lease.shares {
            self.wires.cut(lease, &share.attachment)?;
        }
        self.state()
            .book
            .record(Record::Freed { key: key.clone() })?;
        self.unrecorded().remove(key);
        self.changed();
        tracing::info!(container = key.container_id, "lease freed");
        Ok(())
    }

    /// Removes what the kernel has of a lease; what fails is tried again with the lease.
    fn cut_all(&self, lease: &Lease) {
        for share in &lease.shares {
            if let Err(error) = self.wires.cut(lease, &share.attachment) {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "attachment not removed yet");
            }
        }
    }

    /// Leases that were released and could not be recorded as such.
    pub(super) fn unrecorded(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.unrecorded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_wired(&self, lease: &Lease) -> Result<bool, Error> {
        for share in &lease.shares {
            if self.wires.is_wired(&share.attachment)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
