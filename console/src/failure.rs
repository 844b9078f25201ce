//! Outcomes of a verb: the exit codes that scripts rely on, and the failures behind them.

use std::io;
use std::process::ExitCode;

/// Exit codes of every verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Done = 0,
    /// The verb failed, or found a problem.
    Failed = 1,
    /// The command line or the input is invalid; nothing was done.
    Invalid = 2,
    /// A name does not exist in the topology, or there is no such file or lab.
    NotFound = 3,
    /// Timeout.
    TimedOut = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Failure of a verb.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file could not be read.
    #[error("failed to read {file}")]
    Read {
        /// The file as it was given.
        file: String,
        /// Error of the kernel.
        source: io::Error,
    },
    /// Invalid input; each line names file, field and expected value.
    #[error("invalid input: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// Unknown name; the message suggests a similar one.
    #[error("{0}")]
    NotFound(String),
    /// The verb failed.
    #[error("{0}")]
    Failed(String),
    /// Timeout.
    #[error("{0}")]
    TimedOut(String),
    /// The failure is already reported on stdout or stderr.
    #[error("exit code {}", *.0 as u8)]
    Told(Exit),
    /// stdout could not be written.
    #[error("failed to write to stdout")]
    Write(#[source] io::Error),
}

impl Failure {
    /// [`Failure::Failed`] with the whole chain of causes in one line.
    pub fn failed(error: &dyn std::error::Error) -> Self {
        Self::Failed(chain(error))
    }

    /// Exit code of this failure.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Read { .. } | Self::Invalid(_) => Exit::Invalid,
            Self::NotFound(_) => Exit::NotFound,
            Self::Failed(_) => Exit::Failed,
            Self::TimedOut(_) => Exit::TimedOut,
            Self::Told(exit) => *exit,
            // The reader has closed the pipe (`| head`): no failure.
            Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Write(_) => Exit::Failed,
        }
    }

    /// Lines for stderr, one entry for each problem.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Invalid(problems) => problems.clone(),
            Self::Told(_) => Vec::new(),
            Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => Vec::new(),
            Self::Read { source, .. } | Self::Write(source) => vec![format!("{self}: {source}")],
            Self::NotFound(_) | Self::Failed(_) | Self::TimedOut(_) => vec![self.to_string()],
        }
    }
}

/// Error chain in one line; a cause that an error's message already contains is not repeated.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        match text.ends_with(&cause) {
            true => text,
            false => format!("{text}: {cause}"),
        }
    })
}
