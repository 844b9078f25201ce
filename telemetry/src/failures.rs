//! Failures of work that is repeated until it succeeds.

use std::collections::BTreeMap;

/// Number of failures of one run, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures(BTreeMap<String, usize>);

impl Failures {
    /// Counts a failure.
    pub fn add(&mut self, reason: String) {
        *self.0.entry(reason).or_default() += 1;
    }

    /// True when nothing failed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes over the next run's failures, and logs the reasons that the run before did not have.
    pub fn replace(&mut self, next: Failures, message: &'static str) {
        let before = std::mem::replace(self, next);
        let news = self.0.iter();
        for (reason, count) in news.filter(|(reason, _)| !before.0.contains_key(*reason)) {
            tracing::warn!(count, error = reason, "{message}");
        }
    }
}

impl<const N: usize> From<[String; N]> for Failures {
    fn from(reasons: [String; N]) -> Self {
        let mut failures = Failures::default();
        reasons.into_iter().for_each(|reason| failures.add(reason));
        failures
    }
}
