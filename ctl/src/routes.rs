//! `beemesh routes`: the next hops of every Forwarder, or of one.

use crate::cluster::declared::Source;
use crate::tables::{self, Computer};
use console::failure::Failure;
use console::input;
use console::output::{self, Format, Output};
use std::fmt::Write as _;
use std::io::Write;
use topology::{AppIndex, ForwarderIndex, LinkId, LinkIndex, Table, Topology};

const EXAMPLES: &str = "\
JSON: {\"epoch\": \"...\", \"tables\": {FROM: {TO: {\"distance\": 3, \"attached\": false,
\"nextHops\": [{\"via\": \"F2\", \"link\": \"F1/F2\"}]}}}}; what cannot be reached is absent.

Examples:
  beemesh routes -f examples/worked.yaml
  beemesh routes -f examples/worked.yaml --from F1 -o json
  beemesh routes -f examples/worked.yaml --from F1 --without F2/F4 --without F5";

/// Arguments of `beemesh routes`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Only the table of this Forwarder
    #[arg(long, value_name = "FORWARDER")]
    from: Option<String>,
    #[command(flatten)]
    without: Without,
    #[command(flatten)]
    output: Output,
}

/// `--without`, shared by the verbs that ask "what if".
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Without {
    /// Take out a link (`A/B` all parallel ones, `A/B#2` one) or a Forwarder (`A`); may be repeated
    #[arg(long, value_name = "LINK|FORWARDER")]
    pub(crate) without: Vec<String>,
}

/// Prints the tables, each as soon as it and those before it are computed.
///
/// # Errors
/// Unreadable or invalid input, unknown names, a stdout that cannot be written.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let declared = args.source.declared()?;
    let faults = input::faults(&declared.topology, &args.without.without)?;
    let root = args
        .from
        .as_deref()
        .map(|name| input::forwarder(&declared.topology, name));
    let root = root.transpose()?;
    let topology = match faults.is_empty() {
        true => declared.topology,
        false => declared.topology.without(&faults),
    };
    let roots = match (&args.from, root) {
        (Some(name), Some(_)) => vec![topology.forwarder(name).ok_or_else(|| {
            Failure::NotFound(format!("forwarder {name:?} is removed by --without"))
        })?],
        _ => tables::all_roots(&topology),
    };
    let max_paths = declared.object.spec.routing.max_paths as usize;
    Printer::new(&topology, args.output.format)
        .print(&roots, max_paths)
        .map_err(Failure::Write)
}

/// Names as they are printed, made once.
struct Printer<'a> {
    topology: &'a Topology,
    format: Format,
    epoch: String,
    forwarders: Vec<String>,
    links: Vec<String>,
    /// Rank of each link by its id as text, which differs from the canonical order: `a-x/b` comes
    /// before `a/b`.
    /// `a/b`.
    rank: Vec<u32>,
}

impl<'a> Printer<'a> {
    fn new(topology: &'a Topology, format: Format) -> Self {
        let quote = |name: &str| match format {
            Format::Table => name.to_owned(),
            Format::Json | Format::Yaml => json_string(name),
        };
        let links = (0..topology.links().len() as u32).map(LinkIndex);
        let links: Vec<String> = links.map(|link| quote(&topology.link_id(link))).collect();
        Self {
            topology,
            format,
            epoch: topology.epoch().to_string(),
            forwarders: topology
                .forwarders()
                .iter()
                .map(|name| quote(name))
                .collect(),
            rank: ranks(&links),
            links,
        }
    }

    fn print(&self, roots: &[ForwarderIndex], max_paths: usize) -> std::io::Result<()> {
        let mut out = output::stdout();
        match self.format {
            Format::Table => writeln!(out, "epoch {}", self.epoch)?,
            Format::Json => write!(
                out,
                "{{\n  \"epoch\": \"{}\",\n  \"tables\": {{",
                self.epoch
            )?,
            Format::Yaml if roots.is_empty() => {
                writeln!(out, "epoch: \"{}\"\ntables: {{}}", self.epoch)?;
            }
            Format::Yaml => writeln!(out, "epoch: \"{}\"\ntables:", self.epoch)?,
        }
        let mut separator = "";
        let make = |table: Table| self.table(&table);
        Computer::new(self.topology, max_paths).stream(roots, make, |text: String| {
            out.write_all(separator.as_bytes())?;
            if self.format == Format::Json {
                separator = ",";
            }
            out.write_all(text.as_bytes())
        })?;
        if self.format == Format::Json {
            out.write_all(if roots.is_empty() {
                b"}\n}\n"
            } else {
                b"\n  }\n}\n"
            })?;
        }
        out.flush()
    }

