//! Problems of a declaration, with path and expected value.

use std::fmt;

/// One thing wrong in one place of one file.
///
/// `Display` is `FILE: PATH: MESSAGE`; an empty path (the whole document) is left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub struct Problem {
    /// The file as the user named it; empty where there is none.
    pub file: String,
    /// The field, such as `spec.links[2].weight`.
    pub path: String,
    /// Problem and expected value.
    pub message: String,
}

impl Problem {
    /// A problem at `path`, in no file yet.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem {
            file: String::new(),
            path: path.into(),
            message: message.into(),
        }
    }

    /// The same problem, found in `file`.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> Problem {
        self.file = file.to_owned();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.file, &self.path] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

/// Largest number of reported problems.
pub const MAX_PROBLEMS: usize = 200;

/// The first [`MAX_PROBLEMS`], and how many more there are.
pub(crate) fn bounded(mut problems: Vec<Problem>) -> Vec<Problem> {
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    if more > 0 {
        problems.truncate(MAX_PROBLEMS);
        let file = problems[0].file.clone();
        problems.push(Problem::new("", format!("and {more} more problems")).in_file(&file));
    }
    problems
}
