//! Deletions, with preconditions on uid and resourceVersion.

use std::{collections::HashSet, sync::Arc};

use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Preconditions},
    core::DynamicObject,
};

use super::{Error, Writer};
use crate::observe::{CachedForwarder, Key, Kind, Orphan};
use crds::{allocation::VNIS_OF_RANGE, forwarder::TOPOLOGY_LABEL, size};

/// Bytes of the JSON of one page of a list, about.
const PAGE: usize = 4 << 20;

impl Writer {
    /// Deletes the object with this uid, and resourceVersion where one is given. Absence is success.
    pub(super) async fn delete(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        uid: &str,
        resource_version: Option<&str>,
    ) -> Result<(), Error> {
        let api = self.api(kind, namespace);
        let parameters = DeleteParams::background().preconditions(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: resource_version.map(str::to_owned),
        });
        let deleted = self.ask("delete", kind.object(), name, api.delete(name, &parameters));
        let left = match deleted.await {
            Ok(answer) => answer.left(),
            Err(error) if error.is_absent() => None,
            Err(error) => return Err(error),
        };
        match left.filter(|object| object.metadata.deletion_timestamp.is_some()) {
            // A foreign finalizer holds it.
            Some(object) => self.learn(kind, object),
            None => self.cache.unlearn(kind, &Key::new(namespace, name), uid),
        }
        Ok(())
    }

    fn learn(&self, kind: Kind, object: DynamicObject) {
        match kind {
            Kind::Forwarder => drop(self.cache.learn_forwarder(object)),
            Kind::Allocation => self.cache.learn_allocation(object),
            Kind::VniRange => self.cache.learn_range(object),
            // The watch reports it soon.
            Kind::Topology | Kind::Node | Kind::Pod | Kind::Service | Kind::EndpointSlice => {}
        }
    }

    /// Deletes `orphan` if its topology is gone for certain. False when it has to stay for now.
    ///
    /// # Errors
    /// When the API server cannot be asked, or the orphan has changed meanwhile.
    pub async fn sweep(&self, orphan: &Orphan) -> Result<bool, Error> {
        if self.lives(&orphan.topology, &orphan.owner).await? {
            return Ok(false);
        }
        let resource_version = match orphan.first {
            // Whoever still uses a VNI of it keeps it: allocation first, then Forwarders.
            Some(first) => {
                if self.is_used(orphan, first).await? {
                    return Ok(false);
                }
                Some(orphan.resource_version.as_str())
            }
            None => None,
        };
        let key = &orphan.key;
        let deleted = self.delete(
            orphan.kind,
            &key.namespace,
            &key.name,
            &orphan.uid,
            resource_version,
        );
        deleted.await?;
        tracing::info!(kind = %orphan.kind, object = %key, topology = %orphan.topology, "orphan deleted, its topology is gone");
        Ok(true)
    }

    /// True when the topology with this uid exists at the API server.
    async fn lives(&self, key: &Key, uid: &str) -> Result<bool, Error> {
        Ok(self
            .read(Kind::Topology, key)
            .await?
            .is_some_and(|object| object.uid().as_deref() == Some(uid)))
    }

    async fn is_used(&self, orphan: &Orphan, first: u32) -> Result<bool, Error> {
        let is_controlled = |object: &DynamicObject| is_controlled(object, &orphan.owner);
        let allocation = self.read(Kind::Allocation, &orphan.topology).await?;
        if allocation.as_ref().is_some_and(is_controlled) {
            return Ok(true);
        }
        let forwarders = self.read_forwarders(&orphan.topology).await?;
        let range = first..first.saturating_add(VNIS_OF_RANGE);
        let uses = |held: &Arc<CachedForwarder>| {
            let mut vnis = held.spec.links.iter().filter_map(|link| link.vni);
            held.owner.as_ref() == Some(&orphan.owner) || vnis.any(|vni| range.contains(&vni))
        };
        Ok(forwarders.iter().any(uses))
    }

    /// One object as it is now.
    pub(super) async fn read(&self, kind: Kind, key: &Key) -> Result<Option<DynamicObject>, Error> {
        let api = self.api(kind, &key.namespace);
        self.ask("get", kind.object(), &key.name, api.get_opt(&key.name))
            .await
    }

    /// Current Forwarders of a topology. One that has lost its label is found in the cache.
    ///
    /// They are listed in pages of one and the same revision: decoded, a page is many times what is kept of it.
    pub(super) async fn read_forwarders(
        &self,
        topology: &Key,
    ) -> Result<Vec<Arc<CachedForwarder>>, Error> {
        let api = self.api(Kind::Forwarder, &topology.namespace);
        let known = self.cache.forwarders(topology);
        let mut parameters = ListParams::default()
            .labels(&format!("{TOPOLOGY_LABEL}={}", topology.name))
            .limit(page(&known));
        let mut forwarders = Vec::with_capacity(known.len());
        loop {
            let list = api.list(&parameters);
            let kind = crds::Forwarder::KIND;
            let listed = self.ask("list", kind, &topology.name, list).await?;
            let objects = listed.items.into_iter();
            forwarders.extend(objects.map(|object| self.cache.learn_forwarder(object)));
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => break,
            }
        }
        let listed: HashSet<String> = forwarders.iter().map(|it| it.uid.clone()).collect();
        let unlabelled = self.cache.forwarders(topology).into_iter();
        forwarders.extend(unlabelled.filter(|held| !listed.contains(&held.uid)));
        Ok(forwarders)
    }
}

/// Number of Forwarders of one page of a list.
fn page(known: &[Arc<CachedForwarder>]) -> u32 {
    let largest = known.iter().map(|held| size::stored(&held.spec)).max();
    let count = PAGE / largest.unwrap_or(1).max(1);
    u32::try_from(count).unwrap_or(u32::MAX).clamp(1, 500)
}

/// True when the topology with this uid is the controller owner of the object.
pub(super) fn is_controlled(object: &DynamicObject, topology: &str) -> bool {
    let mut owners = object.owner_references().iter();
    owners.any(|owner| owner.uid == topology)
}
