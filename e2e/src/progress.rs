//! Progress of a run: stories that run, stories that have not begun, and the names of both when there is no more time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::stories::Story;

/// Progress of one run. Clones share it.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Inner>);

struct Inner {
    started: Instant,
    /// The time after which only stories of the core set begin; `None`: all begin.
    limit: Option<Duration>,
    is_cut_off: AtomicBool,
    waiting: Mutex<BTreeSet<&'static str>>,
    running: Mutex<BTreeSet<&'static str>>,
}

impl Progress {
    /// Progress of a run of `stories` that starts now.
    pub(crate) fn new(stories: &[&'static Story], limit: Option<Duration>) -> Self {
        Self(Arc::new(Inner {
            started: Instant::now(),
            limit,
            is_cut_off: AtomicBool::new(false),
            waiting: Mutex::new(stories.iter().map(|story| story.name).collect()),
            running: Mutex::default(),
        }))
    }

    /// True when `story` may begin; false when its time is over.
    pub(crate) fn begin(&self, story: &Story) -> bool {
        let is_late = self
            .0
            .limit
            .is_some_and(|it| self.0.started.elapsed() >= it);
        self.stay_when_cut_off();
        lock(&self.0.waiting).remove(story.name);
        if is_late && !story.is_core {
            return false;
        }
        lock(&self.0.running).insert(story.name);
        true
    }

    /// The story has ended by itself. After a cut-off this never returns: a story whose cluster is taken away has not failed.
    pub(crate) fn end(&self, story: &Story) {
        self.stay_when_cut_off();
        lock(&self.0.running).remove(story.name);
    }

    /// Ends the run: stories that run are `cut off`, those that have not begun `left out`. Returns a line for each.
    pub(crate) fn cut_off(&self) -> Vec<String> {
        self.0.is_cut_off.store(true, Ordering::SeqCst);
        let named = |what: &str, names: &BTreeSet<&str>| {
            let lines = names.iter().map(|name| format!("{what}: {name}"));
            lines.collect::<Vec<_>>()
        };
        let mut lines = named("cut off", &lock(&self.0.running));
        lines.append(&mut named("left out", &lock(&self.0.waiting)));
        lines
    }

    fn stay_when_cut_off(&self) {
        while self.0.is_cut_off.load(Ordering::SeqCst) {
            std::thread::park();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stories;

    #[test]
    fn after_the_limit_only_the_core_set_begins() {
        let all = stories::all();
        let (core, others): (Vec<&Story>, Vec<&Story>) =
            all.iter().copied().partition(|story| story.is_core);
        let late = Progress::new(&all, Some(Duration::ZERO));
        assert!(core.iter().all(|story| late.begin(story)));
        assert!(!others.iter().any(|story| late.begin(story)));
        let unlimited = Progress::new(&all, None);
        assert!(all.iter().all(|story| unlimited.begin(story)));
    }

    #[test]
    fn a_cut_off_names_what_runs_and_what_has_not_begun() {
        let all = stories::all();
        let progress = Progress::new(&all[..4], None);
        for story in &all[..2] {
            assert!(progress.begin(story));
        }
        progress.end(all[0]);
        let (running, waiting) = (all[1].name, [all[2].name, all[3].name]);
        let lines: BTreeSet<String> = progress.cut_off().into_iter().collect();
        let mut expected = BTreeSet::from([format!("cut off: {running}")]);
        expected.extend(waiting.map(|name| format!("left out: {name}")));
        assert_eq!(lines, expected);
    }
}
