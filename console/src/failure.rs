//! Outcomes of a verb: the exit codes that scripts rely on, and the failures behind them.

use std::io;
use std::process::ExitCode;

/// Exit codes of every verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The verb did what it was asked to do.
    Done = 0,
    /// It tried and failed, or found something wrong.
    Failed = 1,
    /// The command line or the input is invalid; nothing was done.
    Invalid = 2,
    /// A name does not exist in the topology, or there is no such file or lab.
    NotFound = 3,
    /// It did not happen in time.
    TimedOut = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a verb did not do what it was asked to do.
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
    /// The input is not what it should be; each line names file, field and what was expected.
    #[error("invalid input: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// Nothing has this name; the second part suggests what may have been meant.
    #[error("{0}")]
    NotFound(String),
    /// It was tried and did not succeed.
    #[error("{0}")]
    Failed(String),
    /// A time limit passed.
    #[error("{0}")]
    TimedOut(String),
    /// Everything has been told on stdout or stderr already.
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

    /// The exit code that stands for this failure.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Read { .. } | Self::Invalid(_) => Exit::Invalid,
            Self::NotFound(_) => Exit::NotFound,
            Self::Failed(_) => Exit::Failed,
            Self::TimedOut(_) => Exit::TimedOut,
            Self::Told(exit) => *exit,
            // The reader has had enough (`| head`): nothing is wrong.
            Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Write(_) => Exit::Failed,
        }
    }

    /// Lines for stderr, one entry for each thing that is wrong.
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

/// An error with its causes in one line; what an error says of its cause already is not said again.
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
