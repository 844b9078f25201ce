//! Quota of log lines that others can cause.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Largest number of reasons in memory.
const MAX_KNOWN: usize = 256;
/// Time after which a reason is news again.
const MEMORY: Duration = Duration::from_secs(3600);
/// Period of the quota.
const PERIOD: Duration = Duration::from_secs(60);
/// Largest number of lines in a period.
const LINES: u32 = 10;

/// Each reason has a line once an hour, and all together have ten a minute.
#[derive(Debug)]
pub struct LogQuota<K> {
    /// Reasons with a line, the oldest first.
    known: VecDeque<(K, Instant)>,
    period: Option<Instant>,
    lines: u32,
    withheld: u64,
}

impl<K> Default for LogQuota<K> {
    fn default() -> Self {
        LogQuota {
            known: VecDeque::new(),
            period: None,
            lines: 0,
            withheld: 0,
        }
    }
}

impl<K: PartialEq> LogQuota<K> {
    /// Number of lines withheld over the quota since the last line, if `reason` has a line now.
    pub fn admit(&mut self, reason: K, now: Instant) -> Option<u64> {
        let is_over = |since: Instant, span| now.saturating_duration_since(since) >= span;
        self.known.retain(|(_, since)| !is_over(*since, MEMORY));
        if self.known.iter().any(|(known, _)| *known == reason) {
            return None;
        }
        if self.period.is_none_or(|began| is_over(began, PERIOD)) {
            (self.period, self.lines) = (Some(now), 0);
        }
        if self.lines >= LINES {
            self.withheld += 1;
            return None;
        }
        self.lines += 1;
        if self.known.len() >= MAX_KNOWN {
            self.known.pop_front();
        }
        self.known.push_back((reason, now));
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_alternate_have_one_line_each() {
        let (mut quota, now) = (LogQuota::default(), Instant::now());
        let alternating = (0..100).map(|turn| turn % 2);
        let lines = alternating.filter(|reason| quota.admit(*reason, now).is_some());
        assert_eq!(lines.count(), 2);
        assert_eq!(quota.admit(0, now + MEMORY), Some(0), "news after an hour");
    }

    #[test]
    fn ever_new_reasons_have_few_lines_and_are_counted() {
        let (mut quota, now) = (LogQuota::default(), Instant::now());
        let lines = (0..10_000).filter(|reason| quota.admit(*reason, now).is_some());
        assert_eq!(lines.count(), LINES as usize);
        assert_eq!(quota.admit(10_000, now + PERIOD), Some(9_990));
        assert_eq!(quota.admit(10_001, now + PERIOD), Some(0), "counted once");
        for turn in 0..1_000 {
            quota.admit(20_000 + turn, now + PERIOD * (2 + turn / LINES));
        }
        assert_eq!(quota.known.len(), MAX_KNOWN);
    }
}
