//! `beemesh graph`: a picture of each stage, and the same as data.

use crate::{
    draw::{self, App, Attachment, Forwarder, Link, Picture, Stage},
    failure::Failure,
    input::{self, Declared, Input},
    output,
    routes::Without,
};
use crds::MicroServiceTopology;
use serde::Serialize;
use std::collections::BTreeMap;
use topology::{Change, Fault, ForwarderIndex, Graph, LinkIndex, Spf, Topology};

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
    input: Input,
    /// Stage of the computation
    #[arg(long, value_enum, default_value_t)]
    stage: Stage,
    /// Root of the shortest paths [default: the first Forwarder in byte order]
    #[arg(long, value_name = "FORWARDER")]
    from: Option<String>,
    #[command(flatten)]
    without: Without,
    /// Format of what is printed
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    output: Format,
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
    let declared = args.input.declared()?;
    let faults = input::faults(&declared.topology, &args.without.without)?;
    let from = args.from.as_deref();
    let from = from
        .map(|name| input::forwarder(&declared.topology, name))
        .transpose()?;
    let view = View::new(&declared, args.stage, from, &faults);
    match args.output {
        Format::Dot => output::print(&draw::dot(&view.picture)),
        Format::Svg => output::print(&draw::svg(&view.picture)),
        Format::Mermaid => output::print(&draw::mermaid(&view.picture)),
        Format::Json => output::print_json(&Report::new(&view)),
        Format::Yaml => output::print(&output::to_yaml(&Report::new(&view))?),
        Format::Table => output::print(&table(&view)),
    }
}

/// The SVG of a topology with some of it out of service, for the lab.
pub(crate) fn svg(
    declared: &Declared,
    stage: Stage,
    from: Option<ForwarderIndex>,
    faults: &[Fault],
) -> String {
    draw::svg(&View::new(declared, stage, from, faults).picture)
}

/// One stage of one topology.
struct View {
    picture: Picture,
    epoch: String,
    root: Option<String>,
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
        let scene = Scene {
            object: &declared.object,
            topology,
            graph: &graph,
            spf: spf.as_ref(),
        };
        let root = root.map(|root| topology.forwarders()[root.position()].clone());
        let epoch = graph.epoch().to_string();
        let mut picture = scene.picture(stage);
        picture.subtitle = subtitle(declared, stage, root.as_deref(), faults);
        picture.epoch.clone_from(&epoch);
        Self {
            picture,
            epoch,
            root,
        }
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

/// What a picture is made from.
struct Scene<'a> {
    object: &'a MicroServiceTopology,
    topology: &'a Topology,
    graph: &'a Graph,
    spf: Option<&'a Spf>,
}

