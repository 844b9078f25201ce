//! Cuts of one link after another under traffic, and their effects.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use topology::LinkIndex;

use crate::args::Kind;
use crate::convergence::computed::Computed;
use crate::convergence::watch::Watch;
use crate::running::{Running, common, endpoint_of_forwarder};
use crate::state::directory::{Direction, Faults};
use crate::verbs::samples::{SAMPLES_MAX, Sample, Samples, keep_samples, whole_milliseconds};
use crate::verbs::trace::Tracer;
use console::failure::Failure;
use probe::endpoint::Family;
use probe::flow_report::Edge;
use probe::loss::Loss;
use probe::stream::{self, Flow};

impl Kind {
    /// Words for the reader.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Kind::Cut => "cut",
            Kind::Silent => "cut silently",
            Kind::OneWay => "cut one way",
        }
    }

    /// Adds this fault of a link; `to` is the end that hears nothing when the cut is of one way.
    fn add(self, faults: &mut Faults, link: &str, to: &str) {
        let link = link.to_owned();
        let to = to.to_owned();
        match self {
            Kind::Cut => faults.cut.insert(link),
            Kind::Silent => faults.silent.insert(link),
            Kind::OneWay => faults.one_way.insert(Direction { link, to }),
        };
    }
}

/// Effect of cutting and healing one link.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cut {
    /// Its id.
    pub(crate) link: String,
    /// Kind of the cut.
    pub(crate) kind: Kind,
    /// Longest loss of its flows after the cut, in milliseconds.
    pub(crate) lost_ms: u64,
    /// True when all of its flows arrived again during the cut.
    pub(crate) rerouted: bool,
    /// True when there is no other path: then no rerouting is expected.
    pub(crate) partitions: bool,
    /// Longest loss of its flows after the repair, in milliseconds.
    pub(crate) heal_lost_ms: u64,
    /// Number of observed flows.
    pub(crate) flows: usize,
    /// Longest delay of the sender in milliseconds: the precision of the losses.
    pub(crate) late_ms: u64,
}

impl Cut {
    /// Remarks for the reader.
    pub(crate) fn remark(&self) -> String {
        let mut remarks = Vec::new();
        if self.partitions {
            remarks.push("no other path".to_owned());
        }
        if self.late_ms > LATE_MS {
            remarks.push(format!(
                "machine was busy: sender up to {} ms late",
                self.late_ms
            ));
        }
        remarks.join("; ")
    }
}

/// Interval between two packets of a flow.
const INTERVAL: Duration = Duration::from_millis(1);
/// Time of traffic without a gap that counts as steady.
const STEADY: Duration = Duration::from_millis(50);
/// Timeout of rerouting and repair, and its increment for each Forwarder: on one host all of them
/// share a few processors.
const LIMIT: Duration = Duration::from_secs(5);
const LIMIT_FOR_EACH: Duration = Duration::from_millis(25);
/// Observation time of flows without another path.
const PARTITIONED: Duration = Duration::from_millis(100);
/// Delay of the sender in milliseconds that is worth a remark.
const LATE_MS: u64 = 20;

/// Cuts links of a lab, with traffic on known paths.
pub(crate) struct Cutter {
    running: Running,
    tracer: Tracer,
    samples: Samples,
    watch: Watch,
    max_loss: Option<Duration>,
    limit: Duration,
    parallel: BTreeMap<Edge, usize>,
}

impl Cutter {
    /// `samples` are flows with a known path; for links without any, flows are searched.
    ///
    /// # Errors
    /// [`Failure::Failed`] when the lab cannot be watched.
    pub(crate) fn new(
        running: Running,
        tracer: Tracer,
        samples: Samples,
        max_loss: Option<Duration>,
    ) -> Result<Cutter, Failure> {
        let watch = Watch::new(&running.directory.status())
            .map_err(|error| Failure::Failed(format!("failed to watch the lab: {error}")))?;
        let forwarders = u32::try_from(running.forwarders.len()).unwrap_or(u32::MAX);
        let mut cutter = Cutter {
            running,
            tracer,
            samples,
            watch,
            max_loss,
            limit: LIMIT + LIMIT_FOR_EACH.saturating_mul(forwarders),
            parallel: BTreeMap::new(),
        };
        for link in cutter.links() {
            let edge = cutter.edge(&link)?;
            *cutter.parallel.entry(edge).or_default() += 1;
        }
        Ok(cutter)
    }

