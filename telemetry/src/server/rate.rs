//! Rate of something that may come in bursts.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// So many in a second, and so many at once.
#[derive(Debug)]
pub struct Rate {
    most: u32,
    /// Rest at a time; the most before the first.
    left: Mutex<Option<(f64, Instant)>>,
}

impl Rate {
    /// A rate of `most` a second, of which none is taken yet.
    pub fn new(most: u32) -> Rate {
        Rate {
            most,
            left: Mutex::default(),
        }
    }

    /// Takes one; false when there is none left.
    pub fn take(&self, now: Instant) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let most = f64::from(self.most);
        let there = left.map_or(most, |(there, since)| {
            let passed = now.saturating_duration_since(since).as_secs_f64();
            most.min(there + passed * most)
        });
        let is_there = there >= 1.0;
        *left = Some((there - f64::from(u8::from(is_there)), now));
        is_there
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn there_are_so_many_at_once_and_in_each_second() {
        let (rate, start) = (Rate::new(10), Instant::now());
        let taken = |now| (0..100).filter(|_| rate.take(now)).count();
        assert_eq!(taken(start), 10);
        assert_eq!(taken(start + Duration::from_millis(500)), 5);
        assert_eq!(taken(start + Duration::from_secs(60)), 10);
    }
}
