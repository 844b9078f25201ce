//! STATUS: readiness for new pods, and degraded pods.

use cni::node_protocol::{Key, Reply};

use super::AttachService;
use crate::attach::admission::LocalForwarder;
use crate::attach::leases::Phase;
use crate::attach::pod_links::PodWiring;
use crate::error::enumerate;

impl<W: PodWiring> AttachService<W> {
    pub(super) fn status(&self) -> Reply {
        let state = self.state();
        let Some(catalog) = state.catalog.as_ref().filter(|catalog| catalog.is_complete) else {
            let degraded = Some("the desired state was not read yet".to_owned());
            return Reply::Status {
                ready: false,
                degraded,
            };
        };
        let leases = state.book.leases();
        let is_full = |place: &&LocalForwarder| {
            let network = place.forwarder.topology_key();
            let blocks = &place.forwarder.spec.blocks;
            blocks
                .iter()
                .any(|block| !leases.has_free(&network, *block))
        };
        let full: Vec<&str> = catalog
            .places()
            .iter()
            .filter(|place| !place.forwarder.spec.apps.is_empty())
            .filter(is_full)
            .map(|place| place.forwarder.metadata.name.as_str())
            .collect();
        let is_attached = |key: &&Key| {
            let lease = leases.get(key);
            lease.is_some_and(|lease| lease.phase == Phase::Confirmed)
        };
        let lost = state.lost.iter().filter(is_attached);
        let lost: Vec<&str> = lost.map(|key| key.container_id.as_str()).collect();
        let problems = [("no free address", full), ("lost their interface", lost)];
        let told = problems.iter().filter(|(_, whose)| !whose.is_empty());
        let told: Vec<String> = told
            .map(|(what, whose)| format!("{what}: {}", enumerate(whose)))
            .collect();
        Reply::Status {
            ready: true,
            degraded: (!told.is_empty()).then(|| told.join("; ")),
        }
    }
}
