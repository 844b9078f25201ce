//! One step at a time on each key.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};

use cni::agent::Key;

use super::{AttachService, lock};
use crate::attach::pod_links::PodWiring;

/// Holds a key: nobody else takes a step on it.
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
    /// Waits until nobody else takes a step on this key.
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
