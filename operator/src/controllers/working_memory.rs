//! Memory of the plans that are under way: a large one waits until there is room for it.

use std::sync::Arc;

use crds::size::MAX_EXPANDED_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory of one permit in bytes.
const UNIT: usize = 64 << 10;
/// Number of permits: one plan of the largest topology takes them all.
const UNITS: usize = MAX_EXPANDED_BYTES / UNIT;

/// Room for plans, of controllers and of the REST API. Clones share it.
#[derive(Clone, Debug)]
pub struct WorkingMemory(Arc<Semaphore>);

impl Default for WorkingMemory {
    fn default() -> WorkingMemory {
        WorkingMemory(Arc::new(Semaphore::new(UNITS)))
    }
}

impl WorkingMemory {
    /// Waits for the room of a plan whose Forwarders take `bytes`; it is free again when the permit is dropped.
    pub async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        let units = bytes.div_ceil(UNIT).clamp(1, UNITS);
        let units = u32::try_from(units).expect("a few thousand");
        let permit = Arc::clone(&self.0).acquire_many_owned(units).await;
        permit.expect("the semaphore is never closed")
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn large_plans_wait_for_one_another_and_small_ones_do_not() {
        let memory = WorkingMemory::default();
        let small: Vec<_> = [memory.take(0).await, memory.take(2_000_000).await].into();
        let half = memory.take(MAX_EXPANDED_BYTES / 2).await;
        assert!(memory.take(MAX_EXPANDED_BYTES / 2).now_or_never().is_none());
        drop(small);
        let other = memory.take(MAX_EXPANDED_BYTES / 2).await;
        assert!(memory.take(0).now_or_never().is_none());
        drop((half, other));
        assert!(
            memory
                .take(10 * MAX_EXPANDED_BYTES)
                .now_or_never()
                .is_some()
        );
    }
}
