//! `beemesh status`: status of topologies in a cluster, problems, and advice.

mod advice;
mod one;
mod several;

use crate::cluster::{selected::Selected, wait::Wanted};
use console::failure::Failure;
use std::time::Duration;

const EXAMPLES: &str = "\
Without NAME one line for each topology. JSON: {\"topologies\": [{\"namespace\", \"name\", \"ready\",
\"reason\", \"forwarders\": {\"programmed\", \"total\"}, \"links\": {\"up\", \"total\"}, \"pods\", \"epoch\"}]}.

With NAME everything about one. JSON: {\"namespace\", \"name\", \"generation\", \"observedGeneration\",
\"epoch\", \"digest\", \"pods\", \"convergence\", \"conditions\": [], \"forwarders\": [{\"name\", \"node\",
\"blocks\", \"links\", \"epoch\", \"computed\", \"reported\", \"state\", \"drained\"}], \"apps\": [{\"name\",
\"forwarders\", \"instances\", \"external\"}], \"problems\": [{\"what\", \"advice\"}]}.

With --wait the verb returns as soon as the condition holds, by a watch; it exits 4 when it does
not hold in time and says why, and 3 when there is no such topology.

Examples in a cluster:
  beemesh status
  beemesh status -A -o json
  beemesh status iot -n plant
  beemesh status iot -n plant --wait --timeout 2m
  beemesh status iot --wait --for Computed";

/// Arguments of `beemesh status`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    selected: Selected,
    /// Wait until the condition of --for holds
    #[arg(long, requires = "name")]
    wait: bool,
    /// Condition to wait for
    #[arg(
        long = "for",
        value_enum,
        value_name = "CONDITION",
        default_value_t,
        requires = "wait"
    )]
    condition: Awaited,
    #[command(flatten)]
    timeout: Timeout,
}

/// `--timeout`, shared by the verbs that wait.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Timeout {
    /// Longest time to wait, such as `90s` or `2m`
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, requires = "wait")]
    pub(crate) timeout: Duration,
}

/// `90s`, `2m`.
///
/// # Errors
/// The expected form.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    crds::duration::parse(text).ok_or_else(|| "expected a time such as 90s".into())
}

/// The conditions that one can wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
enum Awaited {
    /// The declaration is valid.
    Accepted,
    /// All Forwarder objects are written, all tables computed.
    Computed,
    /// Every node reports the table that was computed.
    Programmed,
    /// All of it, and every Forwarder can be reached.
    #[default]
    Ready,
}

impl Awaited {
    fn name(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Computed => "Computed",
            Self::Programmed => "Programmed",
            Self::Ready => "Ready",
        }
    }
}

/// Prints the state, after waiting for it.
///
/// # Errors
/// Refusals of the cluster; [`Failure::NotFound`]; [`Failure::TimedOut`].
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let cluster = args.selected.connection.open()?;
    let Some(name) = &args.selected.name else {
        let topologies = args.selected.topologies(&cluster)?;
        return several::print(&topologies, &cluster.namespace, args);
    };
    let wanted = Wanted {
        condition: args.condition.name(),
        generation: 0,
        timeout: args.timeout.timeout,
    };
    let stored = match args.wait {
        true => cluster.wait(name, wanted)?,
        false => cluster.topology(name)?,
    };
    let forwarders = cluster.forwarders(&stored)?;
    args.selected
        .output
        .print(&one::report(&stored, &forwarders), one::table)
}
