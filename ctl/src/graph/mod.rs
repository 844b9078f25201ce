//! `beemesh graph`: a picture of each stage, and the same as data.

mod report;
mod scene;

use crate::cluster::declared::Source;
use crate::routes::Without;
use console::failure::Failure;
use console::input::{self, Declared};
use console::output;
use crds::report::{GraphReport, Seen};
use picture::Picture;
use report::table;
use scene::Scene;
use topology::{Change, Fault, ForwarderIndex, Graph, Spf};

const EXAMPLES: &str = "\
The stages mwt and spt are seen from one Forwarder: --from, or the first in byte order.

JSON: {\"topology\", \"epoch\", \"stage\", \"root\", \"nodes\": [{\"name\", \"kind\":
\"forwarder\"|\"app\", \"node\", \"up\"}], \"links\": [{\"id\", \"a\", \"b\", \"weight\", \"weightBack\",
\"up\"}], \"attachments\": [{\"app\", \"forwarder\", \"weight\"}], \"distances\": {NAME: n}, \"tree\":
[{\"from\", \"to\", \"link\"}]}. In the stage mwt heavier parallel links are left out.

Examples:
  beemesh graph -f examples/worked.yaml -o svg > worked.svg
  beemesh graph -f examples/worked.yaml --stage spt --from F1 --without F2/F4 -o svg
  beemesh graph -f examples/worked.yaml --stage mwt --from F5 -o json
  beemesh graph -f examples/worked.yaml -o mermaid";

/// Arguments of `beemesh graph`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Stage of the computation
    #[arg(long, value_enum, default_value_t)]
    stage: Stage,
    /// Root of the shortest paths [default: the first Forwarder in byte order]
    #[arg(long, value_name = "FORWARDER")]
    from: Option<String>,
    #[command(flatten)]
    without: Without,
    /// Output format
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    output: Format,
}

/// Stage of the computation.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Stage {
    /// All Forwarders, links and Apps
    #[default]
    Global,
    /// Min-weight topology: parallel links reduced to the least, nodes with their distance
    Mwt,
    /// All shortest paths from one Forwarder (SPT-ECMP)
    Spt,
}

impl From<Stage> for picture::Stage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Global => Self::Global,
            Stage::Mwt => Self::Mwt,
            Stage::Spt => Self::Spt,
        }
    }
}

impl From<Stage> for crds::report::Stage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Global => Self::Global,
            Stage::Mwt => Self::Mwt,
            Stage::Spt => Self::Spt,
        }
    }
}

/// Formats of a graph.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    /// Graphviz
    #[default]
    Dot,
    /// A picture for browsers and documents
    Svg,
    /// A diagram that Markdown viewers draw
    Mermaid,
    /// Nodes, links, distances and tree edges
    Json,
    /// The same as YAML
    Yaml,
    /// For people
    Table,
}

/// Prints the picture.
///
/// # Errors
/// Unreadable or invalid input, unknown names, a stdout that cannot be written.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let declared = args.source.declared()?;
    let faults = input::faults(&declared.topology, &args.without.without)?;
    let from = args.from.as_deref();
    let from = from
        .map(|name| input::forwarder(&declared.topology, name))
        .transpose()?;
    let view = View::new(&declared, args.stage, from, &faults);
    match args.output {
        Format::Dot => output::print(&picture::dot(&view.picture)),
        Format::Svg => output::print(&picture::svg(&view.picture)),
        Format::Mermaid => output::print(&picture::mermaid(&view.picture)),
        Format::Json => output::print_json(&view.report),
        Format::Yaml => output::print(&output::to_yaml(&view.report)?),
        Format::Table => output::print(&table(&view)),
    }
}

/// One stage of one topology.
struct View {
    picture: Picture,
    report: GraphReport,
}

impl View {
    fn new(
        declared: &Declared,
        stage: Stage,
        from: Option<ForwarderIndex>,
        faults: &[Fault],
    ) -> Self {
        let topology = &declared.topology;
        let mut graph = Graph::new(topology);
        for fault in faults {
            graph.change(match *fault {
                Fault::Link(link) => Change::Link {
                    link,
                    weights: None,
                },
                Fault::Forwarder(forwarder) => Change::Forwarder {
                    forwarder,
                    up: false,
                },
            });
        }
        let first = || (!topology.forwarders().is_empty()).then_some(ForwarderIndex(0));
        let root = match stage {
            Stage::Global => None,
            Stage::Mwt | Stage::Spt => from.or_else(first),
        };
        let spf = root.map(|root| Spf::compute(&graph, root));
        let order = scene::declared_order(&declared.object, topology);
        let nodes = scene::nodes(&declared.object);
        let seen = Seen {
            name: &declared.object.metadata.name,
            topology,
            graph: &graph,
            spf: spf.as_ref(),
            stage: stage.into(),
            order: &order,
            nodes: &nodes,
        };
        let report = seen.report();
        let scene = Scene {
            seen,
            shape: declared.object.spec.shape.into(),
        };
        let mut picture = scene.picture(stage.into());
        picture.subtitle = subtitle(declared, stage, report.root.as_deref(), faults);
        picture.epoch.clone_from(&report.epoch);
        Self { picture, report }
    }
}

fn subtitle(declared: &Declared, stage: Stage, root: Option<&str>, faults: &[Fault]) -> String {
    let topology = &declared.topology;
    let stage = match (stage, root) {
        (Stage::Mwt, Some(root)) => format!("least distances from {root}"),
        (Stage::Spt, Some(root)) => format!("all shortest paths from {root}"),
        _ => "global topology".to_owned(),
    };
    let count = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    let mut parts = vec![
        stage,
        count(topology.forwarders().len(), "forwarder"),
        count(topology.links().len(), "link"),
        count(topology.apps().len(), "app"),
    ];
    if !faults.is_empty() {
        let name = |fault: &Fault| match *fault {
            Fault::Link(link) => topology.link_id(link),
            Fault::Forwarder(index) => topology.forwarders()[index.position()].clone(),
        };
        let names: Vec<String> = faults.iter().take(4).map(name).collect();
        let more = if faults.len() > 4 { ", ..." } else { "" };
        parts.push(format!("without {}{more}", names.join(", ")));
    }
    parts.join("  ·  ")
}
