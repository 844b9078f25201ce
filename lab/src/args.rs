//! The command line of `beemesh lab`.

mod faults;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use console::family::FamilyArgs;
use console::input::Input;
use console::output::Output;
pub(crate) use faults::{
    BurnArgs, CutArgs, FlapArgs, FreezeArgs, HealArgs, KillArgs, Kind, OneWayArgs, PartitionArgs,
    SlowArgs,
};

const EXAMPLES: &str = "\
Examples:
  beemesh lab up -f examples/iot.yaml --instances sensors=3
  beemesh lab status -f examples/iot.yaml
  beemesh lab ping -f examples/iot.yaml sensors-0 analytics
  beemesh lab trace -f examples/iot.yaml sensors-0 analytics -6
  beemesh lab exec -f examples/iot.yaml sensors-0 -- ip addr
  beemesh lab cut -f examples/iot.yaml plant-a/north
  beemesh lab one-way -f examples/iot.yaml cloud-a/north
  beemesh lab heal -f examples/iot.yaml
  beemesh lab test -f examples/iot.yaml
  beemesh lab down -f examples/iot.yaml";

/// Arguments of `beemesh lab`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Verbs of `beemesh lab`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Start a lab of the topology, or update a running lab to the file
    Up(UpArgs),
    /// Take a lab down, or all of them; also the remains of a crash
    Down(DownArgs),
    /// Show forwarders and App instances of a running lab
    Status(StatusArgs),
    /// List all labs of this user
    List(ListArgs),
    /// Run a command inside an App instance or a forwarder
    Exec(ExecArgs),
    /// Ping from one App instance or forwarder to another
    Ping(PingArgs),
    /// Show the paths that packets take beside the paths computed
    Trace(TraceArgs),
    /// Cut a link, as when a cable is pulled, or silently, as when a switch on the way fails
    Cut(CutArgs),
    /// Drop all packets from one end of a link to the other, and none of the other direction
    OneWay(OneWayArgs),
    /// Limit the rate of a link
    Slow(SlowArgs),
    /// Cut and heal a link again and again
    Flap(FlapArgs),
    /// Cut a forwarder off, as when it loses power, or kill the daemon of a node
    Kill(KillArgs),
    /// Stop the daemon of a node; its process stays
    Freeze(FreezeArgs),
    /// Part the nodes' network into groups that do not reach one another
    Partition(PartitionArgs),
    /// Load all processors of this machine for a time
    Burn(BurnArgs),
    /// Undo the faults of one link, forwarder or node, or all
    Heal(HealArgs),
    /// Test every App pair over the computed paths, then every link by cuts that are seen, silent and of one way
    Test(TestArgs),
    /// Print a CNI network configuration with which any runtime attaches a container to the lab
    Conflist(ConflistArgs),
    /// Hold the namespaces of labs without root
    #[command(hide = true)]
    HoldNamespaces {
        /// Directory of all labs of the user
        base: PathBuf,
    },
}

/// Arguments of `up`.
#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) file: Input,
    /// Number of instances of an App (default 1, or as before); may be repeated
    #[arg(long, value_name = "NAME=N", value_parser = count)]
    pub(crate) instances: Vec<(String, u32)>,
    /// Number of hosts that represent the nodes of `forwarderPerNode`
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) nodes: u32,
    /// MTU in bytes of the network between the hosts (default 1500, or as before)
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1280..=65_535))]
    pub(crate) mtu: Option<u32>,
    /// Seconds until the lab must be up; otherwise it is taken down again, and the exit code is 4
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) timeout: u64,
    /// Print errors only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Arguments of `down`.
#[derive(Debug, clap::Args)]
pub(crate) struct DownArgs {
    /// YAML file with the MicroServiceTopology of the lab; `-` is stdin
    #[arg(
        short,
        long = "file",
        value_name = "FILE",
        required_unless_present = "all"
    )]
    pub(crate) file: Option<PathBuf>,
    /// Every lab of this user
    #[arg(long, conflicts_with = "file")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) file: Input,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Arguments of `exec`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) file: Input,
    /// App instance (`sensors-0`), App (its first instance) or forwarder
    pub(crate) name: String,
    /// Command and its arguments; its exit code is the result
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

