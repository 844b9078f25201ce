//! Progress bar of work that takes more than a second: on stderr, and only on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// Delay before the bar appears.
const QUIET: Duration = Duration::from_secs(1);

/// A bar that appears after a second and goes when it is dropped.
pub struct Progress {
    started: Instant,
    bar: ProgressBar,
    done: u64,
}

impl Progress {
    /// A bar for `total` steps of `what`.
    pub fn new(what: &'static str, total: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self {
            started: Instant::now(),
            bar,
            done: 0,
        }
    }

    /// Records `steps` more steps.
    pub fn advance(&mut self, steps: usize) {
        self.done += steps as u64;
        // A bar between the lines of a table on the same terminal would garble both.
        let visible = io::stderr().is_terminal() && !io::stdout().is_terminal();
        if self.bar.is_hidden() && visible && self.started.elapsed() > QUIET {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(self.done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
