//! Gauges and counters that are read at scrape time.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge};

use super::Counts;

/// Values read at scrape time; `None` values are not exported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Counters of the engine.
    pub counts: Counts,
    /// Number of pods' attachments.
    pub attachments: u64,
    /// Number of hotplug attachments, made by the daemon.
    pub live_attachments: Option<u64>,
    /// Numbers of pods that should be attached and are not: pending ones, and refused ones.
    pub missing: Option<(u64, u64)>,
    /// Installation of the plugin.
    pub cni: Option<Cni>,
    /// Numbers of peers: all, and those with an open connection in both directions.
    pub peers: Option<(u64, u64)>,
    /// Counters of the liveness detector.
    pub bfd: Option<liveness::Snapshot>,
    /// Seconds since when a watch fails, so that the cache may be outdated.
    pub cache_age: Option<f64>,
    /// Writes to the API server, by result.
    pub api_writes: Vec<(&'static str, u64)>,
}

/// State of the plugin's installation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cni {
    /// True when the runtime finds plugin and configuration.
    pub is_installed: bool,
    /// True when the runtime uses another configuration.
    pub is_displaced: bool,
    /// Number of writes and removals.
    pub writes: u64,
}

/// Collector that reads the values at each scrape.
pub(super) struct Observations {
    observe: Box<dyn Fn() -> Observed + Send + Sync>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

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
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let observed = (self.observe)();
        let mut told = Told(&mut encoder);
        told.engine(&observed.counts)?;
        told.gauge("attachments", "Attachments of pods.", observed.attachments)?;
        if let Some(count) = observed.live_attachments {
            let help = "Attachments that the daemon made for running pods (hotplug).";
            told.gauge("live_attachments", help, count)?;
        }
        if let Some((waiting, refused)) = observed.missing {
            let help = "Running pods whose attachment is pending.";
            told.gauge("pods_waiting", help, waiting)?;
            let help = "Running pods that cannot be attached: see their events.";
            told.gauge("pods_refused", help, refused)?;
        }
        if let Some(cni) = observed.cni {
            told.cni(cni)?;
        }
        if let Some((all, connected)) = observed.peers {
            let help = "Nodes that share a topology with this one.";
            told.gauge("peers", help, all)?;
            let help = "Peers with link states exchanged in both directions.";
            told.gauge("peers_connected", help, connected)?;
        }
        if let Some(bfd) = &observed.bfd {
            told.bfd(bfd)?;
        }
        if let Some(age) = observed.cache_age {
            let help =
                "Time since when a watch of the API server fails, in seconds; 0 without a failure.";
            told.gauge_of("cache_age_seconds", help, ConstGauge::new(age))?;
        }
        told.api_writes(&observed.api_writes)
    }
}

/// Encoder of metrics, one after another.
struct Told<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Told<'_, '_> {
    fn engine(&mut self, counts: &Counts) -> fmt::Result {
        self.gauge("forwarders", "Forwarders of this node.", counts.forwarders)?;
        self.gauge("links", "Links of this node's Forwarders.", counts.links)?;
        let help = "Links of this node's Forwarders that are usable in both directions.";
        self.gauge("links_up", help, counts.links_up)?;
        let help = "Links of this node's Forwarders that pass no packets although their interfaces are up.";
        self.gauge("links_suspect", help, counts.links_suspect)?;
        let help = "Writes to the kernel; none in steady state.";
        self.counter("kernel_writes", help, counts.kernel_writes)?;
        let help = "Writes that the kernel refused; they are retried.";
        self.counter("kernel_failures", help, counts.kernel_failures)?;
        let help = "Full resyncs with the kernel state.";
        self.counter("resyncs", help, counts.resyncs)
    }

    fn bfd(&mut self, bfd: &liveness::Snapshot) -> fmt::Result {
        self.gauge("bfd_sessions_up", "BFD sessions in state Up.", bfd.up)?;
        self.gauge(
            "bfd_sessions_down",
            "BFD sessions in other states.",
            bfd.down,
        )?;
        let help = "Factor of all BFD intervals of this node: 1, or more where sessions ask for more than its budget of packets.";
        self.gauge_of("bfd_interval_stretch", help, ConstGauge::new(bfd.stretch))?;
        self.counter("bfd_packets_sent", "BFD packets sent.", bfd.sent)?;
        let help = "BFD packets that the kernel did not take: interface down, or queue full.";
        self.counter("bfd_packets_unsent", help, bfd.unsent)?;
        self.counter(
            "bfd_packets_received",
            "BFD packets of sessions.",
            bfd.received,
        )?;
        let help = "Datagrams on BFD's port that belong to no session, or are malformed.";
        self.counter("bfd_packets_refused", help, bfd.refused)?;
        let lateness = bfd.lateness;
        let help = "Deadlines and packets that the BFD detector handled more than 1 ms late.";
        self.counter("bfd_late", help, lateness.late)?;
        let help =
            "Silences that the BFD detector did not believe at once, because it was late itself.";
        self.counter("bfd_extensions", help, lateness.extensions)?;
        let help = "Largest lateness of the BFD detector since its start, in seconds.";
        let worst = ConstGauge::new(lateness.worst.as_secs_f64());
        self.gauge_of("bfd_lateness_worst_seconds", help, worst)
    }

    fn cni(&mut self, cni: Cni) -> fmt::Result {
        let help = "1 when the runtime finds the plugin and its configuration, else 0.";
        self.gauge("cni_installed", help, u64::from(cni.is_installed))?;
        let help =
            "1 when the runtime uses another configuration although ours is installed, else 0.";
        self.gauge("cni_displaced", help, u64::from(cni.is_displaced))?;
        let help = "Writes to the directories of the runtime; none in steady state.";
        self.counter("cni_install_writes", help, cni.writes)
    }

    fn api_writes(&mut self, writes: &[(&'static str, u64)]) -> fmt::Result {
        let help = "Writes to the API server, by result.";
        let name = "beemesh_node_api_writes";
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (result, count) in writes {
            let labels = ByResult { result };
            ConstCounter::new(*count).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.gauge_of(name, help, ConstGauge::new(value.cast_signed()))
    }

    fn gauge_of(&mut self, name: &str, help: &str, metric: impl EncodeMetric) -> fmt::Result {
        let name = format!("beemesh_node_{name}");
        metric.encode(
            self.0
                .encode_descriptor(&name, help, None, MetricType::Gauge)?,
        )
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let name = format!("beemesh_node_{name}");
        let metric = ConstCounter::new(value);
        metric.encode(
            self.0
                .encode_descriptor(&name, help, None, MetricType::Counter)?,
        )
    }
}