/// Arguments of `ping`.
#[derive(Debug, clap::Args)]
pub(crate) struct PingArgs {
    #[command(flatten)]
    pub(crate) file: Input,
    /// App instance, App or forwarder to ping from
    pub(crate) from: String,
    /// App instance, App, forwarder or address to ping
    pub(crate) to: String,
    /// Number of echo requests
    #[arg(short, long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: u64,
    /// Interval between two requests, such as 200ms or 1s
    #[arg(short, long, default_value = "200ms", value_parser = duration)]
    pub(crate) interval: Duration,
    /// Time to wait for replies after the last request
    #[arg(short = 'W', long, default_value = "2s", value_parser = duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) family: FamilyArgs,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Arguments of `trace`.
#[derive(Debug, clap::Args)]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    pub(crate) file: Input,
    /// App instance, App or forwarder to trace from
    pub(crate) from: String,
    /// App instance, App or forwarder to trace to
    pub(crate) to: String,
    /// Number of flows (source ports); each is hashed to one path
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) flows: u16,
    #[command(flatten)]
    pub(crate) family: FamilyArgs,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub(crate) file: Input,
    /// Cut no link
    #[arg(long, conflicts_with = "cuts")]
    pub(crate) no_cuts: bool,
    /// Cut at most N links, evenly chosen
    #[arg(long, value_name = "N")]
    pub(crate) cuts: Option<usize>,
    /// Kinds of cuts, each of every link
    #[arg(
        long,
        value_name = "KIND",
        value_delimiter = ',',
        default_value = "cut,silent,one-way"
    )]
    pub(crate) kinds: Vec<Kind>,
    /// Test at most N pairs, evenly chosen
    #[arg(long, value_name = "N")]
    pub(crate) pairs: Option<usize>,
    /// Longest accepted loss of a cut with another path; a silent one may also last until it is noticed
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) max_loss: Option<Duration>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Arguments of `conflist`.
#[derive(Debug, clap::Args)]
pub(crate) struct ConflistArgs {
    #[command(flatten)]
    pub(crate) file: Input,
    /// App that the container becomes an instance of
    #[arg(long, value_name = "NAME")]
    pub(crate) app: String,
    /// Node whose daemon attaches it (default: the first with a forwarder for the App)
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// Version of the CNI specification [default: 0.4.0, and `cniVersions` for runtimes that choose]
    #[arg(long, value_name = "VERSION", value_parser = crate::instances::conflist::CNI_VERSIONS)]
    pub(crate) cni_version: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `NAME=N`.
fn count(text: &str) -> Result<(String, u32), String> {
    let parsed = text.split_once('=').and_then(|(name, count)| {
        Some((name.to_owned(), count.parse().ok()?)).filter(|_| !name.is_empty())
    });
    parsed.ok_or_else(|| "expected NAME=N, such as sensors=3".to_owned())
}

/// `200ms`, `1s`, `0.5` (seconds).
fn duration(text: &str) -> Result<Duration, String> {
    let (number, scale) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 0.001),
        (None, Some(number)) => (number, 1.0),
        (None, None) => (text, 1.0),
    };
    let seconds = number.parse::<f64>().ok().map(|number| number * scale);
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "expected a time such as 200ms or 1s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_times_are_read_or_refused() {
        assert_eq!(count("sensors=3"), Ok(("sensors".to_owned(), 3)));
        for wrong in ["sensors", "=3", "sensors=", "sensors=-1"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
        for (text, ms) in [("200ms", 200), ("1s", 1000), ("0.5", 500), ("1.5s", 1500)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for wrong in ["", "s", "-1s", "soon", "1m"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
