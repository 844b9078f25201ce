//! Queue of keys to reconcile: each once, and not before its time.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// A set that gives its members out one by one when they are due. Bounded by the number of things there are.
pub struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    earlier: Notify,
}

struct Waiting<T> {
    by_time: BTreeSet<(Instant, T)>,
    due: HashMap<T, Instant>,
}

impl<T: Clone + Ord + Hash> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue {
            waiting: Mutex::new(Waiting {
                by_time: BTreeSet::new(),
                due: HashMap::new(),
            }),
            earlier: Notify::new(),
        }
    }
}

impl<T: Clone + Ord + Hash> Queue<T> {
    /// Puts `thing` in, due after `delay`; when it is in already the earlier time counts.
    pub fn push(&self, thing: T, delay: Duration) {
        let at = Instant::now() + delay;
        let mut waiting = self.waiting();
        match waiting.due.get(&thing).copied() {
            Some(due) if due <= at => return,
            Some(due) => {
                waiting.by_time.remove(&(due, thing.clone()));
            }
            None => {}
        }
        waiting.due.insert(thing.clone(), at);
        waiting.by_time.insert((at, thing));
        drop(waiting);
        self.earlier.notify_one();
    }

    /// Waits for the next thing that is due, and takes it out. For one caller at a time.
    pub async fn next(&self) -> T {
        loop {
            let first = self.waiting().by_time.first().map(|(at, _)| *at);
            match first {
                Some(at) if at <= Instant::now() => {
                    if let Some(thing) = self.take() {
                        return thing;
                    }
                }
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = self.earlier.notified() => {}
                    }
                }
                None => self.earlier.notified().await,
            }
        }
    }

    /// Number of queued keys.
    pub fn len(&self) -> usize {
        self.waiting().due.len()
    }

    /// True for an empty queue.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take(&self) -> Option<T> {
        let mut waiting = self.waiting();
        let (_, thing) = waiting.by_time.pop_first()?;
        waiting.due.remove(&thing);
        Some(thing)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn gives_each_thing_once_at_its_earliest_time() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.push("late", Duration::from_secs(9));
        queue.push("soon", Duration::from_secs(5));
        queue.push("soon", Duration::from_secs(1));
        queue.push("soon", Duration::from_secs(7));
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.next().await, "soon");
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        assert_eq!(queue.next().await, "late");
        assert_eq!(start.elapsed(), Duration::from_secs(9));
        assert!(queue.is_empty());
    }
}
