//! Start of the daemon from its command line: capabilities, logging, engine.

use std::io::IsTerminal;

use telemetry::LogFormat;
use tracing_subscriber::EnvFilter;

use super::run;
use crate::config::Arguments;
use crate::error::Error;
use crate::host::capabilities;

impl Arguments {
    /// Logs to stderr and runs the engine until SIGTERM, which leaves the kernel state in place.
    ///
    /// # Errors
    /// The engine cannot start, or ends.
    pub fn run(self) -> Result<(), Error> {
        if self.kubernetes {
            // Before there is a second thread: capabilities are per thread.
            capabilities::confine()?;
        }
        // Failures at the API server are logged once by the caller, not at each retry by the
        // client.
        let quiet = format!("kube_client=off,kube_runtime=off,{}", self.log_level);
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(quiet));
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            // Colours only on a terminal: files and pipes are searched by programs.
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => log.init(),
            LogFormat::Json => log.json().flatten_event(true).init(),
        }
        if self.kubernetes {
            for obstacle in capabilities::obstacles() {
                tracing::error!(obstacle, "privilege missing");
            }
        }
        run(self.into())
    }
}
