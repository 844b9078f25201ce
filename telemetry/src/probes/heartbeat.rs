//! Heartbeat of the executor: the check of liveness.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Check, Probes};

/// Time between two beats.
const BEAT: Duration = Duration::from_secs(1);

/// Longest time without a beat; then the check fails and the kubelet restarts the process.
const SILENCE: Duration = Duration::from_secs(60);

/// The heartbeat of a process.
#[derive(Debug)]
pub struct Heartbeat {
    started: Instant,
    /// Milliseconds from `started` to the last beat.
    beat: AtomicU64,
}

impl Heartbeat {
    /// Begins now.
    pub fn start() -> Arc<Heartbeat> {
        Arc::new(Heartbeat {
            started: Instant::now(),
            beat: AtomicU64::new(0),
        })
    }

    /// Probes of a process with this heartbeat, ready as soon as no check is against it.
    pub fn probes(self: &Arc<Heartbeat>) -> Probes {
        let heartbeat = Arc::clone(self);
        Probes::new("heartbeat", move || {
            heartbeat.check(heartbeat.started.elapsed())
        })
    }

    /// Beats for ever. To be spawned on the executor that reconciles: when no task of it gets its
    /// turn any more, the beat stops. It never asks the API server.
    pub async fn run(self: Arc<Heartbeat>) {
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
    fn a_process_without_a_heartbeat_is_not_alive() {
        let heartbeat = Heartbeat::start();
        assert_eq!(heartbeat.check(SILENCE), Check::Ok);
        let failed = Check::Failed("no task got its turn for 61 s".to_owned());
        assert_eq!(heartbeat.check(SILENCE + BEAT), failed);
    }
}
