//! Bounded cache of reviews with a short lifetime.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Most entries.
const MOST: usize = 4096;

/// Results of reviews by question.
pub(super) struct AuthCache<K, V> {
    lifetime: Duration,
    answers: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K: Eq + Hash, V: Clone> AuthCache<K, V> {
    /// A cache of answers that are good for so long.
    pub(super) fn new(lifetime: Duration) -> AuthCache<K, V> {
        AuthCache {
            lifetime,
            answers: Mutex::default(),
        }
    }

    pub(super) fn get(&self, question: &K, now: Instant) -> Option<V> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, answer) = answers.get(question)?;
        self.is_good(*since, now).then(|| answer.clone())
    }

    pub(super) fn insert(&self, question: K, answer: V, now: Instant) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST {
            answers.retain(|_, (since, _)| self.is_good(*since, now));
        }
        // Still full: to ask again costs less than to hold more.
        if answers.len() >= MOST {
            answers.clear();
        }
        answers.insert(question, (now, answer));
    }

    fn is_good(&self, since: Instant, now: Instant) -> bool {
        now.saturating_duration_since(since) < self.lifetime
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(10);

    #[test]
    fn an_answer_is_forgotten_in_time() {
        let cache = AuthCache::new(LIFETIME);
        let start = Instant::now();
        cache.insert("jane", true, start);
        assert_eq!(cache.get(&"jane", start), Some(true));
        assert_eq!(cache.get(&"joe", start), None);
        assert_eq!(cache.get(&"jane", start + LIFETIME), None);
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let cache = AuthCache::new(LIFETIME);
        let start = Instant::now();
        for question in 0..3 * MOST {
            cache.insert(question, (), start);
        }
        let count = cache.answers.lock().expect("no panic").len();
        assert!((1..=MOST).contains(&count), "{count}");
    }
}
