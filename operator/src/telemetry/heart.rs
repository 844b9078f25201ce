//! What liveness goes by.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ::telemetry::{Check, Probes};

/// Time between two beats.
const BEAT: Duration = Duration::from_secs(1);

/// A heart that is silent for longer does not beat: the kubelet restarts the process.
const SILENCE: Duration = Duration::from_secs(60);

/// The heart of a process that has just started.
#[derive(Debug)]
pub struct Heart {
    started: Instant,
    /// Milliseconds from `started` to the last beat.
    beat: AtomicU64,
}

impl Heart {
    /// Begins now.
    pub fn start() -> Arc<Heart> {
        Arc::new(Heart {
            started: Instant::now(),
            beat: AtomicU64::new(0),
        })
    }

    /// Probes of a process with this heart, ready as soon as no check is against it.
    pub fn probes(self: &Arc<Heart>) -> Probes {
        let heart = Arc::clone(self);
        Probes::new("heartbeat", move || heart.check(heart.started.elapsed()))
    }

    /// Beats for ever. To be spawned on the executor that reconciles: when no task of it gets its
    /// turn any more, the beat stops. It never asks the API server.
    pub async fn beat(self: Arc<Heart>) {
        let mut ticks = tokio::time::interval(BEAT);
        loop {
            ticks.tick().await;
            let now = self.started.elapsed().as_millis();
            self.beat.store(now as u64, Ordering::Relaxed);
        }
    }

    fn check(&self, now: Duration) -> Check {
        let beat = Duration::from_millis(self.beat.load(Ordering::Relaxed));
        let silence = now.saturating_sub(beat);
        let is_silent = silence > SILENCE;
        Check::failed(
            is_silent.then(|| format!("no task got its turn for {} s", silence.as_secs())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_heart_ends_liveness() {
        let heart = Heart::start();
        assert_eq!(heart.check(SILENCE), Check::Ok);
        let told = Check::Failed("no task got its turn for 61 s".to_owned());
        assert_eq!(heart.check(SILENCE + BEAT), told);
    }
}
