//! `beemesh validate`: compares each layer of a topology with the next.
//!
//! ```text
//! declaration = Forwarder objects = computed tables = reported tables = kernels = traffic
//! '------------ API server, or a lab's files ---------------------'   '---- nodes ----'
//! ```

mod difference;
mod layers;
mod nodes;

use crate::cluster::{
    Cluster,
    expected::{Given, is_own},
    placed,
    selected::Selected,
    stored::{Stored, is_filled},
};
use crate::nodes::lab::{self, OfLab};
use crate::nodes::{Nodes, cluster::OfCluster, daemons::System};
use ::lab::Running;
use console::failure::{Exit, Failure};
use console::output;
use crds::{Forwarder, ForwarderObject, Node};
use difference::Difference;
use layers::{Layer, Layers};
use serde::Serialize;
use std::path::PathBuf;
use topology::Topology;

const EXAMPLES: &str = "\
Exits 1 when a layer differs. What cannot be asked (a node that is away, a daemon that may not be entered) is
told as unknown, and is no difference. Who may not list pods validates all but where Apps are attached.
With -f a running lab is looked at: what its daemons report, its kernel and its traffic.

JSON: {\"ok\", \"topologies\": [{\"namespace\", \"name\", \"ok\", \"layers\": [{\"layer\", \"against\", \"state\":
\"ok\"|\"differs\"|\"unknown\", \"checked\", \"remark\", \"notReported\", \"unknown\": [{\"object\", \"node\",
\"why\"}], \"differences\": [{\"object\", \"field\", \"expected\", \"found\"}]}]}], \"notLookedAt\": [\"traffic\"]}.

Examples:
  beemesh validate
  beemesh validate iot -n plant --traffic
  beemesh validate -A -o json
  beemesh validate -f examples/iot.yaml --traffic";

/// Arguments of `beemesh validate`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    selected: Selected,
    #[command(flatten)]
    system: System,
    /// YAML file with the MicroServiceTopology of a running lab; `-` is stdin
    #[arg(short, long = "file", value_name = "FILE",
          conflicts_with_all = ["name", "all_namespaces", "namespace", "context", "kubeconfig"])]
    file: Option<PathBuf>,
    /// Ping between attached pods too
    #[arg(long)]
    traffic: bool,
    /// Ping at most N pairs of pods of a topology, evenly chosen
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "traffic")]
    pairs: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    ok: bool,
    topologies: Vec<Validated>,
    /// Skipped checks: traffic that was not requested, and pods that may not be listed.
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

/// Prints the differences.
///
/// # Errors
/// Refusals of the cluster; [`Failure::NotFound`]; exit code 1 when a layer differs.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let topologies = match &args.file {
        Some(file) => vec![of_lab(args, &Running::join(file)?)?],
        None => of_cluster(args)?,
    };
    let mut not_looked_at = Vec::new();
    if !args.traffic {
        not_looked_at.push("traffic");
    }
    if topologies.iter().any(|it| !it.has_pods) {
        not_looked_at.push("pods");
    }
    let report = Report {
        ok: topologies.iter().all(|it| it.ok),
        topologies,
        not_looked_at,
    };
    args.selected.output.print(&report, table)?;
    match report.ok {
        true => Ok(()),
        false => Err(Failure::Told(Exit::Failed)),
    }
}

fn of_cluster(args: &Args) -> Result<Vec<Validated>, Failure> {
    let cluster = args.selected.connection.open()?;
    let topologies = args.selected.topologies(&cluster)?;
    let all = cluster.nodes()?;
    let nodes = OfCluster::find(&cluster, &args.system)?;
    let of = |topology: &Stored| {
        let objects = cluster.forwarders(topology)?;
        let mut validated = validated(&cluster, topology, &objects, &all)?;
        let filled = objects
            .iter()
            .filter(|it| is_own(topology, it) && is_filled(it));
        let forwarders: Vec<Forwarder> = filled.map(Forwarder::from).collect();
        let pods = placed::pods(&forwarders);
        validated.ask(args, &nodes, &forwarders, &pods);
        Ok(validated.settled())
    };
    topologies.iter().map(of).collect()
}

fn of_lab(args: &Args, running: &Running) -> Result<Validated, Failure> {
    let placed = lab::placed(running)?;
    let mut validated = Validated {
        has_pods: true,
        namespace: running.record.namespace.clone(),
        name: running.record.topology.clone(),
        ok: true,
        layers: vec![layers::reported(&placed.topology, &placed.forwarders)],
    };
    validated.ask(args, &OfLab::new(running), &placed.forwarders, &placed.pods);
    Ok(validated.settled())
}

fn validated(
    cluster: &Cluster,
    topology: &Stored,
    objects: &[ForwarderObject],
    nodes: &[Node],
) -> Result<Validated, Failure> {
    let allocation = cluster.allocation(topology)?.map(|it| it.spec);
    let (own, strange): (Vec<ForwarderObject>, Vec<ForwarderObject>) = objects
        .iter()
        .cloned()
        .partition(|object| is_own(topology, object));
    let pods = match topology.declaration() {
        Ok(object) => cluster.pods(&object),
        Err(_) => Ok(Vec::new()),
    };
    if let Err(failure) = &pods {
        let why = failure.lines().join("; ");
        console::note(&format!(
            "Apps are assumed as attached in the Forwarder objects: {why}"
        ));
    }
    let layers = Layers {
        topology,
        nodes,
        pods: pods.ok(),
        strange,
        given: Given::new(topology, &own, allocation),
    };
    Ok(Validated {
        has_pods: layers.pods.is_some(),
        namespace: topology.namespace().to_owned(),
        name: topology.name().to_owned(),
        ok: true,
        layers: layers.all(),
    })
}

impl Validated {
    /// Adds the layers that only nodes can check.
    fn ask(
        &mut self,
        args: &Args,
        nodes: &dyn Nodes,
        forwarders: &[Forwarder],
        pods: &[placed::Pod],
    ) {
        // Forwarders that form no graph are reported by an earlier layer.
        if let Ok(topology) = crds::topology_of(forwarders) {
            self.layers
                .push(nodes::kernel(nodes, &topology, forwarders));
        }
        if args.traffic {
            self.layers.push(nodes::traffic(nodes, pods, args.pairs));
        }
    }

    fn settled(self) -> Self {
        let layers: Vec<Layer> = self.layers.into_iter().map(Layer::settled).collect();
        Self {
            ok: layers.iter().all(|layer| layer.differences.is_empty()),
            layers,
            ..self
        }
    }
}

/// The comparison of `beemesh validate` for all hosts of a lab: objects with their problems.
///
/// # Errors
/// [`Failure::Failed`] when the lab's objects are no topology.
pub(crate) fn lab_problems(
    running: &Running,
    forwarders: &[Forwarder],
) -> Result<Vec<(String, String)>, Failure> {
    let topology = running.topology()?;
    let nodes = OfLab::new(running);
    Ok(kernel_problems(&nodes, &topology, forwarders))
}

/// Differences between Forwarders' reports and the kernels of their nodes, and nodes that could not be asked: the object
/// and what of it.
pub(crate) fn kernel_problems(
    nodes: &dyn Nodes,
    topology: &Topology,
    forwarders: &[Forwarder],
) -> Vec<(String, String)> {
    nodes::kernel(nodes, topology, forwarders).problems()
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
    match report.not_looked_at.is_empty() {
        true => text,
        false => text + &format!("not checked: {}\n", report.not_looked_at.join(", ")),
    }
}
