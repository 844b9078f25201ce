//! The paths that packets take: UDP probes with a rising time to live over many flows at once.
//!
//! All probes of a flow have the same addresses and ports (as in Paris traceroute, Augustin et al.,
//! IMC 2006), so that a router which balances by flow sends them all the same way. Routers' answers
//! are read from the UDP socket's own error queue (`IP_RECVERR`), which needs no raw socket and
//! delivers no packets of other sockets. Arrivals are counted at the destination itself, by a socket there, or
//! reported by an echo from there.

mod answers;
mod packet;

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{SockAddr, Socket};

use self::answers::{Answer, is_answer, read_error};
use self::packet::{PROBE_BYTES, decode, encode};
use super::{namespace, nonce, wait_readable};

/// Parameters of a trace.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Namespace to send from.
    pub from: String,
    /// Source address, one that the namespace holds.
    pub source: IpAddr,
    /// Destination, of the same family.
    pub to: IpAddr,
    /// Detection of arrivals.
    pub sink: Sink,
    /// Number of flows: as many source ports.
    pub flows: usize,
    /// Greatest time to live.
    pub max_hops: u8,
    /// Number of probes before a hop counts as silent.
    pub attempts: u32,
    /// Time without an answer after which missing probes are sent again; doubled each time.
    pub quiet: Duration,
}

/// Responder at the destination.
#[derive(Clone, Debug)]
pub enum Sink {
    /// This namespace of the same machine.
    Here(String),
    /// A port that sends back what arrives.
    Echo(u16),
}

/// End of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At the destination.
    Reached,
    /// A router said that it has no way on.
    Unreachable(IpAddr),
    /// No further answer.
    Silent,
}

/// The way of one flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub port: u16,
    /// The address that each router answered with, in order; none: it stayed silent.
    pub hops: Vec<Option<IpAddr>>,
    /// End of the flow.
    pub end: End,
}

/// Traces all flows at once.
///
/// # Errors
/// When a socket cannot be opened or read; never because of a lost packet.
pub fn trace(trace: &Trace) -> io::Result<Vec<Path>> {
    let mut sockets = open_flows(trace)?;
    let port = match &trace.sink {
        Sink::Here(netns) => {
            let sink = namespace::udp(netns, SocketAddr::new(trace.to, 0))?;
            let port = port_of(&sink)?;
            sockets.push(sink);
            port
        }
        Sink::Echo(port) => *port,
    };
    let mut tracer = Tracer {
        trace,
        to: SockAddr::from(SocketAddr::new(trace.to, port)),
        nonce: nonce(),
        ends: vec![None; trace.flows],
        hops: vec![BTreeMap::new(); trace.flows],
        sockets,
    };
    for attempt in 0..trace.attempts {
        let missing = tracer.missing();
        if missing.is_empty() {
            break;
        }
        tracer.send(&missing)?;
        tracer.listen(trace.quiet * 2u32.pow(attempt.min(6)))?;
    }
    tracer.paths(port)
}

fn open_flows(trace: &Trace) -> io::Result<Vec<Socket>> {
    let source = SocketAddr::new(trace.source, 0);
    namespace::within(&trace.from, || {
        (0..trace.flows)
            .map(|_| {
                let socket = Socket::new(
                    socket2::Domain::for_address(source),
                    socket2::Type::DGRAM,
                    Some(socket2::Protocol::UDP),
                )?;
                socket.set_nonblocking(true)?;
                socket.bind(&SockAddr::from(source))?;
                if source.is_ipv4() {
                    setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
                } else {
                    setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
                }
                Ok(socket)
            })
            .collect()
    })
}

fn port_of(socket: &Socket) -> io::Result<u16> {
    let address = socket.local_addr()?;
    Ok(address.as_socket().map_or(0, |address| address.port()))
}

/// End of a probe: the distance is its time to live.
#[derive(Clone, Copy, Debug)]
struct Ended {
    after: u8,
    end: End,
}

struct Tracer<'a> {
    trace: &'a Trace,
    to: SockAddr,
    nonce: u64,
    /// For each flow the shortest way to an end that was seen.
    ends: Vec<Option<Ended>>,
    /// For each flow the routers seen, by time to live.
    hops: Vec<BTreeMap<u8, IpAddr>>,
    /// One for each flow, and a sink on this machine last.
    sockets: Vec<Socket>,
}

