//! Progress of a verb on stderr: a moving line on a terminal, plain lines for logs.

use console::terminal::{escape, say};
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The progress of one verb. Gone from the terminal when dropped.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    is_quiet: bool,
}

impl Progress {
    /// Progress output; silent when `is_quiet`.
    pub(crate) fn new(is_quiet: bool) -> Progress {
        let bar = (!is_quiet && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}");
            let bar = ProgressBar::new_spinner()
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Progress { bar, is_quiet }
    }

    /// Starts a new step: a new line in a log.
    pub(crate) fn step(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(escape(what).into_owned()),
            None if self.is_quiet => {}
            None => say(what),
        }
    }

    /// Updates the current step: only on a terminal.
    pub(crate) fn update(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(escape(what).into_owned());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
