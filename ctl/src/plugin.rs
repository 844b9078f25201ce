//! `kubectl beemesh`: the same program under the names that kubectl looks for.
//!
//! ```text
//! kubectl-beemesh ARGS           -> the verbs; usage says `kubectl beemesh`
//! kubectl_complete-beemesh ARGS  -> completions of the last word, in kubectl's own protocol
//! ```

use clap::{ArgMatches, Command};
use clap_complete::engine::complete;
use console::failure::Failure;
use console::output;
use std::{ffi::OsString, path::Path};

/// "No files": what the shell must not add by itself (cobra's `ShellCompDirectiveNoFileComp`).
const NO_FILES: &str = ":4";
/// The shell completes by itself, which means files.
const DEFAULT: &str = ":0";

/// Name by which the program was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Called {
    /// Its own.
    Beemesh,
    /// As a plugin of kubectl.
    Plugin,
    /// By kubectl, to complete a word.
    Completion,
}

impl Called {
    /// By the first argument of the process.
    pub(crate) fn by(program: Option<OsString>) -> Self {
        let program = program.unwrap_or_default();
        let stem = Path::new(&program)
            .file_stem()
            .and_then(|stem| stem.to_str());
        match stem {
            Some("kubectl-beemesh") => Self::Plugin,
            Some("kubectl_complete-beemesh") => Self::Completion,
            _ => Self::Beemesh,
        }
    }

    /// `command` with the name that users type.
    pub(crate) fn name(self, command: Command) -> Command {
        match self {
            Self::Beemesh => command,
            Self::Plugin | Self::Completion => renamed(
                command
                    .bin_name("kubectl beemesh")
                    .display_name("kubectl beemesh"),
            ),
        }
    }
}

/// Examples as one types them under kubectl.
fn renamed(command: Command) -> Command {
    let help = command.get_after_help().map(ToString::to_string);
    let command = match help {
        Some(help) => {
            let help = help.replace("  beemesh ", "  kubectl beemesh ");
            command.after_help(help.replace("| beemesh ", "| kubectl beemesh "))
        }
        None => command,
    };
    command.mut_subcommands(renamed)
}

/// Prints what the last of `arguments` may become, one to a line, and what the shell should do.
///
/// # Errors
/// [`Failure::Write`] when stdout cannot be written.
pub(crate) fn print_completions(
    mut command: Command,
    arguments: impl Iterator<Item = OsString>,
) -> Result<(), Failure> {
    let mut words = vec![OsString::from("beemesh")];
    words.extend(arguments);
    if words.len() == 1 {
        words.push(OsString::new());
    }
    let (last, takes_file) = (words.len() - 1, takes_file(&words));
    let candidates = match takes_file {
        true => Vec::new(),
        false => complete(&mut command, words, last, None).unwrap_or_default(),
    };
    let mut text = String::new();
    for candidate in candidates.iter().filter(|it| !it.is_hide_set()) {
        text += &candidate.get_value().to_string_lossy();
        if let Some(help) = candidate.get_help() {
            let help = help.to_string();
            text += "\t";
            text += help.lines().next().unwrap_or_default();
        }
        text.push('\n');
    }
    text += if takes_file { DEFAULT } else { NO_FILES };
    output::print(&text)
}

/// True where the word before the last takes a file: that is the shell's own business.
fn takes_file(words: &[OsString]) -> bool {
    let before = words.len().checked_sub(2).and_then(|at| words[at].to_str());
    matches!(before, Some("-f" | "--file" | "--against" | "--kubeconfig"))
}

/// Reads the command line.
pub(crate) fn matches(called: Called, command: Command) -> ArgMatches {
    called.name(command).get_matches()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_how_it_was_called() {
        #[rustfmt::skip]
        let cases = [
            ("/usr/bin/beemesh",                       Called::Beemesh),
            ("kubectl-beemesh",                        Called::Plugin),
            ("/root/.krew/bin/kubectl-beemesh",        Called::Plugin),
            ("C/kubectl-beemesh.exe",                  Called::Plugin),
            ("/usr/local/bin/kubectl_complete-beemesh", Called::Completion),
            ("",                                       Called::Beemesh),
        ];
        for (program, expected) in cases {
            assert_eq!(Called::by(Some(program.into())), expected, "{program}");
        }
    }
}
