//! `beemesh plan`: changes of routes, before they are applied.

mod compare;
mod grants;
mod show;

use crate::cluster::{
    Cluster, Connection, declared,
    expected::{Attached, Given, invalid},
};
use crate::routes::Without;
pub(crate) use compare::{Side, compare};
use console::failure::Failure;
use console::input::{self, Declared, Input};
use console::output::Output;
use crds::{Forwarder, MicroServiceTopology, report::PlanReport};
use grants::Grants;
use serde::Serialize;
pub(crate) use show::table;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Compares OLD (--against) with NEW (-f). With --without and no --against, NEW is compared with
itself after the loss. With neither, NEW is compared with the topology of its name in the cluster,
or with nothing where there is none; then \"grants\" says which Forwarders, blocks and VNIs come,
go or move.

JSON: {\"oldEpoch\", \"newEpoch\", \"forwarders\": {\"added\": [], \"removed\": []}, \"links\":
{\"added\": [], \"removed\": [], \"changed\": []}, \"apps\": {\"added\": [], \"removed\": []},
\"routes\": {FROM: {TO: {\"before\": {\"distance\", \"attached\", \"nextHops\": [{\"via\",
\"link\"}]}, \"after\": null}}}, \"grants\": {\"namespace\", \"name\", \"exists\", \"forwarders\":
[{\"name\", \"node\": {\"before\", \"after\"}, \"blocks\": {\"before\": [], \"after\": []}}], \"vnis\":
{\"kept\", \"needed\": [], \"released\": {}}}}; a route that appears has no \"before\", one that goes no
\"after\".

Examples in a cluster:
  beemesh plan -f iot.yaml
  beemesh plan -f iot.yaml -n plant -o json

Examples:
  beemesh plan -f examples/worked.yaml --without F2/F4
  beemesh generate ring --forwarders 5 | beemesh plan -f examples/worked.yaml --against - -o json";

/// Arguments of `beemesh plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    /// Current topology [default: the applied one in the cluster]; `-` is stdin
    #[arg(long, value_name = "OLD", conflicts_with_all = ["namespace", "context", "kubeconfig"])]
    against: Option<PathBuf>,
    #[command(flatten)]
    without: Without,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Output,
}

/// Changes of routes; of a topology in a cluster also of its grants.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    plan: PlanReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    grants: Option<Grants>,
}

/// Prints the changes.
///
/// # Errors
/// Unreadable or invalid input, unknown names, refusals of the cluster, a stdout that cannot be
/// written.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let report = match &args.against {
        None if args.without.without.is_empty() => in_cluster(args)?,
        _ => offline(args)?,
    };
    args.output.print(&report, |report| {
        let grants = report.grants.as_ref().map(Grants::table);
        grants.unwrap_or_default() + &table(&report.plan)
    })
}

fn offline(args: &Args) -> Result<Report, Failure> {
    let is_stdin = |path: &PathBuf| path.as_os_str() == "-";
    if is_stdin(&args.input.file) && args.against.as_ref().is_some_and(is_stdin) {
        let message = "stdin: expected for one of -f and --against, not for both";
        return Err(Failure::Invalid(vec![message.into()]));
    }
    let declared = args.input.declared()?;
    let max_paths = declared.object.spec.routing.max_paths as usize;
    let faults = input::faults(&declared.topology, &args.without.without)?;
    let new = Side {
        topology: declared.topology.without(&faults),
        max_paths,
    };
    let old = match &args.against {
        Some(file) => Side::from(input::declared(file)?),
        None => Side::from(declared),
    };
    Ok(Report {
        plan: compare(&old, &new),
        grants: None,
    })
}

impl From<Declared> for Side {
    fn from(declared: Declared) -> Self {
        Self {
            max_paths: declared.object.spec.routing.max_paths as usize,
            topology: declared.topology,
        }
    }
}

fn in_cluster(args: &Args) -> Result<Report, Failure> {
    let mut object = input::object(&args.input.file)?;
    let cluster = args.connection.open()?;
    object.metadata.namespace = namespace(args, &cluster, &object)?;
    let (namespace, name) = (&object.metadata.namespace, &object.metadata.name);
    let stored = cluster.find_topology(namespace, name)?;
    let (old, given) = match &stored {
        Some(stored) => {
            let objects = cluster.forwarders(stored)?;
            let allocation = cluster.allocation(stored)?.map(|it| it.spec);
            let old = declared::declared(&cluster, stored)?;
            (Side::from(old), Given::new(stored, &objects, allocation))
        }
        None => (Side::empty(), Given::default()),
    };
    let pods = cluster.pods(&object);
    let attached = match &pods {
        Ok(pods) => Attached::By(pods),
        Err(failure) => {
            let why = failure.lines().join("; ");
            console::note(&format!(
                "Apps are assumed at their current Forwarders: {why}"
            ));
            Attached::AsIs
        }
    };
    let new = given
        .expand(&object, &cluster.nodes()?, attached)
        .map_err(|problems| invalid(&input::shown(&args.input.file), problems))?;
    let new_side = side(&object, &new)?;
    Ok(Report {
        plan: compare(&old, &new_side),
        grants: Some(Grants::new(&object, stored.is_some(), &given, &new)),
    })
}

fn side(object: &MicroServiceTopology, forwarders: &[Forwarder]) -> Result<Side, Failure> {
    let topology = crds::topology_of(forwarders).map_err(|error| Failure::failed(&error))?;
    Ok(Side {
        topology,
        max_paths: object.spec.routing.max_paths as usize,
    })
}

/// Namespace to which kubectl would apply it; a namespace `default` in the file counts as absent.
fn namespace(
    args: &Args,
    cluster: &Cluster,
    object: &MicroServiceTopology,
) -> Result<String, Failure> {
    let written = &object.metadata.namespace;
    let is_written = written != "default";
    match &args.connection.namespace {
        Some(asked) if is_written && asked != written => {
            let file = input::shown(&args.input.file);
            let message = format!(
                "{file}: metadata.namespace: expected {asked:?} as --namespace says, found {written:?}"
            );
            Err(Failure::Invalid(vec![message]))
        }
        None if is_written => Ok(written.clone()),
        _ => Ok(cluster.namespace.clone()),
    }
}
