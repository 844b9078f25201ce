//! `beemesh trace`: the ways that packets take from one pod to another, beside the ways computed.
//!
//! ```text
//! path (computed edges) ----------------------------------.
//! node of B: inspect echo  <-- UDP, ttl 1, 2, 3 ... ------ +-> traced -> output
//! node of A: inspect trace --> routers' answers, echoes --'
//! ```

use crate::cluster::placed::{Placed, Where};
use crate::nodes::lab::{self, OfLab};
use crate::nodes::{Nodes, Question, cluster::OfCluster, daemons::System, port, read, unasked};
use crate::path::{
    dag::Ways,
    place::{At, Place},
};
use ::lab::Running;
use console::failure::{Exit, Failure};
use console::family::FamilyArgs;
use console::note;
use console::output::Output;
use console::ttl;
use crds::diagnosis::report;
use probe::{
    endpoint::Endpoint,
    flow_report::{self, FlowPath, Traced},
};
use std::{collections::BTreeMap, net::IpAddr};

const EXAMPLES: &str = "\
A and B are pods, Apps (their first pod) or Forwarders, as with `path`. UDP probes leave from A's own network
namespace on its node; each flow is hashed to one path. Exits 1 when a flow was lost, or left the computed paths.

JSON: {\"from\", \"to\", \"family\", \"flows\", \"reached\", \"onComputedPath\", \"paths\": [{\"hops\": [], \"flows\",
\"reached\", \"computed\", \"departsAfter\"}], \"legs\": [{\"from\", \"to\", \"flows\", \"computed\"}]}.

Examples:
  beemesh trace sensor-7d4 analytics --topology iot -n plant
  beemesh trace sensors analytics --topology iot -6 --flows 64 -o json
  beemesh trace -f examples/iot.yaml sensors-0 analytics";

/// Arguments of `beemesh trace`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Pod, App or Forwarder that packets leave from
    a: String,
    /// Pod, App or Forwarder that they go to
    b: String,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    system: System,
    /// Number of flows (source ports); each is hashed to one path
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    flows: u16,
    #[command(flatten)]
    family: FamilyArgs,
    #[command(flatten)]
    output: Output,
}

/// Traces, and says whether all flows went where they should.
///
/// # Errors
/// Refusals of cluster or node, an unreadable file; [`Failure::NotFound`]; exit code 1 when a flow was lost or off the
/// computed paths.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let traced = match &args.place.file {
        Some(file) => {
            let running = Running::join(file)?;
            traced(args, &lab::placed(&running)?, &OfLab::new(&running))?
        }
        None => {
            let (cluster, placed) = args.place.placed_in_cluster()?;
            traced(args, &placed, &OfCluster::find(&cluster, &args.system)?)?
        }
    };
    args.output.print(&traced, flow_report::text)?;
    match traced.is_as_computed() {
        true => Ok(()),
        false => Err(Failure::Told(Exit::Failed)),
    }
}

fn traced(args: &Args, placed: &Placed, nodes: &dyn Nodes) -> Result<Traced, Failure> {
    let (a, b) = (Place::find(placed, &args.a)?, Place::find(placed, &args.b)?);
    for (place, asked) in [(&a, &args.a), (&b, &args.b)] {
        if let Place::App(_) = place {
            note(&format!(
                "App {asked}: its first pod is used: {}",
                place.real(placed)?.name
            ));
        }
    }
    let (from, to) = (a.real(placed)?, b.real(placed)?);
    let ends = (endpoint(placed, &from), endpoint(placed, &to));
    let (family, _, destination) = ::lab::common(&ends.0, &ends.1, args.family.families())?;
    let seen = follow(placed, nodes, (&from, &to), (destination, args.flows))?;
    let seen: Vec<FlowPath> = seen
        .flows
        .iter()
        .map(|flow| named(placed, (&ends.0, &ends.1), flow))
        .collect();
    let ways = Ways::new(placed).dag(from.forwarder, &Place::Pod(to));
    let edges = ways.edges();
    let expected = ways.distance.map(|_| &edges);
    let (first, last) = (&ends.0.forwarder, &ends.1.forwarder);
    if seen.iter().any(|flow| !flow.reached)
        && let Some(why) = ttl::explain(&placed.topology, first, last)
    {
        note(&why);
    }
    Ok(flow_report::traced(
        &ends.0, &ends.1, family, &seen, expected,
    ))
}

fn follow(
    placed: &Placed,
    nodes: &dyn Nodes,
    (from, to): (&At, &At),
    (destination, flows): (IpAddr, u16),
) -> Result<report::Traced, Failure> {
    let node = |at: &At| placed.node_of(&placed.topology.forwarders()[at.forwarder.position()]);
    let (near, far) = (node(from), node(to));
    let [option, value] = &to.found_by;
    let echo = Question::new(&far, &format!("echo {option} {value} {destination}"));
    let (line, listening) = nodes.listen(&echo).map_err(|why| unasked(&far, &why))?;
    let port = port(&line).map_err(|why| unasked(&far, &why))?;
    let [option, value] = &from.found_by;
    let hops = placed.topology.forwarders().len().min(60) + 4;
    let question = format!(
        "trace {option} {value} {destination} --port {port} --flows {flows} --max-hops {hops}"
    );
    let answer = nodes.ask(&[Question::new(&near, &question)]).pop();
    drop(listening);
    let answer = answer.unwrap_or_else(|| Err("no answer".to_owned()));
    read(answer).map_err(|why| unasked(&near, &why))
}

fn endpoint(placed: &Placed, at: &At) -> Endpoint {
    let forwarder = placed.topology.forwarders()[at.forwarder.position()].clone();
    Endpoint {
        is_instance: at.found_by[1] != netns_of(placed, &forwarder),
        name: at.name.clone(),
        netns: String::new(),
        forwarder,
        addresses: at.addresses.clone(),
    }
}

fn netns_of(placed: &Placed, forwarder: &str) -> String {
    let object = placed
        .forwarders
        .iter()
        .find(|it| it.spec.name == forwarder);
    object.map(crds::names::netns_of).unwrap_or_default()
}

/// One flow in names of Forwarders.
fn named(placed: &Placed, (from, to): (&Endpoint, &Endpoint), flow: &report::Flow) -> FlowPath {
    let names: BTreeMap<IpAddr, &String> = placed
        .topology
        .forwarders()
        .iter()
        .flat_map(|name| {
            placed
                .addresses_of(name)
                .into_iter()
                .map(move |address| (address, name))
        })
        .collect();
    let own = (!from.is_instance).then(|| from.forwarder.clone());
    let hops = flow.hops.iter().map(|hop| match hop {
        Some(address) => names
            .get(address)
            .map_or_else(|| address.to_string(), ToString::to_string),
        None => "*".to_owned(),
    });
    let mut hops: Vec<String> = own.into_iter().chain(hops).collect();
    if flow.reached && !to.is_instance && hops.last() != Some(&to.forwarder) {
        hops.push(to.forwarder.clone());
    }
    FlowPath {
        ports: (flow.source_port, 0),
        hops,
        reached: flow.reached,
    }
}
