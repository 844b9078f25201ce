//! `beemesh generate`: a complete, valid topology of a shape and a size.

use console::failure::Failure;
use console::output;
use crds::{
    LabelSelector, MicroServiceTopology, MicroServiceTopologySpec,
    topology::{Addressing, AppEntry, ForwarderEntry, LinkEntry, Shape},
};
use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use topology::generate::Kind;

const EXAMPLES: &str = "\
The same arguments give the same topology, today and tomorrow. `random` is connected, with four
links for each forwarder and weights from 1 to 10.

Examples:
  beemesh generate ring --forwarders 5
  beemesh generate fabric --forwarders 12 --nodes 3 --apps 4 --name training
  beemesh generate random --forwarders 100 --seed 7 -o json
  beemesh generate grid --forwarders 9 | beemesh routes -f - --from f1";

/// Arguments of `beemesh generate`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Arrangement of the links
    #[arg(value_enum, ignore_case = true)]
    shape: GeneratedShape,
    /// Number of Forwarders
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    forwarders: u32,
    /// Another seed gives another random graph
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of Apps, spread over the Forwarders
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    apps: u32,
    /// Put the Forwarders on nodes n1 to nN
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nodes: Option<u32>,
    /// Name of the topology; that of the shape if not given
    #[arg(long)]
    name: Option<String>,
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

/// Shapes that can be generated.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum GeneratedShape {
    /// Full mesh: a link between every two
    Mesh,
    /// A circle
    Ring,
    /// A chain
    Line,
    /// The first in the middle
    Star,
    /// A binary tree, the first at its root
    Tree,
    /// Rows and columns
    Grid,
    /// Leaf-spine (Clos), the first ones are spines
    Fabric,
    /// A connected random graph, from the seed
    Random,
}

/// YAML first: the output is meant to be applied.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    /// Input of kubectl and of every -f
    #[default]
    Yaml,
    /// The same as JSON
    Json,
    /// One line about it
    Table,
}

impl GeneratedShape {
    /// The declared shape; a random graph has its links written out.
    fn declared(self) -> Shape {
        match self {
            Self::Mesh => Shape::Mesh,
            Self::Ring => Shape::Ring,
            Self::Line => Shape::Line,
            Self::Star => Shape::Star,
            Self::Tree => Shape::Tree,
            Self::Grid => Shape::Grid,
            Self::Fabric => Shape::Fabric,
            Self::Random => Shape::Custom,
        }
    }
}

/// Prints the topology.
///
/// # Errors
/// [`Failure::Invalid`] when the arguments make no valid topology (a name that is none).
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let object = generate(args);
    // Cheap compared with printing, and a generated topology must pass lint.
    let problems = crds::lint(&object);
    if !problems.is_empty() {
        return Err(Failure::Invalid(
            problems.iter().map(ToString::to_string).collect(),
        ));
    }
    match args.output {
        Format::Yaml => output::print(&yaml(&object)),
        Format::Json => output::print_json(&object),
        Format::Table => table(&object),
    }
}

fn generate(args: &Args) -> MicroServiceTopology {
    let shape = args.shape.declared();
    let count = args.forwarders as usize;
    let (names, links) = match args.shape {
        GeneratedShape::Random => {
            let generated = topology::generate::generate(Kind::Random, count, args.seed);
            (generated.forwarders, generated.links)
        }
        _ => (topology::generate::names(count), Vec::new()),
    };
    let links = links
        .into_iter()
        .map(|link| LinkEntry::new(link.a, link.b, link.weight))
        .collect();
    let apps = (0..args.apps).map(|app| {
        let at = u64::from(app) * u64::from(args.forwarders) / u64::from(args.apps);
        generated_app(app + 1, &names[at as usize])
    });
    let apps = apps.collect();
    let name = args.name.clone().unwrap_or_else(|| match args.shape {
        GeneratedShape::Random => "random".into(),
        _ => shape_name(shape).to_lowercase(),
    });
    let forwarders = names
        .into_iter()
        .enumerate()
        .map(|(position, name)| ForwarderEntry {
            name,
            node: args.nodes.map(|nodes| {
                format!(
                    "n{}",
                    position as u64 * u64::from(nodes) / u64::from(args.forwarders) + 1
                )
            }),
            ..ForwarderEntry::default()
        });
    let spec = MicroServiceTopologySpec {
        addressing: Addressing {
            cidrs: cidrs(args.forwarders),
            block_prefixes: Vec::new(),
        },
        forwarders: forwarders.collect(),
        shape,
        links,
        apps,
        ..MicroServiceTopologySpec::default()
    };
    MicroServiceTopology::new(name, spec)
}

fn generated_app(number: u32, forwarder: &str) -> AppEntry {
    let name = format!("app{number}");
    let selector = LabelSelector {
        match_labels: [("app".to_owned(), name.clone())].into(),
        ..LabelSelector::default()
    };
    AppEntry {
        pod_selector: Some(selector),
        forwarder: forwarder.to_owned(),
        ..AppEntry::new(name)
    }
}