impl Tracer<'_> {
    /// The probes (flow, time to live) without which some path is incomplete.
    fn missing(&self) -> Vec<(usize, u8)> {
        let mut missing = Vec::new();
        for flow in 0..self.trace.flows {
            let last = self.ends[flow].map_or(self.trace.max_hops, |ended| ended.after - 1);
            let unseen = (1..=last).filter(|ttl| !self.hops[flow].contains_key(ttl));
            missing.extend(unseen.map(|ttl| (flow, ttl)));
        }
        missing
    }

    fn send(&mut self, missing: &[(usize, u8)]) -> io::Result<()> {
        for (number, &(flow, ttl)) in missing.iter().enumerate() {
            self.send_one(flow, ttl)?;
            // Answers are read as they arrive: no queue has to hold all of them.
            if number % 64 == 63 {
                self.read_all()?;
            }
        }
        Ok(())
    }

    fn send_one(&self, flow: usize, ttl: u8) -> io::Result<()> {
        let socket = &self.sockets[flow];
        if self.trace.to.is_ipv4() {
            socket.set_ttl_v4(u32::from(ttl))?;
        } else {
            socket.set_unicast_hops_v6(u32::from(ttl))?;
        }
        let probe = encode(self.nonce, flow, ttl);
        // The kernel reports an answer to an earlier probe once, instead of sending: ask again.
        for _ in 0..4 {
            if socket.send_to(&probe, &self.to).is_ok() {
                break;
            }
        }
        Ok(())
    }

    /// Reads answers until none is missing or none came for `quiet`.
    fn listen(&mut self, quiet: Duration) -> io::Result<()> {
        let mut until = Instant::now() + quiet;
        loop {
            if self.read_all()? {
                until = Instant::now() + quiet;
                if self.missing().is_empty() {
                    return Ok(());
                }
            } else if Instant::now() >= until {
                return Ok(());
            }
            wait_readable(&self.sockets, until)?;
        }
    }

    /// Reads available answers; true when there were any.
    fn read_all(&mut self) -> io::Result<bool> {
        let mut any = false;
        // Probes at the sink, or as they come back to the flows.
        for position in 0..self.sockets.len() {
            any |= self.read_arrived(position)?;
        }
        for flow in 0..self.trace.flows {
            while let Some((packet, answer)) = read_error(&self.sockets[flow])? {
                any = true;
                self.note(&packet, answer);
            }
        }
        Ok(any)
    }

    fn read_arrived(&mut self, position: usize) -> io::Result<bool> {
        let mut any = false;
        let mut buffer = [MaybeUninit::<u8>::uninit(); PROBE_BYTES + 1];
        loop {
            let length = match self.sockets[position].recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(any),
                // A router's answer, which the error queue has with its sender.
                Err(error) if position < self.trace.flows && is_answer(&error) => continue,
                Err(error) => return Err(error),
            };
            any = true;
            // SAFETY: `recv` has filled the first `length` bytes.
            let packet =
                unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), length) };
            if let Some((flow, ttl)) = decode(self.nonce, self.trace.flows, packet) {
                self.note_end(
                    flow,
                    Ended {
                        after: ttl,
                        end: End::Reached,
                    },
                );
            }
        }
    }

    fn note(&mut self, packet: &[u8], answer: Answer) {
        let Some((flow, ttl)) = decode(self.nonce, self.trace.flows, packet) else {
            return;
        };
        match answer {
            Answer::Expired(router) => {
                self.hops[flow].entry(ttl).or_insert(router);
            }
            Answer::Unreachable(router) => {
                // The destination itself answers so for a closed port.
                let end = match router == self.trace.to {
                    true => End::Reached,
                    false => End::Unreachable(router),
                };
                self.note_end(flow, Ended { after: ttl, end });
            }
        }
    }

    fn note_end(&mut self, flow: usize, ended: Ended) {
        let reached = ended.end == End::Reached;
        let better = self.ends[flow].is_none_or(|known| {
            let known_reached = known.end == End::Reached;
            (reached && !known_reached) || (reached == known_reached && ended.after < known.after)
        });
        if better {
            self.ends[flow] = Some(ended);
        }
    }

    fn paths(self, port: u16) -> io::Result<Vec<Path>> {
        let flows = self.sockets.iter().zip(&self.ends).zip(&self.hops);
        flows
            .map(|((socket, ended), hops)| {
                let last = match ended {
                    Some(ended) => ended.after - 1,
                    None => hops.keys().next_back().copied().unwrap_or(0),
                };
                Ok(Path {
                    source_port: port_of(socket)?,
                    port,
                    hops: (1..=last).map(|ttl| hops.get(&ttl).copied()).collect(),
                    end: ended.map_or(End::Silent, |ended| ended.end),
                })
            })
            .collect()
    }
}
