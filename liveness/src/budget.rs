//! Packets that a node sends.

use std::time::Duration;

/// Packets/s that a node sends before it stretches intervals: 1,000 sessions at 100 ms.
pub const BUDGET: f64 = 10_000.0;

/// Step of the stretch: few sessions more or less change no interval.
const STEP: f64 = 1.25;

/// Factor of all intervals of a node, in steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stretch {
    steps: u32,
}

impl Stretch {
    /// The stretch for sessions that would send this many packets/s.
    pub(crate) fn for_rate(rate: f64) -> Stretch {
        let excess = (rate / BUDGET).max(1.0);
        // A rate that is met exactly needs no step more.
        let steps = (excess.ln() / STEP.ln() - 1e-9).ceil().max(0.0);
        Stretch {
            steps: steps as u32,
        }
    }

    /// A stretched interval.
    pub(crate) fn of(self, interval: Duration) -> Duration {
        interval.mul_f64(self.factor())
    }

    /// The factor, 1 or more.
    pub(crate) fn factor(self) -> f64 {
        STEP.powi(i32::try_from(self.steps).unwrap_or(i32::MAX))
    }
}

/// Packets/s of a session with this interval.
pub(crate) fn rate(interval: Duration) -> f64 {
    1.0 / interval.as_secs_f64().max(0.001)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_stretched_beyond_the_budget_only() {
        let each = rate(Duration::from_millis(100));
        let stretched =
            |sessions: f64| Stretch::for_rate(sessions * each).of(Duration::from_millis(100));
        for sessions in [1.0, 500.0, 1_000.0] {
            assert_eq!(stretched(sessions), Duration::from_millis(100));
        }
        for sessions in [1_001.0, 1_250.0, 2_000.0, 8_000.0, 1e6] {
            let interval = stretched(sessions);
            let sent = sessions * rate(interval);
            assert!(sent <= BUDGET * 1.001, "{sessions}: {sent}/s");
            assert!(
                sent > BUDGET / STEP * 0.999,
                "{sessions}: {sent}/s, more than needed"
            );
        }
    }
}
