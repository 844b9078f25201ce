//! Probes from the network namespace of a pod or a Forwarder.

use super::{Error, leases::leases, paths::Paths, print_json, print_line};
use crds::diagnosis::report::{Flow, Pinged, PingedOne, Traced};
use probe::{
    echo, milliseconds, namespace,
    ping::{Ping, ping as send},
    trace::{End, Sink, Trace, trace as follow},
};
use rayon::prelude::*;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

/// Number of addresses that are pinged in parallel: each takes a socket and a thread.
const AT_ONCE: usize = 32;
/// Number of probes of a hop without an answer: timeouts are 0.2 s, 0.4 s, 0.8 s, 1.6 s.
const ATTEMPTS: u32 = 4;
const QUIET: Duration = Duration::from_millis(200);

/// Source namespace of the probe.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct From {
    /// Pod of this node, as NAMESPACE/NAME: found by its lease
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pod: Option<String>,
    /// Namespace, by name or path
    #[arg(long, value_name = "NAME|PATH")]
    netns: Option<String>,
}

/// Arguments of `inspect ping`.
#[derive(Debug, clap::Args)]
pub(crate) struct PingArgs {
    #[command(flatten)]
    from: From,
    /// Addresses to ping, in parallel
    #[arg(required = true)]
    to: Vec<IpAddr>,
    /// Number of echo requests to each address
    #[arg(long, default_value_t = 3)]
    count: u64,
    /// Milliseconds between two echo requests
    #[arg(long, default_value_t = 100)]
    interval_ms: u64,
    /// Milliseconds to wait for replies after the last request
    #[arg(long, default_value_t = 2000)]
    timeout_ms: u64,
    #[command(flatten)]
    paths: Paths,
}

/// Arguments of `inspect trace`.
#[derive(Debug, clap::Args)]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    from: From,
    /// Address to trace to
    to: IpAddr,
    /// UDP port of an `inspect echo` at the destination
    #[arg(long)]
    port: u16,
    /// Number of flows (source ports)
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    flows: u16,
    /// Greatest number of hops
    #[arg(long, default_value_t = 32)]
    max_hops: u8,
    #[command(flatten)]
    paths: Paths,
}

/// Arguments of `inspect echo`.
#[derive(Debug, clap::Args)]
pub(crate) struct EchoArgs {
    #[command(flatten)]
    from: From,
    /// Local address to listen on
    address: IpAddr,
    /// Seconds after which it ends
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    #[command(flatten)]
    paths: Paths,
}

/// Pings all addresses.
///
/// # Errors
/// [`Error::NoLease`] for an unknown pod or namespace; errors of the kernel.
pub(crate) fn ping(args: &PingArgs) -> Result<(), Error> {
    let netns = args.from.netns(&args.paths)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(AT_ONCE.min(args.to.len()))
        .build();
    let all = pool?.install(|| {
        args.to
            .par_iter()
            .map(|to| ping_one(args, &netns, *to))
            .collect()
    });
    print_json(&Pinged { to: all })
}

fn ping_one(args: &PingArgs, netns: &str, to: IpAddr) -> PingedOne {
    let asked = |source| Ping {
        from: netns.to_owned(),
        source,
        to,
        count: args.count,
        interval: Duration::from_millis(args.interval_ms),
        timeout: Duration::from_millis(args.timeout_ms),
    };
    let report = source(netns, to).and_then(|source| send(&asked(source), |_| {}));
    match report {
        Ok(report) => PingedOne {
            address: to,
            sent: report.sent,
            received: report.received,
            mean_ms: report.min_mean_max().map(|(_, mean, _)| milliseconds(mean)),
            refused: report.refused,
        },
        Err(error) => PingedOne {
            address: to,
            sent: args.count,
            received: 0,
            mean_ms: None,
            refused: Some(error.to_string()),
        },
    }
}

/// Traces flows to an address where `inspect echo` answers.
///
/// # Errors
/// As [`ping`].
pub(crate) fn trace(args: &TraceArgs) -> Result<(), Error> {
    let netns = args.from.netns(&args.paths)?;
    let failed = |source| Error::Probe {
        what: format!("trace to {}", args.to),
        source,
    };
    let asked = Trace {
        source: source(&netns, args.to).map_err(failed)?,
        from: netns,
        to: args.to,
        sink: Sink::Echo(args.port),
        flows: usize::from(args.flows),
        max_hops: args.max_hops,
        attempts: ATTEMPTS,
        quiet: QUIET,
    };
    let flow = |path: probe::trace::Path| Flow {
        source_port: path.source_port,
        reached: path.end == End::Reached,
        hops: path.hops,
    };
    let paths = follow(&asked).map_err(failed)?;
    print_json(&Traced {
        flows: paths.into_iter().map(flow).collect(),
    })
}

/// Echoes received packets until stdin ends; prints its port first.
///
/// # Errors
/// As [`ping`].
pub(crate) fn echo(args: &EchoArgs) -> Result<(), Error> {
    let netns = args.from.netns(&args.paths)?;
    let failed = |source| Error::Probe {
        what: format!("listen at {}", args.address),
        source,
    };
    let socket = namespace::udp(&netns, SocketAddr::new(args.address, 0)).map_err(failed)?;
    let port = socket
        .local_addr()
        .map_err(failed)?
        .as_socket()
        .map_or(0, |it| it.port());
    print_line(format!("{{\"port\":{port}}}").as_bytes())?;
    echo::until_stdin_ends(&socket, Duration::from_secs(args.seconds)).map_err(failed)
}

/// Source address that the kernel selects.
fn source(netns: &str, to: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match to {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    namespace::within(netns, || {
        let socket = std::net::UdpSocket::bind((any, 0))?;
        socket.connect((to, 9))?;
        Ok(socket.local_addr()?.ip())
    })
}

impl From {
    fn netns(&self, paths: &Paths) -> Result<String, Error> {
        let Some(pod) = &self.pod else {
            return Ok(self.netns.clone().unwrap_or_default());
        };
        let all = leases(paths)?.leases;
        let found = all.iter().find(|lease| lease.pod == *pod);
        let lease = found.ok_or_else(|| Error::NoLease(pod.clone()))?;
        Ok(here(&lease.netns))
    }
}

/// Path of a namespace in this mount namespace: a runtime may use `/var/run` where only `/run` is
/// mounted.
pub(super) fn here(path: &str) -> String {
    match path.strip_prefix("/var/run/") {
        Some(rest) if !Path::new(path).exists() => format!("/run/{rest}"),
        _ => path.to_owned(),
    }
}
