//! `beemesh-e2e`: a real cluster of several nodes on one machine, and the stories that run on it.

mod figures;
mod mesh;
mod nodes;
mod plugin;
mod pool;
mod progress;
mod run;
mod stories;
mod world;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use e2e::cluster::{self, Cluster, Runtime, Settings};

/// A real Kubernetes cluster of several nodes on this machine, without containers or virtual machines around it.
#[derive(Debug, Parser)]
#[command(name = "beemesh-e2e", version)]
struct Arguments {
    /// The folder that holds all of the cluster; the one above it must exist.
    #[arg(long, global = true, default_value_os_t = cluster::default_dir())]
    dir: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes a cluster and waits until it is ready.
    Up {
        #[command(flatten)]
        make: Make,
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
    /// Runs the stories: on the cluster of KUBECONFIG, or on one here, made for them when there is none.
    ///
    /// BEEMESH_IMAGE names the archive to install (target/beemesh-image.tar), BEEMESH_CTL the command `beemesh` to use,
    /// BEEMESH_E2E_AWAY the seconds without API server (600), BEEMESH_E2E_PINGS the pings of a round (30000).
    Stories {
        /// Only those whose name contains this.
        filter: Option<String>,
        /// Leave the cluster running afterwards; BEEMESH_E2E_KEEP=1 does the same.
        #[arg(long)]
        keep: bool,
        /// Take down first the cluster that is there.
        #[arg(long)]
        fresh: bool,
        /// Only name them.
        #[arg(long)]
        list: bool,
        /// Number of clusters to create, 1 to 4: they share the stories, and most of a story is
        /// waiting.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
        clusters: u8,
        /// Order: the core set first, then the others, beginning at the N-th of them (a number that changes with each commit).
        #[arg(long, value_name = "N")]
        turn: Option<u64>,
        /// Begin no story after so many minutes, but those of the core set; those that are left out are named and shown as ignored.
        #[arg(long)]
        minutes: Option<u64>,
        #[command(flatten)]
        make: Make,
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

/// Settings of a new cluster.
#[derive(Debug, clap::Args)]
struct Make {
    /// Number of nodes, 1 to 9.
    #[arg(long, default_value_t = 3)]
    nodes: u8,
    /// mixed (containerd 1.6 on n1, containerd 2 elsewhere), containerd1 or containerd2.
    #[arg(long, default_value = "mixed")]
    runtime: Runtime,
    /// The minor version: 1.36 or 1.35 (built by Go the first time, in minutes).
    #[arg(long, env = "BEEMESH_KUBERNETES")]
    kubernetes: Option<String>,
}

impl Make {
    fn settings(self, dir: PathBuf) -> Settings {
        let Self {
            nodes,
            runtime,
            kubernetes,
        } = self;
        Settings {
            nodes,
            runtime,
            kubernetes,
            dir,
        }
    }
}

fn main() -> Result<ExitCode> {
    let Arguments { dir, verb } = Arguments::parse();
    let is_named = dir != cluster::default_dir();
    let dir = cluster::real_dir(&dir)?;
    match verb {
        Verb::Up { make } => println!("{}", Cluster::up(make.settings(dir))?.summary()),
        Verb::Stories {
            filter,
            keep,
            fresh,
            list,
            clusters,
            turn,
            minutes,
            make,
        } => {
            let keep = keep || std::env::var_os("BEEMESH_E2E_KEEP").is_some();
            let settings = make.settings(dir);
            let theirs = std::env::var_os("KUBECONFIG").filter(|file| !file.is_empty());
            return run::run(run::Plan {
                settings,
                theirs: theirs.filter(|_| !is_named).map(PathBuf::from),
                filter,
                keep,
                fresh,
                list,
                clusters,
                turn,
                limit: minutes.map(|minutes| Duration::from_secs(60 * minutes)),
            });
        }
        Verb::Down => {
            cluster::check_is_cluster(&dir)?;
            let was_there = cluster::exists(&dir);
            // Also of one whose folder is gone, something may be left.
            cluster::down(&dir)?;
            let logs = cluster::kept_logs(&dir);
            match was_there {
                true => println!("nothing is left; logs in {}", logs.display()),
                false => println!("no cluster in {}", dir.display()),
            }
        }
        Verb::Status => print!("{}", Cluster::open(&dir)?.status()?),
        Verb::Kubeconfig => println!("{}", Cluster::open(&dir)?.access().kubeconfig().display()),
        Verb::Load { archive } => Cluster::open(&dir)?.load_image(&archive)?,
        Verb::Shell { place, command } => {
            let mut words: Vec<&str> = command.iter().map(String::as_str).collect();
            if words.is_empty() {
                words.push("bash");
            }
            return Err(Cluster::open(&dir)?.command(&place, &words)?.exec().into());
        }
    }
    Ok(ExitCode::SUCCESS)
}
