//! `beemesh-node`: the daemon of one node, and `beemesh-node inspect`, its diagnosis.

use clap::Parser;
use std::process::ExitCode;

/// Runs the mesh on this node and serves the CNI plugin
#[derive(Debug, Parser)]
#[command(
    name = "beemesh-node",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Command {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    daemon: Option<node::Arguments>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print the state of this node as JSON (run by `beemesh` in the daemon's pod)
    Inspect(node::diagnose::Arguments),
}

fn main() -> ExitCode {
    let command = Command::parse();
    let result = match (command.verb, command.daemon) {
        (Some(Verb::Inspect(arguments)), _) => arguments.run().map_err(anyhow::Error::from),
        (None, Some(arguments)) => arguments.run().map_err(anyhow::Error::from),
        (None, None) => unreachable!("clap asks for the name of the node"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Command, clap::Error> {
        Command::try_parse_from(words.split_whitespace())
    }

    #[test]
    fn one_program_is_the_daemon_and_its_diagnosis() {
        let daemon = parse("beemesh-node --kubernetes --name=n1").unwrap();
        assert!(daemon.verb.is_none() && daemon.daemon.is_some());
        let inspect = parse("beemesh-node inspect kernel --netns=bm-a --name=n1").unwrap();
        assert!(inspect.verb.is_some());
        let refused = parse("beemesh-node --kubernetes").unwrap_err();
        assert!(refused.to_string().contains("--name"), "{refused}");
    }
}
