//! `trace`: observed paths of packets, beside the computed ones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::args::TraceArgs;
use crate::convergence::computed::Computed;
use crate::faults;
use crate::running::{Running, common};
use console::failure::{Exit, Failure};
use console::note;
use console::ttl;
use probe::endpoint::{Endpoint, Family};
use probe::flow_report::{FlowPath, text, traced};
use probe::namespace;
use probe::trace::{End, Path, Sink, Trace, trace};

/// Traces, and reports whether all flows took computed paths.
///
/// # Errors
/// [`Failure::NotFound`]; exit code 1 when a flow was lost or off the computed paths.
pub(crate) fn run(args: &TraceArgs) -> Result<(), Failure> {
    let running = Running::join(&args.file.file)?;
    let (from, to) = (running.endpoint(&args.from)?, running.endpoint(&args.to)?);
    let (family, ..) = common(&from, &to, args.family.families())?;
    let tracer = Tracer::new(&running)?;
    let seen = tracer.trace(&from, &to, family, usize::from(args.flows))?;
    let expected = tracer.computed.edges(&from.forwarder, &to.forwarder);
    let traced = traced(&from, &to, family, &seen, expected.as_ref());
    let is_well = traced.is_as_computed();
    args.output.print(&traced, text)?;
    let topology = tracer.computed.topology();
    if !is_well && let Some(why) = ttl::explain(topology, &from.forwarder, &to.forwarder) {
        note(&why);
    }
    if is_well {
        Ok(())
    } else {
        Err(Failure::Told(Exit::Failed))
    }
}

/// Traces within one lab.
pub(crate) struct Tracer {
    /// Expected state.
    pub(crate) computed: Computed,
    eyes: Eyes,
    namespaces: BTreeMap<String, String>,
    prepared: std::cell::RefCell<BTreeSet<String>>,
}

/// Part of a [`Tracer`] that threads may share.
#[derive(Clone, Debug)]
pub(crate) struct Eyes {
    names: BTreeMap<IpAddr, String>,
}

impl Tracer {
    /// Tracer of a lab.
    ///
    /// # Errors
    /// [`Failure::Failed`] when the lab's objects are no valid topology.
    pub(crate) fn new(running: &Running) -> Result<Tracer, Failure> {
        let computed = Computed::new(&running.forwarders, &running.record.faults)?;
        let namespace =
            |forwarder: &crds::Forwarder| (forwarder.spec.name.clone(), faults::netns(forwarder));
        Ok(Tracer {
            computed,
            eyes: Eyes {
                names: running.names_by_address(),
            },
            namespaces: running.forwarders.iter().map(namespace).collect(),
            prepared: std::cell::RefCell::default(),
        })
    }

    /// Shared part for threads.
    pub(crate) fn eyes(&self) -> Eyes {
        self.eyes.clone()
    }

    /// Paths of `flows` flows.
    ///
    /// # Errors
    /// [`Failure::NotFound`] when they have no address of the family; [`Failure::Failed`] without a
    /// socket.
    pub(crate) fn trace(
        &self,
        from: &Endpoint,
        to: &Endpoint,
        family: Family,
        flows: usize,
    ) -> Result<Vec<FlowPath>, Failure> {
        let hops = self.prepare(from, to)?;
        self.eyes.trace(from, to, family, flows, hops)
    }

    /// Lifts the ICMP limits of all Forwarders on the path. Returns a number of hops that suffices
    /// for any computed path, and for some wrong ones.
    ///
    /// # Errors
    /// [`Failure::Failed`] when a sysctl cannot be written.
    pub(crate) fn prepare(&self, from: &Endpoint, to: &Endpoint) -> Result<u8, Failure> {
        let edges = self
            .computed
            .edges(&from.forwarder, &to.forwarder)
            .unwrap_or_default();
        let ends = [&from.forwarder, &to.forwarder].into_iter();
        let on_the_way: BTreeSet<&String> = edges.iter().map(|(_, to)| to).chain(ends).collect();
        let mut prepared = self.prepared.borrow_mut();
        for name in &on_the_way {
            if let (true, Some(netns)) =
                (prepared.insert((*name).clone()), self.namespaces.get(*name))
            {
                lift_limits(netns)?;
            }
        }
        // A path visits each Forwarder at most once.
        Ok(u8::try_from(on_the_way.len() + 4)
            .unwrap_or(u8::MAX)
            .min(64))
    }
}

impl Eyes {
    /// Paths of `flows` flows, of at most `hops` hops.
    ///
    /// # Errors
    /// As [`Tracer::trace`].
    pub(crate) fn trace(
        &self,
        from: &Endpoint,
        to: &Endpoint,
        family: Family,
        flows: usize,
        hops: u8,
    ) -> Result<Vec<FlowPath>, Failure> {
        let (_, source, destination) = common(from, to, &[family])?;
        let asked = Trace {
            from: from.netns.clone(),
            source,
            to: destination,
            sink: Sink::Here(to.netns.clone()),
            flows,
            max_hops: hops,
            attempts: ATTEMPTS,
            quiet: QUIET,
        };
        let paths = trace(&asked).map_err(|error| {
            Failure::Failed(format!(
                "failed to trace {} to {}: {error}",
                from.name, to.name
            ))
        })?;
        Ok(paths
            .into_iter()
            .map(|path| self.seen(from, to, path))
            .collect())
    }

    fn seen(&self, from: &Endpoint, to: &Endpoint, path: Path) -> FlowPath {
        let mut hops = Vec::with_capacity(path.hops.len() + 2);
        if !from.is_instance {
            hops.push(from.forwarder.clone());
        }
        for hop in &path.hops {
            let name = |address: &IpAddr| {
                self.names
                    .get(address)
                    .cloned()
                    .unwrap_or_else(|| address.to_string())
            };
            hops.push(hop.as_ref().map_or_else(|| "*".to_owned(), name));
        }
        let reached = path.end == End::Reached;
        if reached && !to.is_instance && hops.last() != Some(&to.forwarder) {
            hops.push(to.forwarder.clone());
        }
        FlowPath {
            ports: (path.source_port, path.port),
            hops,
            reached,
        }
    }
}

/// Number of probes of a hop without an answer: timeouts are 0.2 s, 0.4 s, 0.8 s, 1.6 s.
const ATTEMPTS: u32 = 4;
const QUIET: Duration = Duration::from_millis(200);

/// Lifts the limit of ICMP errors in a namespace: by default the kernel sends a thousand a second
/// (`icmp_msgs_per_sec`), whatever the limit for one peer is.
fn lift_limits(netns: &str) -> Result<(), Failure> {
    namespace::within(netns, || {
        std::fs::write("/proc/sys/net/ipv4/icmp_ratelimit", "0")?;
        std::fs::write("/proc/sys/net/ipv4/icmp_ratemask", "0")?;
        std::fs::write("/proc/sys/net/ipv6/icmp/ratelimit", "0")?;
        // Only packet-too-big, which is never limited.
        std::fs::write("/proc/sys/net/ipv6/icmp/ratemask", "2")
    })
    .map_err(|error| Failure::Failed(format!("failed to prepare {netns}: {error}")))
}
