//! DEL and GC: releases leases of the runtime, and frees their addresses.

use std::collections::{BTreeSet, HashSet};
use std::sync::{MutexGuard, PoisonError};

use cni::node_protocol::{Attachment, Key, Reply};

use super::AttachService;
use crate::attach::leases::{Lease, Phase, Record};
use crate::attach::pod_links::PodWiring;
use crate::error::Error;

impl<W: PodWiring> AttachService<W> {
    /// Releases a lease for the runtime. An absent lease is success. A lease that cannot be
    /// recorded as released, or whose links cannot be removed yet, is freed later.
    ///
    /// # Errors
    /// [`Error`] when the lease could not be read.
    pub fn release(&self, key: &Key) -> Result<Vec<Attachment>, Error> {
        let _turn = self.wait_for(key);
        self.release_in_turn(key)
    }

    /// As [`AttachService::release`], if `is_wanted` still holds under the key's lock; `done` is
    /// called before the lock is released.
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
            // Released for good; garbage collection retries the kernel part.
            Err(Error::Kernel { source, .. }) => {
                tracing::warn!(%source, "lease released, links not removed yet")
            }
            // A full disk must not block the deletion of a pod, which may free space. After a
            // restart the deleted namespace, or the runtime's GC, repeats the release.
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                if self.unrecorded().insert(key.clone()) {
                    tracing::warn!(error, "lease release not recorded, address kept");
                }
                self.cut_all(&lease);
            }
        }
        Ok(lease.attachments())
    }

    /// Frees leases that the runtime no longer has, and goes on after an error.
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

    /// Records both proofs: the runtime's release, then the kernel's.
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

    /// Removes a lease's links from the kernel; a failure is retried with the lease.
    fn cut_all(&self, lease: &Lease) {
        for share in &lease.shares {
            if let Err(error) = self.wires.cut(lease, &share.attachment) {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "attachment not removed, retried");
            }
        }
    }

    /// Keys whose release could not be recorded.
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
