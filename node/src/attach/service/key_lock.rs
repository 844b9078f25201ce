//! Lock by key: one operation on each key at a time.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};

use cni::node_protocol::Key;

use super::{AttachService, lock};
use crate::attach::pod_links::PodWiring;

/// Guard of a locked key.
pub(super) struct Turn<'a> {
    key: Key,
    busy: &'a Mutex<HashSet<Key>>,
    idle: &'a Condvar,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(self.busy).remove(&self.key);
        self.idle.notify_all();
    }
}

impl<W: PodWiring> AttachService<W> {
    /// Waits for the lock of this key.
    pub(super) fn wait_for(&self, key: &Key) -> Turn<'_> {
        let mut busy = lock(&self.busy);
        while !busy.insert(key.clone()) {
            busy = self.idle.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
        Turn {
            key: key.clone(),
            busy: &self.busy,
            idle: &self.idle,
        }
    }
}
