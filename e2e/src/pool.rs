//! Pool of parallel clusters: a story runs on the first free one.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::world::World;

/// Worlds that no story has at the moment.
pub(crate) struct Pool {
    free: Mutex<Vec<World>>,
    returned: Condvar,
}

/// A world that goes back when its story is over, however it ends.
pub(crate) struct Borrowed<'a> {
    pool: &'a Pool,
    pub(crate) world: World,
}

impl Pool {
    pub(crate) fn new(worlds: Vec<World>) -> Self {
        Self {
            free: Mutex::new(worlds),
            returned: Condvar::new(),
        }
    }

    /// Waits for a world that is free.
    pub(crate) fn borrow(&self) -> Borrowed<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .returned
            .wait_while(free, |free| free.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let world = free.pop().expect("there is one");
        Borrowed { pool: self, world }
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let free = self.pool.free.lock();
        free.unwrap_or_else(PoisonError::into_inner)
            .push(self.world.clone());
        self.pool.returned.notify_one();
    }
}
