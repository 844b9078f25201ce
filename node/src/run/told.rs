//! Checks of the probes and values of the metrics, and their server.

use std::future;

use ::telemetry::{Check, Limits, Probes, Server, router};

use super::tasks::Shared;
use crate::config::{InstallCni, Origin};
use crate::desk::enumerate;
use crate::flood;
use crate::install::Installer;
use crate::live;
use crate::telemetry::{self, Cni, Observed};

/// What a daemon of a cluster says of itself that was given no key.
pub(super) const KEYLESS: &str =
    "no link states are exchanged with other nodes: there is no --peer-key-file";

/// Serves probes and metrics for ever, where that is asked for.
pub(super) async fn serve(shared: Shared) {
    observe(&shared);
    let Some(address) = shared.config.http_address else {
        return;
    };
    let probes = probes(&shared);
    let server = Server::bind_in_time(address, Limits::PROBES).await;
    tracing::info!(%address, "serving probes and metrics");
    let metrics = shared.metrics;
    let routes = router(move || metrics.text(), probes);
    server.serve(routes, future::pending()).await;
}

pub(super) fn probes(shared: &Shared) -> Probes {
    let probes = telemetry::probes(&shared.vitals);
    let (socket, bound) = (shared.config.socket.clone(), shared.bound.clone());
    // Anew each time: somebody may have removed or replaced the file.
    probes.ready_when("socket", move || {
        let problem = || format!("{} is not ours", socket.display());
        Check::failed((!bound.is_there()).then(problem))
    });
    if shared.installer.mode() != InstallCni::None {
        let installer = shared.installer.clone();
        probes.ready_when("cni-installed", move || {
            Check::failed(installer.report().missing)
        });
        let installer = shared.installer.clone();
        probes.ready_when("cni-in-force", move || {
            Check::failed(installer.report().displaced)
        });
        let installer = shared.installer.clone();
        probes.ready_when("cni-primary", move || {
            Check::warning(installer.report().primary)
        });
    }
    if let Some(health) = shared.health.clone() {
        probes.ready_when("last-known-state", move || {
            Check::warning(health.not_kept())
        });
    }
    if let Some(peers) = shared.peers.clone() {
        probes.ready_when("peers", move || Check::warning(trouble(&peers.now())));
    } else if let Origin::Kubernetes { .. } = shared.config.origin {
        probes.ready_when("peers", || Check::Warning(KEYLESS.to_owned()));
    }
    probes
}

fn counts(peers: &flood::Overview) -> (u64, u64) {
    (peers.total_count() as u64, peers.connected_count() as u64)
}

/// What is wrong with the exchange of link states. Whoever is away is routed around: the node serves.
fn trouble(peers: &flood::Overview) -> Option<String> {
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

fn observe(shared: &Shared) {
    let (vitals, desk) = (shared.vitals.clone(), shared.desk.clone());
    let (installer, peers) = (shared.installer.clone(), shared.peers.clone());
    let health = shared.health.clone();
    let is_cluster = matches!(shared.config.origin, Origin::Kubernetes { .. });
    shared.metrics.observe(move || Observed {
        counts: vitals.counts(),
        attachments: desk.attachment_count(|_| true) as u64,
        live_attachments: is_cluster.then(|| desk.attachment_count(live::is_key) as u64),
        missing: is_cluster.then(|| {
            let missing = desk.missing();
            (missing.waiting as u64, missing.refused as u64)
        }),
        cni: installed(&installer),
        peers: peers.as_ref().map(|peers| counts(&peers.now())),
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
