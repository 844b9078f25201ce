//! The start of the daemon from its command line: capabilities, then the log, then everything else.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::run;
use crate::config::{Arguments, LogFormat};
use crate::error::Error;
use crate::host::capabilities;

impl Arguments {
    /// Logs to stderr and runs the engine until SIGTERM, which leaves the kernel as it is.
    ///
    /// # Errors
    /// When the engine cannot start or cannot go on.
    pub fn run(self) -> Result<(), Error> {
        if self.kubernetes {
            // Before there is a second thread: rights are a thread's own.
            capabilities::confine()?;
        }
        // What fails at the API server is said once by whoever asked, not at each try by the client.
        let quiet = format!("kube_client=off,kube_runtime=off,{}", self.log_level);
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(quiet));
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            // Colours are for people at a terminal: a file or a pipe is searched by programs.
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => log.init(),
            LogFormat::Json => log.json().flatten_event(true).init(),
        }
        if self.kubernetes {
            for obstacle in capabilities::obstacles() {
                tracing::error!(obstacle, "the node cannot be looked after");
            }
        }
        run(self.into())
    }
}
