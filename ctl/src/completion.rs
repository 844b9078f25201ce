//! `beemesh completion`: scripts that complete verbs and options in a shell.

use clap::Command;
use console::failure::Failure;
use console::output;

const EXAMPLES: &str = "\
Examples:
  beemesh completion bash > /etc/bash_completion.d/beemesh
  beemesh completion zsh > \"${fpath[1]}/_beemesh\"
  beemesh completion fish > ~/.config/fish/completions/beemesh.fish";

/// Shells with a completion script.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Arguments of `beemesh completion`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Shell that the script is for
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completion script of `command`.
///
/// # Errors
/// [`Failure::Write`] when stdout cannot be written.
pub(crate) fn run(args: &Args, mut command: Command) -> Result<(), Failure> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "beemesh", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
