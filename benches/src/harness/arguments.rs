//! The command line: `beemesh-bench --list`, or what `benches/run` hands over and names of benches.

use std::{num::NonZeroUsize, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::harness::bench::Context;

/// The command line, read.
pub(crate) struct Arguments {
    /// Task to run.
    pub(crate) task: Task,
}

/// Tasks.
pub(crate) enum Task {
    /// Print the names.
    List,
    /// Measure.
    Measure {
        /// Directories and output file.
        context: Context,
        /// Names; none means all.
        chosen: Vec<String>,
    },
}

impl Arguments {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// Unknown options, options without a value, and missing ones.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let (mut programs, mut work, mut output, mut python) = (None, None, None, None);
        let mut rounds = None;
        let mut chosen = vec![];
        while let Some(argument) = arguments.next() {
            let slot = match argument.as_str() {
                "--list" => return Ok(Self { task: Task::List }),
                "--programs" => &mut programs,
                "--work" => &mut work,
                "--output" => &mut output,
                "--python" => &mut python,
                "--rounds" => &mut rounds,
                option if option.starts_with('-') => bail!("unknown option {option}"),
                name => {
                    chosen.push(name.to_owned());
                    continue;
                }
            };
            let value = arguments
                .next()
                .with_context(|| format!("{argument} takes a value"))?;
            *slot = Some(PathBuf::from(value));
        }
        let context = Context {
            programs: programs.context("--programs DIR is missing")?,
            work: work.context("--work DIR is missing")?,
            output: output.context("--output FILE is missing")?,
            python,
            rounds: rounds.map(|text| number(&text)).transpose()?,
        };
        Ok(Self {
            task: Task::Measure { context, chosen },
        })
    }
}

fn number(text: &std::path::Path) -> Result<NonZeroUsize> {
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.context("--rounds takes a number, 1 or more")
}
