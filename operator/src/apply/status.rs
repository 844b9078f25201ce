//! Writes of statuses.

use crds::{MicroServiceTopology, TopologyStatus};
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde_json::json;

use super::{Error, FIELD_MANAGER, Writer, objects};
use crate::observe::{CachedForwarder, Entry, Key, Kind};

impl Writer {
    /// Writes the status of the topology that `entry` was read as.
    ///
    /// # Errors
    /// When the API server refuses, above all because the topology is another one by now.
    pub async fn write_status(&self, entry: &Entry, status: &TopologyStatus) -> Result<(), Error> {
        let resource_version = &entry.resource_version;
        let kind = MicroServiceTopology::KIND;
        let body = objects::status(kind, &entry.key, &entry.uid, resource_version, status);
        match self
            .patch_status(Kind::Topology, &entry.key, Patch::Apply(&body))
            .await
        {
            // Stored before a stricter schema: nothing can be applied to it, but a status can be merged into it.
            Err(error) if error.is_mistyped() => {
                self.patch_status(Kind::Topology, &entry.key, Patch::Merge(&body))
                    .await
            }
            result => result,
        }
    }

    /// Writes `status.computed` of the Forwarder that `held` is, and nothing else of it.
    ///
    /// # Errors
    /// As [`Writer::write_status`].
    pub async fn publish(
        &self,
        held: &CachedForwarder,
        computed: &crds::forwarder::Computed,
    ) -> Result<(), Error> {
        let kind = crds::Forwarder::KIND;
        let status = json!({ "computed": computed });
        let body = objects::status(kind, &held.key, &held.uid, &held.resource_version, &status);
        self.patch_status(Kind::Forwarder, &held.key, Patch::Apply(&body))
            .await
    }

    async fn patch_status<B: Serialize + std::fmt::Debug>(
        &self,
        kind: Kind,
        key: &Key,
        patch: Patch<&B>,
    ) -> Result<(), Error> {
        let api = self.api(kind, &key.namespace);
        let parameters = PatchParams {
            force: matches!(patch, Patch::Apply(_)),
            ..PatchParams::apply(FIELD_MANAGER)
        };
        let apply = api.patch_status(&key.name, &parameters, &patch);
        let written = self.ask("status", kind.object(), &key.name, apply).await?;
        match kind {
            Kind::Topology => self.cache.learn_topology(written),
            _ => drop(self.cache.learn_forwarder(written)),
        }
        Ok(())
    }
}
