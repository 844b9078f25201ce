//! Parameters of a session.

use core::num::NonZeroU8;

use crate::time::Interval;

/// Shortest interval that a session takes: 1 ms, so that no parameter makes its caller spin.
pub const MIN_INTERVAL: Interval = Interval::from_millis(1);

/// Parameters of one end of a session; checked when made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    desired_min_tx: Interval,
    required_min_rx: Interval,
    detect_multiplier: NonZeroU8,
    is_control_plane_independent: bool,
}

/// A parameter out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an interval is {interval}, at least {MIN_INTERVAL} is needed")]
pub struct ConfigError {
    /// The interval.
    pub interval: Interval,
}

impl Config {
    /// Parameters: the interval at which we would like to send, the shortest one at which we can receive, and the number of our
    /// intervals after which the peer takes silence for a failure.
    ///
    /// # Errors
    /// [`ConfigError`]: an interval below [`MIN_INTERVAL`].
    pub const fn new(
        desired_min_tx: Interval,
        required_min_rx: Interval,
        detect_multiplier: NonZeroU8,
    ) -> Result<Self, ConfigError> {
        let shorter = if desired_min_tx.micros() < required_min_rx.micros() {
            desired_min_tx
        } else {
            required_min_rx
        };
        if shorter.micros() < MIN_INTERVAL.micros() {
            return Err(ConfigError { interval: shorter });
        }
        Ok(Self {
            desired_min_tx,
            required_min_rx,
            detect_multiplier,
            is_control_plane_independent: false,
        })
    }

    /// The same with the C bit: true only where packets go on while the routing daemon is away.
    pub const fn control_plane_independent(mut self, is_so: bool) -> Self {
        self.is_control_plane_independent = is_so;
        self
    }

    /// The interval at which we would like to send.
    pub const fn desired_min_tx(&self) -> Interval {
        self.desired_min_tx
    }

    /// The shortest interval at which we can receive.
    pub const fn required_min_rx(&self) -> Interval {
        self.required_min_rx
    }

    /// The number of our intervals after which the peer takes silence for a failure.
    pub const fn detect_multiplier(&self) -> NonZeroU8 {
        self.detect_multiplier
    }

    /// The C bit.
    pub const fn is_control_plane_independent(&self) -> bool {
        self.is_control_plane_independent
    }
}
