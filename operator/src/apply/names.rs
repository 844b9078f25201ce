//! Names of Apps: writes of Services and EndpointSlices; foreign ones are never changed.

use std::fmt::Debug;

use futures::{StreamExt, stream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{core::v1::Service, discovery::v1::EndpointSlice},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Done, Error, FIELD_MANAGER, PARALLEL, Writer, steps::parameters};
use crate::{
    observe::Kind,
    plan::names::{Name, NamesPlan, NamesWorld, Write, controller},
};

/// Result of writing the names of one topology.
#[derive(Debug, Default)]
pub struct Named {
    /// Writes.
    pub done: Done,
    /// Apps whose Service name is taken by a foreign Service, with that name.
    pub foreign: Vec<(String, String)>,
}

impl Writer {
    /// Writes the names of one topology: each Service before its slices, deletions last.
    pub async fn name(&self, world: &NamesWorld, plan: &NamesPlan) -> Named {
        let mut named = Named {
            foreign: plan.foreign.clone(),
            ..Named::default()
        };
        let apps = plan.names.iter();
        let apps: Vec<_> = apps.map(|name| self.name_one(world, name)).collect();
        let mut apps = stream::iter(apps).buffer_unordered(PARALLEL);
        while let Some(app) = apps.next().await {
            named.done.add(app.done);
            named.foreign.extend(app.foreign);
        }
        let namespace = &world.namespace;
        let slices = plan
            .delete_slices
            .iter()
            .map(|delete| (Kind::EndpointSlice, delete));
        let services = plan
            .delete_services
            .iter()
            .map(|delete| (Kind::Service, delete));
        let deletes = slices
            .chain(services)
            .map(|(kind, delete)| self.delete(kind, namespace, &delete.object, &delete.uid, None));
        named.done.count_all(deletes.collect()).await;
        named
    }

    /// Writes the Service of one App, then its slices.
    async fn name_one(&self, world: &NamesWorld, name: &Name) -> Named {
        let mut named = Named::default();
        if self.name_app(world, name, &mut named).await {
            for slice in &name.slices {
                named.done.count(self.write_slice(slice).await);
            }
        }
        named
    }

    /// Writes the Service of one App. True when it is as it should be.
    async fn name_app(&self, world: &NamesWorld, name: &Name, named: &mut Named) -> bool {
        let wanted = match &name.write {
            None => return true,
            Some(Write::Apply(service)) => {
                let written = self.apply_typed(Kind::Service, service).await;
                let written = named.done.count(written);
                let is_written = written.is_some();
                written
                    .into_iter()
                    .for_each(|service| self.cache.learn_service(service));
                return is_written;
            }
            Some(Write::Create(service)) => service,
        };
        let api: Api<Service> = Api::namespaced(self.client.clone(), &world.namespace);
        // The cache holds those with our label only.
        let there = self.ask("get", "Service", &name.service, api.get_opt(&name.service));
        match there.await {
            Ok(None) => {}
            Ok(Some(there)) if controller(there.meta()) == Some(&world.uid) => {
                // Another replica was quicker.
                self.cache.learn_service(there);
                named.done.conflicts += 1;
                return false;
            }
            Ok(Some(_)) => {
                let foreign = (name.app.clone(), name.service.clone());
                named.foreign.push(foreign);
                return false;
            }
            Err(error) => {
                named.done.count::<()>(Err(error));
                return false;
            }
        }
        let written = named
            .done
            .count(self.create_typed(Kind::Service, wanted).await);
        let is_written = written.is_some();
        written
            .into_iter()
            .for_each(|service| self.cache.learn_service(service));
        is_written
    }

    async fn write_slice(&self, slice: &Write<EndpointSlice>) -> Result<(), Error> {
        let kind = Kind::EndpointSlice;
        let written = match slice {
            Write::Create(slice) => self.create_typed(kind, slice).await?,
            Write::Apply(slice) => self.apply_typed(kind, slice).await?,
        };
        self.cache.learn_slice(written);
        Ok(())
    }

    async fn create_typed<K>(&self, kind: Kind, object: &K) -> Result<K, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + Serialize + DeserializeOwned,
    {
        let api: Api<K> =
            Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        let (name, parameters) = (object.name_any(), parameters());
        let create = api.create(&parameters, object);
        self.ask("create", kind.object(), &name, create).await
    }

    async fn apply_typed<K>(&self, kind: Kind, object: &K) -> Result<K, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + Serialize + DeserializeOwned,
    {
        let api: Api<K> =
            Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let (name, patch) = (object.name_any(), Patch::Apply(object));
        let apply = api.patch(&name, &parameters, &patch);
        self.ask("apply", kind.object(), &name, apply).await
    }
}
