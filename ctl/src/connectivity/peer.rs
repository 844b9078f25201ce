//! The two ends of a connectivity test, in the probe pods: `beemesh probe serve` and `beemesh probe run`.
//!
//! As much as two full packets goes there and back over TCP, so that a wrong MTU shows too.

use console::failure::Failure;
use console::output::print_json;
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// The port that probes listen on.
pub(super) const PORT: u16 = 4791;
/// Payload in each direction: more than fits in one packet, even a large one.
const PAYLOAD_BYTES: usize = 20_000;
/// Longest time that one connection may stay.
const STALE: Duration = Duration::from_secs(10);
/// Connections that are served at once.
const CONNECTIONS: usize = 256;

/// Arguments of `beemesh probe`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Send back what arrives
    Serve {
        /// TCP port
        #[arg(long, default_value_t = PORT)]
        port: u16,
    },
    /// Reach each of these, and say which answered
    Run {
        /// TCP port
        #[arg(long, default_value_t = PORT)]
        port: u16,
        /// Milliseconds that each may take
        #[arg(long, default_value_t = 5000)]
        timeout_ms: u64,
        /// Listen addresses of other probes
        #[arg(required = true)]
        to: Vec<IpAddr>,
    },
}

/// Result for one address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Reached {
    /// The address.
    pub(super) address: IpAddr,
    /// Round-trip time in milliseconds; `None` where it was not reached.
    pub(super) ms: Option<f64>,
    /// Error, where it was not reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// Serves, or reaches.
///
/// # Errors
/// A port that is taken; a stdout that cannot be written.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match &args.verb {
        Verb::Serve { port } => serve(*port).map_err(|error| Failure::failed(&error)),
        Verb::Run {
            port,
            timeout_ms,
            to,
        } => {
            let limit = Duration::from_millis(*timeout_ms);
            print_json(&reach_all(to, *port, limit))
        }
    }
}

fn serve(port: u16) -> io::Result<()> {
    // Where there is no IPv6, IPv4 alone.
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))?;
    serve_at(&listener)
}

fn serve_at(listener: &TcpListener) -> io::Result<()> {
    let busy = std::sync::Arc::new(());
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        if std::sync::Arc::strong_count(&busy) > CONNECTIONS {
            continue;
        }
        let held = busy.clone();
        thread::Builder::new().spawn(move || {
            // A peer that goes away is its own problem.
            let _ = send_back(stream);
            drop(held);
        })?;
    }
    Ok(())
}

fn send_back(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(STALE))?;
    stream.set_write_timeout(Some(STALE))?;
    let mut bytes = vec![0; PAYLOAD_BYTES];
    stream.read_exact(&mut bytes)?;
    stream.write_all(&bytes)
}

fn reach_all(to: &[IpAddr], port: u16, limit: Duration) -> Vec<Reached> {
    thread::scope(|scope| {
        let one = |address: &IpAddr| {
            let address = *address;
            (
                address,
                scope.spawn(move || reach(SocketAddr::new(address, port), limit)),
            )
        };
        let threads: Vec<_> = to.iter().map(one).collect();
        let reached = threads.into_iter().map(|(address, thread)| {
            let result = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Reached {
                address,
                ms: result.as_ref().ok().map(|time| probe::milliseconds(*time)),
                error: result.err().map(|error| error.to_string()),
            }
        });
        reached.collect()
    })
}

fn reach(to: SocketAddr, limit: Duration) -> io::Result<Duration> {
    let start = Instant::now();
    let mut stream = TcpStream::connect_timeout(&to, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let sent: Vec<u8> = (0..PAYLOAD_BYTES).map(|position| position as u8).collect();
    stream.write_all(&sent)?;
    let mut back = vec![0; PAYLOAD_BYTES];
    stream.read_exact(&mut back)?;
    match back == sent {
        true => Ok(start.elapsed()),
        false => Err(io::Error::other("what came back is not what was sent")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_serves_is_reached_and_who_does_not_is_told() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || serve_at(&listener));
        let to = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let reached = reach_all(&to, port, Duration::from_secs(5));
        assert!(reached[0].ms.is_some(), "{reached:?}");
        assert!(
            reached[1].ms.is_none() && reached[1].error.is_some(),
            "{reached:?}"
        );
    }
}
