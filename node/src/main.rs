//! `beemesh-node`: the daemon of one node.

use clap::Parser;

/// Makes this node's Forwarders real and serves the CNI plugin.
#[derive(Debug, Parser)]
#[command(name = "beemesh-node", version)]
struct Command {
    #[command(flatten)]
    arguments: node::Arguments,
}

fn main() -> anyhow::Result<()> {
    Ok(Command::parse().arguments.run()?)
}