/// Networks that give each Forwarder a /24 and a /64 while that is possible, with half to spare.
fn cidrs(forwarders: u32) -> Vec<IpNetwork> {
    let bits = (u64::from(forwarders) * 2).next_power_of_two().ilog2() as u8;
    let prefix = 24_u8.saturating_sub(bits).clamp(8, 16);
    let v4 = Ipv4Network::new(Ipv4Addr::new(10, 80, 0, 0), prefix).expect("prefix is 8 to 16");
    let v4 = Ipv4Network::new(v4.network(), prefix).expect("prefix is 8 to 16");
    let v6 = Ipv6Addr::new(0xfd00, 0x80, 0, 0, 0, 0, 0, 0);
    vec![
        v4.into(),
        Ipv6Network::new(v6, 48).expect("a constant prefix").into(),
    ]
}

/// YAML as people write it: one line for each Forwarder, link and App.
fn yaml(object: &MicroServiceTopology) -> String {
    let mut text = String::new();
    write_yaml(object, &mut text).expect("a String takes every write");
    text
}

fn write_yaml(object: &MicroServiceTopology, out: &mut String) -> std::fmt::Result {
    let (metadata, spec) = (&object.metadata, &object.spec);
    let cidrs: Vec<String> = spec
        .addressing
        .cidrs
        .iter()
        .map(|cidr| format!("\"{cidr}\""))
        .collect();
    writeln!(
        out,
        "apiVersion: {}\nkind: {}",
        object.api_version, object.kind
    )?;
    writeln!(out, "metadata: {{name: {}}}\nspec:", plain(&metadata.name))?;
    writeln!(
        out,
        "  addressing:\n    cidrs: [{}]\n  forwarders:",
        cidrs.join(", ")
    )?;
    for forwarder in &spec.forwarders {
        match &forwarder.node {
            Some(node) => writeln!(out, "    - {{name: {}, node: {node}}}", forwarder.name)?,
            None => writeln!(out, "    - {{name: {}}}", forwarder.name)?,
        }
    }
    if spec.shape != Shape::Custom {
        writeln!(out, "  shape: {}", shape_name(spec.shape))?;
    }
    if !spec.links.is_empty() {
        writeln!(out, "  links:")?;
    }
    for LinkEntry { a, b, weight, .. } in &spec.links {
        writeln!(out, "    - {{a: {a}, b: {b}, weight: {weight}}}")?;
    }
    if !spec.apps.is_empty() {
        writeln!(out, "  apps:")?;
    }
    for AppEntry {
        name, forwarder, ..
    } in &spec.apps
    {
        writeln!(
            out,
            "    - {{name: {name}, podSelector: {{matchLabels: {{app: {name}}}}}, forwarder: {forwarder}}}"
        )?;
    }
    Ok(())
}

/// A name that the user gave, quoted where YAML would read something else (`yes`, `12`).
fn plain(name: &str) -> String {
    let is_word = name.starts_with(|c: char| c.is_ascii_alphabetic());
    match is_word && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&name)
    {
        true => name.to_owned(),
        false => serde_json::Value::from(name).to_string(),
    }
}

fn shape_name(shape: Shape) -> &'static str {
    match shape {
        Shape::Mesh => "Mesh",
        Shape::Ring => "Ring",
        Shape::Line => "Line",
        Shape::Star => "Star",
        Shape::Tree => "Tree",
        Shape::Grid => "Grid",
        Shape::Fabric => "Fabric",
        Shape::Custom => "Custom",
    }
}

fn table(object: &MicroServiceTopology) -> Result<(), Failure> {
    let spec = &object.spec;
    let mut nodes: Vec<_> = spec
        .forwarders
        .iter()
        .filter_map(|f| f.node.as_ref())
        .collect();
    nodes.dedup();
    let links = match spec.shape.into() {
        topology::Shape::Custom => spec.links.len(),
        shape => topology::shape::links(shape, spec.forwarders.len()).len(),
    };
    let cidrs: Vec<String> = spec
        .addressing
        .cidrs
        .iter()
        .map(ToString::to_string)
        .collect();
    let headings = [
        "NAME",
        "SHAPE",
        "FORWARDERS",
        "LINKS",
        "APPS",
        "NODES",
        "CIDRS",
    ];
    let mut table = output::table(&headings, &[2, 3, 4, 5]);
    table.add_row([
        object.metadata.name.clone(),
        shape_name(spec.shape).to_owned(),
        spec.forwarders.len().to_string(),
        links.to_string(),
        spec.apps.len().to_string(),
        nodes.len().to_string(),
        cidrs.join(", "),
    ]);
    output::print(&output::table_text(&table))
}