impl Scene<'_> {
    fn picture(&self, stage: Stage) -> Picture {
        let (order, positions) = self.declared_order();
        let mut links = self.links(&positions);
        if stage == Stage::Spt {
            self.mark_tree(&mut links);
        }
        let apps = self.apps(&positions, stage);
        Picture {
            title: self.object.metadata.name.clone(),
            subtitle: String::new(),
            epoch: String::new(),
            stage,
            shape: self.object.spec.shape,
            forwarders: order.iter().map(|index| self.forwarder(*index)).collect(),
            links,
            apps,
        }
    }

    /// Shapes follow the order of declaration; also the way back from canonical order.
    fn declared_order(&self) -> (Vec<ForwarderIndex>, Vec<usize>) {
        let named = self.object.spec.forwarders.iter();
        let mut order: Vec<ForwarderIndex> = named
            .filter_map(|entry| self.topology.forwarder(&entry.name))
            .collect();
        let count = self.topology.forwarders().len();
        if order.len() != count {
            order = (0..count as u32).map(ForwarderIndex).collect();
        }
        let mut positions = vec![0; count];
        order
            .iter()
            .enumerate()
            .for_each(|(position, index)| positions[index.position()] = position);
        (order, positions)
    }

    fn forwarder(&self, index: ForwarderIndex) -> Forwarder {
        let name = self.topology.forwarders()[index.position()].clone();
        let distance = self.spf.and_then(|spf| spf.distance(index));
        let is_failed = !self.graph.is_forwarder_up(index);
        let entry = self
            .object
            .spec
            .forwarders
            .iter()
            .find(|entry| entry.name == name);
        Forwarder {
            node: entry.and_then(|entry| entry.node.clone()),
            distance,
            is_root: self.spf.is_some_and(|spf| spf.root() == index),
            is_failed,
            is_unreachable: self.spf.is_some() && distance.is_none() && !is_failed,
            name,
        }
    }

    fn links(&self, positions: &[usize]) -> Vec<Link> {
        let mut least: BTreeMap<(ForwarderIndex, ForwarderIndex), (u32, u32)> = BTreeMap::new();
        let is_up = |position: usize, link: &topology::Link| {
            self.graph.is_up(LinkIndex(position as u32))
                && self.graph.is_forwarder_up(link.a)
                && self.graph.is_forwarder_up(link.b)
        };
        for (position, link) in self.topology.links().iter().enumerate() {
            if is_up(position, link) {
                let entry = least
                    .entry((link.a, link.b))
                    .or_insert((u32::MAX, u32::MAX));
                *entry = (entry.0.min(link.weight), entry.1.min(link.weight_back));
            }
        }
        let link = |(position, link): (usize, &topology::Link)| {
            let is_failed = !is_up(position, link);
            let heavier = |least: &(u32, u32)| link.weight > least.0 && link.weight_back > least.1;
            Link {
                id: self.topology.link_id(LinkIndex(position as u32)),
                a: positions[link.a.position()],
                b: positions[link.b.position()],
                weight: link.weight,
                weight_back: link.weight_back,
                is_failed,
                is_heavier: !is_failed && least.get(&(link.a, link.b)).is_some_and(heavier),
                is_tree_ab: false,
                is_tree_ba: false,
            }
        };
        self.topology.links().iter().enumerate().map(link).collect()
    }

    fn mark_tree(&self, links: &mut [Link]) {
        let Some(spf) = self.spf else { return };
        for index in (0..self.topology.forwarders().len() as u32).map(ForwarderIndex) {
            for (from, link) in spf.predecessors(self.graph, index) {
                let is_forward = self.topology.links()[link.position()].a == from;
                let link = &mut links[link.position()];
                link.is_tree_ab |= is_forward;
                link.is_tree_ba |= !is_forward;
            }
        }
    }

    fn apps(&self, positions: &[usize], stage: Stage) -> Vec<App> {
        let through = |(at, weight): &(ForwarderIndex, u32)| {
            Some(self.spf?.distance(*at)?.saturating_add(u64::from(*weight)))
        };
        let app = |app: &topology::App| {
            let distance = app.attachments.iter().filter_map(through).min();
            let attachment = |edge: &(ForwarderIndex, u32)| Attachment {
                forwarder: positions[edge.0.position()],
                weight: edge.1,
                is_tree: stage == Stage::Spt && distance.is_some() && through(edge) == distance,
            };
            let attachments = app.attachments.iter().map(attachment).collect();
            App {
                name: app.name.clone(),
                attachments,
                distance,
            }
        };
        self.topology.apps().iter().map(app).collect()
    }
}

#[derive(Serialize)]
struct Report<'a> {
    topology: &'a str,
    epoch: &'a str,
    stage: Stage,
    root: Option<&'a str>,
    nodes: Vec<NodeReport<'a>>,
    links: Vec<LinkReport<'a>>,
    attachments: Vec<AttachmentReport<'a>>,
    distances: BTreeMap<&'a str, u64>,
    tree: Vec<Edge<'a>>,
}

#[derive(Serialize)]
struct NodeReport<'a> {
    name: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    up: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkReport<'a> {
    id: &'a str,
    a: &'a str,
    b: &'a str,
    weight: u32,
    weight_back: u32,
    up: bool,
}

#[derive(Serialize)]
struct AttachmentReport<'a> {
    app: &'a str,
    forwarder: &'a str,
    weight: u32,
}

#[derive(Serialize)]
struct Edge<'a> {
    from: &'a str,
    to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a str>,
}

