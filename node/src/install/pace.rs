//! Rate limit for rewriting a conflist that another program keeps changing. Pure.

use std::time::{Duration, Instant};

use super::plan::Conflist;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// Quiet time after which the next repair is immediate again.
const PEACE: Duration = Duration::from_secs(600);

/// Last write, and the pause before the next write of the same content.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    bytes: Vec<u8>,
    at: Instant,
    pause: Duration,
}

impl Pace {
    /// Pause before this change; `None` when it may be done. The first repair is immediate.
    pub(super) fn wait(&self, conflist: &Conflist, now: Instant) -> Option<Duration> {
        let Conflist::Write(bytes) = conflist else {
            return None;
        };
        let last = self.last.as_ref().filter(|last| last.bytes == *bytes)?;
        let wait = (last.at + last.pause).saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }

    /// Records that the change was done.
    pub(super) fn done(&mut self, conflist: &Conflist, now: Instant) {
        let Conflist::Write(bytes) = conflist else {
            return;
        };
        let pause = match &self.last {
            Some(last) if last.bytes == *bytes && now.duration_since(last.at) < PEACE => {
                (last.pause * 2).clamp(FIRST, LONGEST)
            }
            Some(_) | None => Duration::ZERO,
        };
        let bytes = bytes.clone();
        self.last = Some(Last {
            bytes,
            at: now,
            pause,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_undone_again_and_again_is_repaired_less_and_less_often() {
        let list = Conflist::Write(b"a".to_vec());
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..9 {
            let wait = pace.wait(&list, now);
            waits.push(wait.unwrap_or_default().as_secs());
            now += wait.unwrap_or_default();
            assert_eq!(pace.wait(&list, now), None);
            pace.done(&list, now);
        }
        assert_eq!(waits, [0, 0, 1, 2, 4, 8, 16, 32, 60]);
        let other = Conflist::Write(b"b".to_vec());
        assert_eq!(pace.wait(&other, now), None, "the primary changed");
        pace.done(&list, now + PEACE);
        assert_eq!(pace.wait(&list, now + PEACE), None, "peace for a while");
    }
}
