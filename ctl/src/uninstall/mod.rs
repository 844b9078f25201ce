//! `beemesh uninstall`: each daemon cleans its node, and proves it.
//!
//! ```text
//! daemons' pods -- annotation `requested` --> daemon removes, counts -- annotations --> answers -> table
//! ```
//! A repeated request gets a new answer; a node that is away is cleaned by a later request.

mod answers;

use crate::cluster::{Cluster, Connection};
use crate::nodes::{
    cluster::NO_DAEMON_SET,
    daemons::{self, Daemons, System},
};
use answers::{ANNOTATION, Answers, REQUESTED, State};
use console::failure::Failure;
use console::note;
use console::output::{self, Output, table_text};
use k8s_openapi::api::core::v1::Pod;
use std::time::{Duration, Instant};

/// Interval between two polls of the pods.
const PAUSE: Duration = Duration::from_millis(500);

const EXAMPLES: &str = "\
Every daemon removes the configuration and the plugin that it installed, the attachments of pods, the
Forwarders' network namespaces with all that is in them, and what it remembers. Then it counts what is
left, and stays idle until its pod goes. Topologies stay as they are; `helm uninstall` calls this first.

JSON: {\"nodes\": [{\"node\", \"pod\", \"state\": \"clean|left|no answer\", \"left\": {KIND: COUNT}}]}.
Exits 1 when something is left on a node, and 4 when nodes did not answer in time; both are named.

Examples in a cluster:
  beemesh uninstall
  beemesh uninstall --timeout 5m -o json";

/// Arguments of `beemesh uninstall`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    system: System,
    /// Longest time to wait for the nodes, such as `90s` or `2m`
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    output: Output,
}

fn duration(text: &str) -> Result<Duration, String> {
    crds::duration::parse(text).ok_or_else(|| "expected a time such as 90s".into())
}

/// Runs `beemesh uninstall`.
///
/// # Errors
/// Refusals of the server; [`Failure::TimedOut`] and [`Failure::Failed`] with the names of nodes.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let cluster = args.connection.open()?;
    let daemons = Daemons::find(&cluster, &args.system)?;
    daemons::note_impostors(&cluster, &args.system, daemons.as_ref());
    let deadline = Instant::now() + args.timeout;
    let mut answers = Answers::default();
    loop {
        let pods = match &daemons {
            Some(daemons) => daemons.pods(&cluster)?,
            None => Vec::new(),
        };
        for pod in answers.take(&pods) {
            request(&cluster, &pod)?;
        }
        if answers.all(State::Clean) || Instant::now() >= deadline {
            break;
        }
        // Created inside the runtime, as it uses its clock.
        cluster.block_on(async { tokio::time::sleep(PAUSE).await });
    }
    if answers.is_empty() {
        note(&format!("nothing to clean: {NO_DAEMON_SET}"));
    }
    args.output.print(&answers.shown(), |_| drawn(&answers))?;
    verdict(&answers, args.timeout)
}

/// Requests the uninstallation in an annotation of the daemon's pod; a deleted pod is skipped.
fn request(cluster: &Cluster, pod: &Pod) -> Result<(), Failure> {
    let metadata = &pod.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let (Some(name), Some(uid)) = (&metadata.name, &metadata.uid) else {
        return Ok(());
    };
    let annotations = serde_json::json!({ANNOTATION: REQUESTED, answers::CENSUS: null});
    // With the uid: a later pod of this name gets a request of its own.
    let patch = serde_json::json!({"metadata": {"uid": uid, "annotations": annotations}});
    cluster.merge(&cluster.api::<Pod>(namespace), name, &patch)
}

fn drawn(answers: &Answers) -> String {
    let mut table = output::table(&["NODE", "STATE", "LEFT"], &[]);
    for answer in answers.iter() {
        let left = answer.left();
        let left = if left.is_empty() {
            "-".to_owned()
        } else {
            left
        };
        table.add_row([answer.node.as_str(), answer.state.word(), &left]);
    }
    table_text(&table)
}

fn verdict(answers: &Answers, timeout: Duration) -> Result<(), Failure> {
    let silent = answers.named(State::Silent);
    let left = answers.named(State::Left);
    let mut parts = Vec::new();
    if !silent.is_empty() {
        let seconds = timeout.as_secs();
        parts.push(format!(
            "no answer in {seconds}s from {}",
            silent.join(", ")
        ));
    }
    if !left.is_empty() {
        parts.push(format!("something is left on {}", left.join(", ")));
    }
    match (silent.is_empty(), left.is_empty()) {
        (true, true) => Ok(()),
        (false, _) => Err(Failure::TimedOut(parts.join("; "))),
        (true, false) => Err(Failure::Failed(parts.join("; "))),
    }
}
