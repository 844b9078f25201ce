//! Arguments of the verbs that make faults, and of their repair.

use std::time::Duration;

use console::input::Input;
use console::output::Output;

use super::duration;

/// Arguments of `cut`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  beemesh lab cut -f examples/iot.yaml plant-a/north
  beemesh lab cut -f examples/iot.yaml plant-a/north --silent
  beemesh lab heal -f examples/iot.yaml plant-a/north")]
pub(crate) struct CutArgs {
    #[command(flatten)]
    pub(crate) file: Input,
    /// Link: `A/B` (all parallel ones) or `A/B#2`
    pub(crate) link: String,
    /// Drop all packets, in both directions, while the link looks up
    #[arg(long)]
    pub(crate) silent: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Arguments of `one-way`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  beemesh lab one-way -f examples/iot.yaml plant-a/north   # north no longer hears plant-a
  beemesh lab one-way -f examples/iot.yaml north/plant-a   # and now the other way, too
  beemesh lab heal -f examples/iot.yaml plant-a/north")]
pub(crate) struct OneWayArgs {
    #[command(flatten)]
    pub(crate) file: Input,
    /// Link `A/B` (all parallel ones) or `A/B#2`: packets from A to B are dropped
    pub(crate) link: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Arguments of `slow`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  beemesh lab slow -f examples/iot.yaml plant-a/north --rate 10mbit
  beemesh lab slow -f examples/iot.yaml plant-a/north --rate 500kbit --delay 200ms
  beemesh lab heal -f examples/iot.yaml plant-a/north

Both ends send through a token bucket (tc-tbf). Packets wait only while more is sent than the rate allows, so an idle
link has no delay: that would need the kernel's netem, which is not used.")]
pub(crate) struct SlowArgs {
    #[command(flatten)]
    pub(crate) file: Input,
    /// Link: `A/B` (all parallel ones) or `A/B#2`
    pub(crate) link: String,
    /// Rate in each direction, such as 10mbit, 500kbit or 1gbit
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) rate: u64,
    /// Longest time of a packet in the queue of a full link; it is dropped instead of waiting longer
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = duration)]
    pub(crate) delay: Duration,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Arguments of `flap`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  beemesh lab flap -f examples/iot.yaml plant-a/north --times 100 --hz 1
  beemesh lab flap -f examples/iot.yaml plant-a/north --times 5 --hz 0.5 --silent")]
pub(crate) struct FlapArgs {
    #[command(flatten)]
    pub(crate) file: Input,
    /// Link: `A/B` (all parallel ones) or `A/B#2`
    pub(crate) link: String,
    /// Number of cuts, each healed after half of its period
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) times: u32,
    /// Cuts in a second, at most 50
    #[arg(long, value_name = "F", default_value = "1", value_parser = hertz)]
    pub(crate) hz: f64,
    /// Drop all packets while the link looks up, instead of setting its ends down
    #[arg(long)]
    pub(crate) silent: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Arguments of `kill`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  beemesh lab kill -f examples/iot.yaml north      # a forwarder: nothing goes in or out of it
  beemesh lab kill -f examples/iot.yaml n2 --node  # the daemon of a node: forwarding goes on without it
  beemesh lab heal -f examples/iot.yaml n2")]
pub(crate) struct KillArgs {
    #[command(flatten)]
    pub(crate) file: Input,
    /// Forwarder, or else node
    pub(crate) name: String,
    /// Take the name for that of a node, also where a forwarder has it
    #[arg(long)]
    pub(crate) node: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Arguments of `freeze`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  beemesh lab freeze -f examples/iot.yaml n2
  beemesh lab heal -f examples/iot.yaml n2")]
pub(crate) struct FreezeArgs {
    #[command(flatten)]
    pub(crate) file: Input,
    /// Node whose daemon is stopped (SIGSTOP)
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Arguments of `partition`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  beemesh lab partition -f examples/iot.yaml n1        # n1, and all others
  beemesh lab partition -f examples/iot.yaml n1,n2 n3  # two groups
  beemesh lab heal -f examples/iot.yaml")]
pub(crate) struct PartitionArgs {
    #[command(flatten)]
    pub(crate) file: Input,
    /// Groups of nodes, such as `n1,n2 n3`; nodes that are not named form one more group
    #[arg(required = true, value_name = "NODES")]
    pub(crate) groups: Vec<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Arguments of `burn`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  beemesh lab burn -f examples/iot.yaml
  beemesh lab burn -f examples/iot.yaml --for 10s --threads 1")]
pub(crate) struct BurnArgs {
    #[command(flatten)]
    pub(crate) file: Input,
    /// Time of the load, at most an hour
    #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = burning)]
    pub(crate) time: Duration,
    /// Number of busy threads [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Arguments of `heal`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  beemesh lab heal -f examples/iot.yaml plant-a/north  # a link
  beemesh lab heal -f examples/iot.yaml n2             # a node: its daemon is thawed, or started
  beemesh lab heal -f examples/iot.yaml                # everything, also a partition and a burn")]
pub(crate) struct HealArgs {
    #[command(flatten)]
    pub(crate) file: Input,
    /// Link, forwarder or node; all faults when absent
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Kind of the cuts that `test` makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Ends that are down.
    #[default]
    Cut,
    /// Ends that look up and drop all packets.
    Silent,
    /// One end that looks up and drops all packets.
    OneWay,
}

/// Bits per second of `10mbit`, `500kbit`, `1gbit`, `8000bit`.
fn rate(text: &str) -> Result<u64, String> {
    let units = [
        ("gbit", 1_000_000_000),
        ("mbit", 1_000_000),
        ("kbit", 1_000),
        ("bit", 1),
    ];
    let lower = text.to_lowercase();
    let parts = units
        .iter()
        .find_map(|(unit, bits)| Some((lower.strip_suffix(unit)?, *bits)));
    let rate = parts.and_then(|(number, bits)| number.parse::<u64>().ok()?.checked_mul(bits));
    rate.filter(|rate| *rate >= RATE_MIN)
        .ok_or_else(|| "expected a rate of at least 8kbit, such as 10mbit or 1gbit".to_owned())
}

/// Smallest rate in bits per second.
const RATE_MIN: u64 = 8_000;

fn hertz(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok();
    rate.filter(|rate| (0.01..=50.0).contains(rate))
        .ok_or_else(|| "expected a number from 0.01 to 50".to_owned())
}

fn burning(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_secs(3_600);
    let time = duration(text)?;
    match time <= MAX {
        true => Ok(time),
        false => Err("expected at most 3600s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_frequencies_and_times_are_read_or_refused() {
        #[rustfmt::skip]
        let rates = [("10mbit", 10_000_000), ("1Gbit", 1_000_000_000), ("500kbit", 500_000), ("8000bit", 8_000)];
        for (text, bits) in rates {
            assert_eq!(rate(text), Ok(bits), "{text}");
        }
        for wrong in [
            "",
            "10",
            "mbit",
            "-1mbit",
            "1kbit",
            "99999999999999999999gbit",
        ] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        for wrong in ["0", "-1", "51", "nan", "often"] {
            assert!(hertz(wrong).is_err(), "{wrong}");
        }
        assert_eq!(burning("1s"), Ok(Duration::from_secs(1)));
        assert!(burning("3601s").is_err());
    }
}
