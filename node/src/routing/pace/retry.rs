//! Failures and their retry pauses. Pure.
//!
//! Each kind of work has a pause of its own: a link that cannot be created holds back no route, and
//! a report that cannot be written holds back nothing else.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// First pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Kinds of work on a Forwarder that fail and retry independently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::routing) enum Work {
    /// Namespace, links and addresses.
    Structure,
    /// Routes.
    Routes,
    /// Link-state report to other nodes.
    Report,
    /// Status of the Forwarder object.
    Status,
}

impl Work {
    fn longest_pause(self) -> Duration {
        match self {
            Work::Structure | Work::Routes => Duration::from_secs(30),
            // Until a dead link is reported, other nodes send into it.
            Work::Report => Duration::from_secs(1),
            Work::Status => Duration::from_secs(5),
        }
    }
}

/// Failed work of one Forwarder.
#[derive(Debug, Default)]
pub(in crate::routing) struct Retries {
    by_work: BTreeMap<Work, Retry>,
}

#[derive(Debug, Default)]
struct Retry {
    attempts: u32,
    /// End of the pause; `None` when it is over.
    at: Option<Instant>,
    problem: String,
}

impl Retries {
    /// Records a failure and starts a pause; true when the reason changed.
    pub(in crate::routing) fn failed(&mut self, work: Work, problem: String, now: Instant) -> bool {
        let retry = self.by_work.entry(work).or_default();
        let pause = FIRST_PAUSE
            .saturating_mul(1 << retry.attempts.min(16))
            .min(work.longest_pause());
        retry.attempts = retry.attempts.saturating_add(1);
        retry.at = Some(now + pause);
        let is_news = retry.problem != problem;
        retry.problem = problem;
        is_news
    }

    /// Clears a failure; true when there was one.
    pub(in crate::routing) fn succeeded(&mut self, work: Work) -> bool {
        self.by_work.remove(&work).is_some()
    }

    /// True during a pause.
    pub(in crate::routing) fn rests(&self, work: Work) -> bool {
        self.by_work
            .get(&work)
            .is_some_and(|retry| retry.at.is_some())
    }

    /// Ends a pause because of new input.
    pub(in crate::routing) fn hurry(&mut self, work: Work) {
        if let Some(retry) = self.by_work.get_mut(&work) {
            retry.at = None;
        }
    }

    /// Ends the expired pauses and returns their work.
    pub(in crate::routing) fn wake(&mut self, now: Instant) -> Vec<Work> {
        let is_over = |retry: &Retry| retry.at.is_some_and(|at| now >= at);
        let over = self.by_work.iter_mut();
        over.filter(|(_, retry)| is_over(retry))
            .map(|(work, retry)| {
                retry.at = None;
                *work
            })
            .collect()
    }

    /// End of the first pause.
    pub(in crate::routing) fn due(&self) -> Option<Instant> {
        self.by_work.values().filter_map(|retry| retry.at).min()
    }

    /// All failures in one line, but for that of the status itself; `None` without a failure.
    pub(in crate::routing) fn problem(&self) -> Option<String> {
        let works = self.by_work.iter();
        let works = works.filter(|(work, _)| **work != Work::Status);
        let problems: Vec<&str> = works.map(|(_, retry)| &*retry.problem).collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_of_their_own() {
        #[rustfmt::skip]
        let cases = [
            (Work::Structure, [100, 200, 400, 800, 1_600], 30_000),
            (Work::Routes,    [100, 200, 400, 800, 1_600], 30_000),
            (Work::Report,    [100, 200, 400, 800, 1_000], 1_000),
            (Work::Status,    [100, 200, 400, 800, 1_600], 5_000),
        ];
        for (work, first, last) in cases {
            let mut retries = Retries::default();
            let now = Instant::now();
            let mut pause = || {
                retries.failed(work, "why".to_owned(), now);
                retries.due().unwrap().duration_since(now).as_millis()
            };
            assert_eq!(first.map(|_| pause()), first, "{work:?}");
            assert_eq!((0..100).map(|_| pause()).last(), Some(last), "{work:?}");
            assert!(retries.succeeded(work));
            retries.failed(work, "why".to_owned(), now);
            assert_eq!(retries.due(), Some(now + FIRST_PAUSE), "{work:?}");
        }
    }

    #[test]
    fn each_work_rests_by_itself() {
        let mut retries = Retries::default();
        let now = Instant::now();
        assert!(retries.failed(Work::Report, "full".to_owned(), now));
        assert!(retries.failed(Work::Structure, "port taken".to_owned(), now));
        assert!(!retries.failed(Work::Structure, "port taken".to_owned(), now));
        assert!(!retries.rests(Work::Routes));
        assert_eq!(retries.problem().unwrap(), "port taken; full");

        assert!(!retries.succeeded(Work::Routes));
        assert_eq!(retries.due(), Some(now + FIRST_PAUSE));
        assert_eq!(retries.wake(now + FIRST_PAUSE), [Work::Report]);
        assert!(retries.rests(Work::Structure) && !retries.rests(Work::Report));
        retries.hurry(Work::Structure);
        assert_eq!((retries.due(), retries.wake(now)), (None, Vec::new()));
        assert_eq!(
            retries.problem().unwrap(),
            "port taken; full",
            "until it is well"
        );

        assert!(retries.succeeded(Work::Structure) && retries.succeeded(Work::Report));
        assert_eq!(retries.problem(), None);
    }
}