impl<'a> Report<'a> {
    fn new(view: &'a View) -> Self {
        let picture = &view.picture;
        let name = |position: usize| picture.forwarders[position].name.as_str();
        let forwarders = picture.forwarders.iter().map(|forwarder| NodeReport {
            name: &forwarder.name,
            kind: "forwarder",
            node: forwarder.node.as_deref(),
            up: !forwarder.is_failed,
        });
        let apps = picture.apps.iter().map(|app| {
            let up = app
                .attachments
                .iter()
                .any(|edge| !picture.forwarders[edge.forwarder].is_failed);
            NodeReport {
                name: &app.name,
                kind: "app",
                node: None,
                up,
            }
        });
        let in_stage = |link: &&Link| picture.stage != Stage::Mwt || !link.is_heavier;
        let links = picture
            .links
            .iter()
            .filter(in_stage)
            .map(|link| LinkReport {
                id: &link.id,
                a: name(link.a),
                b: name(link.b),
                weight: link.weight,
                weight_back: link.weight_back,
                up: !link.is_failed,
            });
        let attachments = picture.apps.iter().flat_map(|app| {
            app.attachments.iter().map(move |edge| AttachmentReport {
                app: &app.name,
                forwarder: name(edge.forwarder),
                weight: edge.weight,
            })
        });
        let distances = picture
            .forwarders
            .iter()
            .map(|one| (one.name.as_str(), one.distance));
        let distances = distances.chain(
            picture
                .apps
                .iter()
                .map(|app| (app.name.as_str(), app.distance)),
        );
        Self {
            topology: &picture.title,
            epoch: &view.epoch,
            stage: picture.stage,
            root: view.root.as_deref(),
            nodes: forwarders.chain(apps).collect(),
            links: links.collect(),
            attachments: attachments.collect(),
            distances: distances
                .filter_map(|(name, distance)| Some((name, distance?)))
                .collect(),
            tree: tree(picture),
        }
    }
}

fn tree(picture: &Picture) -> Vec<Edge<'_>> {
    let name = |position: usize| picture.forwarders[position].name.as_str();
    let links = picture
        .links
        .iter()
        .filter(|link| link.is_tree())
        .map(|link| {
            let (from, to) = if link.is_tree_ab {
                (link.a, link.b)
            } else {
                (link.b, link.a)
            };
            Edge {
                from: name(from),
                to: name(to),
                link: Some(&link.id),
            }
        });
    let apps = picture.apps.iter().flat_map(|app| {
        let tree = app.attachments.iter().filter(|edge| edge.is_tree);
        tree.map(|edge| Edge {
            from: name(edge.forwarder),
            to: &app.name,
            link: None,
        })
    });
    links.chain(apps).collect()
}

fn table(view: &View) -> String {
    let picture = &view.picture;
    let mut rows = output::table(&["FROM", "TO", "WEIGHT", "BACK", "STATE"], &[2, 3]);
    let name = |position: usize| picture.forwarders[position].name.clone();
    for link in &picture.links {
        let state = match link {
            _ if link.is_failed => "out",
            _ if link.is_tree_ab => "shortest path, forth",
            _ if link.is_tree_ba => "shortest path, back",
            _ if link.is_heavier => "heavier parallel",
            _ => "up",
        };
        let (weight, back) = (link.weight.to_string(), link.weight_back.to_string());
        rows.add_row([name(link.a), name(link.b), weight, back, state.to_owned()]);
    }
    for app in &picture.apps {
        for edge in &app.attachments {
            let state = if edge.is_tree {
                "shortest path, forth"
            } else {
                "attached"
            };
            let weight = edge.weight.to_string();
            let back = "-".to_owned();
            rows.add_row([
                name(edge.forwarder),
                app.name.clone(),
                weight,
                back,
                state.to_owned(),
            ]);
        }
    }
    let mut text = format!("{}: {}\n\n", picture.title, picture.subtitle);
    text += &output::table_text(&rows);
    if view.root.is_none() {
        return text;
    }
    let mut rows = output::table(&["TO", "DISTANCE"], &[1]);
    let report = Report::new(view);
    for (name, distance) in &report.distances {
        rows.add_row([(*name).to_owned(), distance.to_string()]);
    }
    text + "\n" + &output::table_text(&rows)
}
