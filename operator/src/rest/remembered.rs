//! Answers that are good for a short while, and not too many of them.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long an answer is good for: a right that is taken away lasts no longer than that.
const LIFETIME: Duration = Duration::from_secs(10);

/// Most answers that are kept.
const MOST: usize = 4096;

/// A cache of answers by question.
pub(super) struct Remembered<K, V> {
    answers: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    pub(super) fn new() -> Remembered<K, V> {
        Remembered {
            answers: Mutex::default(),
        }
    }

    pub(super) fn recall(&self, question: &K, now: Instant) -> Option<V> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, answer) = answers.get(question)?;
        is_good(*since, now).then(|| answer.clone())
    }

    pub(super) fn remember(&self, question: K, answer: V, now: Instant) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST {
            answers.retain(|_, (since, _)| is_good(*since, now));
        }
        // Still full of good ones: to ask again costs less than to hold more.
        if answers.len() >= MOST {
            answers.clear();
        }
        answers.insert(question, (now, answer));
    }
}

fn is_good(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < LIFETIME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_forgotten_in_time() {
        let remembered = Remembered::new();
        let start = Instant::now();
        remembered.remember("jane", true, start);
        assert_eq!(remembered.recall(&"jane", start), Some(true));
        assert_eq!(remembered.recall(&"joe", start), None);
        assert_eq!(remembered.recall(&"jane", start + LIFETIME), None);
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let remembered = Remembered::new();
        let start = Instant::now();
        for question in 0..3 * MOST {
            remembered.remember(question, (), start);
        }
        let count = remembered.answers.lock().expect("no panic").len();
        assert!((1..=MOST).contains(&count), "{count}");
    }
}