    /// One table as text. One line for each destination in every format.
    fn table(&self, table: &Table) -> String {
        let from = &self.forwarders[table.from.position()];
        match self.format {
            Format::Table => self.for_people(table),
            Format::Json => {
                let mut text = format!("\n    {from}: {{");
                self.routes(table, |position, line| {
                    let comma = if position == 0 { "" } else { "," };
                    write!(text, "{comma}\n      {line}").expect("a String takes every write");
                });
                text.push_str(if text.ends_with('{') { "}" } else { "\n    }" });
                text
            }
            Format::Yaml => {
                let mut text = String::new();
                self.routes(table, |_, line| {
                    writeln!(text, "    {line}").expect("a String takes every write");
                });
                match text.is_empty() {
                    true => format!("  {from}: {{}}\n"),
                    false => format!("  {from}:\n{text}"),
                }
            }
        }
    }

    /// Calls `line` with each route as `"TO": {...}`, which is JSON and YAML alike.
    fn routes(&self, table: &Table, mut line: impl FnMut(usize, &str)) {
        let mut text = String::new();
        for (position, route) in self.destinations(table).enumerate() {
            text.clear();
            let Destination {
                name,
                distance,
                attached,
                links,
            } = route;
            write!(
                text,
                "{name}: {{\"distance\": {distance}, \"attached\": {attached}, \"nextHops\": ["
            )
            .expect("a String takes every write");
            for (position, link) in links.iter().enumerate() {
                let comma = if position == 0 { "" } else { ", " };
                let (via, link) = (self.via(table.from, *link), &self.links[link.position()]);
                write!(text, "{comma}{{\"via\": {via}, \"link\": {link}}}")
                    .expect("a String takes every write");
            }
            text.push_str("]}");
            line(position, &text);
        }
    }

    fn for_people(&self, table: &Table) -> String {
        let mut rows = output::table(&["TO", "DISTANCE", "NEXT HOPS"], &[1]);
        for Destination {
            name,
            distance,
            attached,
            links,
        } in self.destinations(table)
        {
            let hop = |link: &LinkIndex| {
                let via = self.via(table.from, *link);
                match LinkId::parse(&self.links[link.position()]) {
                    Ok(id) if id.ordinal() > 1 => format!("{via} (#{})", id.ordinal()),
                    _ => via.to_owned(),
                }
            };
            let hops = match attached {
                true => "attached".to_owned(),
                false => links.iter().map(hop).collect::<Vec<_>>().join(", "),
            };
            rows.add_row([name, distance.to_string(), hops]);
        }
        let from = &self.forwarders[table.from.position()];
        let text = output::table_text(&rows);
        let indented: String = text.lines().map(|line| format!("  {line}\n")).collect();
        match rows.row_count() {
            0 => format!("\nfrom {from}: nothing can be reached\n"),
            _ => format!("\nfrom {from}\n{indented}"),
        }
    }

    /// Forwarders, then Apps, each in canonical order, without what cannot be reached.
    fn destinations<'t>(&'t self, table: &'t Table) -> impl Iterator<Item = Destination> + 't {
        let forwarders = (0..self.forwarders.len()).filter_map(|position| {
            let (route, links) = table.to_forwarder(ForwarderIndex(position as u32))?;
            let name = self.forwarders[position].clone();
            Some(Destination {
                name,
                distance: route.distance,
                attached: false,
                links: self.sorted(links),
            })
        });
        let apps = self
            .topology
            .apps()
            .iter()
            .enumerate()
            .filter_map(|(position, app)| {
                let (route, links) = table.to_app(AppIndex(position as u32))?;
                let name = match self.format {
                    Format::Table => app.name.clone(),
                    Format::Json | Format::Yaml => json_string(&app.name),
                };
                let (distance, attached) = (route.distance, route.attached);
                Some(Destination {
                    name,
                    distance,
                    attached,
                    links: self.sorted(links),
                })
            });
        forwarders.chain(apps)
    }

    /// Next hops in the order of their links' ids as text.
    fn sorted(&self, links: &[LinkIndex]) -> Vec<LinkIndex> {
        let mut links = links.to_vec();
        links.sort_unstable_by_key(|link| self.rank[link.position()]);
        links
    }

    fn via(&self, from: ForwarderIndex, link: LinkIndex) -> &str {
        &self.forwarders[self.topology.links()[link.position()]
            .other(from)
            .position()]
    }
}

/// One route, its name ready to print.
struct Destination {
    name: String,
    distance: u64,
    attached: bool,
    links: Vec<LinkIndex>,
}

/// The position that each text takes among all when they are sorted.
fn ranks(texts: &[String]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..texts.len() as u32).collect();
    order.sort_unstable_by_key(|&position| &texts[position as usize]);
    let mut ranks = vec![0; texts.len()];
    for (rank, position) in (0..).zip(order) {
        ranks[position as usize] = rank;
    }
    ranks
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
