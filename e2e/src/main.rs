//! `beemesh-e2e`: a real cluster of several nodes on one machine, and the stories that run on it.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use e2e::cluster::{self, Cluster, Runtime, Settings};

/// A real Kubernetes cluster of several nodes on this machine, without containers or virtual machines around it.
#[derive(Debug, Parser)]
#[command(name = "beemesh-e2e", version)]
struct Arguments {
    /// The folder that holds all of the cluster.
    #[arg(long, global = true, default_value_os_t = cluster::default_dir())]
    dir: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes a cluster and waits until it is ready.
    Up {
        /// How many nodes, 1 to 9.
        #[arg(long, default_value_t = 3)]
        nodes: u8,
        /// mixed (containerd 1.6 on n1, containerd 2 elsewhere), containerd1 or containerd2.
        #[arg(long, default_value = "mixed")]
        runtime: Runtime,
    },
    /// Ends the cluster; nothing but its logs is left.
    Down,
    /// Nodes, and the memory of each program.
    Status,
    /// The path of the administrator's kubeconfig: for `beemesh-e2e shell cp`.
    Kubeconfig,
    /// Makes an image known to all nodes, from an archive such as `make image` writes.
    Load {
        /// OCI or docker archive.
        archive: PathBuf,
    },
    /// Runs a command on the control plane (cp, with KUBECONFIG and kubectl) or on a node (n1, ...).
    Shell {
        /// cp, n1, n2, ...
        place: String,
        /// The command; a shell when there is none.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

fn main() -> Result<()> {
    let Arguments { dir, verb } = Arguments::parse();
    match verb {
        Verb::Up { nodes, runtime } => {
            let settings = Settings {
                nodes,
                runtime,
                dir,
            };
            println!("{}", Cluster::up(settings)?.summary());
        }
        Verb::Down => {
            cluster::check_is_cluster(&dir)?;
            cluster::down(&dir)?;
            println!(
                "nothing is left; logs in {}",
                cluster::kept_logs().display()
            );
        }
        Verb::Status => print!("{}", Cluster::open(&dir)?.status()?),
        Verb::Kubeconfig => println!("{}", Cluster::open(&dir)?.access().kubeconfig().display()),
        Verb::Load { archive } => Cluster::open(&dir)?.load_image(&archive)?,
        Verb::Shell { place, command } => {
            let command = match command.is_empty() {
                true => vec!["bash".to_owned()],
                false => command,
            };
            let mut inside = Cluster::open(&dir)?.command(&place)?;
            return Err(inside.args(command).exec().into());
        }
    }
    Ok(())
}
