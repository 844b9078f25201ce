//! Checks of the probes and values of the metrics, and their server.

use std::future;
use std::sync::Arc;

use ::telemetry::{Check, Limits, Probes, Server, router};

use crate::attach::key;
use crate::attach::pod_links::KernelPodWiring;
use crate::attach::server::Bound;
use crate::attach::service::AttachService;
use crate::config::{Config, InstallCni, Origin};
use crate::error::enumerate;
use crate::flooding;
use crate::install::Installer;
use crate::objects::kubernetes::Health;
use crate::telemetry::{self, Cni, Heartbeat, Metrics, Observed};

/// Log message of a cluster's daemon without a mesh key.
pub(super) const KEYLESS: &str =
    "no link states are exchanged with other nodes: there is no --peer-key-file";

/// Sources of probes and metrics.
pub(super) struct Observations {
    pub(super) config: Arc<Config>,
    pub(super) heartbeat: Heartbeat,
    pub(super) metrics: Metrics,
    pub(super) installer: Arc<Installer>,
    pub(super) service: Arc<AttachService<KernelPodWiring>>,
    /// Identity of the plugin's socket file.
    pub(super) bound: Bound,
    /// Health of the API server, where there is one.
    pub(super) health: Option<Arc<Health>>,
    /// Status of flooding; `None` without a mesh key.
    pub(super) peers: Option<Arc<flooding::Status>>,
    /// Counters of the liveness detector.
    pub(super) liveness: Arc<liveness::Statistics>,
}

/// Serves probes and metrics for ever, where a listen address is configured.
pub(super) async fn serve(observations: Observations, probes: Probes) {
    let Observations {
        config, metrics, ..
    } = &observations;
    observe(&observations);
    let Some(address) = config.http_address else {
        return;
    };
    let server = Server::bind_in_time(address, Limits::PROBES).await;
    tracing::info!(%address, "serving probes and metrics");
    let metrics = metrics.clone();
    let routes = router(move || metrics.text(), probes);
    server.serve(routes, future::pending()).await;
}

pub(super) fn probes(from: &Observations) -> Probes {
    let probes = telemetry::probes(&from.heartbeat);
    let (socket, bound) = (from.config.socket.clone(), from.bound.clone());
    // Checked each time: the file may have been removed or replaced.
    probes.ready_when("socket", move || {
        let problem = || format!("{} belongs to another process", socket.display());
        Check::failed((!bound.is_there()).then(problem))
    });
    probes.ready_when("open-files", || {
        Check::warning(dataplane::descriptors::shortage())
    });
    if from.installer.mode() != InstallCni::None {
        let installer = from.installer.clone();
        probes.ready_when("cni-installed", move || {
            Check::failed(installer.report().missing)
        });
        let installer = from.installer.clone();
        probes.ready_when("cni-in-force", move || {
            Check::failed(installer.report().displaced)
        });
        let installer = from.installer.clone();
        probes.ready_when("cni-primary", move || {
            Check::warning(installer.report().primary)
        });
    }
    if let Some(health) = from.health.clone() {
        probes.ready_when("last-known-state", move || {
            Check::warning(health.not_kept())
        });
    }
    if let Some(peers) = from.peers.clone() {
        probes.ready_when("peers", move || Check::warning(trouble(&peers.now())));
    } else if let Origin::Kubernetes { .. } = from.config.origin {
        probes.ready_when("peers", || Check::Warning(KEYLESS.to_owned()));
    }
    probes
}

fn counts(peers: &flooding::Overview) -> (u64, u64) {
    (peers.total_count() as u64, peers.connected_count() as u64)
}

/// Problem of flooding. Unreachable peers are routed around, so the node stays ready.
fn trouble(peers: &flooding::Overview) -> Option<String> {
    let all = peers.problems.iter();
    let all = all.map(|(part, problem)| format!("{part}: {problem}"));
    let mut all: Vec<String> = all.collect();
    let (total, connected) = counts(peers);
    if connected < total {
        let away = peers.peers.iter().filter(|(_, peer)| !peer.is_connected());
        let away: Vec<&str> = away.map(|(name, _)| name.as_str()).collect();
        all.push(format!(
            "{connected} of {total}, without {}",
            enumerate(&away)
        ));
    }
    (!all.is_empty()).then(|| all.join("; "))
}

fn observe(from: &Observations) {
    let (heartbeat, service) = (from.heartbeat.clone(), from.service.clone());
    let (installer, peers) = (from.installer.clone(), from.peers.clone());
    let (health, liveness) = (from.health.clone(), Arc::clone(&from.liveness));
    let is_cluster = matches!(from.config.origin, Origin::Kubernetes { .. });
    from.metrics.observe(move || Observed {
        counts: heartbeat.counts(),
        attachments: service.attachment_count(|_| true) as u64,
        live_attachments: is_cluster.then(|| service.attachment_count(key::is_hotplug) as u64),
        missing: is_cluster.then(|| {
            let missing = service.missing();
            (missing.waiting as u64, missing.refused as u64)
        }),
        cni: installed(&installer),
        peers: peers.as_ref().map(|peers| counts(&peers.now())),
        bfd: Some(liveness.get()),
        cache_age: health.as_ref().map(|it| it.unheard_for().as_secs_f64()),
        api_writes: health.as_ref().map_or_else(Vec::new, |it| {
            let (done, failed) = it.writes();
            vec![("ok", done), ("failed", failed)]
        }),
    });
}

fn installed(installer: &Installer) -> Option<Cni> {
    let report = installer.report();
    (installer.mode() != InstallCni::None).then(|| Cni {
        is_installed: report.missing.is_none(),
        is_displaced: report.displaced.is_some(),
        writes: installer.writes(),
    })
}