    /// The links that are up.
    pub(crate) fn links(&self) -> Vec<String> {
        let topology = self.tracer.computed.topology();
        let all = (0..topology.links().len()).map(|number| LinkIndex(number as u32));
        // A fault of the user's own stays as it is.
        let faulty = self.running.record.faults.links();
        all.map(|link| topology.link_id(link))
            .filter(|link| !faulty.contains(link))
            .collect()
    }

    fn edge(&self, link: &str) -> Result<Edge, Failure> {
        let topology = self.tracer.computed.topology();
        let link = topology
            .link(link)
            .ok_or_else(|| Failure::NotFound(format!("no link {link:?}")))?;
        let ends = &topology.links()[link.position()];
        let name = |end: topology::ForwarderIndex| topology.forwarders()[end.position()].clone();
        Ok((name(ends.a), name(ends.b)))
    }

    /// Cuts and heals one link under traffic. Returns the effect, and the problems found. Links take turns in the direction of
    /// a cut one way: with both, a link would fail so often that it is damped.
    ///
    /// # Errors
    /// [`Failure::Failed`] when an operation is refused; then the link is healed again.
    pub(crate) fn cut(&mut self, link: &str, kind: Kind) -> Result<(Cut, Vec<String>), Failure> {
        let (a, b) = self.edge(link)?;
        let mut flows = self.flows(&a, &b)?;
        flows.extend(self.flows(&b, &a)?);
        let number = self.links().iter().position(|it| it == link);
        let to = [&b, &a][number.unwrap_or(0) % 2];
        let outcome = self.cut_under(link, (kind, to), &flows);
        // In any case the link is healed, and the fault is not recorded.
        self.heal(link)?;
        self.running.directory.write_record(&self.running.record)?;
        outcome
    }

    fn cut_under(
        &mut self,
        link: &str,
        (kind, to): (Kind, &str),
        flows: &[(Sample, Flow)],
    ) -> Result<(Cut, Vec<String>), Failure> {
        let words = kind.words();
        let mut cut = Cut {
            link: link.to_owned(),
            kind,
            flows: flows.len(),
            ..Cut::default()
        };
        let mut wrong = Vec::new();
        if flows.is_empty() {
            wrong.push(format!(
                "{link}: no packet passes from one end to the other"
            ));
        }
        let probes: Vec<Flow> = flows.iter().map(|(_, flow)| flow.clone()).collect();
        let before = start(&probes)?;
        if !before.wait_unbroken(Duration::ZERO, STEADY, self.limit) {
            wrong.push(format!("{link}: no steady traffic before it was cut"));
        }
        // Recorded before the cut, so that `heal` repairs the link after a crash.
        let mut without = self.running.record.faults.clone();
        without.cut.insert(link.to_owned());
        let left = Computed::new(&self.running.forwarders, &without)?;
        kind.add(&mut self.running.record.faults, link, to);
        self.running.directory.write_record(&self.running.record)?;
        let has_way = |flow: &&(Sample, Flow)| {
            left.edges(&flow.0.from.forwarder, &flow.0.to.forwarder)
                .is_some()
        };
        cut.partitions = flows.iter().filter(has_way).count() < flows.len();
        self.running.enforce(&self.running.record.faults)?;
        let patience = if cut.partitions {
            PARTITIONED
        } else {
            self.limit
        };
        cut.rerouted = before.wait_unbroken(before.now(), STEADY, patience) && !cut.partitions;
        let losses = before.finish().map_err(broken)?;
        (cut.lost_ms, cut.late_ms) = worst(&losses);
        if !cut.rerouted && !cut.partitions {
            wrong.push(format!(
                "{link}: {words}, and not rerouted within {} s",
                self.limit.as_secs()
            ));
        }
        let most = self.max_loss.filter(|_| !cut.partitions);
        let most = most.map(|most| whole_milliseconds(most + self.detection(kind)));
        // The loss includes the sender's delay, which is not the lab's.
        if most.is_some_and(|most| cut.lost_ms > most + cut.late_ms) {
            wrong.push(format!("{link}: {words}, and {} ms were lost", cut.lost_ms));
        }
        self.heal_under(link, &probes, &mut cut, &mut wrong)?;
        Ok((cut, wrong))
    }

