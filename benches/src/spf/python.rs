//! The peer in Python: a process that answers one line for each line it is asked.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use topology::ForwarderIndex;

/// Name in `bench.json`.
pub(super) const NAME: &str = "networkit";

const SCRIPT: &str = include_str!("../../peers/spf.py");

/// A running `benches/peers/spf.py`.
pub(super) struct Peer {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts it on a graph in a file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(python: &Path, graph: &Path) -> Result<Self> {
        let mut process = Command::new(python)
            .args(["-c", SCRIPT])
            .arg(graph)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {}", python.display()))?;
        let questions = process.stdin.take().expect("it was asked for");
        let answers = BufReader::new(process.stdout.take().expect("it was asked for"));
        Ok(Self {
            process,
            questions,
            answers,
        })
    }

    /// Time of one of `repeat` runs from `root`, taken inside Python around the library's call.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn time(&mut self, root: ForwarderIndex, repeat: usize) -> Result<Duration> {
        self.ask(root, repeat).map(|(elapsed, _)| elapsed)
    }

    /// Fails unless its distances from `root` add up to `sum`.
    ///
    /// # Errors
    /// When they do not.
    pub(super) fn check(&mut self, root: ForwarderIndex, sum: u64) -> Result<()> {
        let (_, theirs) = self.ask(root, 1)?;
        ensure!(theirs == sum, "sum of distances: {sum}, {NAME} {theirs}");
        Ok(())
    }

    fn ask(&mut self, root: ForwarderIndex, repeat: usize) -> Result<(Duration, u64)> {
        writeln!(self.questions, "{} {repeat}", root.0)?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::parse::<u64>);
        match (words.next(), words.next()) {
            (Some(Ok(nanoseconds)), Some(Ok(sum))) => Ok((Duration::from_nanos(nanoseconds), sum)),
            _ => anyhow::bail!("{NAME} does not answer: {line:?}"),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
