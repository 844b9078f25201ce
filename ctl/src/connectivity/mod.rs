//! `beemesh connectivity test`: a topology of its own with a probe pod on each node, every pair reached in both
//! families, with all links, with one drained, and healed again; then everything removed.
//!
//! ```text
//! objects (pure) -> stage (made, waited for) -> rounds (exec: probe run) -> report -> matrix
//!                     '-> cleared at the end, on failure, and on ^C
//! ```

mod attached;
mod clear;
mod matrix;
mod objects;
pub(crate) mod peer;
mod rounds;
mod stage;

use crate::cluster::Connection;
use crate::nodes::{
    Nodes,
    cluster::{NO_DAEMON_SET, OfCluster},
    daemons::System,
};
use console::failure::{Exit, Failure};
use console::note;
use console::output::Output;
use objects::Test;
use rounds::Round;
use serde::Serialize;
use stage::Stage;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Makes a topology over all nodes on which the daemon runs, with one probe pod on each, and lets every probe reach
every other over TCP with more than a packet's worth of bytes, in IPv4 and IPv6: with all links, with one
drained, and with that one back. Removes all of it at the end, also on failure and on ^C. Exits 1 when a
pair was not reached, or a topology of its name is there, 4 when topology or pods were not ready in time.

In a pod its service account must be allowed to do so; `--namespace` names a namespace that exists and stays.

JSON: {\"ok\", \"namespace\", \"image\", \"nodes\": [], \"rounds\": [{\"name\", \"pairs\", \"failed\", \"results\": [{\"from\",
\"to\", \"family\", \"ms\", \"error\"}]}], \"seconds\"}.

Examples:
  beemesh connectivity test
  beemesh connectivity test --timeout 5m -o json
  beemesh connectivity test --namespace beemesh-system";

/// Arguments of `beemesh connectivity`.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Test that pods on all nodes reach one another over a topology
    Test(TestArgs),
}

/// Arguments of `beemesh connectivity test`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct TestArgs {
    /// Name of the temporary topology
    #[arg(long, value_name = "NAME", default_value = "connectivity")]
    topology: String,
    /// Longest time for everything to become ready, such as `90s` or `5m`
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = crate::status::duration)]
    timeout: Duration,
    /// Image with /beemesh [default: that of the daemons]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    system: System,
    #[command(flatten)]
    output: Output,
}

/// Result of the test.
#[derive(Serialize)]
struct Report {
    ok: bool,
    namespace: String,
    image: String,
    nodes: Vec<String>,
    rounds: Vec<Round>,
    seconds: f64,
}

/// Runs the test.
///
/// # Errors
/// Refusals of the cluster; [`Failure::TimedOut`]; exit code 1 when a pair was not reached.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let Verb::Test(args) = &args.verb;
    let start = Instant::now();
    let cluster = args.connection.open()?;
    let nodes = OfCluster::find(&cluster, &args.system)?;
    let test = test(args, &nodes)?;
    note(&format!("probes are of image {}", test.image));
    let stage = Stage::new(&cluster, &test, args.connection.clone(), args.timeout)?;
    let tested = stage.build().and_then(|pods| rounds::all(&stage, &pods));
    // In any case all objects are removed.
    let cleared = stage.clear();
    let rounds = tested?;
    cleared?;
    let report = Report {
        ok: rounds.iter().all(|round| round.failed == 0),
        namespace: test.namespace.clone(),
        image: test.image.clone(),
        nodes: test.nodes.clone(),
        rounds,
        seconds: (start.elapsed().as_secs_f64() * 10.0).round() / 10.0,
    };
    args.output.print(&report, matrix::table)?;
    match report.ok {
        true => Ok(()),
        false => Err(Failure::Told(Exit::Failed)),
    }
}

fn test(args: &TestArgs, nodes: &OfCluster<'_>) -> Result<Test, Failure> {
    let mut names = nodes.with_daemon();
    names.retain(|node| match nodes.away(node) {
        Some(why) => {
            note(&format!("node {node} is left out: {why}"));
            false
        }
        None => true,
    });
    let Some(image) = nodes.image().filter(|_| !names.is_empty()) else {
        return Err(Failure::NotFound(NO_DAEMON_SET.to_owned()));
    };
    let namespace = args.connection.namespace.clone();
    Ok(Test {
        namespace: namespace
            .unwrap_or_else(|| format!("beemesh-{}-{}", args.topology, std::process::id())),
        topology: args.topology.clone(),
        image: args.image.clone().unwrap_or_else(|| image.to_owned()),
        nodes: names.into_iter().collect(),
    })
}
