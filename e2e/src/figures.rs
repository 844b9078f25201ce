//! Measured figures: printed at the end, never asserted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Lines of a table, in the order in which they came. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Figures(Arc<Mutex<Vec<(String, String)>>>);

impl Figures {
    /// Adds a line.
    pub(crate) fn add(&self, what: &str, figure: impl Into<String>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push((what.to_owned(), figure.into()));
    }

    /// Adds a time, such as `12.3 s`.
    pub(crate) fn time(&self, what: &str, took: Duration) {
        self.add(what, format!("{:.1} s", took.as_secs_f64()));
    }

    /// All lines, in two columns.
    pub(crate) fn table(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let width = lines.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
        lines
            .iter()
            .map(|(what, figure)| format!("{what:width$}  {figure}\n"))
            .collect()
    }
}

/// Median and 99th percentile of `times` in milliseconds, such as `p50 2.6 ms, p99 4.1 ms (of 100)`.
pub(crate) fn percentiles(mut times: Vec<f64>) -> String {
    if times.is_empty() {
        return "none".to_owned();
    }
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let count = times.len();
    format!("p50 {:.1} ms, p99 {:.1} ms (of {count})", at(50), at(99))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let times = (1..=101).rev().map(f64::from).collect();
        assert_eq!(percentiles(times), "p50 51.0 ms, p99 100.0 ms (of 101)");
        assert_eq!(percentiles(vec![]), "none");
    }
}
