//! What is told of the daemon: probes and metrics.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::tasks::Shared;
use crate::config::InstallCni;
use crate::install::Installer;
use crate::telemetry::{Check, Cni, Observed, Probes, Server, router};

/// Serves probes and metrics for ever, where that is asked for.
pub(super) async fn serve(shared: Shared) {
    observe(&shared);
    let Some(address) = shared.config.http_address else {
        return;
    };
    let probes = probes(&shared);
    let server = Server::bind_in_time(address).await;
    tracing::info!(%address, "probes and metrics");
    server.serve(router(shared.metrics, probes)).await;
}

fn probes(shared: &Shared) -> Probes {
    let probes = Probes::new(shared.vitals.clone());
    let socket = shared.config.socket.clone();
    let bound = inode(&socket);
    // Anew each time: somebody may have removed or replaced the file.
    probes.ready_when("socket", move || {
        let is_ours = bound.is_some() && inode(&socket) == bound;
        let problem = (!is_ours).then(|| format!("{} is not ours", socket.display()));
        Check::failed(problem)
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
    probes
}

fn inode(path: &Path) -> Option<u64> {
    path.symlink_metadata().ok().map(|it| it.ino())
}

fn observe(shared: &Shared) {
    let (vitals, desk) = (shared.vitals.clone(), shared.desk.clone());
    let installer = shared.installer.clone();
    shared.metrics.observe(move || Observed {
        counts: vitals.counts(),
        attachments: desk.attachment_count() as u64,
        cni: installed(&installer),
        ..Observed::default()
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
