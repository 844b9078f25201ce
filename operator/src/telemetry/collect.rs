//! Gauges that are read from the caches at each scrape.

use std::fmt;

use crds::TopologyStatus;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

/// Sizes of the caches.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Every topology.
    pub topologies: Vec<ObservedTopology>,
    /// Numbers of cached objects, by kind.
    pub cached: Vec<(&'static str, usize)>,
    /// Numbers of objects that wait for a reconcile, by kind.
    pub queued: Vec<(&'static str, usize)>,
    /// Number of VNI ranges that are claimed by all topologies of the cluster.
    pub ranges: usize,
}

/// One topology and its status.
#[derive(Clone, Debug)]
pub struct ObservedTopology {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// As it is in the API server.
    pub status: TopologyStatus,
}

/// Asks at each scrape.
pub(super) struct Observations {
    observe: Box<dyn Fn() -> Observed + Send + Sync>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Condition {
    condition: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Topology {
    namespace: String,
    topology: String,
}

const CONDITIONS: [&str; 6] = [
    "Accepted",
    "Computed",
    "Programmed",
    "Ready",
    "Degraded",
    "Progressing",
];
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

impl Observations {
    pub(super) fn new(observe: impl Fn() -> Observed + Send + Sync + 'static) -> Observations {
        let observe = Box::new(observe);
        Observations { observe }
    }
}

impl fmt::Debug for Observations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observations")
    }
}

impl Collector for Observations {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let encoder = &mut encoder;
        let observed = (self.observe)();
        let help = "Topologies, by condition and its status.";
        gauges(encoder, "beemesh_topologies", help, conditions(&observed))?;
        encode_topologies(encoder, &observed.topologies)?;
        let help = "Objects in the caches, by kind.";
        gauges(
            encoder,
            "beemesh_cache_objects",
            help,
            kinds(&observed.cached),
        )?;
        let help = "Objects that wait for a reconcile, by kind.";
        gauges(
            encoder,
            "beemesh_queue_depth",
            help,
            kinds(&observed.queued),
        )?;
        let help = "VNI ranges claimed by the topologies of the cluster.";
        let metric =
            encoder.encode_descriptor("beemesh_vni_ranges", help, None, MetricType::Gauge)?;
        ConstGauge::new(observed.ranges as i64).encode(metric)
    }
}

fn encode_topologies(
    encoder: &mut DescriptorEncoder<'_>,
    topologies: &[ObservedTopology],
) -> Result<(), fmt::Error> {
    let count = |of: fn(&TopologyStatus) -> u32| {
        topologies.iter().map(move |one| {
            let labels = Topology {
                namespace: one.namespace.clone(),
                topology: one.name.clone(),
            };
            (labels, i64::from(of(&one.status)))
        })
    };
    let help = "Forwarders of a topology.";
    let samples = count(|status| status.forwarders.total);
    gauges(encoder, "beemesh_topology_forwarders", help, samples)?;
    let help = "Forwarders of a topology whose node reports the computed table.";
    let samples = count(|status| status.forwarders.programmed);
    gauges(
        encoder,
        "beemesh_topology_forwarders_programmed",
        help,
        samples,
    )?;
    let help = "Links of a topology.";
    let samples = count(|status| status.links.total);
    gauges(encoder, "beemesh_topology_links", help, samples)?;
    let help = "Links of a topology that are up at both ends.";
    let samples = count(|status| status.links.up);
    gauges(encoder, "beemesh_topology_links_up", help, samples)?;
    let help = "Links of a topology that pass no packets although their interfaces are up.";
    let samples = count(|status| status.links.suspect);
    gauges(encoder, "beemesh_topology_links_suspect", help, samples)
}

/// Every condition with every status, so that no series comes and goes.
fn conditions(observed: &Observed) -> impl Iterator<Item = (Condition, i64)> {
    let pairs = CONDITIONS
        .into_iter()
        .flat_map(|condition| STATUSES.into_iter().map(move |status| (condition, status)));
    pairs.map(|(condition, status)| {
        let has = |one: &&ObservedTopology| {
            let conditions = &one.status.conditions;
            let found = conditions.iter().find(|found| found.r#type == condition);
            found.map_or("Unknown", |found| &found.status) == status
        };
        let count = observed.topologies.iter().filter(has).count();
        (Condition { condition, status }, count as i64)
    })
}

fn kinds(counts: &[(&'static str, usize)]) -> impl Iterator<Item = (Kind, i64)> {
    counts
        .iter()
        .map(|(kind, count)| (Kind { kind }, *count as i64))
}

fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = (L, i64)>,
) -> Result<(), fmt::Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in samples {
        ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}
