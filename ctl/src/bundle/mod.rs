//! `beemesh bundle`: support archive without secrets.
//!
//! ```text
//! API: our kinds, events, pods, nodes --.
//! logs of our pods (bounded) ------------+-> scrub (pure) -> archive (tar, gzip)
//! nodes: inspect kernel, leases, census -'
//! ```
//! Secrets are never read. All content is scrubbed of text that looks like one.

mod archive;
mod collect;
mod scrub;

use crate::cluster::Connection;
use crate::nodes::{cluster::OfCluster, daemons::System};
use archive::Archive;
use console::failure::Failure;
use console::output::Output;
use serde::Serialize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Holds topologies, Forwarders, Allocations, VniRanges, events and nodes; pods of beemesh and their logs; of each
node what its kernel and journal hold and what nobody needs. Secrets are never read; tokens, keys, passwords, also
those in URLs, and the values of such environment variables are left out. What could not be had is in errors.txt.

JSON: {\"file\", \"bytes\", \"entries\", \"errors\": []}.

Examples:
  beemesh bundle
  beemesh bundle --file support.tar.gz --log-lines 20000";

/// Arguments of `beemesh bundle`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Archive to write [default: beemesh-bundle-SECONDS.tar.gz]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Last lines of each log
    #[arg(long, value_name = "N", default_value_t = 5000)]
    log_lines: i64,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    system: System,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Written {
    file: String,
    bytes: u64,
    entries: usize,
    errors: Vec<String>,
}

/// Writes the archive.
///
/// # Errors
/// No cluster; a file that cannot be written. Refusals of the cluster is in the archive.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let cluster = args.connection.open()?;
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let name = format!("beemesh-bundle-{seconds}");
    let file = args
        .file
        .clone()
        .unwrap_or_else(|| format!("{name}.tar.gz").into());
    let broken = |source: std::io::Error| Failure::Failed(format!("{}: {source}", file.display()));
    let mut archive = Archive::create(&file, &name, seconds).map_err(broken)?;
    // Without access to pods, topologies may still be readable.
    let nodes = OfCluster::find(&cluster, &args.system);
    let errors = collect::all(&cluster, nodes, &args.system, args.log_lines, &mut archive)
        .map_err(broken)?;
    let entries = archive.entries();
    let bytes = archive.finish().map_err(broken)?;
    let written = Written {
        file: file.display().to_string(),
        bytes,
        entries,
        errors,
    };
    args.output.print(&written, |it| {
        let mut text = format!(
            "{}: {} files, {} kB\n",
            it.file,
            it.entries,
            it.bytes.div_ceil(1024)
        );
        for error in &it.errors {
            text += &format!("left out: {error}\n");
        }
        text
    })
}
