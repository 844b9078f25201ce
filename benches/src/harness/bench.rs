//! A bench: the names it answers for, and how it is run.

use std::{num::NonZeroUsize, path::PathBuf, time::Instant};

use anyhow::{Result, bail};

use crate::harness::figure::Figure;

/// Directories and output file of a run.
pub(crate) struct Context {
    /// Directory of the static release programs.
    pub(crate) programs: PathBuf,
    /// Directory of this run; `benches/run` removes its remains at the end.
    pub(crate) work: PathBuf,
    /// The JSON file to write.
    pub(crate) output: PathBuf,
    /// A Python that can import the peer; none when no bench that needs it was chosen.
    pub(crate) python: Option<PathBuf>,
    /// Number of rounds of the benches that take one; their own choice when absent.
    pub(crate) rounds: Option<NonZeroUsize>,
}

impl Context {
    /// Path of one of our programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Number of rounds, `usual` unless the command line says another.
    pub(crate) fn rounds(&self, usual: usize) -> usize {
        self.rounds.map_or(usual, NonZeroUsize::get)
    }
}

/// Runs the bench and returns its figures.
type Measure = dyn Fn(&Context) -> Result<Vec<Figure>>;

/// One set-up that yields the figures of one or more names.
pub(crate) struct Bench {
    /// Names of the figures.
    pub(crate) names: Vec<String>,
    measure: Box<Measure>,
}

impl Bench {
    /// A bench that yields figures of these names.
    pub(crate) fn new<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
        measure: impl Fn(&Context) -> Result<Vec<Figure>> + 'static,
    ) -> Self {
        Self {
            names: names.into_iter().map(Into::into).collect(),
            measure: Box::new(measure),
        }
    }
}

/// Runs the chosen benches (all, when none is named), goes on after a failure, and says whether
/// there was one.
///
/// # Errors
/// When a chosen name does not exist; nothing is run then.
pub(crate) fn run(
    benches: &[Bench],
    context: &Context,
    chosen: &[String],
) -> Result<(Vec<Figure>, bool)> {
    if let Some(unknown) = chosen
        .iter()
        .find(|name| !benches.iter().any(|bench| bench.names.contains(name)))
    {
        bail!("no bench is called {unknown}; --list shows all names");
    }
    let is_wanted = |name: &String| chosen.is_empty() || chosen.contains(name);
    let (mut figures, mut failed) = (vec![], false);
    for bench in benches {
        if !bench.names.iter().any(is_wanted) {
            continue;
        }
        let names = bench.names.join(", ");
        eprint!("{names} ... ");
        let start = Instant::now();
        match (bench.measure)(context) {
            Ok(found) => {
                eprintln!("{:.0} s", start.elapsed().as_secs_f64());
                // A run of hours that is stopped has not been in vain.
                found.iter().for_each(|figure| eprintln!("  {figure}"));
                figures.extend(found.into_iter().filter(|figure| is_wanted(&figure.name)));
            }
            Err(error) => {
                eprintln!("failed: {error:#}");
                failed = true;
            }
        }
    }
    Ok((figures, failed))
}
