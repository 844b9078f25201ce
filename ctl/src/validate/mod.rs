//! `beemesh validate`: holds each layer of a topology in the cluster against the next.
//!
//! ```text
//! declaration = Forwarder objects = computed tables = reported tables | kernel, traffic: on nodes
//! ```

mod difference;
mod layers;

use crate::{
    cluster::{
        Cluster, Connection,
        expected::{Given, is_own},
        stored::Stored,
    },
    failure::{Exit, Failure},
    output::{self, Output},
};
use crds::{ForwarderObject, Node};
use difference::Difference;
use layers::{Layer, Layers};
use serde::Serialize;

const EXAMPLES: &str = "\
Exits 1 when a layer differs. What runs on the nodes is not looked at: the kernel's routes and the
traffic. A node that has reported nothing is told, and is no difference. Who may not list pods
validates all but where Apps are attached.

JSON: {\"ok\", \"topologies\": [{\"namespace\", \"name\", \"ok\", \"layers\": [{\"layer\", \"against\",
\"checked\", \"notReported\", \"differences\": [{\"object\", \"field\", \"expected\", \"found\"}]}]}],
\"notLookedAt\": [\"kernel\", \"traffic\"]}.

Examples in a cluster:
  beemesh validate
  beemesh validate iot -n plant
  beemesh validate -A -o json";

/// Layers that only nodes can look at.
const ON_NODES: [&str; 2] = ["kernel", "traffic"];

/// Arguments of `beemesh validate`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Topology; without it all of the namespace
    #[arg(add = crate::plugin::topologies())]
    name: Option<String>,
    /// Topologies of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["name", "namespace"])]
    all_namespaces: bool,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    ok: bool,
    topologies: Vec<Validated>,
    /// What is on the nodes, and the pods where they may not be listed.
    not_looked_at: Vec<&'static str>,
}

#[derive(Serialize)]
struct Validated {
    namespace: String,
    name: String,
    ok: bool,
    layers: Vec<Layer>,
    #[serde(skip)]
    has_pods: bool,
}

/// Prints what differs.
///
/// # Errors
/// What the cluster refuses; [`Failure::NotFound`]; exit code 1 when a layer differs.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let cluster = args.connection.open()?;
    let topologies = match &args.name {
        Some(name) => vec![cluster.topology(name)?],
        None => cluster.topologies(args.all_namespaces)?,
    };
    let nodes = cluster.nodes()?;
    let validated: Result<Vec<Validated>, Failure> = topologies
        .iter()
        .map(|topology| validated(&cluster, topology, &nodes))
        .collect();
    let topologies = validated?;
    let mut not_looked_at = ON_NODES.to_vec();
    if topologies.iter().any(|it| !it.has_pods) {
        not_looked_at.push("pods");
    }
    let report = Report {
        ok: topologies.iter().all(|it| it.ok),
        topologies,
        not_looked_at,
    };
    args.output.print(&report, table)?;
    match report.ok {
        true => Ok(()),
        false => Err(Failure::Told(Exit::Failed)),
    }
}

fn validated(cluster: &Cluster, topology: &Stored, nodes: &[Node]) -> Result<Validated, Failure> {
    let objects = cluster.forwarders(topology)?;
    let allocation = cluster.allocation(topology)?.map(|it| it.spec);
    let (own, strange): (Vec<ForwarderObject>, Vec<ForwarderObject>) = objects
        .into_iter()
        .partition(|object| is_own(topology, object));
    let pods = match topology.declaration() {
        Ok(object) => cluster.pods(&object),
        Err(_) => Ok(Vec::new()),
    };
    if let Err(failure) = &pods {
        let why = failure.lines().join("; ");
        crate::note(&format!(
            "Apps are taken to be where the Forwarders have them: {why}"
        ));
    }
    let layers = Layers {
        topology,
        nodes,
        pods: pods.ok(),
        strange,
        given: Given::new(topology, &own, allocation),
    };
    let (layers, has_pods) = (layers.all(), layers.pods.is_some());
    Ok(Validated {
        has_pods,
        namespace: topology.namespace().to_owned(),
        name: topology.name().to_owned(),
        ok: layers.iter().all(|layer| layer.differences.is_empty()),
        layers,
    })
}

fn table(report: &Report) -> String {
    let mut text = String::new();
    for topology in &report.topologies {
        text += &format!("{}/{}\n", topology.namespace, topology.name);
        for layer in &topology.layers {
            text += &format!("  {}\n", layer.line());
        }
        let differences = topology.layers.iter().flat_map(|layer| &layer.differences);
        let mut rows = output::table(&["  OBJECT", "FIELD", "EXPECTED", "FOUND"], &[]);
        for Difference {
            object,
            field,
            expected,
            found,
        } in differences
        {
            rows.add_row([&format!("  {object}"), field, expected, found]);
        }
        if rows.row_count() > 0 {
            text += &output::table_text(&rows);
        }
    }
    if report.topologies.is_empty() {
        text += "no topologies\n";
    }
    text + &format!("not looked at: {}\n", report.not_looked_at.join(", "))
}