    fn heal_under(
        &mut self,
        link: &str,
        probes: &[Flow],
        cut: &mut Cut,
        wrong: &mut Vec<String>,
    ) -> Result<(), Failure> {
        // Convergence before the next change, so that they do not disturb each other.
        if let Err(failure) = self.running.wait_converged_on(&mut self.watch) {
            wrong.push(format!("{link}: {}, {failure}", cut.kind.words()));
        }
        let during = start(probes)?;
        if cut.rerouted {
            during.wait_unbroken(Duration::ZERO, STEADY, self.limit);
        }
        self.heal(link)?;
        if let Err(failure) = self.running.wait_converged_on(&mut self.watch) {
            wrong.push(format!("{link}: healed, {failure}"));
        }
        if !during.wait_unbroken(during.now(), STEADY, self.limit) {
            wrong.push(format!("{link}: healed, and traffic did not come back"));
        }
        let losses = during.finish().map_err(broken)?;
        let (lost_ms, late_ms) = worst(&losses);
        // A flow without a path before has no loss caused by healing.
        cut.heal_lost_ms = if cut.partitions { 0 } else { lost_ms };
        cut.late_ms = cut.late_ms.max(late_ms);
        Ok(())
    }

    /// Repairs the link in the lab and in memory.
    fn heal(&mut self, link: &str) -> Result<(), Failure> {
        let before = self.running.record.faults.clone();
        self.running.record.faults.heal_link(link);
        self.running.enforce(&before)
    }

    /// Time in which silence is noticed; none for an interface that goes down.
    fn detection(&self, kind: Kind) -> Duration {
        let liveness = self.running.forwarders.first().map(|it| &it.spec.liveness);
        match (kind, liveness) {
            (Kind::Cut, _) | (_, None) => Duration::ZERO,
            (_, Some(liveness)) => liveness.interval * liveness.multiplier,
        }
    }

    /// Flows that cross a link from one end to the other.
    fn flows(&mut self, a: &str, b: &str) -> Result<Vec<(Sample, Flow)>, Failure> {
        let edge = (a.to_owned(), b.to_owned());
        if self.samples.get(&edge).is_none_or(Vec::is_empty) {
            self.look_for_flows(a, b)?;
        }
        let ends = if a < b {
            edge.clone()
        } else {
            (b.to_owned(), a.to_owned())
        };
        // A path names Forwarders, not which of several parallel links is used.
        let is_parallel = self.parallel.get(&ends).is_some_and(|&count| count > 1);
        let wanted = if is_parallel { SAMPLES_MAX } else { 1 };
        let known = self
            .samples
            .get(&edge)
            .map(Vec::as_slice)
            .unwrap_or_default();
        known
            .iter()
            .take(wanted)
            .map(|sample| Ok((sample.clone(), flow(sample)?)))
            .collect()
    }

    /// Searches flows from Forwarder to Forwarder, where no pair of Apps has a path over the link.
    fn look_for_flows(&mut self, a: &str, b: &str) -> Result<(), Failure> {
        const FLOWS: usize = 32;
        let from = endpoint_of_forwarder(self.running.forwarder(a)?);
        let to = endpoint_of_forwarder(self.running.forwarder(b)?);
        let Some(family) = [Family::V4, Family::V6]
            .into_iter()
            .find(|family| common(&from, &to, &[*family]).is_ok())
        else {
            return Ok(());
        };
        let seen = self.tracer.trace(&from, &to, family, FLOWS)?;
        keep_samples(&mut self.samples, &from, &to, family, &seen);
        let edge = (a.to_owned(), b.to_owned());
        if self.samples.get(&edge).is_none_or(Vec::is_empty) {
            // Too heavy for any shortest path: flows between its ends must not be affected.
            let any = seen.iter().find(|flow| flow.reached);
            let sample = any
                .map(|flow| Sample {
                    from,
                    to,
                    family,
                    ports: flow.ports,
                })
                .into_iter();
            self.samples.entry(edge).or_default().extend(sample);
        }
        Ok(())
    }
}

fn flow(sample: &Sample) -> Result<Flow, Failure> {
    let (_, source, to) = common(&sample.from, &sample.to, &[sample.family])?;
    Ok(Flow {
        from: sample.from.netns.clone(),
        source: SocketAddr::new(source, sample.ports.0),
        sink: sample.to.netns.clone(),
        to,
        port: sample.ports.1,
    })
}

fn start(flows: &[Flow]) -> Result<stream::Running, Failure> {
    stream::Running::start(flows, INTERVAL).map_err(broken)
}

fn broken(error: std::io::Error) -> Failure {
    Failure::Failed(format!("failed to send test traffic: {error}"))
}

/// The longest outage and the latest sender, in milliseconds.
fn worst(losses: &[Loss]) -> (u64, u64) {
    let outage = losses
        .iter()
        .map(|loss| loss.outage)
        .max()
        .unwrap_or_default();
    let gap = losses
        .iter()
        .map(|loss| loss.greatest_gap)
        .max()
        .unwrap_or_default();
    let late = gap.saturating_sub(INTERVAL);
    (whole_milliseconds(outage), whole_milliseconds(late))
}
